"""What a call is given are the arrays' newest numbers, in tensors that stay the same ones."""

import numpy as np
import pytest
import torch

from agents import tensors
from agents.tensors import BatchTensors, ObservationTensors
from agents.transfer import Shared, Transfer

CPU = torch.device("cpu")


@pytest.fixture(params=[Shared, lambda arrays: Transfer(arrays, CPU)], ids=["shared", "sent"])
def device(request, monkeypatch):
    """Tensors that share the arrays' memory, or, as on a GPU, ones that are sent to them."""
    monkeypatch.setattr(tensors, "transfer", lambda arrays, device: request.param(arrays))
    return CPU


@pytest.mark.parametrize(("at_once", "sizes"), [(1, [2, 2, 2, 2]), (2, [4, 4]), (4, [8])])
def test_a_round_shows_rewritten_arrays_in_the_same_dicts(device, at_once, sizes):
    data = {"reward": np.zeros((3, 8), np.float32)}
    weight, noise = np.ones((3, 8), np.float32), torch.zeros(3, 12, 0)
    made, first = BatchTensors(device, at_once), []
    for value in range(3):
        data["reward"][...] = np.arange(8) + value
        weight[...] = value
        parts = made.of(data, weight, noise, 0.1 * (value + 1))
        first = first or parts
        assert [len(part["reward"][0]) for part in parts] == sizes
        assert torch.cat([part["reward"] for part in parts], 1)[2].tolist() == [
            *range(value, 8 + value)
        ]
        assert {part["weight"].unique().item() for part in parts} == {value}
        assert all(part["lr"].tolist() == pytest.approx([0.1 * (value + 1)] * 3) for part in parts)
        assert all(part is known for part, known in zip(parts, first, strict=True))


def test_other_arrays_make_other_tensors(device):
    made, weight, noise = BatchTensors(device), np.ones((1, 2), np.float32), torch.zeros(1, 3, 0)
    for value in range(3):
        data = {"reward": np.full((1, 2), value, np.float32)}
        (part,) = made.of(data, weight, noise, 0.1)
        assert part["reward"].tolist() == [[value, value]]


def test_observations_show_what_is_seen_now_in_a_dict_for_each_task(device):
    quiet = torch.zeros(2, 0)
    tensors, first = ObservationTensors(device, quiet), {}
    for value in range(4):
        tree = tensors.at(np.full((2, 3, 1), value, np.float32), value % 2, quiet)
        assert tree["obs"].unique().tolist() == [value]
        assert tree["task"].tolist() == [[value % 2] * 3] * 2
        assert first.setdefault(value % 2, tree) is tree
    noise = torch.ones(2, 5)
    assert tensors.at(np.zeros((2, 3, 1), np.float32), 0, noise)["noise"] is noise
