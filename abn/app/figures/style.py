"""What all figures share: colours, fonts, axes, colour bars, and numbers as text.

A page may recolour every text by a rule on `.js-plotly-plot text`; hover labels are white on a dark
ground and must then be exempted (`.js-plotly-plot .hovertext text`).
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

# One colour a network, everywhere. Both have a contrast of at least 4:1 on white and on a near-black page,
# stay apart under the common colour-vision deficiencies, and are neither end of the signed map below.
BASELINE_COLOUR = "#a07800"
DMB_COLOUR = "#8a5cd0"
NETWORK_COLOURS = (BASELINE_COLOUR, DMB_COLOUR)

# Blue below, red above (ColorBrewer's RdBu, safe for colour-blind readers). The middle is a light grey, not
# white, so that a cell in the middle differs from an empty one on a white page, and the ends stop short
# of black-blue, so that they do on a dark one.
DIVERGING = (
    "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#e6e6e6", "#fddbc7", "#f4a582", "#d6604d", "#b2182b",
)  # fmt: skip
NEGATIVE_COLOUR, POSITIVE_COLOUR = DIVERGING[1], DIVERGING[-2]

# Mid greys that can be read on white and on near-black alike; the page may override the text's.
TEXT_COLOUR = "#777b80"
GRID_COLOUR = "rgba(128,128,128,0.25)"
LINE_COLOUR = "rgba(128,128,128,0.7)"
NEUTRAL_COLOUR = "#808080"
FONT_SIZE = 12
FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_NEEDLESS_BUTTONS = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "pan2d"]


def new_figure(kind: str, height: int, **meta) -> go.Figure:
    """An empty figure in the common style: `height` pixels tall, as wide as its place.

    `kind` and `meta` (what JSON can hold) stand in `layout.meta`, where a script finds what is shown.
    """
    figure = go.Figure()
    figure.update_layout(
        template="none",
        autosize=True,
        height=height,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT_FAMILY, "size": FONT_SIZE, "color": TEXT_COLOUR},
        hoverlabel={
            "bgcolor": "#1f2937",
            "bordercolor": NEUTRAL_COLOUR,
            "font": {"family": FONT_FAMILY, "size": 13, "color": "#ffffff"},
            "align": "left",
        },
        hovermode="closest",
        dragmode=False,
        modebar={"remove": _NEEDLESS_BUTTONS, "bgcolor": "rgba(0,0,0,0)", "color": NEUTRAL_COLOUR},
        showlegend=False,
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "font": {"size": FONT_SIZE},
        },
        meta={"kind": kind, **meta},
    )
    return figure


def axis(title: str | None, **options) -> dict:
    """An axis in the common style; it cannot be dragged, so that a finger still scrolls the page."""
    common = {
        "gridcolor": GRID_COLOUR,
        "zerolinecolor": LINE_COLOUR,
        "linecolor": LINE_COLOUR,
        "tickfont": {"size": FONT_SIZE},
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GRID_COLOUR,
        "automargin": True,
        "fixedrange": True,
    }
    if title is not None:
        common["title"] = {"text": title, "font": {"size": FONT_SIZE}, "standoff": 6}
    return {**common, **options}


def symmetric_ticks(centre: float, limit: float, clipped: bool, count: int = 5) -> tuple[list[float], list[str]]:
    """An odd `count` of ticks about `centre`; where values lie beyond, the labels of the ends say so."""
    values = [centre + (2 * i / (count - 1) - 1) * limit for i in range(count)]
    labels = [signed(value) if centre == 0 else f"{value:.3g}" for value in values]
    if clipped:
        labels[0], labels[-1] = f"≤ {labels[0]}", f"≥ {labels[-1]}"
    return values, labels


def colour_bar(title: str, ticks: tuple[Sequence[float], Sequence[str]]) -> dict:
    """A horizontal colour bar with numbers along the bottom; a line of its title has room for 38 letters."""
    values, labels = ticks
    return {
        "orientation": "h",
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "ypad": 4,
        "x": 0.5,
        "xanchor": "center",
        "len": 0.8,  # the labels of both ends need room beyond it
        "thickness": 10,
        "outlinewidth": 0,
        "title": {"text": title, "side": "bottom", "font": {"size": FONT_SIZE}},
        "tickfont": {"size": FONT_SIZE},
        "tickvals": list(values),
        "ticktext": list(labels),
        "ticklabeloverflow": "allow",
        "tickangle": 0,
    }


def colour_scale() -> list[list]:
    """The diverging map as plotly takes it."""
    return [[i / (len(DIVERGING) - 1), colour] for i, colour in enumerate(DIVERGING)]


def veil_scale(alpha: float) -> list[list]:
    """The map's two end colours, to lie over a picture: clear in the middle, `alpha` (0…1) at both ends."""
    # No pale colours: they would hide the picture without saying a sign.
    below, above = DIVERGING[0], DIVERGING[-1]
    return [
        [0, _rgba(below, alpha)],
        [0.5, _rgba(below, 0)],
        [0.5, _rgba(above, 0)],
        [1, _rgba(above, alpha)],
    ]


def signed(value: float, form: str = ".3g") -> str:
    """A number with its sign, as in a formula: "+0.013", "−2", "0"."""
    if value == 0:
        return format(0.0, form)
    return f"{value:+{form}}".replace("-", "−")


def subscript(index: int) -> str:
    """17 → "₁₇"."""
    return str(index).translate(_SUBSCRIPTS)


def plain(text: str) -> str:
    """A name as plotly shall print it: no markup, and no placeholder of a hover template."""
    return html.escape(str(text), quote=False).replace("%{", "% {")


def annotation(text: str, **options) -> dict:
    """`text` in the middle of a figure, or where `options` (of a plotly annotation) say."""
    common = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    return {**common, "text": text, "font": {"size": FONT_SIZE}, **options}


def note(figure: go.Figure, text: str, **options) -> None:
    """Print an `annotation`; many are given to the layout at once, for plotly copies all there are for each one."""
    figure.add_annotation(annotation(text, **options))


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:.3f})"
