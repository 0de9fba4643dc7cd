"""How good the members are at every task: greedy episodes in environments of their own."""

from collections.abc import Callable

import numpy as np

from envs import Episodes, NonFiniteData, SharedSpace, TaskSequence, make_episodes
from experiments.seeding import Use, episode_seed, stream

LONGEST_EPISODE = 10_000  # steps; environments need not end
Policy = Callable[[np.ndarray, int], np.ndarray]
"""`policy(obs [members, episodes, *shape], task) -> action [members, episodes]`."""


class Evaluator:
    """Plays episodes of any task of a sequence; training neither sees nor pays for them.

    Args:
        sequence: The tasks.
        space: Their shared space.
        seeds: One seed per member.
        native: Step native environments where there are such; the scores are the same.
    """

    def __init__(
        self, sequence: TaskSequence, space: SharedSpace, seeds: list[int], native: bool = True
    ) -> None:
        self._sequence, self._space, self._seeds = sequence, space, seeds
        self._native = native
        self._episodes: dict[int, Episodes] = {}

    def score_all(self, policy: Policy, episodes: int, path: tuple[int, ...]) -> np.ndarray:
        """Mean return of each member at each task, `[members, tasks]`.

        Args:
            policy: The members' choice of actions.
            episodes: Episodes of each member at each task.
            path: Tells this evaluation from all others, so that its episodes are its own.
        """
        tasks = range(len(self._sequence.tasks))
        scores = [self.returns(policy, task, episodes, path).mean(1) for task in tasks]
        return np.stack(scores, axis=1)

    def returns(
        self, policy: Policy, task: int, episodes: int, path: tuple[int, ...]
    ) -> np.ndarray:
        """Undiscounted return of every episode, `[members, episodes]`.

        Raises:
            NonFiniteData: The task gave an observation or a reward that is NaN or infinite.
        """
        members = len(self._seeds)
        envs, count = self._open(task), members * episodes
        obs = envs.reset([self._seed(number, task, episodes, path) for number in range(count)])
        total, active = np.zeros(count), np.ones(count, bool)
        for _ in range(LONGEST_EPISODE):
            if not active.any():
                break
            action = policy(obs.reshape(members, episodes, *obs.shape[1:]), task).reshape(-1)
            obs, reward, ended = envs.step(action, active)
            total += np.where(active, reward, 0.0)
            active &= ~ended
            if not (np.isfinite(obs).all() and np.isfinite(total).all()):
                name = self._sequence.names[task]
                raise NonFiniteData(f"{name} gave NaN or infinity in evaluation")
        return total.reshape(members, episodes)

    def random_returns(self, episodes: int) -> list[float]:
        """Mean return of uniformly random actions at each task: 0 on the common scale."""
        # The same for all runs and members.
        alone = Evaluator(self._sequence, self._space, [0], self._native)
        rng = stream(0, Use.RANDOM_POLICY)
        counts = self._space.valid.sum(1)

        def policy(obs: np.ndarray, task: int) -> np.ndarray:
            return rng.integers(counts[task], size=obs.shape[:2])

        tasks = range(len(self._sequence.tasks))
        scores = [float(alone.returns(policy, task, episodes, (0,)).mean()) for task in tasks]
        alone.close()
        return scores

    def close(self) -> None:
        """Closes all environments."""
        for envs in self._episodes.values():
            envs.close()

    def _open(self, task: int) -> Episodes:
        if task not in self._episodes:
            one = self._sequence.tasks[task]
            self._episodes[task] = make_episodes(one, self._space, task, self._native)
        return self._episodes[task]

    def _seed(self, number: int, task: int, episodes: int, path: tuple[int, ...]) -> int:
        member, episode = divmod(number, episodes)
        return episode_seed(self._seeds[member], Use.EVALUATION, task, *path, episode)
