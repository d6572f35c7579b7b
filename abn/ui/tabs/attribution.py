"""Where the networks looked: maps, overlays and their difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr
import numpy as np
from gradio.components import Component

from abn.app import figures
from abn.app.figures import drawing
from abn.app.figures.in_numbers import REGION_COLUMNS, region_rows
from abn.app.inspector.inspector import AttributionPair
from abn.common.texts import escape
from abn.interpret.attribution.methods import Method
from abn.ui import about, words
from abn.ui.edge import as_gradio_error
from abn.ui.events import HIDDEN
from abn.ui.page.latest import Latest, Superseded
from abn.ui.page.shown import Shown
from abn.ui.tabs.attribution_controls import SLOW_QUEUE, AttributionControls

FAILED = (
    "**The last request failed;** the message at the corner says why. Maps below, if any, are of earlier settings."
)


def build(
    shown: gr.State,
    maps: gr.State,
    controls: AttributionControls,
    compute: gr.Button,
    attribute: Callable[..., AttributionPair],
) -> dict[str, Component]:
    """Add the tab's components; fast methods follow every change, slow ones wait for `compute`.

    Args:
        shown: holds a `Shown`, or None before the first picture.
        maps: is to hold a `Shown` with the `AttributionPair` found for it; None before.
        attribute: (pair, pixels, target, against, method, options, progress) → both networks' maps.

    Returns:
        The settings by the name they have in a link.
    """
    gr.Markdown(about.ATTRIBUTION)
    status = gr.Markdown(elem_id="attribution-status")
    opacity = gr.Slider(0, 1, value=0.6, step=0.05, label="Opacity of the map over the picture", elem_id="opacity")
    titles, plots = [], []
    with gr.Row():
        for side in ("baseline", "dmb"):
            with gr.Column(min_width=330):
                titles.append(gr.Markdown())
                plots.append(gr.Plot(show_label=False, elem_id=f"attribution-{side}"))
    difference = gr.Plot(show_label=False, elem_id="attribution-difference")
    said = gr.Markdown(elem_id="attribution-regions")
    with gr.Accordion("The maps in numbers, by 4 × 4 regions", open=False):
        table = gr.Dataframe(show_label=False, interactive=False, elem_id="attribution-table")

    latest = Latest()

    @as_gradio_error
    def follow(request: gr.Request, seen: Shown | None, *values):
        """A change of picture or settings: fast methods answer it, slow ones say what they would take."""
        number = latest.begin(request.session_hash)
        if seen is None:
            return gr.skip(), about.NOTHING_HERE
        if seen.opened is not None:
            return gr.skip(), from_file(seen)
        _, _, method, options = controls.read(values)
        chosen = controls.methods[method]
        if not chosen.slow:
            return answer(request, number, seen, values, None)
        return gr.skip(), (
            f"{chosen.label} is slow: about {chosen.cost(**options):.0f} passes forward and back for each network. "
            "Press **Compute the attribution** to start it. Maps below, if any, are of an earlier picture or earlier "
            "settings."
        )

    @as_gradio_error
    def start(request: gr.Request, seen: Shown | None, *values, progress=gr.Progress()):  # noqa: B008
        """The button: any method, with progress; given up as soon as the visitor changes something."""
        number = latest.begin(request.session_hash)
        if seen is None:
            return gr.skip(), about.NOTHING_HERE
        if seen.opened is not None:
            return gr.skip(), from_file(seen)
        return answer(request, number, seen, values, progress)

    def from_file(seen: Shown) -> str:
        pair = seen.opened.attribution
        if pair is None:
            return about.OPENED_NO_MAPS
        return about.OPENED_MAPS.format(method=controls.methods[pair.method].label, target=escape(pair.target))

    def answer(request: gr.Request, number: int, seen: Shown, values, progress: gr.Progress | None):
        result = seen.result
        target, against, method, options = controls.read(values)

        def tell(share: float) -> None:
            latest.require(request.session_hash, number)
            if progress is not None:
                progress(share, desc=controls.methods[method].label)

        try:
            pair = attribute(
                seen.pair,
                result.pixels,
                target or result.dmb.predicted_name,
                against,
                method,
                options,
                progress=tell,
            )
            latest.require(request.session_hash, number)
        except Superseded:
            return gr.skip(), gr.skip()
        return (seen, pair), describe(pair, [network.label for network in result.networks])

    def describe(pair: AttributionPair, labels: Sequence[str]) -> str:
        text = f"{controls.methods[pair.method].label} for **{escape(pair.target)}**."
        for label, attribution in zip(map(escape, labels), (pair.baseline, pair.dmb), strict=True):
            height, width = attribution.resolution
            if (height, width) != pair.maps[0].shape:
                coarse = controls.methods[pair.method].coarse.format(height=height, width=width)
                text += f" {label}: {coarse}." if coarse else ""
            if attribution.convergence_delta is not None:
                text += f" {label}: convergence delta {attribution.convergence_delta[0].item():+.3g} (logit units)."
            if attribution.problems[0]:
                text += f" **{label}: {escape(attribution.problems[0])}**"
        return text

    def draw(drawn: tuple[Shown, AttributionPair] | None, opacity: float, current: Shown | None):
        # A slow method may end after another picture came: its maps are not put beside that one's results.
        if drawn is None and current is not None and current.opened is not None:
            return ["", "", None, None, None, "", []]  # the file holds none: those of an earlier picture go
        if drawn is None or drawn[0] is not current:
            return [gr.skip()] * 7
        result, pair = drawn[0].result, drawn[1]
        labels = [*(network.label for network in result.networks), drawing.difference_title(result)]
        maps, problems = (
            [*pair.maps, pair.maps[1] - pair.maps[0]],
            [pair.baseline.problems[0], pair.dmb.problems[0], None],
        )
        names = [f"**{escape(label)}**" for label in labels[:2]]
        method = controls.methods[pair.method]
        return *names, *drawing.attribution(result, pair, opacity), *in_numbers(labels, maps, problems, method)

    def in_numbers(labels: Sequence[str], maps: Sequence[np.ndarray], problems: Sequence[str | None], method: Method):
        found = [figures.regions(values) for values in maps]
        sentences = [
            words.regions(*each, adds_up=method.adds_up) for each in zip(labels, found, problems, strict=True)
        ]
        values = "sums" if method.adds_up else "means"
        return (
            about.REGIONS.format(values=values, unit=method.unit)
            + "\n".join(f"- {sentence}" for sentence in sentences),
            gr.Dataframe(region_rows(found, method.adds_up), headers=[*REGION_COLUMNS, *labels]),
        )

    newest = {"trigger_mode": "always_last", "api_visibility": "private"}
    inputs, outputs = [shown, *controls.components], [maps, status]
    followed = gr.on(
        [shown.change, *(component.change for component in controls.components)], follow, inputs, outputs,
        concurrency_limit=4, show_progress_on=[status, *plots], **newest,
    )  # fmt: skip
    started = compute.click(
        start, inputs, outputs, concurrency_limit=2, concurrency_id=SLOW_QUEUE, show_progress_on=[status, *plots],
        **newest,
    )  # fmt: skip
    for asked in (followed, started):
        asked.failure(lambda: FAILED, None, status, **HIDDEN)
    gr.on(
        [maps.change, opacity.change],
        draw,
        [maps, opacity, shown],
        [*titles, *plots, difference, said, table],
        show_progress="minimal",
        show_progress_on=[*plots, difference],
        **newest,
    )
    return {"opacity": opacity}
