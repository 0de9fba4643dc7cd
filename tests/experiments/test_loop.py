"""The loop: what it stores, when it learns, how long it lasts, and what a switch does."""

import gymnasium as gym
import numpy as np
import pytest

from experiments.loop import end_task, learn_task, start_task
from experiments.run import Run

TWO = "test/Tagged:200,test/OtherTagged:200"


class Tagged(gym.Env):
    """Shows which episode it is, which step of it, and which task; it ends one way or the other."""

    def __init__(self, task: int, pay: float = 1.0):
        self.observation_space = gym.spaces.Box(-1, 100, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.task, self.pay = task, pay

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.tag, self.length = self.np_random.random(), self.np_random.integers(2, 12)
        self.now = 0
        return self.show(), {}

    def step(self, action):
        self.now += 1
        over, terminates = self.now == self.length, self.tag < 0.5
        return self.show(), self.pay, bool(over and terminates), bool(over and not terminates), {}

    def show(self):
        return np.array([self.tag, self.now, self.task], np.float32)


gym.register("test/Tagged-v0", Tagged, kwargs={"task": 0})
gym.register("test/OtherTagged-v0", Tagged, kwargs={"task": 1})
gym.register("test/RichTagged-v0", Tagged, kwargs={"task": 0, "pay": 2.0})


def nothing(run: Run) -> None:
    """Looks at nothing."""


def learn_stage(run: Run, after_step=nothing) -> None:
    start_task(run)
    learn_task(run, after_step)
    end_task(run)


def rows_of(run: Run, member: int = 0) -> dict[str, np.ndarray]:
    buffer = run.memories.buffers[member]
    return buffer.read(buffer.rows())


def calls_of(run: Run, method: str) -> list[tuple]:
    """The arguments of every call of a method of the agent from now on."""
    call, calls = getattr(run.agent, method), []

    def noting(*arguments, **named):
        calls.append(arguments)
        return call(*arguments, **named)

    setattr(run.agent, method, noting)
    return calls


# --- what is stored -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_step", [1, 3])
def test_no_stored_row_crosses_an_episode_or_a_task(make_run, n_step):
    run = make_run(
        envs=TWO, n_step=n_step, cut_at_exploration=False,
        buffer="fifo", methods="none", clear_at_switch=False, seeds=2,
    )  # fmt: skip
    learn_stage(run)
    learn_stage(run)
    for member in range(2):
        rows = rows_of(run, member)
        first, last = rows["state"], rows["next_state"]
        over = rows["done"] | rows["truncated"]
        steps = last[:, 1] - first[:, 1]
        assert (first[:, 0] == last[:, 0]).all()
        assert (first[:, 2] == last[:, 2]).all()
        assert (first[:, 2] == rows["task"]).all()
        assert (steps >= 1).all() and (steps <= n_step).all()
        assert (over | (steps == n_step)).all()
        assert np.allclose(rows["discount"], 0.9**steps)
        assert (rows["done"][over] == (first[over, 0] < 0.5)).all()


def test_every_step_of_an_episode_that_ended_is_stored_once(make_run):
    run = make_run(envs=TWO, n_step=3, buffer="fifo", methods="none", clear_at_switch=False)
    learn_stage(run)
    rows = rows_of(run)
    over = rows["done"] | rows["truncated"]
    ends = dict(zip(rows["state"][over, 0], rows["next_state"][over, 1], strict=True))
    assert len(ends) > 10
    for tag, length in ends.items():
        starts = rows["state"][rows["state"][:, 0] == tag, 1]
        assert starts.tolist() == list(range(int(length)))


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_memory_of_episodes_is_told_where_they_begin_and_end(make_run, n_step):
    run = make_run(envs=TWO, n_step=n_step, buffer="episodes", methods="none", capacity=100)
    learn_stage(run)
    learn_stage(run)
    (buffer,) = run.memories.buffers
    tags = set()
    for index in buffer.episodes():
        rows = buffer.read(index)
        tag, step, task = rows["state"].T
        length = rows["next_state"][-1, 1]
        tags.add((tag[0], task[0]))
        assert (tag == tag[0]).all() and (task == task[0]).all()
        assert step.tolist() == list(range(int(length)))
        assert rows["done"][-1] or rows["truncated"][-1]
    assert len(tags) == len(buffer.episodes()) > 5
    assert {task for _, task in tags} == {0, 1}


def test_learning_waits_for_a_memory_that_has_nothing_to_draw_yet(make_run):
    """An episode of four environments ends after 40 steps, and a stage of 32 has none."""
    run = make_run(envs="retain/Recall:32,retain/Recall:48", buffer="episodes", learning_starts=8)
    learn_stage(run)
    assert (run.clock.updates, len(run.memories)) == (0, 0)
    learn_stage(run)
    assert (run.clock.updates, len(run.memories)) == (2, 40)


def test_a_task_of_which_nothing_is_held_ends_without_being_measured(make_run):
    """All rewards of the second task are smaller than those that fill the memory."""
    envs = "test/RichTagged:40,test/OtherTagged:40"
    run = make_run(envs=envs, buffer="reward", capacity=20, batch_size=4)
    calls = calls_of(run, "end_task")
    learn_stage(run)
    assert len(calls) == 1
    learn_stage(run)
    assert len(calls) == 1
    assert set(rows_of(run)["task"]) == {0}


@pytest.mark.parametrize(("cut", "steps"), [(True, {1}), (False, {1, 2, 3})])
def test_a_row_ends_before_an_exploratory_action_if_asked_to(make_run, cut, steps):
    """Here every action is one, and episodes last at least two steps."""
    run = make_run(envs=TWO, n_step=3, learning_starts=400, cut_at_exploration=cut)
    learn_stage(run)
    rows = rows_of(run)
    assert set((rows["next_state"] - rows["state"])[:, 1]) == steps


def test_a_row_spans_greedy_actions(make_run):
    run = make_run(envs=TWO, n_step=3, learning_starts=0, epsilon_start=0, epsilon_end=0)
    learn_stage(run)
    rows = rows_of(run)
    over = rows["done"] | rows["truncated"]
    assert set((rows["next_state"] - rows["state"])[~over, 1]) == {3}


def test_a_training_return_is_what_an_episode_paid(make_run):
    run = make_run(envs="retain/Recall:40", learning_starts=40)
    start_task(run)
    learn_task(run, nothing)
    total, count = run.history.pending["train/return/retain/Recall"]
    assert (total, count) == (rows_of(run)["reward"].sum() / 2, 4)  # every row is held twice


def test_episodes_that_a_switch_cuts_off_leave_nothing(make_run):
    run = make_run(envs="retain/Recall:20,retain/RecallShifted:60", learning_starts=100, seeds=2)
    learn_stage(run)
    assert run.episode_return.any()
    start_task(run)
    assert not run.episode_return.any()
    assert not run.agent.state["running_return"].any()
    learn_task(run, nothing)
    assert run.history.pending["train/return/retain/RecallShifted"][1] == 8


def test_unlike_spaces_are_stored_padded(make_run):
    run = make_run(
        envs="CartPole:80,Acrobot:80", buffer="fifo", methods="none", clear_at_switch=False
    )
    learn_stage(run)
    learn_stage(run)
    rows = rows_of(run)
    pole, acrobot = rows["task"] == 0, rows["task"] == 1
    assert rows["state"].shape[1] == 6
    assert not rows["state"][pole, 4:].any()
    assert rows["state"][acrobot, 4:].all()
    assert rows["action"][pole].max() == 1
    assert rows["action"][acrobot].max() == 2


# --- when it learns, and for how long -------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "rounds"),
    [
        ({"train_interval": 4, "learning_starts": 0}, 25),  # after every step of 4 environments
        ({"train_interval": 8, "learning_starts": 30}, 9),  # after 32, 40 ... 96
        ({"train_interval": 6, "learning_starts": 0}, 16),  # wherever a multiple of 6 was passed
        ({"train_interval": 1, "learning_starts": 0}, 100),  # one per step: four at a time
        ({"train_interval": 8, "learning_starts": 101}, 0),
        ({"train_interval": 50, "learning_starts": 100}, 1),
    ],
)
def test_the_number_of_gradient_steps(make_run, changes, rounds):
    run = make_run(envs="retain/Recall:100", gradient_steps=3, **changes)
    learn_stage(run)
    assert run.agent.state["updates"].tolist() == [3 * rounds]
    assert run.clock.updates == 3 * rounds


