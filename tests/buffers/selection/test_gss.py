import numpy as np
import pytest

from buffers.selection import gss_greedy
from buffers.selection.gss import OTHERS


def gradients(features, error, action):
    """Of the squared loss of q(s, a) = W[a] features(s) with respect to W, row by row."""
    gradient = np.zeros((len(features), action.max() + 1, features.shape[1]))
    gradient[np.arange(len(features)), action] = -error[:, None] * features
    return gradient.reshape(len(features), -1)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def naive(gradient, k, rng):
    """The paper's algorithm 2 on gradients, one row after the other, with the same draws."""
    n = len(gradient)
    draws = rng.integers(np.maximum(np.minimum(np.arange(n), k), 1)[:, None], size=(n, OTHERS))
    luck, memory, score = rng.random((n, 2)), [], []
    for i in range(n):
        others = [memory[j] for j in draws[i]] if memory else []
        c = max((cosine(gradient[i], gradient[j]) + 1 for j in others), default=0.0)
        if len(memory) < k:
            memory.append(i), score.append(c)
        elif c < 1:
            j = int(np.searchsorted(np.cumsum(score), luck[i, 0] * sum(score), side="right"))
            if luck[i, 1] < score[j] / (score[j] + c):
                memory[j], score[j] = i, c
    return memory


@pytest.mark.parametrize("actions", [1, 2])
def test_it_does_on_features_and_errors_what_the_paper_does_on_gradients(actions):
    replaced = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        features, error = rng.normal(size=(80, 2)), rng.normal(size=80)
        action = rng.integers(actions, size=80)
        expected = naive(gradients(features, error, action), 12, np.random.default_rng(seed))
        given = {"error": error, "action": action, "rng": np.random.default_rng(seed)}
        assert set(gss_greedy(features, 12, **given).tolist()) == set(expected)
        replaced += sum(row >= 12 for row in expected)
    assert replaced > 0 or actions > 1  # with two, some of ten others are of another action


def test_the_one_row_with_the_opposite_gradient_is_taken():
    same, opposite = [[1.0, 1.0]] * 3, [1.0, 1.0, -1.0]
    for seed in range(20):
        gain = np.empty(2)
        index = gss_greedy(same, 2, error=opposite, rng=np.random.default_rng(seed), gain=gain)
        assert index.tolist() == [0, 2]
        assert gain.tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    "row", [{"error": [1, 1, 1]}, {"error": [1, 1, 0]}, {"error": [1, 1, -1], "action": [0, 0, 1]}]
)
def test_a_row_whose_gradient_is_not_opposed_to_the_others_is_not(row):
    for seed in range(20):
        index = gss_greedy([[1.0, 1.0]] * 3, 2, rng=np.random.default_rng(seed), **row)
        assert set(index.tolist()) == {0, 1}


def test_rows_are_in_the_order_of_their_similarity():
    rng = np.random.default_rng(0)
    gain = np.empty(20)
    gss_greedy(rng.normal(size=(50, 3)), 20, error=rng.normal(size=50), rng=rng, gain=gain)
    assert (np.diff(gain) <= 0).all()
    assert gain.min() >= -1.0001
    assert gain.max() <= 1
