"""A memory inside TorchRL: a Writer that keeps what the memory keeps, a Sampler that draws from it.

memory = ReservoirBuffer(10_000, state=NOTHING, action=NOTHING, extra=SLOT)
writer = MemoryWriter(memory)
rb = TensorDictReplayBuffer(
    storage=LazyTensorStorage(11_000), writer=writer, sampler=MemorySampler(writer), batch_size=64
)

TorchRL's storage holds the data; the memory holds what its rule looks at and, in the column `slot`,
where in the storage each row is. A row that a memory holds twice, as `HybridBuffer` does, is stored
once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from buffers.adapters.missing import how_to_install
from buffers.adapters.slots import NOTHING, SLOT, SlotMap
from buffers.columns import REQUIRED, Memory

try:
    import torch
    from tensordict import TensorDictBase
    from torchrl.data.replay_buffers.samplers import Sampler
    from torchrl.data.replay_buffers.storages import Storage, TensorStorage
    from torchrl.data.replay_buffers.writers import Writer
except ImportError as error:
    raise how_to_install(error, "retain-rl[torchrl]") from None

__all__ = ["KEYS", "NOTHING", "SLOT", "MemorySampler", "MemoryWriter"]

NestedKey = str | tuple[str, ...]

# Where TorchRL's Episode Data format has our columns. Others are looked up by their own name.
KEYS: dict[str, NestedKey] = {
    "state": "observation",
    "action": "action",
    "reward": ("next", "reward"),
    "next_state": ("next", "observation"),
    "done": ("next", "terminated"),
    "truncated": ("next", "truncated"),
}


class MemoryWriter(Writer):
    """Writes into the storage what the memory keeps, and returns -1 for the rows that it drops.

    The data are TensorDicts. The storage is a TensorStorage, such as LazyTensorStorage or
    LazyMemmapStorage, of one dimension, with more slots than the memory has rows: see `SlotMap`.
    `len` of the replay buffer counts the slots ever used, `len(memory)` the rows kept.

    Args:
        memory: any memory with the column `slot`.
        keys: where in the data a column is, for those that are not where `KEYS` says. A column in a
            dict is named by its path: `{"state.pixels": "pixels", "next_state.pixels": ("next",
            "pixels")}`. Images stay in TorchRL's storage, which stores no frame only once.
    """

    def __init__(self, memory: Memory, keys: Mapping[str, NestedKey] | None = None) -> None:
        super().__init__()
        self.memory = memory
        self.slots: SlotMap | None = None  # known with the storage
        self._keys = KEYS | dict(keys or {})
        self._write_count = 0  # TorchRL shows it as the buffer's `write_count`

    def register_storage(self, storage: Storage) -> None:
        """Use this storage from now on.

        Raises:
            ValueError: it is of another kind than described above, or too small.
        """
        if not isinstance(storage, TensorStorage) or storage.ndim != 1:
            given = f"{type(storage).__name__} of {storage.ndim}"
            raise ValueError(f"storage: expected a TensorStorage of 1 dimension, given {given}")
        super().register_storage(storage)
        self.slots = SlotMap(self.memory, storage.max_size)

    def add(self, data: TensorDictBase) -> int | None:
        """Offer one row to the memory; return its slot, None if it was dropped or waits."""
        slot = int(self.extend(data.unsqueeze(0))[0])
        return None if slot < 0 else slot

    def extend(self, data: TensorDictBase) -> torch.Tensor:
        """Offer a batch of rows to the memory.

        Returns:
            The slot of each row, int64 [n]; -1 where it was dropped, a later row took its place, or
            it waits for the end of its episode.

        Raises:
            ValueError: as of `SlotMap.add`.
        """
        data = data.exclude("index")  # in another buffer

        def write(slots: np.ndarray, which: np.ndarray) -> None:
            self._write(torch.from_numpy(slots), data[torch.from_numpy(which)])

        return torch.from_numpy(self._slots().add(self._rows(data), write))

    def _rows(self, data: TensorDictBase) -> dict[str, np.ndarray]:
        """The columns of the memory that the data have."""
        rows: dict[str, np.ndarray] = {}
        for name, column in self.memory.columns.items():
            shape = (len(data), *column.shape)
            values = data.get(self._keys.get(name, name), None)
            if 0 in column.shape:
                rows[name] = np.zeros(shape, column.dtype)
            elif values is not None:
                rows[name] = _reshaped(name, values.detach().cpu().numpy(), shape)
            elif name in REQUIRED:
                raise ValueError(f"column {name!r} is missing: no key {self._keys[name]!r}")
        return rows

    def _write(self, slots: torch.Tensor, data: TensorDictBase) -> None:
        self._write_count += len(slots)
        used = max(len(self._storage), int(slots.max()) + 1)
        self._storage.set(slots, data)
        self._storage._len = used  # by its own count every write is of a new slot
        for entity in self._storage._attached_entities_iter():
            entity.mark_update(slots)

    def _slots(self) -> SlotMap:
        if self.slots is None:
            raise ValueError("the writer has no storage; give it to a replay buffer first")
        return self.slots

    def _empty(self, empty_write_count: bool = True) -> None:
        self._slots().clear()
        self._write_count = 0 if empty_write_count else self._write_count

    def state_dict(self) -> dict[str, Any]:
        """Copy the memory's state and the use of the slots, as a flat dict."""
        return {"write_count": self._write_count} | self._slots().state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Become the saved writer; errors as of `SlotMap.load_state_dict`."""
        slots = {name: value for name, value in state_dict.items() if name != "write_count"}
        self._slots().load_state_dict(slots)
        self._write_count = state_dict["write_count"]

    def dumps(self, path: str | Path) -> None:
        """Write the state into the folder `path`: arrays as npz, the rest as JSON."""
        state, folder = self.state_dict(), Path(path)
        folder.mkdir(exist_ok=True)
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
        rest = {name: value for name, value in state.items() if name not in arrays}
        (folder / "state.json").write_text(json.dumps(rest))

    def loads(self, path: str | Path) -> None:
        """Become what `dumps` wrote."""
        rest = json.loads((Path(path) / "state.json").read_text())
        with np.load(Path(path) / "arrays.npz") as arrays:
            self.load_state_dict(rest | dict(arrays))


class MemorySampler(Sampler):
    """Draws what the memory of a writer draws, with its weights as `priority_weight`.

    The memory draws from its own random generator; that of the replay buffer is not used. TorchRL's
    `update_tensordict_priority` serves its own samplers only: call `update_priority`.

    Args:
        writer: the replay buffer's writer, which also saves the memory's state.
    """

    def __init__(self, writer: MemoryWriter) -> None:
        self._writer = writer

    def sample(self, storage: Storage, batch_size: int) -> tuple[torch.Tensor, dict[str, Any]]:
        """Draw slots of the storage. Raises ValueError where the memory has no row to draw."""
        slots, weight = self._writer._slots().sample(batch_size)
        return torch.from_numpy(slots), {"priority_weight": torch.from_numpy(weight)}

    def update_priority(
        self,
        index: int | torch.Tensor,
        priority: float | torch.Tensor,
        *,
        storage: Storage | None = None,
    ) -> None:
        """Tell the memory how wrong the learner was on the rows in these slots.

        Args:
            index: slots [n]; -1, and slots whose row the memory has given up, are left out.
            priority: TD errors [n] or [n, 1]. What becomes of them, the memory decides.
            storage: not used.
        """
        slots = torch.as_tensor(index).reshape(-1).cpu().numpy()
        td_error = torch.as_tensor(priority).detach().reshape(-1).cpu().numpy()
        self._writer._slots().feedback(slots, np.broadcast_to(td_error, slots.shape))

    def _sampleable_count(self, storage: Storage, batch_size: int) -> int:
        return self._writer.memory.drawable

    def _empty(self) -> None:
        """The writer empties the memory."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the writer saves the memory."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Do nothing: the writer loads the memory."""

    def dumps(self, path: str | Path) -> None:
        """Do nothing: the writer saves the memory."""

    def loads(self, path: str | Path) -> None:
        """Do nothing: the writer loads the memory."""


def _reshaped(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """TorchRL's rewards and flags are [n, 1]."""
    if values.size != np.prod(shape):
        raise ValueError(f"column {name!r}: expected {[*shape]}, given {[*values.shape]}")
    return values.reshape(shape)
