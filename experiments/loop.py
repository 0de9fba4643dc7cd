"""The loop that joins environments, memory and agent: one screen."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np

from buffers import Sample
from buffers.episodes import EPISODE_MARKS, episode_marks
from buffers.views import worth
from experiments import schedules
from experiments.interference import is_due, watched
from experiments.run import Run

AfterStep = Callable[[Run], None]
NOT_WATCHED = nullcontext()
END_OF_TASK_ROWS = 1_024  # what methods that measure a task at its end are given of it


def learn_task(run: Run, after_step: AfterStep) -> None:
    """Trains every member on the task of the current stage, from wherever the stage is.

    Args:
        run: The run; its clock, parts and history are moved on.
        after_step: Called after every step of the environments: logs, evaluates, saves.

    Raises:
        NonFiniteData: An environment gave NaN or infinity; none of that step is stored.
        NonFiniteLoss: The agent is then as before that round of gradient steps.
    """
    config, agent, memories, clock = run.config, run.agent, run.memories, run.clock
    task, envs = run.stage.task, run.envs
    assert envs is not None
    scales_move = run.scales_move and (config.normalize_observations or config.scale_rewards)
    marks = memories.columns.keys() & EPISODE_MARKS
    seen, tasks = run.per_member(envs.obs), np.full(len(envs.obs), task, np.int32)
    while clock.step < run.stage.steps:
        obs = envs.obs
        run.chosen = run.chosen or choose(run, seen)
        action, exploring = run.chosen
        clock.mark("acting")
        next_obs, reward, terminated, truncated = envs.step(action)
        run.chosen = None
        clock.mark("stepping")
        ended = terminated | truncated
        if scales_move:
            adapt = clock.step < config.adapt_fraction * run.stage.steps
            agent.observe(seen, run.per_member(reward), run.per_member(ended), task, adapt)
        row = transition(obs, action, reward, next_obs, terminated, truncated, tasks)
        if marks:
            row |= episode_marks(ended, marks)
        cut = exploring if config.cut_at_exploration else None
        memories.add(*run.nstep.push(row, cut=cut))
        count_step(run, reward, ended)
        clock.mark("storing")
        seen = run.per_member(envs.obs)
        if steps := updates_due(run):
            sample = memories.sample(steps * config.batch_size)
            clock.mark("sampling")
            learn(run, sample, steps, then=(seen, task))
            clock.mark("learning")
        after_step(run)


def choose(run: Run, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next action of every environment, and whether it is exploratory."""
    lasting = run.fraction < run.config.lasting_fraction
    action = run.agent.act(seen, run.stage.task, schedules.epsilon(run), lasting)
    return action.reshape(-1), run.agent.exploration.exploring.reshape(-1)


def learn(run: Run, sample: Sample, steps: int, then: tuple[np.ndarray, int]) -> None:
    """Takes gradient steps on a sample; the memory hears how wrong the agent was on its rows."""
    rate = schedules.learning_rate(run)
    with watched(run) if is_due(run) else NOT_WATCHED:
        td_error, info = run.agent.update(sample.data, sample.weight, steps, rate, then=then)
    run.memories.feedback(sample.index, td_error)
    run.clock.updates += steps
    run.history.note_update(info)
    note_sample(run, sample)


def count_step(run: Run, reward: np.ndarray, ended: np.ndarray) -> None:
    """Counts a step of all environments, and what it paid."""
    run.clock.step += run.config.num_envs
    run.episode_return = run.episode_return + reward  # adding in place takes twice as long
    if any(ended.tolist()):
        end_episodes(run, ended)


def start_task(run: Run) -> None:
    """Opens the stage's environments; nothing of the last task's running episodes is left."""
    run.envs = run.open_envs()
    run.nstep.reset()
    run.episode_return[:] = 0
    run.history.acted = {}
    anew = run.config.reset_optimizer and run.clock.stage > 0
    run.agent.start_task(run.stage.task, reset_optimizer=anew)


def end_task(run: Run) -> None:
    """Lets memory and agent take in the task, and moves the clock to the next stage."""
    task = run.stage.task
    if rows_are_there(run) and run.memories.hold(task):
        run.agent.end_task(run.memories.spread(task, END_OF_TASK_ROWS))
    run.memories.end_task()
    if run.agent.needs_q:
        run.memories.label(task, lambda member, obs: run.agent.q_of(member, obs, task))
    assert run.envs is not None
    run.envs.close()
    run.envs = None
    run.clock.before += run.clock.step
    run.clock.stage += 1
    run.clock.step = 0


def updates_due(run: Run) -> int:
    """How many gradient steps follow this step of the environments."""
    step, every = run.clock.step, run.config.train_interval
    if step < run.config.learning_starts or not rows_are_there(run):
        return 0
    rounds = step // every - (step - run.config.num_envs) // every
    return rounds * run.config.gradient_steps if rounds and run.memories.drawable else 0


def rows_are_there(run: Run) -> bool:
    """Whether the stage has lasted for a whole n-step row, so that every memory was offered one.

    Asking the memories would make a member wait for the slowest of the others.
    """
    return run.clock.step >= run.config.n_step * run.config.num_envs


def transition(
    obs: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    next_obs: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    task: np.ndarray,
) -> dict[str, np.ndarray]:
    """One step of all environments under the memory's names."""
    return {
        "state": obs,
        "action": action,
        "reward": reward,
        "next_state": next_obs,
        "done": terminated,
        "truncated": truncated,
        "task": task,
    }


def end_episodes(run: Run, ended: np.ndarray) -> None:
    """Notes the training returns of episodes that ended, and lets the agent know."""
    run.history.note(f"train/return/{run.task_name}", run.episode_return[ended])
    run.episode_return[ended] = 0
    run.agent.end_episodes(run.per_member(ended))


def note_sample(run: Run, sample: Sample) -> None:
    """Notes what the first member's rows of the first round after a log are worth."""
    if "memory/duplicates" in run.history.pending:
        return
    for name, value in worth(sample.index[0], sample.weight[0]).items():
        run.history.note(f"memory/{name}", np.array(value))
