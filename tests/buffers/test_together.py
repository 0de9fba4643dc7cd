"""Several buffers drawn at once: what each would draw alone."""

import copy
import pickle

import numpy as np
import pytest

from buffers import Column, MixtureBuffer, ReplayBuffer
from buffers.nested import flat
from buffers.together import Together

NESTED = {"image": Column((2,), np.uint8), "speed": Column()}


def filled(rows, state, seed=0):
    buffer = ReplayBuffer(9, state=state, seed=seed)
    data = {name: np.zeros((rows, *c.shape), c.dtype) for name, c in buffer.columns.items()}
    data["reward"] = 100 * seed + np.arange(rows, dtype=np.float32)
    buffer._insert(data)
    return buffer


@pytest.mark.parametrize("state", [Column((2,)), NESTED], ids=["vectors", "dicts"])
def test_buffers_of_unlike_length_draw_what_each_would_alone(state):
    together = Together([filled(rows, state, rows) for rows in (3, 7)], 5)
    alone = [filled(rows, state, rows) for rows in (3, 7)]
    for _ in range(4):
        sample = together.draw()
        for k, buffer in enumerate(alone):
            data, index, weight = buffer.sample(5)
            assert (sample.index[k].tolist(), sample.weight[k].tolist()) == (
                index.tolist(),
                weight.tolist(),
            )
            assert flat(sample.data).keys() == flat(data).keys()
            for name, column in flat(data).items():
                assert flat(sample.data)[name][k].tolist() == column.tolist(), name


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_draws_on_as_the_original_does(copied):
    together = Together([filled(6, Column((2,)), seed) for seed in (1, 2)], 4)
    together.draw()
    other = copied(together)
    for _ in range(3):
        mine, its = together.draw(), other.draw()
        assert mine.index.tolist() == its.index.tolist()
        assert mine.data["reward"].tolist() == its.data["reward"].tolist()


class Noting(ReplayBuffer):
    """Keeps which rows were weighed."""

    def _weigh(self, slots):
        self.weighed = slots
        return super()._weigh(slots)


@pytest.mark.parametrize("mixed", [False, True])
def test_slots_that_a_kind_keeps_stay_as_they_were(mixed):
    kinds = [Noting(9, state=Column((2,)), seed=seed) for seed in (0, 1)]
    zero = {name: np.zeros((9, *c.shape), c.dtype) for name, c in kinds[0].columns.items()}
    for buffer in kinds:
        buffer.add(zero)
    parts = {"a": kinds[0], "b": kinds[1]}
    drawn = [MixtureBuffer(parts, {"a": 1, "b": 1})] if mixed else kinds
    index = Together(drawn, 8).draw().index
    for number, buffer in enumerate(kinds):
        own = index[0][index[0] % 2 == number] // 2 if mixed else index[number]
        assert buffer.weighed.tolist() == own.tolist()
