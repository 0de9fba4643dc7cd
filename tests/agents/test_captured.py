"""What was captured does to new tensors what the operations do, and its results are one's own."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from agents import compiling, recording
from agents.captured import Captured
from agents.compiling import Compiler, Recorded
from agents.methods.gem import project
from agents.recording import Recording


def on_cpu(function):
    """A graph's contract without a GPU: every replay reads and writes the same memory."""
    made = [tensor.clone() for tensor in function()]

    def replay():
        for target, tensor in zip(made, function(), strict=True):
            target.copy_(tensor)

    return replay, made


@pytest.fixture(params=["on the CPU", pytest.param("on a GPU", marks=pytest.mark.gpu)])
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


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Whatever is recorded is captured."""
    monkeypatch.setattr(compiling, "PLAIN_CALLS", 1)
    monkeypatch.setattr(recording, "_can_be_captured", lambda graph, examples: True)
    monkeypatch.setattr(recording, "Captured", lambda *given: Captured(*given, on_cpu))


RICH = {
    "dueling": True,
    "layer_norm": True,
    "noisy": True,
    "distribution": "quantiles",
    "normalize_observations": True,
    "scale_rewards": True,
}
slow = pytest.mark.slow
LIVES = [
    ((0, 1), {"methods": "distill,lwf"}),
    ((0,), {"methods": "ogd,ewc"}),
    pytest.param((0,), {"methods": "distill,lwf"}, marks=slow),
    pytest.param((0, 1), {"methods": "ogd,ewc"}, marks=slow),
    *(pytest.param(seeds, {"methods": "gem,rwalk"}, marks=slow) for seeds in ((0,), (0, 1))),
    *(pytest.param(seeds, RICH, marks=slow) for seeds in ((0,), (0, 1))),
]


def live(agent, rows, learn, seeds):
    """Acts, looks and learns over two switches of tasks; what it did and what it became."""
    did = []
    for step in range(9):
        if step in (3, 6):
            agent.end_task(rows([50 + s for s in seeds], n=16, task=step // 3 - 1))
            agent.start_task(step // 3 % 2, reset_optimizer=step == 6)
        seen = rows([100 * step + s for s in seeds], n=4)
        did.append(agent.act(seen["state"], step // 3 % 2, 0.2))
        agent.observe(seen["state"], seen["reward"], seen["done"], step // 3 % 2, adapt=step < 3)
        did.append(learn(agent, rows([200 * step + s for s in seeds]))[0].copy())
    return did, agent.state_dict()


@pytest.mark.parametrize(("seeds", "choice"), LIVES)
def test_captured_an_agent_lives_the_same_life_bit_by_bit(
    request, agent, rows, learn, same, choice, seeds
):
    plain = live(agent(seeds, head="per_task", **choice), rows, learn, seeds)
    request.getfixturevalue("as_on_a_gpu")
    mine = agent(seeds, head="per_task", **choice)
    assert same(live(mine, rows, learn, seeds), plain)
    for recorded in (mine._engine._update, mine._engine._choose):
        assert isinstance(recorded._found[0]._operations, Captured)


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=[slow, pytest.mark.compiler])]
)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_what_cannot_be_captured_runs_as_it_was_recorded_and_says_so(monkeypatch, caplog, compiled):
    def fail(*given):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(recording, "Captured", fail)
    run = Recorded(
        lambda tree: ({"x": tree["x"] @ tree["x"]},), "the square", Compiler() if compiled else None
    )
    for value in range(5):
        assert run({"x": torch.eye(2) * value})[0]["x"].tolist() == [[value**2, 0], [0, value**2]]
    assert run.recordings == 1
    assert [record.message for record in caplog.records if record.name == "retain"] == [
        "what runs on the GPU cannot be captured and runs slower: operation not permitted when "
        "stream is capturing"
    ]


def test_tensors_of_one_type_are_copied_together(monkeypatch):
    sizes, copy = [], torch._foreach_copy_
    monkeypatch.setattr(
        torch, "_foreach_copy_", lambda to, of: sizes.append(len(to)) or copy(to, of)
    )
    rows = torch.ones(4, 3)
    given = [torch.ones(2), torch.ones(3), torch.ones(2, dtype=torch.int64), rows[:, 0], rows.T]
    run = Captured(lambda *tensors: [2 * tensor for tensor in tensors], given, on_cpu)
    made = run(*given)
    assert [tensor.unique().tolist() for tensor in made] == [[2]] * 5
    assert sorted(sizes) == [1, 1, 1, 3, 4]  # a column of rows by itself, then all are dense


def test_what_may_wait_for_the_gpu_is_not_captured():
    def projected(tree):
        return ({"x": project(tree["gradient"], tree["references"], 0.5)},)

    tree = {"gradient": torch.ones(1, 2), "references": torch.ones(1, 3, 2)}
    ours = Recording(projected, (tree,))._graph
    plain = Recording(lambda tree: ({"x": tree["gradient"] + 1},), (tree,))._graph
    with FakeTensorMode():  # tensors of a GPU, though there is none
        on_gpu, on_both = [torch.empty(2, device="cuda")], [torch.empty(2, device="cuda")]
        on_both.append(torch.empty(2))
    may = recording._can_be_captured
    assert may(plain, on_gpu)
    assert not may(ours, on_gpu)
    assert not may(plain, on_both)
    assert not may(plain, [torch.empty(2)])
    assert not may(plain, [])
