"""abn.app.figures: exact values, symmetric scales, what a click and a hover can read, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest

from abn.app import figures
from abn.app.figures import BlockFactors
from abn.app.figures.words import ordinal, percentile_rank
from abn.interpret.reference.statistics import entropy_share

WIDTHS = (64, 64, 128, 128, 256, 256)
NAMES = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1)]


def two_blocks() -> list[BlockFactors]:
    """Blocks of three and two channels whose deviations are 2, −1, 0 and 0.5, 4."""
    return [
        BlockFactors(
            "layer1.0",
            factors=np.array([1.2, 0.9, 1.0], np.float32),
            mean=np.array([1.0, 1.0, 1.0]),
            sd=np.array([0.1, 0.1, 0.1]),
            percentile=np.array([92.0, 11.4, 50.0]),
            class_percentile=np.array([81.0, 2.0, 100.0]),
            class_name="ship",
        ),
        BlockFactors(
            "layer1.1",
            factors=np.array([0.51, 0.58], np.float32),
            mean=np.array([0.5, 0.5]),
            sd=np.array([0.02, 0.02]),
            percentile=np.array([70.0, 0.0]),
        ),
    ]


def whole_network() -> list[BlockFactors]:
    rng = np.random.default_rng(0)
    return [
        BlockFactors(
            name,
            rng.normal(0.8, 0.2, width),
            rng.normal(0.8, 0.2, width),
            rng.uniform(0.004, 0.03, width),
            rng.uniform(0, 100, width),
            rng.uniform(0, 100, width),
            "automobile",
        )
        for name, width in zip(NAMES, WIDTHS, strict=True)
    ]


def every_figure() -> dict:
    rng = np.random.default_rng(0)
    pixels, values = rng.integers(0, 256, (8, 8, 3), np.uint8), rng.normal(size=(8, 8))
    weights = np.full((2, 4), 0.25)
    return {
        "factor_heatmap": figures.factor_heatmap(two_blocks(), chosen=(0, 1)),
        "channel_sum": figures.channel_sum("layer1.0", 3, 0.5, [0.1, -0.2], 0.4, 1.38, 1.38),
        "gate_weights": figures.gate_weights(["a", "b"], weights, weights, weights, weights, 200 * weights),
        "response_distributions": figures.response_distributions(["a"], {"x": [np.arange(5.0)]}),
        "attribution_map": figures.attribution_map(values, 1.0),
        "attribution_strip": figures.attribution_strip(pixels, values, 1.0, network="x"),
        "seed_points": figures.seed_points([figures.ArmRuns("se", "SE", {0: 90.0}, {})], {"se": 91.0}),
        "contrast_intervals": figures.contrast_intervals(["a"], [2], [0.1], [0.0], [0.2], [None]),
        "learning_curves": figures.learning_curves([figures.ArmRuns("se", "SE", {}, {0: ([1, 2], [1.0, 2.0])})]),
        "variance_parts": figures.variance_parts(["a"], [1.0], [2.0]),
        "frozen_conditions": figures.frozen_conditions(["a"], np.ones((1, 4)), np.ones((1, 4))),
    }


EVERY_FIGURE = every_figure()


def texts(figure) -> str:
    """All texts of a figure in one, notes, axes and bars."""
    return json.dumps(json.loads(figure.to_json()), ensure_ascii=False)


# --- every figure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "figure"), EVERY_FIGURE.items())
def test_every_figure_names_itself_and_fits_any_page(kind, figure):
    layout = json.loads(figure.to_json())["layout"]
    assert layout["meta"]["kind"] == kind
    assert layout["height"] > 0 and layout["autosize"] and "width" not in layout
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert layout["template"] == {} or not layout["template"].get("layout")


@pytest.mark.parametrize("figure", EVERY_FIGURE.values(), ids=EVERY_FIGURE)
def test_every_figure_has_readable_fonts_and_a_name_on_its_number_axis(figure):
    layout = json.loads(figure.to_json())["layout"]
    sizes = [int(size) for size in re.findall(r'"size": ?(\d+)', json.dumps(layout))]
    assert min(sizes) >= 12
    assert layout["xaxis"]["title"]["text"]


@pytest.mark.parametrize("figure", EVERY_FIGURE.values(), ids=EVERY_FIGURE)
def test_no_hover_format_starts_with_a_sign_and_ends_in_f(figure):
    # plotly.js turns "+.1f" into the invalid "~+.1f" and then prints every digit
    templates = re.findall(r"%\{[^}]*\}", texts(figure))
    assert not [t for t in templates if re.search(r":\+[^}]*[fps%]\}", t)]


@pytest.mark.process
def test_figures_import_neither_torch_nor_gradio_nor_pyplot():
    heavy = ("torch", "gradio", "matplotlib.pyplot")
    code = f"import sys, abn.app.figures; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "colour", [figures.BASELINE_COLOUR, figures.DMB_COLOUR, *(colour for colour, _ in figures.ARM_STYLES.values())]
)
@pytest.mark.parametrize("page", ["#ffffff", "#0b0f19"])
def test_network_colours_stand_out_on_light_and_dark(colour, page):
    assert contrast(colour, page) >= 3


# --- factors ----------------------------------------------------------------------------------------------


def test_deviation_is_in_standard_deviations():
    first, second = two_blocks()
    assert first.deviation == pytest.approx([2.0, -1.0, 0.0], abs=1e-5)
    assert second.deviation == pytest.approx([0.5, 4.0], abs=1e-5)


def test_deviation_of_a_channel_that_does_not_vary():
    block = BlockFactors("b", np.array([1.0, 1.5]), np.array([1.0, 1.0]), np.array([0.0, 0.0]))
    assert block.deviation[0] == 0
    assert np.isnan(block.deviation[1])


@pytest.mark.parametrize(
    ("mode", "z", "zmin", "zmax"),
    [
        ("deviation", [[2, -1, 0], [0.5, 4, np.nan]], -3, 3),
        ("percentile", [[92, 11.4, 50], [70, 0, np.nan]], 0, 100),
        ("raw", [[1.2, 0.9, 1.0], [0.51, 0.58, np.nan]], 0, 2),
    ],
)
def test_heatmap_shows_the_mode_on_a_symmetric_scale(mode, z, zmin, zmax):
    trace = figures.factor_heatmap(two_blocks(), mode).data[0]
    np.testing.assert_allclose(trace.z, z, atol=1e-5)
    assert trace.z.dtype == np.float32
    assert (trace.zmin, trace.zmax) == (zmin, zmax)
    assert list(trace.y) == ["layer1.0", "layer1.1"]


def test_heatmap_says_at_its_bar_that_values_lie_beyond_the_scale():
    inside = figures.factor_heatmap(two_blocks()[:1]).data[0]
    clipped = figures.factor_heatmap(two_blocks()).data[0]
    assert list(inside.colorbar.ticktext) == ["−3", "−1.5", "0", "+1.5", "+3"]
    assert list(clipped.colorbar.ticktext) == ["≤ −3", "−1.5", "0", "+1.5", "≥ +3"]
    assert "standard deviations" in clipped.colorbar.title.text


@pytest.mark.parametrize(
    ("mode", "unit"), [("deviation", "standard dev"), ("percentile", "percentile"), ("raw", "factor")]
)
def test_heatmap_bar_names_its_unit(mode, unit):
    assert unit in figures.factor_heatmap(two_blocks(), mode).data[0].colorbar.title.text


def test_own_scale_divides_each_block_by_its_own_largest_distance():
    trace = figures.factor_heatmap(two_blocks(), own_scale=True).data[0]
    np.testing.assert_allclose(trace.z, [[1, -0.5, 0], [0.125, 1, np.nan]], atol=1e-5)
    assert (trace.zmin, trace.zmax) == (-1, 1)
    assert "relative to block's own maximum" in trace.colorbar.title.text
    raw = figures.factor_heatmap(two_blocks(), "raw", own_scale=True).data[0]
    np.testing.assert_allclose(raw.z, [[1, -0.5, 0], [-1, -0.42 / 0.49, np.nan]], atol=1e-5)


@pytest.mark.parametrize("own_scale", [False, True])
def test_click_data_name_block_and_channel_also_when_sorted(own_scale):
    blocks = two_blocks()
    trace = figures.factor_heatmap(blocks, order="value", own_scale=own_scale).data[0]
    assert trace.customdata[0, :, 1].tolist() == [1, 2, 0]
    assert trace.customdata[1, :2, 1].tolist() == [0, 1]
    for y, x in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        block, channel, factor, mean, deviation = trace.customdata[y, x]
        assert block == y
        assert factor == blocks[y].factors[int(channel)]
        assert mean == blocks[y].mean[int(channel)]
        assert deviation == blocks[y].deviation[int(channel)]
    assert np.isnan(trace.customdata[1, 2]).all()


def test_hover_names_block_channel_factor_and_what_is_usual():
    trace = figures.factor_heatmap(two_blocks(), order="value").data[0]
    for words in (
        "%{y} channel %{customdata[1]:d}",
        "factor %{customdata[2]",
        "mean %{customdata[3]",
        " sd",
        "%{text}",
    ):
        assert words in trace.hovertemplate
    assert list(trace.text[0]) == [
        "11th percentile, 2nd percentile among ship",
        "50th percentile, highest among ship",
        "92nd percentile, 81st percentile among ship",
    ]
    assert list(trace.text[1]) == ["70th percentile", "lowest of all"]


def test_heatmap_without_a_reference_shows_raw_factors_only():
    blocks = [BlockFactors("layer1.0", np.array([1.0, 0.5]))]
    trace = figures.factor_heatmap(blocks, "raw").data[0]
    assert trace.customdata.tolist() == [[[0, 0, 1.0], [0, 1, 0.5]]]
    assert "mean" not in trace.hovertemplate and trace.text is None
    with pytest.raises(ValueError, match="layer1.0 has no mean and no sd"):
        figures.factor_heatmap(blocks, "deviation")
    with pytest.raises(ValueError, match="layer1.0 has no percentile"):
        figures.factor_heatmap(blocks, "percentile")


def test_chosen_channel_is_framed_where_it_stands():
    for order, place in (("index", 0), ("value", 2)):
        figure = figures.factor_heatmap(two_blocks(), order=order, chosen=(0, 0))
        frame = figure.layout.shapes[-1]
        assert (frame.x0, frame.x1) == (place - 0.5, place + 0.5)
        assert frame.y0 < 0 < frame.y1
        assert figure.layout.meta["chosen"] == [0, 0]


def test_frames_and_headings_are_given_to_plotly_at_once(monkeypatch):
    """It copies all there are for each one that is added, so many would take time by their square."""

    def refuse(*_, **__):
        raise AssertionError("added one by one")

    for name in ("add_shape", "add_annotation"):
        monkeypatch.setattr(go.Figure, name, refuse)
    assert len(figures.factor_heatmap(two_blocks(), chosen=(1, 0)).layout.shapes) == 4
    assert len(figures.gate_weights(["a", "b"], np.full((2, 2), 0.5)).layout.annotations) == 2


def test_channel_without_a_value_is_marked_and_can_be_clicked():
    blocks = [BlockFactors("b", np.array([1.0, 1.5]), np.array([0.9, 1.0]), np.array([0.1, 0.0]))]
    heatmap, marks = figures.factor_heatmap(blocks).data
    assert np.isnan(heatmap.z[0, 1])
    assert (list(marks.x), list(marks.y)) == ([1], ["b"])
    assert marks.customdata.tolist() == [[0, 1, 1.5]]


def test_heatmap_of_the_network_is_small_on_the_wire():
    for mode in ("deviation", "percentile", "raw"):
        for order in ("index", "value"):
            figure = figures.factor_heatmap(whole_network(), mode, order=order, chosen=(5, 255))
            assert len(figure.to_json().encode()) < 120_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sd"}, "mode is 'sd'; expected one of deviation, percentile, raw"),
        ({"order": "name"}, "order is 'name'; expected index or value"),
        ({"chosen": (2, 0)}, "chosen block is 2; there are blocks 0 to 1"),
        ({"chosen": (1, 2)}, "chosen channel is 2; layer1.1 has 0 to 1"),
        ({"chosen": (-1, 0)}, "chosen block is -1"),
    ],
)
def test_heatmap_refuses_what_does_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        figures.factor_heatmap(two_blocks(), **options)


def test_heatmap_refuses_no_blocks():
    with pytest.raises(ValueError, match="no blocks"):
        figures.factor_heatmap([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": np.ones((1, 2))}, r"factors have shape \(1, 2\)"),
        ({"factors": np.ones(2), "mean": np.ones(3)}, r"mean has shape \(3,\); expected \(2,\)"),
        ({"factors": np.ones(2), "class_percentile": np.ones(2)}, "without the class_name"),
    ],
)
def test_block_factors_refuse_shapes_that_do_not_agree(options, message):
    with pytest.raises(ValueError, match=message):
        BlockFactors("b", **options)


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0th"), (1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"),
     (21, "21st"), (81, "81st"), (92, "92nd"), (93, "93rd"), (100, "100th"), (111, "111th"), (121, "121st")],
)  # fmt: skip
def test_ordinals(number, words):
    assert ordinal(number) == words


@pytest.mark.parametrize(
    ("percentile", "said"),
    [(0, "lowest"), (0.004, "0.01th percentile"), (0.09, "0.09th percentile"), (1, "1st percentile"),
     (2.4, "2nd percentile"), (99, "99th percentile"), (99.91, "99.91th percentile"), (99.999, "99.99th percentile"),
     (100, "highest")],
)  # fmt: skip
def test_percentiles_say_that_they_are_and_tell_the_tails_apart(percentile, said):
    assert percentile_rank(percentile) == said


def test_unusual_channels_come_by_their_deviation():
    rows = figures.unusual_channels(two_blocks(), n=3)
    assert [(row.block, row.channel) for row in rows] == [("layer1.1", 1), ("layer1.0", 0), ("layer1.0", 1)]
    assert [row.deviation for row in rows] == pytest.approx([4, 2, -1], abs=1e-5)
    assert (rows[1].factor, rows[1].mean) == pytest.approx((1.2, 1.0))
    assert (rows[1].percentile, rows[1].class_percentile, rows[1].class_name) == (92, 81, "ship")
    assert (rows[0].percentile, rows[0].class_percentile) == (0, None)


def test_unusual_channels_pass_over_what_cannot_be_compared():
    blocks = [BlockFactors("b", np.array([1.0, 1.5]), np.array([0.9, 1.0]), np.array([0.1, 0.0]))]
    assert [row.channel for row in figures.unusual_channels(blocks)] == [0]
    with pytest.raises(ValueError, match="b has no mean and no sd"):
        figures.unusual_channels([BlockFactors("b", np.ones(2))])
    with pytest.raises(ValueError, match="n is 0"):
        figures.unusual_channels(blocks, n=0)


def test_every_channel_is_listed_also_those_that_cannot_be_compared():
    blocks = [BlockFactors("b", np.array([1.0, 1.5, 1.2]), np.array([0.9, 1.0, 0.9]), np.array([0.1, 0.0, 0.1]))]
    assert [row.channel for row in figures.every_channel(blocks)] == [2, 0, 1]
    assert np.isnan(figures.every_channel(blocks)[2].deviation)


def test_sentence_of_unusual_channels():
    rows = figures.unusual_channels(two_blocks(), n=3)
    assert figures.sentence_of_unusual(rows) == (
        "The most unusual factor is that of layer1.1 channel 1: 0.5800, 4.0 standard deviations above "
        "its mean of 0.5000 over the data set (lowest of all). Of the 3 most unusual channels 2 lie above "
        "their means and 1 below; 2 of them are in layer1.0."
    )
    assert figures.sentence_of_unusual(rows[1:2]).endswith("(92nd percentile, 81st percentile among ship).")
    assert "none of them varies" in figures.sentence_of_unusual([])


# --- the sum and the gates --------------------------------------------------------------------------------


def test_channel_sum_draws_every_part_and_prints_the_numbers():
    m = 0.5 + 0.125 - 0.25
    factor = 1 + np.tanh(m)
    figure = figures.channel_sum("layer3.0", 17, 0.5, [0.125, -0.25], m, factor, factor - 2e-7)
    bars = figure.data[0]
    assert bars.x.tolist() == [0.5, 0.125, -0.25, m, np.tanh(m)]
    assert list(bars.text) == ["+0.5000", "+0.1250", "−0.2500", "+0.3750", "+0.3584"]
    assert list(figure.layout.yaxis.ticktext) == ["W c", "α₀ B₀", "α₁ B₁", "<b>sum m</b>", "<b>tanh m</b>"]
    # positive and negative parts differ in colour, sum and tanh are neither
    assert bars.marker.color[0] == bars.marker.color[1] != bars.marker.color[2] != bars.marker.color[3]
    printed = figure.layout.annotations[0].text
    assert "1.358357" in printed and "residual +2.0e−07" in printed
    low, high = figure.layout.xaxis.range
    assert low < -0.25 and high > 0.5
    assert "layer3.0 channel 17" in bars.hovertemplate
    assert figure.layout.meta["channel"] == 17


def test_channel_sum_refuses_terms_that_are_no_vector():
    with pytest.raises(ValueError, match=r"bias_terms have shape \(1, 2\)"):
        figures.channel_sum("b", 0, 0.5, [[0.1, 0.2]], 0.8, 1.6, 1.6)


def traces_by_name(figure) -> dict:
    return {trace.name: trace for trace in figure.data}


def test_gate_weights_are_drawn_in_thousandths_from_one_over_k():
    weights = np.array([[0.251, 0.249, 0.255, 0.245]])
    mean = np.array([[0.252, 0.248, 0.25, 0.25]])
    figure = figures.gate_weights(
        ["layer1.0"], weights, mean, mean - 0.002, mean + 0.003, np.array([[92.0, 3.0, 50.0, 1.0]])
    )
    traces = traces_by_name(figure)
    picture, usual = traces["this picture"], traces["usual (5th to 95th percentile)"]
    assert picture.x == pytest.approx([1, -1, 5, -5], abs=1e-4)
    assert traces["data set's mean"].x == pytest.approx([2, -2, 0, 0], abs=1e-4)
    assert usual.base == pytest.approx([0, -4, -2, -2], abs=1e-4)
    assert usual.x == pytest.approx([5, 5, 5, 5], abs=1e-4)
    assert figure.layout.xaxis.title.text == "α − 1/4, in thousandths"
    assert picture.text[0] == (
        "<b>layer1.0 α₀ = 0.25100</b><br>1/4 +1.00 thousandths<br>mean 0.25200"
        "<br>usual 0.25000 to 0.25500 (5–95 %)<br>92nd percentile"
    )


def test_gate_weights_without_a_reference():
    figure = figures.gate_weights(["a", "b"], np.array([[0.5, 0.5], [0.25, 0.75]]))
    assert [name for name in traces_by_name(figure) if name] == ["this picture"]
    assert list(figure.layout.yaxis.ticktext) == ["α₀", "α₁", "α₀", "α₁"]
    # -(1/4 log 1/4 + 3/4 log 3/4) / log 2 = 2 - 3/4 log2 3
    assert [note.text for note in figure.layout.annotations] == [
        "<b>a</b>  entropy 100.000 % of log 2",
        "<b>b</b>  entropy 81.128 % of log 2",
    ]
    with pytest.raises(ValueError, match=r"expected \(1, K\)"):
        figures.gate_weights(["a"], np.ones((2, 4)) / 4)
    with pytest.raises(ValueError, match="low has shape"):
        figures.gate_weights(["a"], np.array([[0.5, 0.5]]), low=np.zeros(2))


def test_entropy_share():
    weights = np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    assert entropy_share(weights) == pytest.approx([1, 0, 0.5])
    assert entropy_share(np.ones((3, 1))).tolist() == [1, 1, 1]


# --- distributions ----------------------------------------------------------------------------------------


def test_responses_keep_their_networks_apart():
    ours = [np.array([1.0, 2.0, 3.0]), np.array([4.0, np.nan])]
    theirs = [np.array([-1.0]), np.array([-2.0, -3.0])]
    figure = figures.response_distributions(["a", "b"], {"ResNet-S": ours, "ResNet-DMB": theirs})
    boxes = [trace for trace in figure.data if trace.type == "box"]
    assert [box.name for box in boxes] == ["ResNet-S", "ResNet-DMB"]
    assert [box.line.color for box in boxes] == [figures.BASELINE_COLOUR, figures.DMB_COLOUR]
    assert boxes[0].x.tolist() == [1, 2, 3, 4]
    assert np.rint(boxes[0].y).tolist() == [0, 0, 0, 1]
    assert boxes[1].x.tolist() == [-1, -2, -3]
    assert set(boxes[0].y).isdisjoint(boxes[1].y)
    hover = figure.data[1]
    assert hover.x.tolist() == [2, 4]
    assert list(hover.customdata[0])[:2] == ["a", 3] and "ResNet-S" in hover.hovertemplate
    with pytest.raises(ValueError, match="ResNet-S has responses of 2 blocks; expected 1"):
        figures.response_distributions(["a"], {"ResNet-S": ours})


def test_names_from_a_checkpoint_are_no_markup():
    figure = figures.response_distributions(["<b>x", "%{y}"], {"<i>S": [np.ones(1), np.ones(1)]})
    assert list(figure.layout.yaxis.ticktext) == ["&lt;b&gt;x", "% {y}"]
    assert "<i>S" not in texts(figure)


# --- maps -------------------------------------------------------------------------------------------------


def test_shared_limit_is_one_scale_for_all_maps():
    ours, theirs = np.array([[1.0, -4.0]]), np.array([[2.0, np.nan]])
    assert figures.shared_limit(ours, theirs, quantile=1) == 4
    assert figures.shared_limit(np.arange(201.0)) == pytest.approx(199)
    assert figures.shared_limit(np.zeros((2, 2)), np.full((2, 2), np.nan)) == 1
    # one pixel among many zeros still has a scale
    assert figures.shared_limit(np.eye(1, 10_000) * 0.5) == 0.5
    with pytest.raises(ValueError, match="quantile is 0"):
        figures.shared_limit(ours, quantile=0)


def test_attribution_map_is_symmetric_square_and_upright():
    values = np.array([[1.0, -2.0], [0.0, np.nan]])
    figure = figures.attribution_map(values, 1.5, "ResNet-S − ResNet-DMB", "difference, logit")
    trace, layout = figure.data[0], figure.layout
    np.testing.assert_array_equal(trace.z, values.astype(np.float32))
    assert (trace.zmin, trace.zmax) == (-1.5, 1.5)
    assert trace.zsmooth is False
    assert list(layout.yaxis.range) == [1.5, -0.5] and list(layout.xaxis.range) == [-0.5, 1.5]
    assert layout.yaxis.scaleanchor == "x"
    assert list(trace.colorbar.ticktext) == ["≤ −1.5", "0", "≥ +1.5"]
    assert trace.colorbar.title.text == "difference, logit<br>1 beyond the scale, 1 without value"
    assert "difference, logit" in trace.hovertemplate
    assert layout.annotations[0].text == "ResNet-S − ResNet-DMB"


def test_attribution_map_within_the_scale_says_so():
    trace = figures.attribution_map(np.array([[1.0, -2.0]]), 2.0).data[0]
    assert list(trace.colorbar.ticktext) == ["−2", "0", "+2"]
    assert trace.colorbar.title.text.endswith("no pixel beyond the scale")


@pytest.mark.parametrize(
    ("values", "cause", "words"),
    [
        (np.zeros((2, 2)), None, "blank map: every value is 0"),
        (np.full((2, 2), np.nan), None, "blank map: no value is a finite number"),
        (np.array([[0, np.inf]]), None, "blank map: every finite value is 0, and 1 are not finite"),
        (np.zeros((2, 2)), "the stage is dead", "blank map: the stage is dead"),
    ],
)
def test_blank_maps_say_why(values, cause, words):
    figure = figures.attribution_map(values, 1.0, blank=cause)
    assert words in [note.text.replace("<br>", " ") for note in figure.layout.annotations]
    assert np.isnan(figure.data[0].z).all()


def test_strip_shows_input_map_and_overlay_on_one_scale():
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (255, 0, 0)
    values = np.arange(6.0).reshape(2, 3) - 2
    figure = figures.attribution_strip(pixels, values, 3.0, opacity=0.5, network="ResNet-S")
    picture, plain_map, grey, veil = figure.data
    np.testing.assert_array_equal(picture.z, pixels)
    assert grey.z[0, 0].tolist() == [54, 54, 54]
    for trace in (plain_map, veil):
        np.testing.assert_array_equal(trace.z, values.astype(np.float32))
        assert (trace.zmin, trace.zmax) == (-3, 3)
        assert "ResNet-S" in trace.hovertemplate
    assert [trace.xaxis for trace in figure.data] == ["x", "x2", "x3", "x3"]
    assert plain_map.showscale and not veil.showscale
    assert [note.text for note in figure.layout.annotations] == ["input", "map", "overlay 50 %"]


def test_overlay_is_clear_at_zero_and_as_opaque_as_asked_at_the_limit():
    veil = figures.attribution_strip(np.zeros((1, 1, 3)), np.ones((1, 1)), 1.0, opacity=0.6).data[3]
    places = [place for place, _ in veil.colorscale]
    alphas = [float(colour.rstrip(")").split(",")[-1]) for _, colour in veil.colorscale]
    assert places == [0, 0.5, 0.5, 1]
    assert alphas == [0.6, 0, 0, 0.6]


def test_floating_pixels_are_shown_as_bytes():
    z = figures.attribution_strip(np.array([[[0.0, 0.5, 1.0]]]), np.ones((1, 1)), 1.0).data[0].z
    assert z.dtype == np.uint8 and z[0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": np.ones(4)}, r"the map has shape \(4,\); expected \(H, W\)"),
        ({"values": np.ones((2, 3))}, r"the map has shape \(2, 3\), the picture \(2, 2\)"),
        ({"pixels": np.ones((2, 2))}, r"the picture has shape \(2, 2\); expected \(H, W, 3\)"),
        ({"limit": 0.0}, "limit is 0.0"),
        ({"limit": float("nan")}, "limit is nan"),
        ({"opacity": 1.5}, "opacity is 1.5; expected 0 to 1"),
    ],
)
def test_strip_refuses_what_it_cannot_draw(options, message):
    arguments = {"pixels": np.ones((2, 2, 3)), "values": np.ones((2, 2)), "limit": 1.0, **options}
    with pytest.raises(ValueError, match=message):
        figures.attribution_strip(**arguments)
