"""The agent: several members, restored exactly, that act on what they last learned."""

import numpy as np
import pytest
import torch

from agents import compiling
from agents.captured import Captured

RICH = {
    "methods": "distill",
    "head": "per_task",
    "dueling": True,
    "layer_norm": True,
    "noisy": True,
    "distribution": "quantiles",
    "exploratory_steps": 10,
    "normalize_observations": True,
    "scale_rewards": True,
}


def live(agent, rows, learn, seeds: tuple[int, ...], steps: range) -> list[np.ndarray]:
    """Acts, looks and learns in the order of the training loop; returns the actions."""
    actions = []
    for step in steps:
        seen = rows([1_000 * step + seed for seed in seeds], n=4)
        task = step // 20 % 2
        actions.append(agent.act(seen["state"], task, 0.5))
        agent.observe(seen["state"], seen["reward"], seen["done"], task, adapt=step % 3 < 2)
        agent.end_episodes(seen["done"])
        learn(agent, rows([2_000 * step + seed for seed in seeds]))
    return actions


@pytest.mark.parametrize("choice", [{}, RICH], ids=["textbook", "rich"])
def test_a_member_lives_the_same_alone_and_among_others(choice, agent, rows, learn):
    together, alone = agent((4, 7, 1), **choice), agent((7,), **choice)
    assert torch.equal(alone.state["theta"][0], together.state["theta"][1])
    one = live(alone, rows, learn, (7,), range(30))
    all_of_them = live(together, rows, learn, (4, 7, 1), range(30))
    for a, b in zip(one, all_of_them, strict=True):
        assert np.array_equal(a[0], b[1])
    for name, tensor in alone.state.items():
        assert np.allclose(tensor[0], together.state[name][1], rtol=1e-4, atol=1e-5), name
    assert not np.array_equal(np.stack(all_of_them)[:, 0], np.stack(all_of_them)[:, 1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(agent):
    with pytest.raises(ValueError, match="PyTorch finds no GPU here: use --device cpu"):
        agent(device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("choice", [{}, RICH], ids=["textbook", "rich"])
@pytest.mark.parametrize("compiled", [False, True], ids=["captured", "compiled"])
def test_on_a_gpu_an_agent_lives_as_on_the_cpu(
    choice, compiled, agent, rows, learn, caplog, monkeypatch
):
    monkeypatch.setattr(compiling, "PLAIN_CALLS", 5)  # then all that it does is captured
    pair = [agent((4, 7), device=device, **choice) for device in ("cpu", "cuda")]
    if compiled:
        pair[1].compile(acting=True)
    lives = [live(each, rows, learn, (4, 7), range(40)) for each in pair]
    assert np.array_equal(*lives)
    engine = pair[1]._engine
    for recorded in (engine._update, engine._choose, *(engine._observe if choice else ())):
        assert isinstance(recorded._found[0]._operations, Captured)
    assert pair[1].recordings == 1
    assert not [record for record in caplog.records if "runs slower" in record.message]
    for name, array in pair[0].state_dict()["learner"].items():
        other = pair[1].state_dict()["learner"][name]
        np.testing.assert_allclose(array, other, rtol=1e-3, atol=1e-4, err_msg=name)
    again = agent((1, 2), device="cuda", **choice)
    again.load_state_dict(pair[0].state_dict())
    assert again.state["theta"].device.type == "cuda"


@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=["one member", "two members"])
@pytest.mark.parametrize("choice", [{}, RICH], ids=["textbook", "rich"])
def test_a_restored_agent_lives_on_bit_by_bit(choice, seeds, agent, rows, learn, same):
    original, restored = agent(seeds, **choice), agent([90 + s for s in seeds], **choice)
    live(original, rows, learn, seeds, range(25))
    state = original.state_dict()
    restored.load_state_dict(state)
    assert same(restored.state_dict(), state)
    futures = [live(each, rows, learn, seeds, range(25, 35)) for each in (original, restored)]
    assert same(*futures)
    assert same(original.state_dict(), restored.state_dict())
    assert not same(original.state_dict(), state)


def test_a_saved_state_does_not_change_when_the_agent_goes_on(agent, rows, learn, same):
    mine, twin = agent(), agent()
    state, expected = mine.state_dict(), twin.state_dict()
    mine.state["theta"] += 1
    live(mine, rows, learn, (0,), range(3))
    assert same(state, expected)
    mine.load_state_dict(state)
    mine.state["theta"] += 1
    live(mine, rows, learn, (0,), range(3))
    assert same(state, expected)


def test_several_gradient_steps_are_as_many_calls_of_one(agent, rows, same):
    together, single = agent((0, 1), noisy=True), agent((0, 1), noisy=True)
    data, weight = rows((0, 1), n=24), np.random.default_rng(0).random((2, 24), np.float32)
    errors, _ = together.update(data, weight, 3, 1e-2)
    for step in range(3):
        part = slice(8 * step, 8 * step + 8)
        rows_of_step = {name: column[:, part] for name, column in data.items()}
        error, _ = single.update(rows_of_step, weight[:, part], 1, 1e-2)
        assert same(errors[:, part], error)
    assert same(together.state_dict()["learner"], single.state_dict()["learner"])


def test_the_learning_rate_is_the_one_given(agent, rows, learn):
    mine, data = agent(), rows()
    before = mine.state["theta"].clone()
    learn(mine, data, lr=0.0)
    assert torch.equal(mine.state["theta"], before)
    learn(mine, data, lr=0.25)
    assert float((mine.state["theta"] - before).abs().max()) == pytest.approx(0.25, rel=1e-2)


def test_a_hidden_task_changes_nothing_but_the_mask(agent, rows, learn):
    mine = agent(task_identity="hidden", normalize_observations=True, scale_rewards=True)
    live(mine, rows, learn, (0,), range(30))
    obs = rows(n=6)["state"]
    first, second = (mine.q(obs, np.full((1, 6), task)) for task in (0, 1))
    assert np.array_equal(first[..., :2], second[..., :2])
    assert np.isneginf(first[..., 2]).all()
    assert np.isfinite(second).all()


def test_a_hidden_task_is_not_told_by_rewards_and_updates_either(agent, rows, learn, same):
    free = np.ones((2, 3), bool)
    options = {"task_identity": "hidden", "valid": free, "scale_rewards": True}
    mine, twin = agent(**options), agent(**options)
    data = rows(n=8)
    for each, task in ((mine, 0), (twin, 1)):
        each.observe(data["state"][:, :4], data["reward"][:, :4], data["done"][:, :4], task, True)
        learn(each, data | {"task": np.full((1, 8), task)})
    assert same(mine.state_dict(), twin.state_dict())


@pytest.mark.parametrize("head", ["per_task", "conditioned"])
def test_a_known_task_is_told_apart(head, agent, rows):
    obs = rows(n=6)["state"]
    first, second = (agent(head=head).q(obs, np.full((1, 6), task)) for task in (0, 1))
    assert not np.allclose(first[..., :2], second[..., :2])


def test_scales_are_taken_in_per_task_and_only_where_asked_for(agent, rows):
    def after(adapt: bool = True, **options: bool) -> dict[str, torch.Tensor]:
        mine, data = agent(**options), rows(n=4)
        mine.observe(data["state"], data["reward"], data["done"], 1, adapt)
        return mine.state

    full = after(normalize_observations=True, scale_rewards=True)
    assert (full["obs_count"] > 1).tolist() == [[False, True]]
    assert (full["return_max"] > 0).tolist() == [[False, True]]
    assert not after(False, normalize_observations=True)["obs_mean"].any()
    assert not after(normalize_observations=False)["obs_mean"].any()
    assert not after(scale_rewards=False)["return_max"].any()


def test_the_running_return_takes_the_agents_discount(agent):
    mine, no = agent(scale_rewards=True, discount=0.5, num_envs=1), np.array([[False]])
    for reward in (4.0, 3.0):
        mine.observe(np.zeros((1, 1, 3), np.float32), np.float32([[reward]]), no, 0, False)
    assert mine.state["return_max"].tolist() == [[5, 0]]  # 0.5 * 4 + 3


def test_the_same_arrays_cut_into_other_minibatches_are_other_minibatches(agent, rows):
    one, other = (agent(noisy=True) for _ in range(2))
    weight, data = np.ones((1, 16), np.float32), rows(n=16)
    one.update(data, weight, 1, 1e-3)
    other.update({k: v.copy() for k, v in data.items()}, weight.copy(), 1, 1e-3)
    errors = [each.update(data, weight, 8, 1e-3)[0] for each in (one, other)]
    assert np.array_equal(*errors)
    assert torch.equal(one.state["theta"], other.state["theta"])


def test_images_of_bytes_are_scaled_and_not_normalized(agent, rows):
    mine = agent(
        network="cnn",
        shape=(2, 5, 4),
        scale=np.float32([255, 1]),
        normalize_observations=True,
        scale_rewards=True,
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(1, 4, 2, 5, 4), dtype=np.uint8)
    mine.observe(pixels, np.ones((1, 4), np.float32), np.zeros((1, 4), bool), 0, True)
    assert (mine.state["obs_mean"] == 0).all()
    floats = (pixels / 255).astype(np.float32)
    one, other = mine.q(pixels, np.zeros((1, 4), int)), mine.q(floats, np.ones((1, 4), int))
    assert np.allclose(one[..., :2], other[..., :2], atol=1e-5)


def test_images_of_zeros_and_ones_may_be_bytes(agent, rows, learn, same):
    bytes_, floats = (agent(network="cnn", shape=(2, 5, 4)) for _ in range(2))
    data = rows(shape=(2, 5, 4))
    data |= {name: (data[name] > 0).astype(np.uint8) for name in ("state", "next_state")}
    seen = {name: data[name].astype(np.float32) for name in ("state", "next_state")}
    learn(bytes_, data)
    learn(floats, data | seen)
    assert same(bytes_.state_dict(), floats.state_dict())
    assert np.array_equal(bytes_.greedy(data["state"], 1), floats.greedy(seen["state"], 1))


def test_whole_numbers_once_seen_do_not_cut_what_is_seen_later(agent, rows):
    mine = agent()
    seen = rows(n=50)["state"]
    mine.greedy(np.zeros_like(seen, np.int64), 1)
    assert np.array_equal(mine.greedy(seen, 1), mine.q(seen, np.ones((1, 50), int)).argmax(-1))


def test_the_same_arrays_may_be_cut_into_other_minibatches(agent, rows, same):
    data, weight = rows(n=12), np.ones((1, 12), np.float32)
    mine, other = agent(), agent()
    for steps in (3, 4, 2):
        mine.update(data, weight, steps, 1e-3)
        other.update({name: column.copy() for name, column in data.items()}, weight, steps, 1e-3)
    assert same(mine.state_dict(), other.state_dict())


def test_greedy_actions_are_the_best_valid_ones_and_draw_nothing(agent, rows, same):
    mine = agent((0, 1), noisy=True)
    obs, before = rows((0, 1), n=50)["state"], mine.state_dict()
    for task, count in ((0, 2), (1, 3)):
        q = mine.q(obs, np.full((2, 50), task))
        assert np.array_equal(mine.greedy(obs, task), q[..., :count].argmax(-1))
    assert same(mine.state_dict(), before)


@pytest.mark.parametrize(
    ("changed", "steps"), [({}, 2), ({"noisy": True}, 1), ({"distribution": "quantiles"}, 1)]
)
def test_an_update_that_is_told_what_is_seen_next_changes_no_action(
    agent, rows, same, monkeypatch, changed, steps
):
    monkeypatch.setattr(compiling, "PLAIN_CALLS", 5)
    told, untold = (agent((0, 1), **changed) for _ in range(2))
    weight, seen = np.ones((2, 16), np.float32), rows((7, 8), n=4)["state"]
    for step in range(9):  # also once it is recorded
        data = rows((step, step + 100), n=16)
        told.update(data, weight, steps, 1e-3, then=(seen, 1))
        untold.update(data, weight, steps, 1e-3)
        assert np.array_equal(told.act(seen, 1, 0.3), untold.act(seen, 1, 0.3))
    assert same(told.state_dict(), untold.state_dict())


def test_what_an_update_foresaw_is_forgotten_when_anything_changes(agent, rows):
    mine, weight = agent(), np.ones((1, 16), np.float32)
    seen, other = rows((7,), n=4)["state"], rows((9,), n=4)["state"]

    def answers(obs=seen, task=1):
        return mine.act(obs, task, 0.0).tolist(), mine.greedy(obs, task).tolist()

    for change in (
        lambda: mine.start_task(0, reset_optimizer=False),
        lambda: mine.load_state_dict(agent((5,)).state_dict()),
        lambda: mine.observe(seen, np.ones((1, 4), np.float32), np.zeros((1, 4), bool), 1, True),
    ):
        mine.update(rows(n=16), weight, 1, 1e-1, then=(seen, 1))
        for given in ((seen, 1), (other, 1), (seen.copy(), 1), (seen, 0)):
            acted, best = answers(*given)
            assert acted == best
        change()
        acted, best = answers()
        assert acted == best


@pytest.mark.parametrize("steps", [3, 4, 6, 9])
def test_steps_in_one_call_are_those_of_one_call_each(agent, rows, same, steps):
    together, alone = agent((0, 1)), agent((0, 1))
    data, weight = rows((0, 1), n=8 * steps), np.ones((2, 8 * steps), np.float32)
    td_error, _ = together.update(data, weight, steps, 1e-3)
    for k in range(steps):
        rows_of = slice(8 * k, 8 * k + 8)
        part = {name: column[:, rows_of] for name, column in data.items()}
        own, _ = alone.update(part, weight[:, rows_of], 1, 1e-3)
        assert np.array_equal(own, td_error[:, rows_of])
    assert same(together.state_dict(), alone.state_dict())
