"""The figures of the Results tab: exact values, what a hover says, and what is drawn where there is little."""

from __future__ import annotations

import numpy as np
import pytest

from abn.app import figures
from abn.app.figures import ArmRuns
from abn.app.figures.results import PAPER_LABEL
from tests.app.test_figures import texts

ARMS = [
    ArmRuns("resnet-s", "ResNet-S", {0: 90.0, 1: 91.0}, {0: ([1, 2], [50.0, 90.0]), 1: ([1, 2], [52.0, 91.0])}),
    ArmRuns("resnet-dmb", "ResNet-DMB", {1: 91.5, 2: 90.5}, {1: ([1, 2], [49.0, 91.5]), 3: ([1], [48.0])}),
    ArmRuns("se", "SE", {}, {}),
]
PAPER = {"resnet-s": 91.31, "resnet-dmb": 91.68}


def trace(figure, name):
    """The one trace of that name."""
    (found,) = [each for each in figure.data if each.name == name]
    return found


# --- every run --------------------------------------------------------------------------------------------


def test_every_finished_run_is_a_point_that_says_its_seed():
    figure = figures.seed_points(ARMS, PAPER)
    points = trace(figure, "ResNet-DMB")
    assert points.x.tolist() == [91.5, 90.5] and list(points.y) == [1, 1]
    assert list(points.customdata) == [1, 2]
    assert "seed %{customdata}" in points.hovertemplate
    assert points.marker.color == figures.DMB_COLOUR
    assert list(figure.layout.yaxis.ticktext) == ["ResNet-S<br>n = 2", "ResNet-DMB<br>n = 2", "SE<br>n = 0"]


def test_equal_values_stand_beside_each_other_and_the_line_of_a_seed_follows():
    last = {1: 91.0, 2: 91.0, 3: 91.0, 4: 94.0}
    arms = [ArmRuns("resnet-s", "ResNet-S", last, {}), ArmRuns("se", "SE", {2: 90.0}, {})]
    figure = figures.seed_points(arms, {})
    points = trace(figure, "ResNet-S")
    assert points.x.tolist() == [91.0, 91.0, 91.0, 94.0]
    assert list(points.y) == pytest.approx([0.0, 0.2, -0.2, 0.0])
    np.testing.assert_allclose(trace(figure, "the same seed").y, [0.2, 1, np.nan], rtol=1e-6)


def test_no_point_hides_another_and_each_stays_in_its_row():
    rng = np.random.default_rng(0)
    for _ in range(50):
        accuracies = rng.normal(91, 0.5, 10).round(1)  # of which many are alike
        arms = [ArmRuns("se", "SE", dict(enumerate(accuracies)), {}), ArmRuns("awake", "Awake", {0: 85.0}, {})]
        points = trace(figures.seed_points(arms, {}), "SE")
        places = list(zip(points.x.tolist(), np.round(points.y, 6).tolist(), strict=True))
        assert len(set(places)) == 10
        assert max(abs(y) for _, y in places) <= 0.4 + 1e-9


def test_a_line_joins_the_runs_of_one_seed_and_no_others():
    line = trace(figures.seed_points(ARMS, PAPER), "the same seed")
    np.testing.assert_array_equal(line.x, [91.0, 91.5, np.nan])
    np.testing.assert_array_equal(line.y, [0, 1, np.nan])


def test_means_and_the_papers_figures_stand_in_their_rows():
    figure = figures.seed_points(ARMS, PAPER)
    means, paper = trace(figure, "mean"), trace(figure, PAPER_LABEL)
    assert list(means.x) == [90.5, 91.0] and list(means.y) == [0, 1]
    assert paper.x.tolist() == [91.31, 91.68] and paper.y.tolist() == [0, 1]
    assert PAPER_LABEL == "the paper: best epoch, n = 1"


def test_no_run_no_mean_and_no_line():
    figure = figures.seed_points(ARMS[2:], PAPER)
    assert all(len(each.x) == 0 for each in figure.data)


def test_an_arm_without_a_colour_is_refused():
    with pytest.raises(ValueError, match="'vgg' has no colour; expected one of resnet-s, resnet-dmb"):
        ArmRuns("vgg", "VGG", {}, {})


# --- contrasts --------------------------------------------------------------------------------------------


def contrasts():
    return figures.contrast_intervals(
        ["ResNet-DMB − ResNet-S", "ResNet-DMB − SE"], [10, 1], [0.2, -1.5], [-0.1, None], [0.6, None], [0.37, None]
    )


def test_a_contrast_is_drawn_with_its_interval_about_zero():
    figure = contrasts()
    known = trace(figure, "mean, simultaneous 95 % interval")
    assert known.x.tolist() == [0.2] and known.y.tolist() == [0]
    assert known.error_x.array == pytest.approx([0.4]) and known.error_x.arrayminus == pytest.approx([0.3])
    assert known.marker.symbol == "circle"
    assert known.text == (
        "<b>ResNet-DMB − ResNet-S</b><br>+0.20 points, n = 10<br>simultaneous 95 % interval −0.10 to +0.60",
    )
    assert figure.layout.xaxis.zeroline
    assert figure.layout.xaxis.range == pytest.approx((-1.605, 0.705))  # from −1.5 to +0.6, and a little room
    assert trace(figure, PAPER_LABEL).x.tolist() == [0.37] and trace(figure, PAPER_LABEL).y.tolist() == [0]


