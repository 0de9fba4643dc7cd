"""Recorded, an agent learns the same; what cannot be recorded or compiled runs as it is."""

import math

import numpy as np
import pytest
import torch

from agents import compiling
from agents.compiling import Compiler, Recorded, missing_compiler
from agents.methods import CONFLICTS, METHODS

SHAPES = {"mlp": (3,), "cnn": (2, 5, 5)}
EVERYTHING = {
    "head": "per_task",
    "dueling": True,
    "layer_norm": True,
    "noisy": True,
    "distribution": "quantiles",
    "exploratory_steps": 10,
    "normalize_observations": True,
    "scale_rewards": True,
}
# Of every kind of term one, without strength.
IDLE = "derpp:strength=0,lwf:strength=0,l1:strength=0,step=loss,spectral:strength=0,ewc:strength=0"
slow = pytest.mark.slow
needs_compiler = pytest.mark.compiler


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    """PyTorch keeps eight graphs of a function, and raises where a process needs one more."""
    torch._dynamo.reset()


def learn_twice(agent, rows, learn, updates, **changed):
    """Two agents alike but that one is compiled, after a task's end and the same updates."""
    seeds, shape = changed.pop("seeds", (0,)), SHAPES[changed.get("network", "mlp")]
    pair = [agent(seeds, shape=shape, **changed) for _ in range(2)]
    pair[0].compile()
    for each in pair:  # what is kept of an ended task is then in the graph
        each.end_task(rows([50 + s for s in seeds], n=16, shape=shape, task=0))
        each.start_task(1, reset_optimizer=False)
    data = [rows([100 * part + s for s in seeds], shape=shape) for part in range(8)]
    infos = []
    for update in range(updates):
        infos = [learn(each, data[update % 8], lr=1e-4) for each in pair]
    return pair, infos


def said(caplog):
    return [record.message for record in caplog.records if record.name == "retain"]


