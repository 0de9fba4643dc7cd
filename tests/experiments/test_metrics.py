"""Every metric against numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from experiments.metrics import interval, learned_scores, member_metrics, normalize, summarize

THREE_TASKS = [  # row 0 before training, then after tasks 0, 1 and 2
    [0.10, 0.20, 0.00],
    [0.90, 0.30, 0.10],
    [0.95, 0.80, 0.40],
    [0.60, 0.40, 1.00],
]
REVISIT = [  # tasks 0, 1, 0
    [0.0, 0.1],
    [0.8, 0.2],
    [0.3, 0.9],
    [0.7, 0.6],
]


def metrics_of(matrix, stages) -> dict[str, float]:
    found = member_metrics(np.array([matrix], float), stages)
    return {name: values.item() for name, values in found.items()}


def test_metrics_of_three_tasks():
    assert metrics_of(THREE_TASKS, [0, 1, 2]) == pytest.approx(
        {
            "average_performance": (0.6 + 0.4 + 1.0) / 3,
            "forgetting": ((0.9 - 0.6) + (0.8 - 0.4) + 0) / 3,
            "forgetting_max": ((0.95 - 0.6) + (0.8 - 0.4)) / 2,
            "backward_transfer": ((0.6 - 0.9) + (0.4 - 0.8)) / 2,
            "forward_transfer": ((0.3 - 0.2) + (0.4 - 0.0)) / 2,
            "retention": (0.6 / 0.9 + 0.4 / 0.8) / 2,
        }
    )


def test_of_a_task_visited_twice_the_last_visit_counts_as_learning_it():
    assert metrics_of(REVISIT, [0, 1, 0]) == pytest.approx(
        {
            "average_performance": (0.7 + 0.6) / 2,
            "forgetting": (0 + (0.9 - 0.6)) / 2,
            "forgetting_max": 0.9 - 0.6,
            "backward_transfer": 0.6 - 0.9,
            "forward_transfer": 0.2 - 0.1,
            "retention": 0.6 / 0.9,
        }
    )
    assert learned_scores(np.array([REVISIT]), [0, 1, 0]).tolist() == [[0.7, 0.9]]


def test_a_single_task_has_a_performance_and_nothing_to_forget_or_transfer():
    found = metrics_of([[0.1], [0.7]], [0])
    assert found.pop("average_performance") == pytest.approx(0.7)
    assert found.pop("forgetting") == 0
    assert len(found) == 4
    assert np.isnan(list(found.values())).all()


def test_members_are_measured_apart():
    both = member_metrics(np.array([THREE_TASKS, THREE_TASKS[::-1]]), [0, 1, 2])
    for member, matrix in enumerate((THREE_TASKS, THREE_TASKS[::-1])):
        alone = metrics_of(matrix, [0, 1, 2])
        assert {name: values[member] for name, values in both.items()} == pytest.approx(alone)


def test_forward_transfer_tells_methods_apart():
    """Renate#225: it came out the same for every method."""
    helped = np.array(THREE_TASKS)
    helped[1, 1] += 0.2
    assert metrics_of(helped, [0, 1, 2])["forward_transfer"] == pytest.approx(0.25 + 0.2 / 2)


def test_forward_transfer_looks_at_nothing_but_a_task_before_its_first_visit():
    other = np.array(THREE_TASKS)
    other[1, 0], other[2, :2], other[3] = 0, 0, 0
    assert metrics_of(other, [0, 1, 2])["forward_transfer"] == pytest.approx(0.25)


def test_forgetting_is_negative_where_a_task_improves_later():
    found = metrics_of([[0, 0], [0.5, 0], [0.9, 1]], [0, 1])
    assert found["forgetting"] == pytest.approx((0.5 - 0.9) / 2)
    assert found["forgetting_max"] == pytest.approx(0.5 - 0.9)


def test_retention_of_what_was_never_learned_is_not_a_number():
    assert np.isnan(metrics_of([[0, 0], [0.0, 0], [0.9, 1]], [0, 1])["retention"])
    assert np.isnan(metrics_of([[0, 0], [-0.1, 0], [0.9, 1]], [0, 1])["retention"])


def test_normalized_scores_are_0_for_random_and_1_for_the_reference():
    scores = np.array([[20.0, -500.0], [500.0, -100.0], [260.0, -300.0]])
    assert normalize(scores, [20, -500], [500, -100]) == pytest.approx(
        np.array([[0, 0], [1, 1], [0.5, 0.5]])
    )


@pytest.mark.parametrize("reference", [20, 19])
def test_a_reference_must_be_better_than_random(reference):
    with pytest.raises(ValueError, match="must be above random"):
        normalize(np.zeros((1, 2)), [0, 20], [1, reference])


def test_the_interval_is_the_t_interval():
    by_hand = 4.302652729749464 / np.sqrt(3)  # t(0.975, 2 degrees of freedom), deviation 1
    assert interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        {"mean": 2, "low": 2 - by_hand, "high": 2 + by_hand}
    )
    values = np.random.default_rng(0).normal(5, 2, 10)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx({"mean": values.mean(), "low": low, "high": high})


def test_the_interval_leaves_out_members_without_a_number():
    assert interval(np.array([1.0, np.nan, 3.0])) == interval(np.array([1.0, 3.0]))
    assert interval(np.array([2.0, np.nan])) == {"mean": 2, "low": None, "high": None}
    assert interval(np.array([np.nan])) == {"mean": None, "low": None, "high": None}


def test_the_summary_has_every_metric_with_its_interval():
    found = summarize(np.array([THREE_TASKS, THREE_TASKS]), [0, 1, 2])
    assert set(found) == set(metrics_of(THREE_TASKS, [0, 1, 2]))
    assert found["backward_transfer"] == pytest.approx({"mean": -0.35, "low": -0.35, "high": -0.35})
