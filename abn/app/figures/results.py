"""The experiment's figures: every run's accuracy, differences between arms with their intervals, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.style import (
    BASELINE_COLOUR,
    DMB_COLOUR,
    LINE_COLOUR,
    NEUTRAL_COLOUR,
    axis,
    new_figure,
    plain,
    signed,
)
from abn.experiment.numbers import interval

# A colour and a symbol an arm; the two networks of the page keep their colours.
ARM_STYLES = {
    "resnet-s": (BASELINE_COLOUR, "circle"),
    "resnet-dmb": (DMB_COLOUR, "diamond"),
    "bank-only": ("#0f8a7e", "square"),
    "no-gates": ("#c2477f", "triangle-up"),
    "se": ("#3b7fd1", "pentagon"),
    "awake": ("#d0562c", "star"),
}
INTERVALS = "simultaneous 95 % interval"
PAPER_LABEL = "the paper: best epoch, n = 1"
ROW_HEIGHT = 46  # pixels
POINT_WIDTH = 0.02  # of a run's point, as a share of the axis of accuracies
POINT_HEIGHT, ROW_ROOM = 0.2, 0.4  # of a point, and to either side of a row's middle, in rows


@dataclass(frozen=True)
class ArmRuns:
    """One arm's runs.

    Attributes:
        arm: a key of `ARM_STYLES`.
        last: seed → test accuracy after the last epoch, in percent, of the finished runs.
        curves: seed → (epochs, test accuracies in percent), as far as the run has come.
    """

    arm: str
    label: str
    last: Mapping[int, float]
    curves: Mapping[int, tuple[Sequence[int], Sequence[float]]]

    def __post_init__(self) -> None:
        if self.arm not in ARM_STYLES:
            raise ValueError(f"{self.arm!r} has no colour; expected one of {', '.join(ARM_STYLES)}")


def seed_points(arms: Sequence[ArmRuns], paper: Mapping[str, float]) -> go.Figure:
    """A row an arm: a point a finished run, the mean, and the paper's figure; a line joins the runs of a seed.

    Points that would cover each other stand beside each other within their row.

    Args:
        paper: arm → the paper's test accuracy, in percent.
    """
    figure = new_figure("seed_points", height=ROW_HEIGHT * len(arms) + 140)
    heights = _heights(arms)
    line_x, line_y = _joined_by_seed(arms, heights)
    figure.add_scatter(
        x=line_x, y=line_y, mode="lines", line={"color": LINE_COLOUR, "width": 1}, hoverinfo="skip",
        name="the same seed", showlegend=bool(len(line_x)),
    )  # fmt: skip
    for row, arm in enumerate(arms):
        colour, symbol = ARM_STYLES[arm.arm]
        figure.add_scatter(
            x=np.array(list(arm.last.values()), np.float32), y=list(heights[row].values()), mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10, "opacity": 0.85}, customdata=list(arm.last),
            hovertemplate=f"<b>{plain(arm.label)}</b>, seed %{{customdata}}: %{{x:.2f}} %<extra></extra>",
            name=plain(arm.label), showlegend=False,
        )  # fmt: skip
    means = [(float(np.mean(list(arm.last.values()))), row) for row, arm in enumerate(arms) if arm.last]
    figure.add_scatter(
        x=[mean for mean, _ in means], y=[row for _, row in means], mode="markers", name="mean",
        marker={"symbol": "line-ns", "size": 28, "line": {"width": 3, "color": NEUTRAL_COLOUR}},
        hovertemplate="mean %{x:.2f} %<extra></extra>",
    )  # fmt: skip
    figure.add_trace(_paper_marks([paper.get(arm.arm) for arm in arms], "%"))
    figure.update_layout(
        margin={"b": 116},
        showlegend=True,
        xaxis=axis("test accuracy after the last epoch, %", zeroline=False),
        yaxis=_rows([f"{plain(arm.label)}<br>n = {len(arm.last)}" for arm in arms]),
    )
    return figure


def _heights(arms: Sequence[ArmRuns]) -> list[dict[int, float]]:
    """For each arm, seed → where its point stands on the axis of rows: in the row's middle, or as near as is free."""
    every = [value for arm in arms for value in arm.last.values()]
    width = POINT_WIDTH * (max(every) - min(every)) if every else 0.0
    found = []
    for row, arm in enumerate(arms):
        places: dict[int, int] = {}  # seed → 0, 1, −1, 2, …: steps from the row's middle
        for seed, value in arm.last.items():
            taken = {place for other, place in places.items() if abs(arm.last[other] - value) <= width}
            order = sorted(range(-len(taken), len(taken) + 1), key=lambda place: (abs(place), -place))
            places[seed] = next(place for place in order if place not in taken)
        step = min(POINT_HEIGHT, ROW_ROOM / max(map(abs, places.values()), default=1)) if any(places.values()) else 0
        found.append({seed: row + place * step for seed, place in places.items()})
    return found