def assert_close(pair, infos, caplog):
    for name, value in pair[1].state.items():
        np.testing.assert_allclose(pair[0].state[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(infos[0][0], infos[1][0], rtol=1e-3, atol=1e-4)
    assert_compiled(pair, infos, caplog)


def assert_compiled(pair, infos, caplog):
    assert infos[0][1].keys() == infos[1][1].keys()
    assert (pair[0].recordings, said(caplog)) == (1, [])  # it says so where it is only replayed


@slow
@needs_compiler
@pytest.mark.parametrize("methods", ["none", *METHODS])
@pytest.mark.parametrize("network", SHAPES)
def test_a_thousand_compiled_updates_end_where_eager_ones_do(
    agent, rows, learn, caplog, network, methods
):
    pair, infos = learn_twice(agent, rows, learn, 1_000, network=network, methods=methods)
    begin = agent(shape=SHAPES[network], network=network).state["theta"]
    travelled = (pair[1].state["theta"] - begin).norm()
    assert travelled > 0.1
    if network == "mlp":
        return assert_close(pair, infos, caplog)
    # Of images a choice of two nearly equal values, in a ReLU, falls the other way now and then,
    # as it does between two eager agents that differ in the last bit.
    assert (pair[0].state["theta"] - pair[1].state["theta"]).norm() < 0.01 * travelled
    np.testing.assert_allclose(infos[0][0], infos[1][0], atol=0.01)
    assert_compiled(pair, infos, caplog)


@slow
@needs_compiler
@pytest.mark.parametrize("changed", [{}, EVERYTHING], ids=["textbook", "everything"])
def test_compiled_members_learn_what_eager_ones_do(agent, rows, learn, caplog, changed):
    pair, infos = learn_twice(agent, rows, learn, 100, seeds=(0, 1, 2), **changed)
    assert_close(pair, infos, caplog)


@slow
@needs_compiler
@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=["one member", "two members"])
def test_compiled_in_half_precision_an_agent_is_no_further_from_single_than_eagerly(
    agent, rows, learn, caplog, seeds
):
    half, _ = learn_twice(agent, rows, learn, 100, seeds=seeds, precision="bfloat16")
    (_, single), _ = learn_twice(agent, rows, learn, 100, seeds=seeds)
    compiled, eager = ((each.state["theta"] - single.state["theta"]).norm() for each in half)
    assert 0 < compiled < 1.5 * eager
    assert said(caplog) == []


@slow
@needs_compiler
@pytest.mark.parametrize("methods", ["distill:strength=0", "clear:policy=0,value=0", IDLE])
def test_compiled_methods_without_strength_are_compiled_textbook_dqn_bit_by_bit(
    agent, rows, learn, caplog, methods
):
    pair = [agent(head="per_task", methods=each) for each in ("none", methods)]
    for each in pair:
        each.compile()
        for step in range(20):
            if step == 5:
                each.end_task(rows((100,), n=16, task=0))
                each.start_task(1, reset_optimizer=False)
            learn(each, rows((step,), task=None if step >= 5 else 0))
    assert said(caplog) == []
    assert torch.equal(pair[0].state["theta"], pair[1].state["theta"])


@pytest.mark.parametrize("compiles", [False, pytest.param(True, marks=[slow, needs_compiler])])
def test_one_graph_serves_every_minibatch_step_size_and_task(
    agent, rows, caplog, monkeypatch, compiles
):
    monkeypatch.setattr(compiling, "PLAIN_CALLS", 1)
    compiled = agent(methods="distill", head="per_task")
    if compiles:
        compiled.compile()
    weight = np.ones((1, 16), np.float32)
    compiled.update(rows(n=16), weight, 2, 1e-3)
    for seed, (task, lr) in enumerate([(0, 1e-3), (1, 1e-4), (None, 0.0)]):
        compiled.update(rows((seed,), n=16, task=task), weight, 2, lr)
    compiled.start_task(0, reset_optimizer=True)
    compiled.load_state_dict(compiled.state_dict())
    compiled.update(rows(n=16), weight, 2, 1e-3)
    assert (compiled.recordings, said(caplog)) == (1, [])


# Of methods that do something at some updates only: at some of six.
OFTEN = {"rwalk": "rwalk:interval=3"}


def groups(size: int = 6) -> list[str]:
    """Every method once, several together that do not contradict each other."""
    found: list[list[str]] = []
    for name in METHODS:
        for group in found:
            pairs = {frozenset({name, other}) for other in group}
            if len(group) < size and not pairs & CONFLICTS.keys():
                group.append(name)
                break
        else:
            found.append([name])
    return [",".join(OFTEN.get(name, name) for name in group) for group in found]


# Recording takes nearly all of the time, and a recording of six methods little more than one's.
HALF = {"precision": "bfloat16", "methods": "gem", "head": "per_task"}
TOGETHER = [{"network": "cnn"}, HALF, *({"methods": names} for names in groups()), EVERYTHING]
ALONE = [{"methods": OFTEN.get(name, name)} for name in METHODS]
MEMBERS = [
    *(pytest.param((0, 1)[:members], changed, id=f"{members}-{changed}", marks=marks)
      for members in (1, 2)
      for cases, marks in ((TOGETHER, ()), (ALONE, slow))
      for changed in cases),
]  # fmt: skip


@pytest.mark.parametrize(("seeds", "changed"), MEMBERS)
def test_replayed_an_agent_acts_looks_and_learns_the_same_bit_for_bit(
    agent, rows, learn, same, monkeypatch, changed, seeds
):
    ends = []
    for plain_calls in (10**9, 1):
        monkeypatch.setattr(compiling, "PLAIN_CALLS", plain_calls)
        shape = SHAPES[changed.get("network", "mlp")]
        mine, actions = agent(seeds, shape=shape, **changed), []
        for step in range(6):
            seen = rows([100 * step + s for s in seeds], n=4, shape=shape)
            task = step // 3
            actions.append(mine.act(seen["state"], task, 0.2))
            mine.observe(seen["state"], seen["reward"], seen["done"], task, adapt=step % 3 < 2)
            learn(mine, rows([100 * step + s for s in seeds], shape=shape))
        ends.append((mine.state_dict(), actions, mine.recordings))
    assert [recordings for *_, recordings in ends] == [0, 1]
    assert same(ends[0][:2], ends[1][:2])


def double(tree):
    return ({"x": 2 * tree["x"], "kept": tree["kept"]},)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=[slow, needs_compiler])])
def test_what_comes_back_unchanged_is_what_was_given(caplog, compiled):
    run, kept = Recorded(double, "the double", Compiler() if compiled else None), torch.ones(1)
    for value in range(compiling.PLAIN_CALLS + 3):
        (result,) = run({"x": torch.tensor([value, 1.0]), "kept": kept, "unused": kept})
        assert result["x"].tolist() == [2 * value, 2]
        assert result["kept"] is kept
    assert (run.recordings, said(caplog)) == (1, [])


def test_other_shapes_and_types_are_recorded_for_themselves_and_once():
    run = Recorded(double, "the double")
    trees = [
        {"x": x, "kept": torch.ones(1)}
        for x in (torch.ones(2), torch.ones(3), torch.ones(3, 2).T, torch.ones(2, dtype=torch.int))
    ]
    for tree in trees * (compiling.PLAIN_CALLS + 2):
        (result,) = run(tree)
        assert torch.equal(result["x"], 2 * tree["x"])
        assert result["x"].dtype == tree["x"].dtype
    assert run.recordings == 4