def test_one_seed_is_an_open_point_without_an_interval():
    single = trace(contrasts(), "no interval (one seed, or no spread)")
    assert single.x.tolist() == [-1.5] and single.y.tolist() == [1]
    assert single.marker.symbol == "circle-open"
    assert single.error_x.array is None
    assert single.text == ("<b>ResNet-DMB − SE</b><br>−1.50 points, n = 1<br>no interval",)


def test_zero_is_on_the_axis_where_every_interval_leaves_it_out():
    for sign in (1, -1):
        figure = figures.contrast_intervals(["a"], [3], [sign * 0.5], [sign * 0.5 - 0.1], [sign * 0.5 + 0.1], [None])
        low, high = figure.layout.xaxis.range
        assert low < 0 < high
    assert figures.contrast_intervals([], [], [], [], [], []).layout.xaxis.range == (-1, 1)


def test_contrasts_refuse_columns_of_different_lengths():
    with pytest.raises(ValueError, match="different lengths"):
        figures.contrast_intervals(["a"], [1, 2], [0.0], [None], [None], [None])


# --- learning curves --------------------------------------------------------------------------------------


def test_a_curve_a_run_in_its_arms_colour():
    figure = figures.learning_curves(ARMS)
    assert [each.name for each in figure.data] == ["ResNet-S", "ResNet-DMB"]
    dmb = figure.data[1]
    np.testing.assert_array_equal(dmb.x, [1, 2, np.nan, 1, np.nan])
    np.testing.assert_array_equal(dmb.y, [49.0, 91.5, np.nan, 48.0, np.nan])
    assert list(dmb.customdata) == [1, 1, 1, 3, 3]
    assert dmb.line.color == figures.DMB_COLOUR


def test_curves_of_the_whole_experiment_are_small_on_the_wire():
    rng = np.random.default_rng(0)
    arms = [
        ArmRuns(arm, arm, {}, {seed: (range(1, 16), rng.uniform(80, 95, 15)) for seed in range(10)})
        for arm in figures.ARM_STYLES
    ]
    assert len(figures.learning_curves(arms).to_json()) < 25_000


# --- audit ------------------------------------------------------------------------------------------------


def test_variance_between_classes_lies_under_that_within_them():
    figure = figures.variance_parts(["layer1.0", "<b>"], [3e-4, 0.0], [1e-4, 0.0])
    between, within = trace(figure, "between classes"), trace(figure, "within classes")
    assert figure.layout.barmode == "stack"
    assert between.x == pytest.approx([3e-4, 0]) and within.x == pytest.approx([1e-4, 0])
    assert between.text[0] == "<b>layer1.0</b>, between classes<br>variance 0.0003, 75.0 % of all"
    assert within.text[1] == "<b>&lt;b&gt;</b>, within classes<br>variance 0, 0.0 % of all"


def test_conditions_are_drawn_on_a_scale_stretched_about_zero_and_said_as_they_are():
    trained = np.array([[30.0, 62.0, 61.0, 63.0], [91.99, 0.01, -0.05, 0.07]])
    again = np.array([[90.75, 1.25, 1.0, 1.5], [np.nan] * 4])
    figure = figures.frozen_conditions(["all factors 1", "without the bank"], trained, again)
    first, second = trace(figure, "bn2 as trained"), trace(figure, "bn2 re-estimated")
    assert np.sinh(first.x) * 0.1 == pytest.approx([62.0, 0.01])
    assert np.sinh(first.x - first.error_x.arrayminus) * 0.1 == pytest.approx([61.0, -0.05])
    assert np.sinh(first.x + first.error_x.array) * 0.1 == pytest.approx([63.0, 0.07])
    assert len(second.x) == 1 and second.y == pytest.approx([0.15])
    said = "accuracy 91.99 %<br>free − frozen +0.01 points<br>95 % interval −0.05 to +0.07"
    assert first.text[1] == f"<b>without the bank</b>, bn2 as trained<br>{said}"
    ticks = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals, strict=True))
    assert np.sinh(ticks["+10"]) * 0.1 == pytest.approx(10) and ticks["0"] == 0
    assert "stretched about 0" in figure.layout.xaxis.title.text


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.variance_parts(["a"], [1.0, 2.0], [1.0, 2.0]), r"shape \(2, 2\); expected \(2, 1\)"),
        (lambda: figures.frozen_conditions(["a"], np.ones((2, 4)), np.ones((2, 4))), r"\(2, 4\); expected \(1, 4\)"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_names_from_files_are_no_markup():
    evil = "<a href=x>%{z}"
    row = np.ones((1, 4))
    for figure in (
        figures.contrast_intervals([evil], [2], [0.1], [0.0], [0.2], [None]),
        figures.variance_parts([evil], [1.0], [1.0]),
        figures.frozen_conditions([evil], row, row),
    ):
        assert "<a href" not in texts(figure) and "%{z}" not in texts(figure)
