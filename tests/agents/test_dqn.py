"""The agent: several members, restored exactly, never with a state that is not finite."""

import numpy as np
import pytest
import torch

from agents import METHODS, NETWORKS, Method, NonFiniteLoss, compiling

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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("choice", [{}, RICH], ids=["textbook", "rich"])
def test_on_a_gpu_an_agent_lives_as_on_the_cpu(choice, agent, rows, learn):
    pair = [agent((4, 7), device=device, **choice) for device in ("cpu", "cuda")]
    lives = [live(each, rows, learn, (4, 7), range(10)) for each in pair]
    assert np.array_equal(*lives)
    for name, array in pair[0].state_dict()["learner"].items():
        other = pair[1].state_dict()["learner"][name]
        np.testing.assert_allclose(array, other, rtol=1e-3, atol=1e-4, err_msg=name)
    again = agent((1, 2), device="cuda", **choice)
    again.load_state_dict(pair[0].state_dict())
    assert again.state["theta"].device.type == "cuda"


def test_members_begin_with_their_own_weights(agent):
    theta = agent((1, 2, 3)).state["theta"]
    assert not torch.equal(theta[0], theta[1])
    assert not torch.equal(theta[1], theta[2])
    assert torch.equal(theta, agent((1, 2, 3)).state["theta"])


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


OTHERS = {
    "widths": {"hidden": (16, 17)},
    "heads": {"head": "per_task"},
    "layers": {"layer_norm": True},
    "members": {"seeds": (0, 1)},
    "environments": {"num_envs": 5},
    "tasks": {"valid": np.ones((3, 3), bool)},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_the_state_of_another_agent_is_refused_and_nothing_is_taken_over(other, agent, same):
    mine = agent()
    before = mine.state_dict()
    with pytest.raises(ValueError, match=r"the checkpoint is of another agent: .* differs"):
        mine.load_state_dict(agent(**other).state_dict())
    assert same(mine.state_dict(), before)


def test_the_state_of_other_methods_is_refused(agent, monkeypatch):
    def keeper(options):
        return Method("keeper", init=lambda theta: {"anchor": theta})

    monkeypatch.setitem(METHODS, "keeper", keeper)
    with pytest.raises(ValueError, match=r"another agent: keeper\.anchor"):
        agent().load_state_dict(agent(methods="keeper").state_dict())
    with pytest.raises(ValueError, match=r"another agent: keeper\.anchor"):
        agent(methods="keeper").load_state_dict(agent().state_dict())


@pytest.mark.parametrize(("bad", "step"), [(np.nan, 0), (np.inf, 1), (np.nan, 2)])
def test_a_loss_that_is_not_finite_leaves_the_last_good_state(bad, step, agent, rows, same):
    mine = agent((0, 1))
    data = rows((0, 1), n=24)
    weight = np.ones((2, 24), np.float32)
    mine.update(data, weight, 3, 1e-3)
    before = mine.state_dict()
    broken = data["reward"].copy()
    broken[1, 8 * step] = bad
    with pytest.raises(NonFiniteLoss, match=r"td_loss became NaN or infinite in member \[1\]"):
        mine.update(data | {"reward": broken}, weight, 3, 1e-3)
    assert same(mine.state_dict(), before)
    mine.update(data, weight, 3, 1e-3)
    assert not same(mine.state_dict(), before)


def test_the_term_that_is_not_finite_is_named(agent, rows, learn):
    mine, data = agent(methods="distill"), rows()
    data["q"][0, 0, 0] = np.inf
    with pytest.raises(
        NonFiniteLoss, match=r"^distill_loss became NaN or infinite in member \[0\]"
    ):
        learn(mine, data)


def test_a_gradient_that_is_not_finite_leaves_the_last_good_state(
    agent, rows, learn, monkeypatch, same
):
    def steep(options):  # the root of 0 is 0, and its slope is infinite
        return Method("steep", loss=lambda theta, state, batch, q: (0 * theta).sum().abs().sqrt())

    monkeypatch.setitem(METHODS, "steep", steep)
    mine = agent(methods="steep")
    before = mine.state_dict()
    with pytest.raises(NonFiniteLoss, match=r"^the gradient with steep became NaN"):
        learn(mine, rows())
    assert same(mine.state_dict(), before)


def poison(theta, state, before, gradient, batch):
    return theta / (batch["reward"] != 7).all(), state  # by zero where a reward is 7


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize(
    ("moments", "said"),
    [
        ({"after_step": poison}, "the weights after wild's step"),
        (
            {"gradient": lambda g, *rest: g / (rest[2]["reward"] != 7).all()},
            "the gradient with wild",
        ),
        ({"loss": lambda t, s, b, q: q.sum() / (b["reward"] != 7).all()}, "wild_loss"),
        ({"penalty": lambda t, s, b: t.sum() / (b["reward"] != 7).all()}, "wild_penalty"),
    ],
    ids=["after a step", "gradient", "loss", "penalty"],
)
def test_of_several_steps_and_methods_the_first_to_fail_is_named(
    agent, rows, same, monkeypatch, moments, said, step, seeds
):
    """Whatever follows a number that is none has none either: those are not to blame."""
    monkeypatch.setitem(METHODS, "wild", lambda model: Method("wild", **moments))
    mine, weight = agent(seeds, methods="distill,l2,wild"), np.ones((len(seeds), 24), np.float32)
    before, data = mine.state_dict(), rows(seeds, n=24)
    data["reward"][-1, 8 * step] = 7
    with pytest.raises(NonFiniteLoss) as raised:
        mine.update(data, weight, 3, 1e-3)
    assert str(raised.value) == f"{said} became NaN or infinite in member [{len(seeds) - 1}]"
    assert same(mine.state_dict(), before)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_what_a_method_keeps_of_a_task_must_be_finite(agent, rows, same, monkeypatch, seeds):
    wild = Method(
        "wild",
        init=lambda theta: {"kept": theta.clone()},
        end_task=lambda theta, state, samples: (theta, {"kept": theta / samples["reward"].sum()}),
    )
    monkeypatch.setitem(METHODS, "wild", lambda model: wild)
    mine, data = agent(seeds, methods="wild"), rows(seeds)
    mine.end_task(data)
    before = mine.state_dict()
    data["reward"][-1] = 0
    with pytest.raises(NonFiniteLoss, match=r"wild\.kept became NaN or infinite when the task end"):
        mine.end_task(data)
    assert same(mine.state_dict(), before)


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


def test_q_of_one_member_is_that_members_q(agent, rows):
    mine, obs = agent((0, 1, 2), noisy=True), rows((0, 1, 2), n=6)["state"]
    everyone = mine.q(obs, np.zeros((3, 6), int))
    for member in range(3):
        assert np.allclose(mine.q_of(member, obs[member], 0), everyone[member], atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"noisy": True, "layer_norm": True}, {"head": "conditioned"}]
)
def test_q_is_the_last_layer_over_the_features_of_now(changes, agent, rows, learn):
    mine, data = agent((0, 1), normalize_observations=True, **changes), rows((0, 1), n=6)
    features = [mine.features_of(member) for member in range(2)]
    mine.observe(data["state"][:, :4], np.zeros((2, 4)), np.zeros((2, 4), bool), 1, True)
    for _ in range(3):
        learn(mine, data)
    for member in range(2):
        obs, task = data["state"][member], data["task"][member]
        seen = features[member](obs, task)
        theta = mine.learner.model.network.unflatten(mine.state["theta"][member])
        q = seen @ theta["advantage.weight"].numpy().T + theta["advantage.bias"].numpy()
        assert seen.shape == (6, 16)
        own = np.where((task == 0)[:, None], mine.q_of(member, obs, 0), mine.q_of(member, obs, 1))
        assert np.allclose(np.where(np.isinf(own), own, q), own, atol=1e-5)


