"""Less precision is warned of where it takes longer."""

import time

import pytest
import torch

from experiments import precision
from experiments.precision import SIDE, seconds_of, slow_precision


@pytest.mark.parametrize(("half", "warned"), [(0.5, False), (0.99, False), (1.2, True)])
def test_a_processor_without_half_products_is_named_with_the_time_they_take(
    monkeypatch, half, warned
):
    monkeypatch.setattr(
        precision, "seconds_of", lambda dtype: half if dtype == torch.bfloat16 else 1.0
    )
    said = slow_precision("bfloat16", "cpu")
    assert (said is not None) == warned
    assert not warned or said.startswith("a product in bfloat16 takes 1.2 times as long")
    assert slow_precision("float32", "cpu") is None


@pytest.mark.parametrize("has", [False, True])
def test_a_gpu_without_half_products_is_named(monkeypatch, has):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    said = slow_precision("bfloat16", "cuda")
    assert said == (
        None if has else "this GPU does not multiply in bfloat16: leave --precision out"
    )
    assert slow_precision("float32", "cuda") is None


def test_the_fastest_of_some_products_counts(monkeypatch):
    now, slower = [0.0], [5.0]

    def multiply(left, right):
        assert left.dtype == torch.bfloat16
        assert left.shape == right.shape == (SIDE, SIDE)
        now[0] += slower[0]
        slower[0] = max(2.0, slower[0] - 1)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.Tensor, "__matmul__", multiply)
    assert seconds_of(torch.bfloat16) == 2.0