def _joined_by_seed(arms: Sequence[ArmRuns], heights: Sequence[Mapping[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a line a seed through its runs, NaN between two lines."""
    x, y = [], []
    for seed in sorted({seed for arm in arms for seed in arm.last}):
        points = [(arm.last[seed], at[seed]) for arm, at in zip(arms, heights, strict=True) if seed in arm.last]
        if len(points) > 1:
            x += [value for value, _ in points] + [np.nan]
            y += [at for _, at in points] + [np.nan]
    return np.array(x, np.float32), np.array(y, np.float32)


def contrast_intervals(
    labels: Sequence[str],
    n: Sequence[int],
    mean: Sequence[float],
    low: Sequence[float | None],
    high: Sequence[float | None],
    paper: Sequence[float | None],
) -> go.Figure:
    """A row a contrast, on an axis with 0: its mean and interval, in points; an open point without an interval.

    Args:
        n: seeds behind each.
        low, high: ends of each simultaneous 95 % interval, or None.
        paper: the paper's own difference, or None.

    Raises:
        ValueError: for arguments of different lengths.
    """
    if len({len(each) for each in (labels, n, mean, low, high, paper)}) > 1:
        raise ValueError("the contrasts' columns have different lengths; expected one value a contrast in each")
    figure = new_figure("contrast_intervals", height=ROW_HEIGHT * len(labels) + 140)
    mean, low, high, paper = (np.array(each, np.float64) for each in (mean, low, high, paper))
    texts = [
        f"<b>{plain(label)}</b><br>{signed(value, '.2f')} points, n = {count}<br>"
        + ("no interval" if np.isnan(a) else f"{INTERVALS} {interval(a, b)}")
        for label, count, value, a, b in zip(labels, n, mean, low, high, strict=True)
    ]
    has_interval = np.isfinite(low) & np.isfinite(high)
    for name, symbol, rows in (
        (f"mean, {INTERVALS}", "circle", np.flatnonzero(has_interval)),
        ("no interval (one seed, or no spread)", "circle-open", np.flatnonzero(~has_interval)),
    ):
        bars = {"array": (high - mean)[rows], "arrayminus": (mean - low)[rows]}
        figure.add_scatter(
            x=mean[rows], y=rows.astype(np.float32), mode="markers", name=name, showlegend=bool(len(rows)),
            marker={"color": DMB_COLOUR, "size": 11, "symbol": symbol, "line": {"width": 2, "color": DMB_COLOUR}},
            error_x={**bars, "color": DMB_COLOUR, "thickness": 2, "width": 6} if symbol == "circle" else None,
            text=[texts[row] for row in rows], hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    figure.add_trace(_paper_marks(paper, "points"))
    ends = [0.0, *(value for value in (*mean, *low, *high, *paper) if np.isfinite(value))]
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    figure.update_layout(
        margin={"b": 116},
        showlegend=True,
        xaxis=axis(
            "difference of test accuracy, in points",
            zeroline=True,
            zerolinewidth=2,
            range=[min(ends) - room, max(ends) + room],
        ),
        yaxis=_rows([plain(label).replace(" − ", "<br>− ") for label in labels]),
    )
    return figure


def learning_curves(arms: Sequence[ArmRuns]) -> go.Figure:
    """Test accuracy after each epoch, a line a run; a run that was tested once is a point."""
    figure = new_figure("learning_curves", height=400)
    for arm in arms:
        colour, symbol = ARM_STYLES[arm.arm]
        epochs, accuracies, seeds = [], [], []
        for seed, (x, y) in arm.curves.items():
            epochs += [*x, np.nan]
            accuracies += [*y, np.nan]
            seeds += [seed] * (len(x) + 1)
        if not epochs:
            continue
        figure.add_scatter(
            x=np.array(epochs, np.float32), y=np.array(accuracies, np.float32), mode="lines+markers",
            line={"color": colour, "width": 1}, marker={"color": colour, "symbol": symbol, "size": 4},
            customdata=seeds, name=plain(arm.label),
            hovertemplate=f"<b>{plain(arm.label)}</b>, seed %{{customdata}}<br>"
            "epoch %{x}: %{y:.2f} %<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        margin={"b": 116},
        showlegend=True,
        xaxis=axis("epoch", zeroline=False, rangemode="tozero"),
        yaxis=axis("test accuracy, %", zeroline=False),
    )
    return figure


def _paper_marks(values: Sequence[float | None], unit: str) -> go.Scatter:
    """The paper's figures, each in its row; None or NaN where it has none."""
    values = np.array(values, np.float64)
    rows = np.flatnonzero(np.isfinite(values))
    return go.Scatter(
        x=values[rows], y=rows.astype(np.float32), mode="markers", name=PAPER_LABEL, showlegend=bool(len(rows)),
        marker={"symbol": "x-thin", "size": 11, "line": {"width": 2, "color": NEUTRAL_COLOUR}},
        hovertemplate=f"%{{x}} {unit}, {PAPER_LABEL}<extra></extra>",
    )  # fmt: skip


def _rows(labels: Sequence[str]) -> dict:
    """An axis with a row a label, from above."""
    return axis(
        None,
        tickvals=list(range(len(labels))),
        ticktext=list(labels),
        range=[len(labels) - 0.5, -0.5],
        zeroline=False,
    )
