"""The page: the picture on the left, the two networks and what they did on the right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency
from PIL import Image

from abn.data import CLASS_NAMES, Cifar10
from abn.inspector import DataSetImage, Inspector
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
from abn.ui.edge import escape, refuse, told
from abn.ui.picture_input import GuardedBlocks, PictureInput
from abn.ui.style import FIT_PLOTS

FIT_LABELS = {"crop": "centre crop", "pad": "whole picture, padded"}
HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}
KEEP_SECONDS = 3600  # uploads older than this are deleted at the next sweep, of which there is one as often
EARLIER = (
    "**The last request failed.** What stands below belongs to the picture and settings before it; the message at "
    "the corner says what went wrong."
)
REMOVED = "There is no picture. What stands below, if anything, belongs to the last one."


def build_page(
    inspector: Inspector, examples: Sequence[Path], data: Cifar10 | None = None, keep: int = KEEP_SECONDS
) -> gr.Blocks:
    """The whole page and its API.

    Args:
        examples: pictures to offer, the first of which is inspected when the page opens.
        data: where given, real test images can be drawn.
        keep: after how many seconds an upload is deleted, at the next sweep, of which there is one as often.
    """
    baseline, dmb = (network.label for network in inspector.networks)
    with GuardedBlocks(
        title="Adaptive Bias Networks", analytics_enabled=False, fill_width=True,
        delete_cache=(keep, keep),
    ) as page:  # fmt: skip
        gr.Markdown(about.INTRODUCTION.format(baseline=escape(baseline), dmb=escape(dmb)))
        for network in inspector.networks:
            if network.notice:
                gr.Markdown(escape(network.notice), elem_classes="notice")
        failure = gr.Markdown(visible=False, elem_classes="notice", elem_id="failure")
        shown = gr.State(None, time_to_live=2 * keep)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture, mode = _picture_column(inspector, examples, data, keep)
                sees = gr.Image(
                    label="What the networks see (32 × 32)", interactive=False, elem_id="sees", format="png",
                    elem_classes="pixelated", height=240, buttons=[],
                )  # fmt: skip
                fitting = gr.Markdown(elem_id="fitting")
                with gr.Accordion("Which part of the picture is used", open=False):
                    used = gr.Image(show_label=False, interactive=False, buttons=[])
                controls = attribution_controls.build(inspector.methods, inspector.class_names, dmb)
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

        inspected = gr.on(
            [picture.change, mode.change], look, [picture, mode],
            [shown, failure, sees, fitting, used, agreement, *tops], trigger_mode="always_last",
            concurrency_limit=4, api_visibility="private", show_progress="minimal",
        )  # fmt: skip
        inspected.failure(lambda: gr.Markdown(EARLIER, visible=True), None, failure, **HIDDEN)

        def chosen_class(event: gr.SelectData):
            return event.value if event.value in inspector.class_names else gr.skip()

        for top in tops:
            top.select(chosen_class, None, controls.target, **HIDDEN)
        if examples:
            # A visitor on a slow line may have sent a picture of their own by then.
            page.load(
                lambda own: gr.skip() if own is not None else read_picture(examples[0]), picture, picture, **HIDDEN
            )
        api.add_endpoints(inspector.inspect, inspector.attribute, inspector.methods, inspector.class_names, dmb)
    return page


def _top(network) -> dict[str, float]:
    return dict(zip(network.class_names, network.probabilities.tolist(), strict=True))


def _picture_column(
    inspector: Inspector, examples: Sequence[Path], data: Cifar10 | None, keep: int
) -> tuple[PictureInput, gr.Radio]:
    picture = PictureInput(label="Picture", elem_id="picture", height=300)
    gr.Markdown(about.KEPT.format(minutes=-(-2 * keep // 60)), elem_classes="aside")
    truth = gr.Markdown(elem_id="truth")
    gallery = _gallery(inspector, examples) if examples else None
    slow = []
    if data is not None and inspector.class_names == CLASS_NAMES:
        slow = [_test_image_buttons(inspector, data, picture, truth)]
    # What a person does next discards the answer of a search that still goes on.
    if gallery is not None:

        def example(event: gr.SelectData):
            if not isinstance(event.index, int) or not 0 <= event.index < len(examples):
                raise refuse(f"There is no example {event.index!r}; choose one of the {len(examples)} shown.")
            return read_picture(examples[event.index]), ""

        gallery.select(example, None, [picture, truth], cancels=slow, **HIDDEN)
    picture.input(lambda: "", None, truth, cancels=slow, **HIDDEN)
    mode = gr.Radio([(FIT_LABELS.get(name, name), name) for name in FITS], value="crop", label="Fit to a square by")
    return picture, mode


def _gallery(inspector: Inspector, examples: Sequence[Path]) -> gr.Gallery:
    pictures = [(read_picture(path), path.stem) for path in examples]
    gr.Markdown("**Examples**, drawn for this page:")
    gallery = gr.Gallery(
        pictures, label="Examples", show_label=False, columns=5, height="auto", allow_preview=False, buttons=[],
        object_fit="cover", elem_id="examples", format="png",
    )  # fmt: skip
    if inspector.class_names == CLASS_NAMES:

        @cache
        def table() -> str:
            return words.examples([(name, inspector.inspect(fit(picture).pixels)) for picture, name in pictures])

        with gr.Accordion("What the networks make of them", open=False) as accordion:
            said = gr.Markdown("The networks are asked when this is opened.", elem_id="examples-said")
        # Not before somebody asks: the page would be served later.
        accordion.expand(lambda: table(), None, said, api_visibility="private")
    return gallery


def _test_image_buttons(inspector: Inspector, data: Cifar10, picture: PictureInput, truth: gr.Markdown) -> Dependency:
    """Two buttons that draw a test image; returns the slower one's event, a search."""
    with gr.Row():
        draw = gr.Button("Draw a test image")
        differ = gr.Button("Draw one they disagree on")

    def drawn(image: DataSetImage | None) -> tuple[Any, str]:
        if image is None:
            return gr.skip(), "The networks agree on every test image."
        return image.pixels, f"CIFAR-10 test image {image.index}; its true class is **{image.true_class}**."

    def any_image():
        index = int(np.random.default_rng().integers(len(data.x_test)))
        return drawn(inspector.data_set_image(data.x_test, data.y_test, index))

    @told
    def disagreement():
        return drawn(inspector.find_disagreement(data.x_test, data.y_test, np.random.default_rng()))

    search = differ.click(disagreement, None, [picture, truth], api_visibility="private", show_progress_on=truth)
    draw.click(any_image, None, [picture, truth], cancels=[search], **HIDDEN)
    return search


def _tabs(
    inspector: Inspector,
    shown: gr.State,
    controls: attribution_controls.AttributionControls,
    compute: gr.Button,
) -> None:
    labels = (inspector.baseline.label, inspector.dmb.label)
    with gr.Tabs():
        with gr.Tab("Factors") as factors:
            factors_tab.build(shown, inspector.block_channels, inspector.dmb.reference is not None)
        with gr.Tab("Gate weights") as gates:
            gates_tab.build(shown, inspector.num_biases)
        with gr.Tab("Attribution") as attribution:
            attribution_tab.build(shown, controls, compute, inspector.attribute, labels)
        with gr.Tab("Responses") as responses:
            responses_tab.build(shown)
        with gr.Tab("Glossary"):
            gr.Markdown(
                about.GLOSSARY.format(
                    dmb=escape(labels[1]), classes=len(inspector.class_names),
                    channels=escape(", ".join(str(c) for c in sorted(set(inspector.block_channels.values())))),
                )
            )  # fmt: skip
    for tab in (factors, gates, attribution, responses):
        tab.select(None, None, None, js=FIT_PLOTS, api_visibility="private")