def test_learning_starts_anew_with_each_task(make_run):
    run = make_run(
        envs="retain/Recall:60,retain/RecallShifted:60", learning_starts=41, train_interval=4
    )
    learn_stage(run)
    learn_stage(run)
    assert run.clock.updates == 2 * 5  # after 44, 48, 52, 56, 60


@pytest.mark.parametrize(("steps", "lasts"), [(8, 8), (9, 12), (10, 12), (1, 4)])
def test_a_stage_ends_with_the_step_of_all_environments_that_completes_it(make_run, steps, lasts):
    run, steps_seen = make_run(envs=f"retain/Recall:{steps}"), []
    learn_stage(run, lambda run: steps_seen.append(run.clock.step))
    assert steps_seen == list(range(4, lasts + 1, 4))
    assert (run.clock.stage, run.clock.step, run.clock.total) == (1, 0, lasts)


@pytest.mark.parametrize("buffer", ["fifo", "hybrid"])
def test_a_stage_too_short_for_a_single_row_is_no_mistake(make_run, buffer):
    run = make_run(envs="retain/Recall:4,retain/RecallShifted:40", n_step=5, buffer=buffer)
    learn_stage(run)
    assert len(run.memories) == 0
    learn_stage(run)
    assert run.clock.stage == 2


def test_learning_waits_until_every_member_has_a_whole_row_of_the_new_task(make_run):
    run = make_run(
        envs="retain/Recall:40,retain/RecallShifted:24", n_step=5, learning_starts=0,
        train_interval=4, gradient_steps=2,
    )  # fmt: skip
    learn_stage(run)
    before = run.clock.updates
    learn_stage(run)
    assert run.clock.updates == before + 2 * 2  # after 20 steps, five of each environment, and 24


