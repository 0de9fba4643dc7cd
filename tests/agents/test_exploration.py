"""When and how environments explore."""

import numpy as np
import pytest

from agents.exploration import AHEAD, Exploration


def make(num_envs: int, longest: int, seeds: tuple[int, ...] = (0,)) -> Exploration:
    return Exploration(num_envs, [np.random.default_rng(seed) for seed in seeds], longest)


def greedy(num_envs: int, members: int = 1) -> np.ndarray:
    """Action 9, which exploration among fewer actions never chooses."""
    return np.full((members, num_envs), 9)


@pytest.mark.parametrize("longest", [1, 20])
def test_at_epsilon_zero_every_action_is_greedy(longest):
    exploration = make(200, longest)
    for _ in range(20):
        assert (exploration.choose(greedy(200), 0.0, 4) == 9).all()


@pytest.mark.parametrize("longest", [1, 20])
def test_at_epsilon_one_no_action_is_greedy(longest):
    exploration = make(200, longest)
    for _ in range(20):
        assert (exploration.choose(greedy(200), 1.0, 4) != 9).all()


@pytest.mark.parametrize("num_envs", [1, 3])
def test_what_is_chosen_follows_from_the_numbers_drawn(num_envs):
    exploration, rng = make(num_envs, longest=1, seeds=(0,)), np.random.default_rng(0)
    for block in range(4):
        starts, actions = rng.random((2, AHEAD, num_envs))
        for step, (start, drawn) in enumerate(zip(starts, actions, strict=True)):
            epsilon = (0.0, 1.0, 0.5, start.max(), start.min() + 1e-9)[step % 5]
            explores, count = start < epsilon, 3 + (block == 3 and step > 40)
            chosen = exploration.choose(greedy(num_envs), epsilon, count)[0]
            assert chosen.tolist() == np.where(explores, drawn * count // 1, 9).tolist()
            assert exploration.exploring[0].tolist() == explores.tolist()


def test_each_environment_decides_for_itself():
    exploration = make(1_000, longest=1)
    for _ in range(20):
        explorers = (exploration.choose(greedy(1_000), 0.3, 4) != 9).sum()
        assert abs(explorers - 300) < 4.5 * np.sqrt(1_000 * 0.3 * 0.7)


def test_with_longest_one_an_environment_explores_as_often_after_exploring_as_else():
    exploration = make(1_000, longest=1)
    explored = np.stack([exploration.choose(greedy(1_000), 0.3, 4)[0] != 9 for _ in range(50)])
    after = explored[1:][explored[:-1]]
    assert abs(after.mean() - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / len(after))


def test_exploratory_actions_are_all_valid_ones_equally_often():
    exploration = make(3_000, longest=1)
    chosen = exploration.choose(greedy(3_000), 1.0, 3)[0]
    counts = np.bincount(chosen, minlength=3)
    assert len(counts) == 3
    assert np.abs(counts - 1_000).max() < 4.5 * np.sqrt(3_000 * 1 / 3 * 2 / 3)


def test_an_exploratory_action_lasts_as_long_as_was_drawn():
    exploration = make(300, longest=6)
    first = exploration.choose(greedy(300), 1.0, 4)
    left = exploration.state_dict()["left"]
    assert set(left[0]) == {0, 1, 2, 3, 4, 5}
    for passed in range(1, 7):
        chosen = exploration.choose(greedy(300), 0.0, 4)
        assert np.array_equal(chosen, np.where(left >= passed, first, 9))


def test_long_explorations_are_rare_as_the_inverse_square_of_their_length():
    exploration, n = make(20_000, longest=4), 20_000
    exploration.choose(greedy(n), 1.0, 4)
    lengths = np.bincount(exploration.state_dict()["left"][0] + 1, minlength=5) / n
    one, two, three = (6 / np.pi**2 / z**2 for z in (1, 2, 3))  # the sum of all 1/z^2 is pi^2/6
    expected = np.array([0, one, two, three, 1 - one - two - three])
    assert len(lengths) == 5
    assert np.abs(lengths - expected).max() < 4.5 * np.sqrt(0.25 / n)


def test_the_end_of_an_episode_ends_its_exploration_and_no_other():
    exploration = make(300, longest=50)
    first = exploration.choose(greedy(300), 1.0, 4)
    lasting = exploration.state_dict()["left"] > 0
    ended = np.arange(300)[None] % 2 == 0
    exploration.end_episodes(ended)
    chosen = exploration.choose(greedy(300), 0.0, 4)
    assert (lasting & ended).any()
    assert np.array_equal(chosen, np.where(lasting & ~ended, first, 9))


def test_an_environment_already_exploring_does_not_start_again():
    exploration = make(300, longest=50)
    first = exploration.choose(greedy(300), 1.0, 4)
    lasting = exploration.state_dict()["left"] > 0
    assert np.array_equal(exploration.choose(greedy(300), 1.0, 4)[lasting], first[lasting])


def test_exploration_that_may_not_last_is_over_after_one_step():
    exploration = make(300, longest=50)
    for _ in range(5):
        exploration.choose(greedy(300), 1.0, 4, lasting=False)
        assert (exploration.choose(greedy(300), 0.0, 4) == 9).all()


def test_what_lasts_already_goes_on_where_nothing_new_may_last():
    exploration = make(300, longest=50)
    first = exploration.choose(greedy(300), 1.0, 4)
    lasting = exploration.state_dict()["left"] > 0
    chosen = exploration.choose(greedy(300), 0.0, 4, lasting=False)
    assert np.array_equal(chosen, np.where(lasting, first, 9))


def test_it_says_which_actions_were_exploratory():
    exploration = make(300, longest=5)
    for epsilon in (0.3, 0.0, 0.3, 1.0):
        chosen = exploration.choose(greedy(300), epsilon, 4)
        assert np.array_equal(exploration.exploring, chosen != 9)


def test_what_is_drawn_ahead_is_used_once_by_each_member_environment_and_step():
    exploration, steps = make(20, longest=1, seeds=(3, 8)), 5 * AHEAD
    explored = [exploration.choose(greedy(20, 2), 0.5, 4) != 9 for _ in range(steps)]
    signs = 2.0 * np.stack(explored).reshape(steps, 40) - 1
    for lag in (1, AHEAD - 1, AHEAD, 2 * AHEAD):
        product = signs[lag:] * signs[:-lag]
        assert abs(product.mean()) < 4.5 / np.sqrt(product.size)
    alike = np.triu(signs.T @ signs, 1) / np.sqrt(steps)  # of pairs of members and environments
    assert np.abs(alike).max() < 5.5


def test_a_switch_amid_what_is_drawn_ahead_changes_chance_and_actions_at_once():
    exploration = make(2_000, longest=1)
    for epsilon, actions in ((1.0, 4), (0.05, 2), (0.0, 3), (0.7, 3)):
        chosen = exploration.choose(greedy(2_000), epsilon, actions)[0]
        spread = np.sqrt(2_000 * epsilon * (1 - epsilon))
        assert abs((chosen != 9).sum() - 2_000 * epsilon) <= 4.5 * spread
        assert set(chosen[chosen != 9]) == set(range(actions) if epsilon else ())


@pytest.mark.parametrize("longest", [1, 10])
def test_a_member_draws_the_same_alone_and_among_others(longest):
    together, alone = make(5, longest, seeds=(3, 8, 4)), make(5, longest, seeds=(8,))
    seen = set()
    for _ in range(50):
        one = alone.choose(greedy(5), 0.4, 4)[0]
        assert np.array_equal(together.choose(greedy(5, 3), 0.4, 4)[1], one)
        seen |= set(one)
    assert seen == {0, 1, 2, 3, 9}


def test_restored_exploration_goes_on_the_same():
    original, restored = make(5, 10, seeds=(1, 2)), make(5, 10, seeds=(3, 4))
    for _ in range(20):
        original.choose(greedy(5, 2), 0.4, 4)
    state = original.state_dict()
    saved = state["left"].copy(), state["action"].copy()
    restored.load_state_dict(state)
    for step in range(40):
        for each in (original, restored):
            each.end_episodes(np.arange(10).reshape(2, 5) % 5 == step % 5)
        chosen = [each.choose(greedy(5, 2), 0.4, 4) for each in (original, restored)]
        assert np.array_equal(*chosen)
    assert np.array_equal((state["left"], state["action"]), saved)
