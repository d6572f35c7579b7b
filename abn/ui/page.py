"""The page: the picture on the left, the two networks and what they did on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from abn.data import Cifar10
from abn.inspector import Inspector
from abn.pictures import FITS, describe, enlarge, fit, read_picture, show_used_part
from abn.ui import (
    about,
    api,
    attribution_controls,
    attribution_tab,
    factors_tab,
    gates_tab,
    responses_tab,
    words,
)
from abn.ui.edge import told
from abn.ui.picture_input import GuardedBlocks, PictureInput
from abn.ui.style import FIT_PLOTS

FIT_LABELS = {"crop": "centre crop", "pad": "whole picture, padded"}
DEFAULT_METHOD = "saliency"
CACHE_SECONDS = 3600  # uploads older than this are deleted, at the next hourly sweep
EARLIER = (
    "**The last request failed.** What stands below belongs to the picture and settings before it; the message at "
    "the corner says what went wrong."
)
REMOVED = "There is no picture. What stands below, if anything, belongs to the last one."


def build_page(inspector: Inspector, examples: Sequence[Path], data: Cifar10 | None = None) -> gr.Blocks:
    """The whole page and its API.

    Args:
        examples: pictures to offer, the first of which is inspected when the page opens.
        data: where given, real test images can be drawn.
    """
    baseline, dmb = (network.label for network in inspector.networks)
    with GuardedBlocks(
        title="Adaptive Bias Networks", analytics_enabled=False, fill_width=True,
        delete_cache=(CACHE_SECONDS, CACHE_SECONDS),
    ) as page:  # fmt: skip
        gr.Markdown(about.INTRODUCTION.format(baseline=baseline, dmb=dmb))
        for network in inspector.networks:
            if network.notice:
                gr.Markdown(network.notice, elem_classes="notice")
        failure = gr.Markdown(visible=False, elem_classes="notice", elem_id="failure")
        shown = gr.State(None, time_to_live=2 * CACHE_SECONDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture, mode = _picture_column(inspector, examples, data)
                sees = gr.Image(
                    label="What the networks see (32 × 32)", interactive=False, elem_id="sees",
                    elem_classes="pixelated", height=240, buttons=[],
                )  # fmt: skip
                fitting = gr.Markdown(elem_id="fitting")
                with gr.Accordion("Which part of the picture is used", open=False):
                    used = gr.Image(show_label=False, interactive=False, buttons=[])
                controls = attribution_controls.build(inspector.methods, inspector.class_names, DEFAULT_METHOD, dmb)
                compute = gr.Button("Compute", variant="primary")
            with gr.Column(scale=3, min_width=340):
                agreement = gr.Markdown(elem_classes="agreement", elem_id="agreement")
                gr.Markdown(about.TOPS, elem_classes="aside")
                with gr.Row():
                    tops = [
                        gr.Label(
                            num_top_classes=5, elem_id=f"top-{side}", min_width=300,
                            label=network.label,
                        )
                        for side, network in zip(("baseline", "dmb"), inspector.networks, strict=True)
                    ]  # fmt: skip
                _tabs(inspector, shown, controls, compute)

        @told
        def look(picture: Image.Image | None, mode: str):  # its name must not take /inspect's
            if picture is None:
                return [gr.skip(), gr.Markdown(REMOVED, visible=True), *[gr.skip()] * 6]
            fitted = fit(picture, mode)
            result = inspector.inspect(fitted.pixels)
            part = show_used_part(picture, fitted)
            return (
                result, gr.Markdown(visible=False), enlarge(fitted.pixels), describe(fitted), part,
                words.agreement(result), *(_top(network) for network in result.networks),
            )  # fmt: skip

        hidden = {"api_visibility": "private", "show_progress": "hidden"}
        inspected = gr.on(
            [picture.change, mode.change], look, [picture, mode],
            [shown, failure, sees, fitting, used, agreement, *tops], trigger_mode="always_last",
            concurrency_limit=4, api_visibility="private", show_progress="minimal",
        )  # fmt: skip
        inspected.failure(lambda: gr.Markdown(EARLIER, visible=True), None, failure, **hidden)
        for top in tops:
            top.select(_chosen_class, None, controls.target, **hidden)
        if examples:
            page.load(lambda: read_picture(examples[0]), None, picture, **hidden)
        api.add_endpoints(inspector.inspect, inspector.attribute, inspector.methods, inspector.class_names, dmb)
    return page


def _chosen_class(event: gr.SelectData) -> str:
    return event.value


def _top(network) -> dict[str, float]:
    return dict(zip(network.class_names, network.probabilities.tolist(), strict=True))


def _picture_column(
    inspector: Inspector, examples: Sequence[Path], data: Cifar10 | None
) -> tuple[PictureInput, gr.Radio]:
    picture = PictureInput(label="Picture", elem_id="picture", height=300)
    gr.Markdown(about.KEPT, elem_classes="aside")
    hidden = {"api_visibility": "private", "show_progress": "hidden"}
    truth = gr.Markdown(elem_id="truth")
    if examples:
        gr.Markdown("**Examples**, drawn for this page:")
        gallery = gr.Gallery(
            [(read_picture(path), path.stem) for path in examples],
            label="Examples", show_label=False, columns=5, height="auto", allow_preview=False, buttons=[],
            object_fit="cover", elem_id="examples", format="png",
        )  # fmt: skip

        def example(event: gr.SelectData):
            return read_picture(examples[event.index]), ""

        with gr.Accordion("What the networks make of them", open=False):
            gr.Markdown(
                words.examples([(path.stem, inspector.inspect(fit(read_picture(path)).pixels)) for path in examples])
            )
        gallery.select(example, None, [picture, truth], **hidden)
    if data is not None:
        with gr.Row():
            draw = gr.Button("Draw a test image")
            differ = gr.Button("Draw one they disagree on")

        def drawn(image) -> tuple[Any, str]:
            if image is None:
                return gr.skip(), "The networks agree on every test image."
            return (
                image.pixels,
                f"CIFAR-10 test image {image.index}; its true class is **{image.true_class}**.",
            )

        def any_image():
            index = int(np.random.default_rng().integers(len(data.x_test)))
            return drawn(inspector.data_set_image(data.x_test, data.y_test, index))

        def disagreement():
            return drawn(inspector.find_disagreement(data.x_test, data.y_test, np.random.default_rng()))

        draw.click(any_image, None, [picture, truth], **hidden)
        differ.click(disagreement, None, [picture, truth], api_visibility="private")
    picture.input(lambda: "", None, truth, **hidden)
    mode = gr.Radio([(FIT_LABELS.get(name, name), name) for name in FITS], value="crop", label="Fit to a square by")
    return picture, mode


def _tabs(
    inspector: Inspector,
    shown: gr.State,
    controls: attribution_controls.AttributionControls,
    compute: gr.Button,
) -> None:
    blocks = {name: block.channels for name, block in inspector.dmb.model.blocks()}
    labels = (inspector.baseline.label, inspector.dmb.label)
    with gr.Tabs():
        with gr.Tab("Factors") as factors:
            factors_tab.build(shown, blocks, inspector.dmb.reference is not None, labels[0])
        with gr.Tab("Gate weights") as gates:
            gates_tab.build(shown, inspector.dmb.model.num_biases)
        with gr.Tab("Attribution") as attribution:
            attribution_tab.build(shown, controls, compute, inspector.attribute, labels)
        with gr.Tab("Responses") as responses:
            responses_tab.build(shown)
        with gr.Tab("Glossary"):
            gr.Markdown(about.GLOSSARY.format(dmb=labels[1]))
    for tab in (factors, gates, attribution, responses):
        tab.select(None, None, None, js=FIT_PLOTS, api_visibility="private")
