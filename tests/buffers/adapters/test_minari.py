"""Memories and Minari's data sets, through Minari's own files."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from buffers import BUFFERS, Column, EpisodeReservoir, ReplayBuffer, ReservoirBuffer

minari = pytest.importorskip("minari", reason="it is missing: pip install 'retain-rl[minari]'")
pytest.importorskip("h5py", reason="Minari's files need it: pip install 'retain-rl[minari]'")
from minari.data_collector import EpisodeBuffer

from buffers.adapters.minari import add_dataset, save_episodes, save_rows

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")

SPACES = {"observation_space": Box(-np.inf, np.inf, (2,)), "action_space": Discrete(1000)}
EXTRA = {"q": Column((3,), fill=-1), "episode": Column((), np.int64)}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def chain(lengths, first=0, terminated=True):
    """Episodes of these lengths; all rows' states differ; a row of an episode ends in the next."""
    i = np.arange(first, first + sum(lengths), dtype=np.float32)
    number = np.repeat(np.arange(len(lengths)), lengths)
    last = np.append(number[1:] != number[:-1], True)
    return {
        "state": np.stack([i, i / 7], 1),
        "action": i.astype(np.int64),
        "reward": i / 3,
        "next_state": np.stack([i + 1, (i + 1) / 7], 1),
        "done": last & terminated,
        "truncated": last & (not terminated or number % 2 == 0),
        "task": (number % 3).astype(np.int32),
        "q": np.stack([i, -i, i * i], 1) / 11,
        "episode": number,
    }


def same(a, b):
    assert a.keys() == b.keys()
    for name, values in a.items():
        assert values.dtype == b[name].dtype, name
        assert values.tobytes() == b[name].tobytes(), name


@pytest.mark.parametrize("kind", BUFFERS)
def test_rows_of_any_memory_come_back_bit_for_bit(kind):
    memory = BUFFERS[kind](12, state=Column((2,)), extra=EXTRA, seed=0)
    memory.add(chain([4, 7, 1, 9, 5]))
    rows = memory.read(memory.rows())
    save_rows("retain/rows-v0", rows, **SPACES)
    dataset = minari.load_dataset("retain/rows-v0")
    assert dataset.total_episodes == dataset.total_steps == len(rows["done"])
    assert all(len(e) == 1 and (e.terminations | e.truncations).all() for e in dataset)
    back = ReplayBuffer(100, state=Column((2,)), extra=EXTRA)
    assert add_dataset(back, dataset) == len(rows["done"])
    same(back.read(back.rows()), rows)


@pytest.mark.parametrize("terminated", [True, False])
def test_whole_episodes_come_back_bit_for_bit(terminated):
    rows = chain([4, 1, 6], terminated=terminated)
    rows["truncated"][-1] = False  # goes on, where it did not terminate
    save_episodes("retain/episodes-v0", rows, **SPACES)
    dataset = minari.load_dataset("retain/episodes-v0")
    assert [len(e) for e in dataset] == [4, 1, 6]
    assert [len(e.observations) for e in dataset] == [5, 2, 7]
    assert all((e.terminations | e.truncations)[-1] for e in dataset)
    back = ReplayBuffer(100, state=Column((2,)), extra=EXTRA)
    add_dataset(back, dataset)
    same(back.read(back.rows()), rows)


def test_episodes_end_where_they_did_in_a_memory_that_is_told_of_it():
    def make(kind):
        return kind(20, state=Column((2,)), extra=EXTRA | {"last": Column((), np.bool_)})

    original = make(EpisodeReservoir)
    original.add(chain([4, 1, 6]))
    rows = original.read(np.concatenate(original.episodes()))
    save_episodes("retain/one-v0", rows, **SPACES)
    del rows["last"]  # as in a data set of others
    save_episodes("retain/other-v0", rows, **SPACES)
    for name in ("one", "other"):
        back = make(EpisodeReservoir)
        add_dataset(back, minari.load_dataset(f"retain/{name}-v0"))
        assert sorted(map(len, back.episodes())) == [1, 4, 6]
        flat = make(ReplayBuffer)
        add_dataset(flat, minari.load_dataset(f"retain/{name}-v0"))
        assert np.flatnonzero(flat.read(flat.rows())["last"]).tolist() == [3, 4, 10]


@pytest.mark.parametrize("terminated", [True, False])
def test_episodes_that_ran_side_by_side_are_told_apart(terminated):
    """Two environments in turn, whose numbers are used again after an end."""
    one, two = chain([3, 2], terminated=terminated), chain([5], first=50)
    together = {name: np.stack([one[name], two[name]], 1).reshape(-1, *one[name].shape[1:])
                for name in one}  # fmt: skip
    together["episode"] = np.tile([0, 1], 5)
    save_episodes("retain/vector-v0", together, **SPACES)
    firsts = [e.observations[:, 0].tolist() for e in minari.load_dataset("retain/vector-v0")]
    assert firsts == [[0, 1, 2, 3], [50, 51, 52, 53, 54, 55], [3, 4, 5]]


