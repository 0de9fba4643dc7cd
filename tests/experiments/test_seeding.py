"""Every use of random numbers has a stream of its own."""

from itertools import product

from experiments.seeding import Use, episode_seed, stream


def test_no_two_streams_are_alike_and_each_comes_again():
    keys = list(product(range(3), Use, [(), (0,), (1,), (0, 0), (0, 1)]))
    first = {stream(seed, use, *path).integers(2**62) for seed, use, path in keys}
    assert len(first) == len(keys)
    assert {stream(seed, use, *path).integers(2**62) for seed, use, path in keys} == first


def test_no_two_episodes_of_a_run_have_one_seed():
    keys = list(product(range(3), [Use.EPISODE, Use.EVALUATION], range(3), range(8), range(40)))
    seeds = {episode_seed(seed, use, *path) for seed, use, *path in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**32 for seed in seeds)