# --- schedules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "steps"), [(0.25, 25), (0.0, 0), (1.0, 100)])
def test_exploratory_actions_may_last_in_the_first_part_of_a_task(make_run, fraction, steps):
    run = make_run(lasting_fraction=fraction, learning_starts=400)
    acts = calls_of(run, "act")
    learn_stage(run)
    learn_stage(run)
    lasting = [call[3] for call in acts]
    assert lasting[:100] == lasting[100:] == [True] * steps + [False] * (100 - steps)


@pytest.mark.parametrize("restart", [True, False])
def test_the_agent_acts_and_learns_by_the_schedules(make_run, restart):
    """50 steps of 4 environments in each stage; epsilon falls over half of a task, or of both."""
    run = make_run(
        envs="retain/Recall:200,retain/RecallShifted:200", restart_schedules=restart,
        learning_starts=0, train_interval=4, epsilon_end=0.2, learning_rate_end=2e-3,
    )  # fmt: skip
    acts, updates = calls_of(run, "act"), calls_of(run, "update")
    learn_stage(run)
    learn_stage(run)
    epsilon, rate = [call[2] for call in acts], [call[3] for call in updates]
    assert len(epsilon) == len(rate) == 100
    if restart:
        assert epsilon[:50] == epsilon[50:] and rate[:50] == rate[50:]
        assert epsilon[0] == 1.0
        assert epsilon[5] == pytest.approx(1 - 0.8 * 20 / 100)
        assert epsilon[25] == epsilon[49] == pytest.approx(0.2)
        assert rate[0] == pytest.approx(1e-2 - 8e-3 * 4 / 200)
        assert rate[24] == pytest.approx(6e-3)
        assert rate[49] == pytest.approx(2e-3)
    else:
        assert epsilon[25] == pytest.approx(0.6)
        assert epsilon[50] == epsilon[99] == pytest.approx(0.2)
        assert rate[49] == pytest.approx(6e-3)
        assert rate[99] == pytest.approx(2e-3)


def test_adam_starts_anew_with_a_task_only_if_asked_to(make_run):
    for reset, left in ((True, 0), (False, 6)):
        each = make_run(envs="retain/Recall:80,retain/RecallShifted:80", reset_optimizer=reset)
        learn_stage(each)
        assert each.agent.state["adam_steps"].item() == 6  # after 40, 48 ... 80
        start_task(each)
        assert each.agent.state["adam_steps"].item() == left


# --- evaluation -----------------------------------------------------------------------------------


def test_evaluation_changes_nothing_and_draws_from_no_stream_of_training(make_run, same_bits):
    run = make_run(noisy=True, exploratory_steps=20)
    start_task(run)
    learn_task(run, nothing)
    before = run.state_dict()
    run.evaluator.score_all(run.agent.greedy, 3, (1, 400))
    run.evaluator.random_returns(3)
    same_bits(run.state_dict(), before)


