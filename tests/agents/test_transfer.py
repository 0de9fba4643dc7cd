"""Tensors of arrays show what the arrays held when they were sent, however these lie in memory."""

import numpy as np
import pytest
import torch

from agents.transfer import Transfer, transfer
from buffers import Column, ReplayBuffer

CPU = torch.device("cpu")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    return torch.device(request.param)


def shows(sender, arrays):
    """Whether the tensors are the arrays, in shape, type and value."""
    for name, array in arrays.items():
        found = sender.tensors[name].cpu().numpy()
        if found.dtype != array.dtype or not np.array_equal(found, array):
            return False
    return sender.tensors.keys() == arrays.keys()


def batch(members: int = 3, n: int = 5) -> dict[str, np.ndarray]:
    """Columns of packed rows, and one by itself."""
    row = np.dtype([("state", np.float32, (2,)), ("action", np.int64), ("done", bool)], align=True)
    raw = np.empty((members, n), f"V{row.itemsize}")
    arrays = {name: raw.getfield(*row.fields[name][:2]) for name in row.names}
    return arrays | {"weight": np.empty((members, n), np.float32)}


def rewrite(arrays: dict[str, np.ndarray], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for array in arrays.values():
        array[...] = rng.integers(2, size=array.shape)


def test_what_is_sent_is_what_the_arrays_hold_then(device):
    arrays = batch()
    sender = Transfer(arrays, device)
    tensors = dict(sender.tensors)
    for seed in range(3):
        rewrite(arrays, seed)
        sender.send()
        assert shows(sender, arrays)
        held = {name: array.copy() for name, array in arrays.items()}
        rewrite(arrays, seed + 100)
        assert shows(sender, held) and not shows(sender, arrays)
    assert all(sender.tensors[name] is tensor for name, tensor in tensors.items())


def test_columns_of_packed_rows_are_sent_by_one_copy():
    sender = Transfer(batch(), CPU)
    assert len({tensor.untyped_storage().data_ptr() for tensor in sender.tensors.values()}) == 2


def test_of_a_large_array_only_the_part_that_is_asked_for_is_sent(device):
    large = np.arange(1_000, dtype=np.float32)
    arrays = {"few": large[10:14], "apart": large[20:30:2], "turned": large[50:56].reshape(2, 3).T}
    sender = Transfer(arrays, device)
    sender.send()
    assert shows(sender, arrays)
    sizes = [tensor.untyped_storage().nbytes() for tensor in sender.tensors.values()]
    assert max(sizes) <= 24
    large += 1
    sender.send()
    assert shows(sender, arrays)


@pytest.mark.parametrize("first", range(4))
def test_numbers_that_begin_anywhere_in_some_bytes_arrive(device, first):
    whole = np.arange(11, dtype=np.uint8)
    arrays = {"x": whole[first : first + 4].view(np.float32), "y": whole[4:]}
    sender = Transfer(arrays, device)
    sender.send()
    assert shows(sender, arrays)


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3, 5)])
def test_every_type_and_odd_sizes_arrive(device, dtype, shape):
    arrays = {"x": np.arange(np.prod(shape)).reshape(shape).astype(dtype)}
    sender = Transfer(arrays, device)
    sender.send()
    assert shows(sender, arrays)


def test_a_sample_of_a_memory_arrives_whole(device):
    memory = ReplayBuffer(50, state=Column((3,)), seed=0)
    rng = np.random.default_rng(0)
    state = rng.normal(size=(50, 3)).astype(np.float32)
    columns = {"action": rng.integers(9, size=50), "reward": state[:, 0], "done": state[:, 1] > 0}
    memory.add({"state": state, "next_state": state + 1, **columns})
    room = memory.batch(20)
    arrays = dict(room.items())
    sender = Transfer(arrays, device)
    for _ in range(3):
        memory.sample(20, out=room)
        sender.send()
        assert shows(sender, arrays)


def test_on_the_cpu_tensors_share_the_arrays_memory():
    arrays = batch()
    sender = transfer(arrays, CPU)
    rewrite(arrays, 1)
    assert shows(sender, arrays)
    assert isinstance(transfer(arrays, torch.device("meta")), Transfer)