def test_images_are_not_changed():
    pixels = np.random.default_rng(0).integers(256, size=(4, 32, 40, 3), dtype=np.uint8)
    zeros = np.zeros(3, int)
    rows = {"state": pixels[:3], "next_state": pixels[1:], "action": zeros, "reward": zeros,
            "done": zeros > 0, "episode": zeros}  # fmt: skip
    space = Box(0, 255, pixels.shape[1:], np.uint8)
    save_episodes("retain/images-v0", rows, observation_space=space, action_space=Discrete(3))
    memory = ReplayBuffer(9, state=Column(pixels.shape[1:], np.uint8))
    add_dataset(memory, minari.load_dataset("retain/images-v0"))
    back = memory.read([0, 1, 2])
    assert np.array_equal(back["state"], pixels[:3])
    assert np.array_equal(back["next_state"], pixels[1:])


def foreign(**changes):
    """An episode as others record it: infos of the reset come first, rewards are float64."""
    episode = {
        "observations": np.arange(8, dtype=np.float32).reshape(4, 2),
        "actions": np.array([5, 6, 7]),
        "rewards": np.array([0.5, 1.0, 1.5]),
        "terminations": np.array([False, False, False]),
        "truncations": np.array([False, False, True]),
        "infos": {"q": np.arange(12.0).reshape(4, 3), "speed": np.zeros(4)},
    }
    minari.create_dataset_from_buffers(
        "retain/foreign-v0", buffer=[EpisodeBuffer(**episode | changes)], **SPACES
    )
    return minari.load_dataset("retain/foreign-v0")


def test_a_foreign_data_set_fills_the_columns_that_the_memory_has():
    memory = ReservoirBuffer(9, state=Column((2,)), extra=EXTRA)
    add_dataset(memory, foreign(), task=4)
    rows = memory.read([0, 1, 2])
    assert rows["state"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert rows["next_state"].tolist() == [[2, 3], [4, 5], [6, 7]]
    assert rows["q"].tolist() == [[3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert rows["done"].tolist() == [False, False, False]
    assert rows["truncated"].tolist() == [False, False, True]
    assert rows["task"].tolist() == [4, 4, 4]


def test_a_data_set_can_be_of_an_environment_that_it_then_gives_back():
    zeros = np.zeros((1, 4), np.float32)
    rows = {"state": zeros, "next_state": zeros, "action": [0], "reward": [1.0], "done": [False]}
    dataset = save_rows("retain/cartpole-v0", rows, env="CartPole-v1", description="one row")
    assert isinstance(dataset.recover_environment(), gym.Env)


def dicts(rows):
    """The same rows, whose states are dicts of an image and a number."""

    def two(state):
        return {"image": np.repeat(state[:, :1, None], 4, 1).astype(np.uint8), "speed": state}

    return rows | {name: two(rows[name]) for name in ("state", "next_state")}


@pytest.mark.parametrize("save", [save_rows, save_episodes])
def test_states_that_are_dicts_come_back_bit_for_bit(save):
    image = Column((4, 1), np.uint8, frames=2)
    columns = {"state": {"image": image, "speed": Column((2,))}, "extra": EXTRA}
    memory, back = ReplayBuffer(50, **columns), ReplayBuffer(50, **columns)
    memory.add(dicts(chain([4, 3])))
    rows = memory.read(memory.rows())
    spaces = {"image": Box(0, 255, (4, 1), np.uint8), "speed": SPACES["observation_space"]}
    save("retain/dicts-v0", rows, **SPACES | {"observation_space": Dict(spaces)})
    assert add_dataset(back, minari.load_dataset("retain/dicts-v0")) == 7
    again = back.read(back.rows())
    for name in ("state", "next_state"):
        same(again.pop(name), rows.pop(name))
    if save is save_rows:
        same(again, rows)


def test_what_does_not_fit_is_refused():
    rows = chain([4, 3])
    gap = {name: np.delete(values, 2, axis=0) for name, values in rows.items()}
    with pytest.raises(ValueError, match="episode 0: a row does not begin where"):
        save_episodes("retain/gap-v0", gap, **SPACES)
    with pytest.raises(ValueError, match="'episode' is missing"):
        save_episodes("retain/none-v0", {k: v for k, v in rows.items() if k != "episode"}, **SPACES)
    with pytest.raises(ValueError, match="'reward': expected 7 rows, given 6"):
        save_rows("retain/none-v0", rows | {"reward": rows["reward"][1:]}, **SPACES)
    for save in (save_rows, save_episodes):
        with pytest.raises(ValueError, match="expected some rows, given 0"):
            save("retain/none-v0", {k: v[:0] for k, v in rows.items()}, **SPACES)
    assert not minari.list_local_datasets()
    memory = ReplayBuffer(9, state=Column((2,)))
    nothing = np.zeros((4, 2), np.float32)
    minari.create_dataset_from_buffers(
        "retain/dict-v0",
        buffer=[EpisodeBuffer(observations={"a": nothing}, actions=[0, 0, 0], rewards=[0, 0, 0],
                              terminations=[False] * 3, truncations=[False] * 3)],
        observation_space=Dict(a=Box(0, 1, (2,))), action_space=Discrete(2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="column 'state': expected float32"):
        add_dataset(memory, minari.load_dataset("retain/dict-v0"))
    with pytest.raises(ValueError, match="'reward'"):
        add_dataset(memory, foreign(rewards=np.array([0.0, np.nan, 0.0])))
    assert memory.seen == 0