# --- switches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clear", "kept", "later"), [(True, [], [1]), (False, [0], [0, 1])])
def test_recent_rows_of_a_task_that_ended_are_cleared_or_carried_over(make_run, clear, kept, later):
    run = make_run(
        envs="retain/Recall:160,retain/RecallShifted:160",
        buffer="fifo", methods="none", clear_at_switch=clear,
    )  # fmt: skip
    learn_stage(run)
    assert np.unique(rows_of(run)["task"]).tolist() == kept
    learned_from = []
    update = run.agent.update

    def noting(data, *arguments, **named):
        learned_from.append(data["task"].copy())
        return update(data, *arguments, **named)

    run.agent.update = noting
    learn_stage(run)
    assert np.unique(learned_from).tolist() == later


@pytest.mark.parametrize(("share", "old"), [(0.25, 4), (0.5, 8), (0.0, 0)])
def test_every_minibatch_after_a_switch_has_its_share_of_earlier_rows(make_run, share, old):
    envs = "retain/Recall:120,retain/RecallShifted:120"
    run = make_run(envs=envs, memory_share=share, gradient_steps=2)
    learn_stage(run)
    update, counts = run.agent.update, []

    def count(data, *arguments, **named):
        counts.append((data["task"].reshape(2, 16) == 0).sum(1).tolist())
        return update(data, *arguments, **named)

    run.agent.update = count
    learn_stage(run)
    assert len(counts) == 11  # after 40, 48 ... 120
    assert all(count == [old, old] for count in counts)


def test_rows_of_an_ended_task_carry_the_q_values_of_the_switch_and_others_none(make_run):
    """The first task has 4 actions, the second one 2: what a task does not have is no number."""
    run = make_run(envs="retain/Recall:120,retain/RecallSmall:120", seeds=2)
    at_switch = {}
    for stage, task in enumerate((0, 1)):
        learn_stage(run)
        for member in range(2):
            rows = rows_of(run, member)
            own = rows["task"] == task
            q = run.agent.q_of(member, rows["state"][own], task)
            wanted = np.where(np.isfinite(q), q, np.nan)
            assert own.sum() == 40
            assert np.array_equal(rows["q"][own], wanted, equal_nan=True)
            assert np.isfinite(rows["q"][own]).sum() == 40 * (4, 2)[task]
            if stage == 0:
                at_switch[member] = rows["q"][own]
            else:  # those of the first switch, though the network is another one now
                assert np.array_equal(rows["q"][rows["task"] == 0], at_switch[member])
                now = run.agent.q_of(member, rows["state"][rows["task"] == 0], 0)
                assert not np.allclose(now, at_switch[member])


def test_a_row_of_the_running_task_carries_no_q_values(make_run):
    run, recent = make_run(envs="retain/Recall:80,retain/RecallShifted:80,retain/Recall:80"), []
    learn_stage(run)
    learn_stage(run)
    start_task(run)
    learn_task(run, lambda run: recent.append(rows_of(run)["q"][: run.clock.step]))
    assert len(recent[-1]) == 80
    assert np.isnan(recent[-1]).all()


def test_a_task_seen_again_is_the_same_task_with_the_same_scales(make_run):
    run = make_run(envs="retain/Recall:80,retain/RecallShifted:80,retain/Recall:80")
    assert [stage.task for stage in run.sequence.stages] == [0, 1, 0]
    learn_stage(run)
    learn_stage(run)
    names = ("obs_count", "obs_mean", "obs_var", "return_max")
    before = {name: run.agent.state[name].clone() for name in names}
    learn_stage(run)
    assert all(run.agent.state[name].equal(value) for name, value in before.items())
    assert set(rows_of(run)["task"].tolist()) == {0, 1}


@pytest.mark.parametrize(("fraction", "rows"), [(0.5, 40), (1.0, 80), (0.0, 0), (0.13, 12)])
def test_observation_statistics_move_in_the_first_part_of_a_first_visit(make_run, fraction, rows):
    run = make_run(envs="retain/Recall:80,retain/RecallShifted:80", adapt_fraction=fraction)
    learn_stage(run)
    assert run.agent.state["obs_count"].tolist() == [pytest.approx([rows, 0], abs=1e-3)]
