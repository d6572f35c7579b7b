"""Where the networks looked: maps, overlays and their difference."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from abn import figures
from abn.inspector import AttributionPair
from abn.results import PictureResult
from abn.ui import about
from abn.ui.attribution_controls import AttributionControls
from abn.ui.edge import told


def build(
    shown: gr.State,
    controls: AttributionControls,
    compute: gr.Button,
    attribute: Callable[..., AttributionPair],
    labels: tuple[str, str],
) -> None:
    """Add the tab's components; fast methods follow every change, slow ones wait for `compute`.

    Args:
        attribute: (pixels, target, against, method, options, progress) → both networks' maps.
        labels: of the baseline and of the modulated network.
    """
    gr.Markdown(about.ATTRIBUTION)
    status = gr.Markdown(elem_id="attribution-status")
    opacity = gr.Slider(0, 1, value=0.6, step=0.05, label="Opacity of the map over the picture")
    plots = [gr.Plot(show_label=False, elem_id=f"attribution-{side}") for side in ("baseline", "dmb")]
    difference = gr.Plot(show_label=False, elem_id="attribution-difference")
    maps = gr.State(None, time_to_live=7200)

    @told
    def run(event: gr.EventData, result: PictureResult | None, *values, progress=gr.Progress()):  # noqa: B008
        if result is None:
            return gr.skip(), "Nothing to attribute yet: upload a picture or choose an example."
        target, against, method, options = controls.read(values)
        chosen = controls.methods[method]
        if chosen.slow and event.target is not compute:
            passes = chosen.cost(**options)
            note = f"{chosen.label} is slow: about {passes:.0f} passes forward and back for each network. "
            return (
                gr.skip(),
                note + "Press **Compute** to start it. " + "Maps below, if any, are of earlier settings.",
            )
        pair = attribute(
            result.pixels, target or result.dmb.predicted_name, against, method, options,
            progress=lambda share: progress(share, desc=chosen.label),
        )  # fmt: skip
        return (result, pair), describe(pair)

    def describe(pair: AttributionPair) -> str:
        text = f"{controls.methods[pair.method].label} for **{pair.target}**."
        for label, attribution in zip(labels, (pair.baseline, pair.dmb), strict=True):
            height, width = attribution.resolution
            if (height, width) != pair.maps[0].shape:
                text += f" {label}: the map's own resolution is {height} × {width}, enlarged."
            if attribution.convergence_delta is not None:
                text += f" {label}: convergence delta {attribution.convergence_delta[0].item():+.3g} (logit units)."
            if attribution.problems[0]:
                text += f" **{label}: {attribution.problems[0]}**"
        return text

    def draw(drawn: tuple[PictureResult, AttributionPair] | None, opacity: float):
        if drawn is None:
            return [gr.skip()] * 3
        result, pair = drawn
        limit = figures.shared_limit(*pair.maps)
        strips = [
            figures.attribution_strip(
                result.pixels, values, opacity=opacity, limit=limit, network=label, blank=attribution.problems[0]
            )
            for label, values, attribution in zip(labels, pair.maps, (pair.baseline, pair.dmb), strict=True)
        ]
        title = f"{labels[1]} minus {labels[0]}"
        return *strips, figures.attribution_map(pair.maps[1] - pair.maps[0], limit=limit, title=title)

    hidden = {"trigger_mode": "always_last", "api_visibility": "private"}
    changes = [component.change for component in controls.components]
    gr.on(
        [shown.change, compute.click, *changes], run, [shown, *controls.components], [maps, status],
        concurrency_limit=2, show_progress_on=[status, *plots], **hidden,
    )  # fmt: skip
    gr.on(
        [maps.change, opacity.change],
        draw,
        [maps, opacity],
        [*plots, difference],
        show_progress="hidden",
        **hidden,
    )
