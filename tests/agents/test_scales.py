"""Statistics of each task's observations and rewards."""

import numpy as np
import pytest
import torch

from agents.scales import (
    normalize,
    observe,
    observe_reward,
    reward_scale,
    scales_init,
)


def start(tasks: int = 2, size: int = 3, num_envs: int = 2) -> dict[str, torch.Tensor]:
    return scales_init(torch.ones(tasks), (size,), num_envs)


def test_mean_and_variance_of_a_stream_in_batches_are_numpys_of_all_of_it():
    rng = np.random.default_rng(0)
    stream = rng.normal([5, -3, 0], [0.1, 20, 1], (1_000, 3)).astype(np.float32)
    state = start()
    for batch in np.split(stream, np.cumsum([1, 2, 7, 400, 90])):
        state = observe(state, torch.from_numpy(batch), 1)
    assert state["obs_count"][1] == pytest.approx(1_000, abs=0.1)
    assert np.allclose(state["obs_mean"][1], stream.mean(0), rtol=1e-3, atol=1e-3)
    assert np.allclose(state["obs_var"][1], stream.var(0), rtol=1e-3, atol=1e-3)


def test_normalized_observations_have_mean_zero_and_variance_one():
    obs = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 7 + 100
    seen = normalize(observe(start(), obs, 0), obs, torch.zeros(500, dtype=torch.long))
    assert torch.allclose(seen.mean(0), torch.zeros(3), atol=1e-3)
    assert torch.allclose(seen.var(0, correction=0), torch.ones(3), atol=1e-3)


def test_another_tasks_statistics_stay_as_they_were():
    state = observe(start(3), torch.randn(5, 3), 0)
    after = observe(state, torch.randn(5, 3) + 50, 1)
    after = observe_reward(after, torch.tensor([4.0, 0.0]), torch.tensor([False, False]), 0.9, 1)
    for name in ("obs_count", "obs_mean", "obs_var", "return_max"):
        assert torch.equal(after[name][[0, 2]], state[name][[0, 2]])
        assert not torch.equal(after[name][1], state[name][1])


def test_each_row_is_normalized_as_its_own_task():
    state = start(2, 1) | {
        "obs_mean": torch.tensor([[1.0], [10.0]]),
        "obs_var": torch.tensor([[4.0], [25.0]]),
    }
    seen = normalize(state, torch.tensor([[5.0], [5.0], [0.0]]), torch.tensor([0, 1, 1]))
    assert torch.allclose(seen, torch.tensor([[2.0], [-1.0], [-2.0]]))


def test_normalized_observations_are_clipped_at_ten_or_at_the_limit_given():
    obs, task = torch.tensor([[300.0], [-300.0], [3.0]]), torch.zeros(3, dtype=torch.long)
    assert normalize(start(1, 1), obs, task).flatten().tolist() == [10, -10, 3]
    unlimited = normalize(start(1, 1), obs, task, torch.inf)
    assert unlimited.flatten().tolist() == [300, -300, 3]


def test_an_entry_that_never_changes_does_not_blow_up():
    state = start(1, 1)
    for _ in range(20):
        state = observe(state, torch.full((10, 1), 7.0), 0)
    assert normalize(state, torch.full((1, 1), 7.0), torch.tensor([0])).abs() < 1
    assert normalize(state, torch.full((1, 1), 8.0), torch.tensor([0])) == 10


def test_an_image_is_divided_by_its_tasks_scale():
    state = scales_init(torch.tensor([255.0, 4.0]), (2, 3, 3), 1)
    images = torch.full((2, 2, 3, 3), 3, dtype=torch.uint8)
    seen = normalize(state, images, torch.tensor([0, 1]))
    assert seen.shape == (2, 2, 3, 3)
    assert torch.allclose(seen[0], torch.tensor(3 / 255))
    assert torch.allclose(seen[1], torch.tensor(3 / 4))


def test_the_largest_running_return_by_hand():
    # Discount 0.5. Step 1: returns 1 and 2; the second environment's episode ends.
    # Step 2: 0.5 * 1 + 1 = 1.5, and -3 of a new episode (it would be -2 without the end).
    # Step 3: 0.75 + 0 and -1.5 + 0: nothing larger.
    state, no = start(), torch.tensor([False, False])
    largest = []
    for reward, ended in (
        ([1.0, 2.0], torch.tensor([False, True])),
        ([1.0, -3.0], no),
        ([0.0, 0.0], no),
    ):
        state = observe_reward(state, torch.tensor(reward), ended, 0.5, 0)
        largest.append(float(state["return_max"][0]))
    assert largest == [2, 3, 3]
    assert state["running_return"].tolist() == [0.75, -1.5]


def test_the_largest_return_is_scaled_to_three_and_unknown_ones_are_left_alone():
    state = start(4) | {"return_max": torch.tensor([0.0, 3.0, 300.0, 0.5])}
    assert torch.allclose(reward_scale(state), torch.tensor([1.0, 1.0, 0.01, 6.0]))
