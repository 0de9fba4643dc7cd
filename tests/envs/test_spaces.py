"""One space for unlike environments."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from envs import SharedSpace, find_task


def box(*shape: int) -> spaces.Box:
    return spaces.Box(-2, 2, shape, np.float32)


def image(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def batch_of(space: spaces.Space, n: int) -> tuple[list, object]:
    """n samples, and the same as a vector environment would stack them."""
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    stacked = concatenate(space, samples, create_empty_array(space, n))
    assert batch_space(space, n).contains(stacked)
    return samples, stacked


def test_tasks_of_different_size_share_the_largest_shape_and_mask_what_they_lack():
    space = SharedSpace.of([find_task("CartPole"), find_task("Acrobot"), find_task("MountainCar")])
    assert space.shape == (6,)
    assert space.num_actions == 3
    assert space.valid.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert space.dtype == np.float32
    assert not space.is_image
    assert space.scale.tolist() == [1, 1, 1]


def test_a_smaller_observation_is_padded_with_zeros_at_its_end(shows):
    space = SharedSpace.of([shows(box(2)), shows(box(4))])
    small, large = np.float32([[1, 2], [3, 4]]), np.float32([[1, 2, 3, 4]])
    assert space.encode(0, small, 2).tolist() == [[1, 2, 0, 0], [3, 4, 0, 0]]
    assert space.encode(1, large, 1).tolist() == [[1, 2, 3, 4]]


def test_the_first_action_of_a_task_need_not_be_zero(shows):
    tasks = [shows(box(1), spaces.Discrete(2, start=5)), shows(box(1), spaces.Discrete(3))]
    space = SharedSpace.of(tasks)
    assert space.first_action.tolist() == [5, 0]
    assert space.valid.tolist() == [[True, True, False], [True, True, True]]


VECTORS = {
    "discrete": spaces.Discrete(4),
    "discrete from -2": spaces.Discrete(4, start=-2),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-discrete from 1": spaces.MultiDiscrete([2, 3], start=[1, 4]),
    "multi-discrete table": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "multi-binary": spaces.MultiBinary(3),
    "multi-binary table": spaces.MultiBinary((2, 3)),
    "box": box(3),
    "scalar box": box(),
    "box table": box(2, 3),
    "double box": spaces.Box(-2, 2, (2,), np.float64),
    "integer box": spaces.Box(-5, 5, (2,), np.int64),
    "dict": spaces.Dict({"b": box(2), "a": spaces.Discrete(3, start=1)}),
    "tuple": spaces.Tuple([spaces.MultiBinary(2), box(2, 2)]),
    "nested": spaces.Dict(
        {
            "z": spaces.Tuple([spaces.Discrete(2), spaces.Dict({"x": box(1)})]),
            "y": spaces.MultiDiscrete([2, 2]),
        }
    ),
}


@pytest.mark.parametrize("native", VECTORS.values(), ids=VECTORS.keys())
def test_an_encoded_observation_equals_gymnasiums_flatten(native, shows):
    space = SharedSpace.of([shows(native)])
    samples, stacked = batch_of(native, 7)
    expected = np.stack([spaces.flatten(native, sample) for sample in samples])
    encoded = space.encode(0, stacked, 7)
    assert encoded.dtype == np.float32
    assert np.array_equal(encoded, expected.astype(np.float32))
    one_by_one = np.stack([space.encode_one(0, sample) for sample in samples])
    assert np.array_equal(one_by_one, encoded)


@pytest.mark.parametrize("name", ["FrozenLake", "Blackjack"])
def test_environments_of_gymnasium_with_discrete_observations_can_be_encoded(name):
    task = find_task(name)
    space = SharedSpace.of([task])
    env = task.make_env()
    obs, _ = env.reset(seed=3)
    assert np.array_equal(space.encode_one(0, obs), spaces.flatten(env.observation_space, obs))


def test_an_image_with_channels_last_is_turned_to_channels_first(shows):
    space = SharedSpace.of([shows(image(5, 6, 3))])
    pixels = np.arange(90, dtype=np.uint8).reshape(1, 5, 6, 3)
    encoded = space.encode(0, pixels, 1)
    assert space.shape == (3, 5, 6)
    assert space.is_image
    assert encoded[0, 2, 4, 1] == pixels[0, 4, 1, 2]
    assert np.array_equal(encoded, np.moveaxis(pixels, -1, 1))


def test_an_image_with_channels_first_stays_as_it_is(shows):
    space = SharedSpace.of([shows(image(3, 5, 6))])
    pixels = np.arange(90, dtype=np.uint8).reshape(1, 3, 5, 6)
    assert space.shape == (3, 5, 6)
    assert np.array_equal(space.encode(0, pixels, 1), pixels)


def test_pixels_stay_bytes_and_are_scaled_by_the_largest_value_there_is(shows):
    space = SharedSpace.of([shows(image(5, 6, 3)), shows(spaces.Box(0, 1, (5, 6, 3), bool))])
    assert space.dtype == np.uint8
    assert space.scale.tolist() == [255, 1]
    assert space.encode(0, np.full((1, 5, 6, 3), 200, np.uint8), 1).max() == 200


def test_one_image_of_floats_makes_all_images_floats(shows):
    space = SharedSpace.of([shows(image(5, 6, 3)), shows(spaces.Box(0, 4, (5, 6, 3), np.float32))])
    assert space.dtype == np.float32
    assert space.scale.tolist() == [255, 4]


def test_an_image_without_a_largest_value_is_not_scaled(shows):
    unbounded = spaces.Box(-np.inf, np.inf, (5, 6, 3), np.float32)
    assert SharedSpace.of([shows(unbounded)]).scale.tolist() == [1]


def test_images_of_different_size_and_depth_are_padded(shows):
    space = SharedSpace.of([shows(image(5, 8, 3)), shows(image(7, 6, 4))])
    assert space.shape == (4, 7, 8)
    encoded = space.encode(0, np.full((2, 5, 8, 3), 9, np.uint8), 2)
    assert encoded[:, :3, :5, :8].min() == 9
    assert encoded.sum(dtype=int) == 2 * 9 * 5 * 8 * 3


def test_images_and_vectors_together_are_refused_with_their_shapes(shows):
    with pytest.raises(ValueError, match=r"images and vectors .* \(3, 5, 6\), shows \(4,\)"):
        SharedSpace.of([shows(image(5, 6, 3)), shows(box(4))])


@pytest.mark.parametrize(
    "actions",
    [box(1), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)],
    ids=["box", "multi-discrete", "multi-binary"],
)
def test_actions_that_are_not_discrete_are_refused_with_what_is_supported(actions, shows):
    with pytest.raises(ValueError, match=r"action space .*: only Discrete is supported"):
        SharedSpace.of([shows(box(1), actions)])


UNSUPPORTED = {
    "text": spaces.Text(3),
    "graph": spaces.Graph(box(1), None),
    "sequence": spaces.Sequence(box(1)),
    "text in a dict": spaces.Dict({"a": box(1), "b": spaces.Text(3)}),
    "sequence in a tuple": spaces.Tuple([spaces.Sequence(box(1))]),
}


@pytest.mark.parametrize("native", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_observations_that_have_no_fixed_size_are_refused_with_what_is_supported(native, shows):
    with pytest.raises(ValueError, match=r"observation space .*supported are Box, Discrete"):
        SharedSpace.of([shows(native)])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("install simulator\nor do not"), "install simulator or do not"),
        (gym.error.DependencyNotInstalled("install simulator"), "install simulator"),
        (ImportError(), "ImportError"),
    ],
)
def test_an_environment_whose_package_is_missing_is_refused_in_one_line(error, said, monkeypatch):
    def broken(**kwargs: object) -> gym.Env:
        raise error

    monkeypatch.setitem(
        gym.registry, "test/Broken-v0", gym.envs.registration.EnvSpec("test/Broken-v0", broken)
    )
    with pytest.raises(ValueError, match=f"^test/Broken cannot be made: {said}$"):
        SharedSpace.of([find_task("test/Broken")])


def test_a_missing_box2d_names_our_extra(monkeypatch):
    def broken(self, **kwargs: object) -> gym.Env:
        raise gym.error.DependencyNotInstalled("no Box2D")

    monkeypatch.setattr("envs.task.Task.make_env", broken)
    with pytest.raises(ValueError, match=r"LunarLander needs Box2D: pip install .*\[box2d\]"):
        SharedSpace.of([find_task("LunarLander")])
