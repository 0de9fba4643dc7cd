"""The members' memories are drawn together: each draws what it would draw alone."""

from functools import partial

import numpy as np
import pytest

from buffers import BUFFERS, Column, ReplayBuffer
from buffers.columns import needs_of
from buffers.episodes import episode_marks
from experiments.memories import Memories


class Odd(ReplayBuffer):
    """Draws odd slots only, and weighs them by their number."""

    def _draw(self, n):
        return super()._draw(n) | 1

    def _weigh(self, slots):
        return slots.astype(np.float32)


class Weightless(ReplayBuffer):
    """Says of each sample that it weighs nothing."""

    def sample(self, n, out=None):
        sample = super().sample(n, out)
        return sample._replace(weight=0 * sample.weight)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    "kinds",
    [[kind] for kind in BUFFERS.values()] + [[Odd], [Weightless], [ReplayBuffer, Odd, Weightless]],
    ids=lambda kinds: "-".join(getattr(kind, "__name__", "k_center") for kind in kinds),
)
def test_a_member_draws_what_it_would_draw_alone(kinds, members, same_bits):
    """Also where members are of several kinds, or a kind has its own ideas of a sample."""
    extra = {"extra": needs_of(*kinds)}
    makes = [
        partial(kinds[k % len(kinds)], 30, state=Column((2,)), seed=k, **extra)
        for k in range(members)
    ]
    memories, alone = Memories([make() for make in makes], num_envs=4), [make() for make in makes]
    rng, env = np.random.default_rng(0), np.arange(4 * members)
    for step in range(60):
        rows = {
            "state": rng.normal(size=(len(env), 2)).astype(np.float32),
            "action": rng.integers(5, size=len(env)),
            "reward": rng.normal(size=len(env)).astype(np.float32),
            "next_state": np.zeros((len(env), 2), np.float32),
            "done": rng.random(len(env)) < 0.2,
            "task": np.full(len(env), step // 20, np.int32),
        }
        rows |= episode_marks(rows["done"], memories.columns)
        memories.add(rows, env)
        for member, buffer in enumerate(alone):
            buffer.add({name: column[env // 4 == member] for name, column in rows.items()})
        if step % 20 == 19:
            memories.end_task()
            [buffer.end_task() for buffer in alone]
        if not memories.drawable:
            continue
        n = 9 if step % 7 else 4
        sample, errors = memories.sample(n), rng.normal(size=(members, n))
        for member, buffer in enumerate(alone):
            data, index, weight = buffer.sample(n)
            same_bits({k: v[member] for k, v in sample.data.items()}, data)
            same_bits(
                {"i": sample.index[member], "w": sample.weight[member]}, {"i": index, "w": weight}
            )
            buffer.feedback(index, errors[member])
        memories.feedback(sample.index, errors)
    assert memories.drawable
    for buffer, other in zip(memories.buffers, alone, strict=True):
        same_bits(buffer.state_dict(), other.state_dict())


def test_a_population_of_which_a_member_has_no_row_cannot_be_sampled():
    memories = Memories([ReplayBuffer(9, state=Column((2,))) for _ in range(2)], num_envs=1)
    zero = {k: np.zeros((1, *c.shape), c.dtype) for k, c in memories.columns.items()}
    memories.add(zero, np.zeros(1, int))
    with pytest.raises(ValueError, match="empty buffer"):
        memories.sample(3)
