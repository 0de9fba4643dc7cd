"""What was captured does to new tensors what the operations do, and its results are one's own."""

import pytest
import torch

from agents.captured import Captured

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def on_cpu(function):
    """A graph's contract without a GPU: every replay reads and writes the same memory."""
    made = [tensor.clone() for tensor in function()]

    def replay():
        for target, tensor in zip(made, function(), strict=True):
            target.copy_(tensor)

    return replay, made


@pytest.fixture(params=["on the CPU", pytest.param("on a GPU", marks=needs_gpu)])
def captured(request):
    """Captures operations at some examples, and where their tensors have to be."""
    if request.param == "on a GPU":
        return Captured, "cuda"
    return lambda *given: Captured(*given, on_cpu), "cpu"


def test_new_tensors_are_read_and_results_stay_as_they_were(captured):
    capture, device = captured
    run = capture(lambda x, y: (x @ y, x + 1), [torch.zeros(2, 2, device=device)] * 2)
    given = [torch.eye(2, device=device) * k for k in range(1, 4)]
    results = [run(x, x) for x in given]
    for k, (squared, more) in enumerate(results, 1):
        assert torch.equal(squared.cpu(), torch.eye(2) * k * k)
        assert torch.equal(more.cpu(), torch.eye(2) * k + 1)
        assert torch.equal(given[k - 1].cpu(), torch.eye(2) * k)


def test_a_result_can_be_given_again_and_a_view_of_what_was_given_is_the_callers(captured):
    capture, device = captured
    run = capture(lambda x: (2 * x, x.T), [torch.zeros(2, 3, device=device)])
    first = torch.arange(6.0, device=device).view(2, 3)
    double, turned = run(first)
    fourfold, _ = run(double)
    assert torch.equal(fourfold, 4 * first)
    assert torch.equal(double, 2 * first)
    assert torch.equal(turned, first.T)


def test_types_are_kept_and_examples_untouched(captured):
    capture, device = captured
    examples = [torch.zeros(3, dtype=each, device=device) for each in (torch.int64, torch.bool)]
    run = capture(lambda number, flag: (number + flag, ~flag), examples)
    numbers, flags = torch.tensor([1, 2, 2**40]), torch.tensor([True, False, True])
    added, turned = run(numbers.to(device), flags.to(device))
    assert added.tolist() == [2, 2, 2**40 + 1]
    assert turned.tolist() == [False, True, False]
    assert not any(example.any() for example in examples)


def test_a_column_of_packed_rows_is_read_as_a_column(captured):
    capture, device = captured
    rows = torch.arange(12.0, device=device).view(4, 3)
    run = capture(lambda x: (x.clone(),), [rows[:, 1]])
    assert run(rows[:, 1])[0].tolist() == [1, 4, 7, 10]
    assert run(rows[:, 2])[0].tolist() == [2, 5, 8, 11]
