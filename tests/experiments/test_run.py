"""The parts of a run, made from its configuration."""

import pytest
import torch

from agents import FOR_IMAGES, NETWORKS
from experiments.folders import new_run
from experiments.run import Run

PIXELS = "test/Pixels"  # see conftest


@pytest.fixture
def mine(monkeypatch):
    """A network of one's own, under the name `mine`: for images if it is asked to be."""

    def register(like: str) -> None:
        monkeypatch.setitem(NETWORKS, "mine", NETWORKS[like])
        if like in FOR_IMAGES:
            FOR_IMAGES.add("mine")

    yield register
    FOR_IMAGES.discard("mine")


def test_a_network_of_ones_own_can_be_for_images(make_run, mine):
    mine("cnn")
    assert make_run(envs=PIXELS, network="mine").space.is_image
    with pytest.raises(ValueError, match="shows vectors: use --network mlp"):
        make_run(network="mine")


def test_a_network_of_ones_own_is_for_vectors_if_it_says_nothing(make_run, mine):
    mine("mlp")
    assert not make_run(network="mine").space.is_image
    with pytest.raises(ValueError, match="shows images: use --network cnn"):
        make_run(envs=PIXELS, network="mine")


def test_a_gpu_is_taken_for_any_network_for_images(config, mine, monkeypatch):
    mine("cnn")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []
    monkeypatch.setattr(Run, "__init__", lambda run, made_of, _: asked.append(made_of.device))
    with pytest.raises(AttributeError):  # of a run that was not made
        new_run(config(envs=PIXELS, network="mine", device="auto"))
    assert asked == ["cuda"]