def test_a_network_that_does_not_tell_its_features_is_named(agent, monkeypatch):
    class Own(torch.nn.Linear):
        def forward(self, obs, task):
            return super().forward(obs)

    monkeypatch.setitem(NETWORKS, "own", lambda spec: Own(3, 3))
    with pytest.raises(ValueError, match=r"^a Own does not tell its features: give it .*\Z"):
        agent(network="own").features_of(0)


def test_a_noisy_agent_acts_with_new_noise_each_time(agent, rows):
    mine = agent(noisy=True, num_envs=200)
    obs = rows(n=200)["state"]
    actions = [mine.act(obs, 1, 0.0) for _ in range(5)]
    assert len({action.tobytes() for action in actions}) > 1
    quiet = agent(noisy=False, num_envs=200)
    assert np.array_equal(quiet.act(obs, 1, 0.0), quiet.greedy(obs, 1))


def test_a_new_task_does_not_go_on_with_the_last_tasks_exploration(agent, rows):
    mine = agent(num_envs=200, exploratory_steps=100)
    obs = rows(n=200)["state"]
    assert mine.act(obs, 1, 1.0).max() == 2  # an action that task 0 does not have
    mine.start_task(0, reset_optimizer=False)
    assert np.array_equal(mine.act(obs, 0, 0.0), mine.greedy(obs, 0))


def test_a_new_task_begins_without_running_returns(agent):
    mine, zero = agent(scale_rewards=True), np.zeros((1, 4, 3), np.float32)
    mine.observe(zero, np.full((1, 4), 7, np.float32), np.zeros((1, 4), bool), 0, False)
    mine.start_task(0, reset_optimizer=False)
    mine.observe(zero, np.ones((1, 4), np.float32), np.zeros((1, 4), bool), 1, False)
    assert mine.state["return_max"].tolist() == [[7, 1]]


@pytest.mark.parametrize("reset", [True, False])
def test_adam_starts_anew_with_a_task_only_where_asked_to(reset, agent, rows, learn, same):
    mine, data = agent((0, 1)), rows((0, 1))
    learn(mine, data)
    before = mine.state_dict()["learner"]
    mine.start_task(0, reset_optimizer=reset)
    after = mine.state_dict()["learner"]
    for name in before:
        if name.startswith("adam") and reset:
            assert not after[name].any()
            assert before[name].any()
        else:
            assert same(after[name], before[name])


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