def test_what_cannot_be_recorded_runs_as_it_is_and_says_so_once(caplog):
    def function(tree):
        return ({"x": tree["x"] + 1 if tree["x"] > 0 else tree["x"]},)

    run = Recorded(function, "the choice")
    calls = compiling.PLAIN_CALLS + 5
    assert [run({"x": torch.tensor(v)})[0]["x"].item() for v in range(calls)] == [
        0,
        *range(2, calls + 1),
    ]
    assert [line.partition(":")[0] for line in said(caplog)] == [
        "the choice cannot be recorded and runs slower"
    ]


def test_what_cannot_be_compiled_is_replayed_and_says_so_once(caplog, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no room on the disk\nmore")

    monkeypatch.setattr(torch._inductor, "compile", fail)
    run = Recorded(double, "the double", Compiler())
    for value in range(compiling.PLAIN_CALLS + 5):
        assert run({"x": torch.tensor(value), "kept": torch.ones(1)})[0]["x"] == 2 * value
    assert said(caplog) == ["the double cannot be compiled and runs slower: no room on the disk"]
    assert run.recordings == 1


def test_what_a_compiler_complains_of_is_in_the_line(caplog, monkeypatch):
    """Its own words come after its command line, which may have thousands of letters."""
    words = (
        "C++ compile error\n\nCommand:\ng++ -Werror\n\nOutput:\na.cpp:1:1: fatal error: no omp.h\n"
    )

    def fail(*arguments, **options):
        raise RuntimeError(words + "a.cpp:2:1: error: more")

    monkeypatch.setattr(torch._inductor, "compile", fail)
    Recorded(double, "the double", Compiler())({"x": torch.ones(1), "kept": torch.ones(1)})
    assert said(caplog) == [
        "the double cannot be compiled and runs slower: C++ compile error: "
        "a.cpp:1:1: fatal error: no omp.h"
    ]


def test_of_a_compiler_that_does_not_work_all_functions_learn_from_one_line(caplog, monkeypatch):
    tried = []

    def fail(*arguments, **options):
        tried.append(arguments)
        raise RuntimeError("CppCompileError: C++ compile error")

    monkeypatch.setattr(torch._inductor, "compile", fail)
    shared, given = Compiler(), {"x": torch.ones(1), "kept": torch.ones(1)}
    first, second = (Recorded(double, name, shared) for name in ("one", "another"))
    alone = Recorded(double, "one of another agent", Compiler())
    first(given)
    assert not first.compiled
    assert not second.compiled
    assert alone.compiled
    assert second(given)[0]["x"] == 2
    (line,) = said(caplog)
    assert line.startswith("nothing can be compiled here, so the run is slower: CppCompileError: ")
    assert len(tried) == 1
    for _ in range(compiling.PLAIN_CALLS + 1):
        second(given)
    assert second.recordings == 1  # replayed


def test_an_error_of_the_function_itself_is_raised_as_it_is(caplog):
    run = Recorded(lambda tree: ({"x": tree["x"] @ torch.ones(3)},), "the product", Compiler())
    with pytest.raises(RuntimeError, match=r"size|elements"):
        run({"x": torch.ones(2)})
    assert not said(caplog)


@pytest.mark.parametrize(
    ("error", "reason"),
    [("no g++ here\nlong explanation", "no g++ here"), ("", "RuntimeError")],
)
def test_without_a_compiler_the_reason_is_given(monkeypatch, error, reason):
    def none_found():
        raise RuntimeError(error)

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none_found)
    assert missing_compiler() == reason


def test_results_that_are_unchanged_arguments_keep_their_places():
    def mixed(a, b):
        return {"x": b["y"], "n": a["w"] + 1}, {"z": a["w"]}

    a, b = {"w": torch.zeros(2)}, {"y": torch.ones(2)}
    recorded = Recorded(mixed, "a mixture")
    for _ in range(compiling.PLAIN_CALLS + 3):
        first, second = recorded(a, b)
    assert recorded.recordings == 1
    assert (first["x"].tolist(), second["z"].tolist()) == ([1, 1], [0, 0])


CHANGING = {
    "grows": lambda a: ({"w": torch.cat([a["w"], a["w"][:1]])},),
    "shrinks": lambda a: ({"w": a["w"][:-1] + 1},),
    "turns": lambda a: ({"w": a["w"].t() + torch.arange(9.0).view(3, 3)},),
    "changes its type": lambda a: ({"w": a["w"].double() + 1},),
}


@needs_compiler
@pytest.mark.parametrize(
    "change",
    [
        "grows",
        *(pytest.param(name, marks=slow) for name in ("shrinks", "turns", "changes its type")),
    ],
)
def test_a_state_whose_form_changes_is_compiled_anew(change):
    recorded = Recorded(CHANGING[change], change, Compiler())
    shape = (3, 3) if change == "turns" else (6,)
    state = expected = {"w": torch.arange(9.0)[: math.prod(shape)].view(shape)}
    for _ in range(3):
        ((state,), (expected,)) = recorded(state), CHANGING[change](expected)
        torch.testing.assert_close(state["w"], expected["w"])
