"""The pictures say what the numbers say."""

import numpy as np

from experiments.figures import learning_curves, score_matrix

NAMES = ["A", "B"]


def test_every_cell_of_the_matrix_shows_its_return_readably():
    scores = np.array([[20.0, -500.0], [499.96, -500.0]])
    shares = np.array([[0.0, np.nan], [1.2, np.nan]])
    axes = score_matrix(scores, shares, NAMES, ["before", "after A"]).axes[0]
    cells = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert cells == {
        (0, 0): ("20.0", "white"),  # on dark
        (1, 0): ("-500.0", "black"),  # on no colour at all
        (0, 1): ("500.0", "black"),  # on light
        (1, 1): ("-500.0", "black"),
    }
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES
    assert [label.get_text() for label in axes.get_yticklabels()] == ["before", "after A"]


def test_each_panel_shows_a_task_its_members_their_mean_and_the_switches():
    scores = np.array([[[0.0, 1], [2, 3]], [[8, 1], [6, 3]], [[4, 9], [2, 7]]])
    stages = [(0, 100, 0), (100, 160, 1)]
    figure = learning_curves(np.array([0, 100, 160]), scores, NAMES, stages)
    for task, axes in enumerate(figure.axes):
        curves = [line.get_ydata().tolist() for line in axes.lines if len(line.get_xdata()) == 3]
        assert curves == [*scores[:, :, task].T.tolist(), scores[:, :, task].mean(1).tolist()]
        switches = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
        assert switches == [100, 160]
        (trained,) = axes.patches
        assert (trained.get_x(), trained.get_width()) == [(0, 100), (100, 60)][task]
        assert axes.get_title(loc="left") == NAMES[task]


def test_before_training_there_are_no_switches():
    axes = learning_curves(np.zeros(1), np.zeros((1, 1, 2)), NAMES, []).axes[0]
    assert not axes.patches
    assert axes.get_legend() is None


def test_many_visits_to_a_task_make_one_line_of_legend():
    stages = [(10 * stage, 10 * stage + 10, stage % 2) for stage in range(40)]
    figure = learning_curves(np.zeros(1), np.zeros((1, 1, 2)), NAMES, stages)
    for axes in figure.axes:
        assert len(axes.patches) == 20
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["in training"]
