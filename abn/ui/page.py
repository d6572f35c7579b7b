"""The page: the picture on the left, the two networks and what they did on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio.components import Component
from PIL import Image

from abn.data import Cifar10
from abn.inspector import Inspector
from abn.pairs import OWN, Pair, Pairs
from abn.pictures import describe, enlarge, fit, show_used_part
from abn.ui import (
    about,
    api,
    attribution_controls,
    attribution_tab,
    factors_tab,
    gates_tab,
    link,
    networks,
    picture_column,
    responses_tab,
    words,
)
from abn.ui.edge import escape, told
from abn.ui.picture_column import HIDDEN, Origins
from abn.ui.picture_input import GuardedBlocks
from abn.ui.shown import Refit, Shown, refit_all
from abn.ui.style import FIT_PLOTS

CACHE_SECONDS = 3600  # uploads older than this are deleted, at the next hourly sweep
STATE_SECONDS = 2 * CACHE_SECONDS


def build_page(pairs: Pairs, examples: Sequence[Path], data: Cifar10 | None = None) -> gr.Blocks:
    """The whole page and its API.

    Args:
        examples: pictures to offer, the first of which is inspected when the page opens.
        data: where given, real test images can be drawn.
    """
    own = pairs.own
    origins = Origins(examples, data)
    with GuardedBlocks(
        title="Adaptive Bias Networks", analytics_enabled=False, fill_width=True,
        delete_cache=(CACHE_SECONDS, CACHE_SECONDS),
    ) as page:  # fmt: skip
        introduction = _introduction(own)
        for network in own.networks:
            if network.notice:
                gr.Markdown(escape(network.notice), elem_classes="notice")
        failure = gr.Markdown(visible=False, elem_classes="notice", elem_id="failure")
        pair = gr.State(OWN, time_to_live=STATE_SECONDS)
        shown = gr.State(None, time_to_live=STATE_SECONDS)
        places = {name: gr.Textbox("", visible="hidden") for name in ("picture", "left", "right")}
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture, mode, pictures_refit = picture_column.build(pairs, pair, origins, data)
                sees = gr.Image(
                    label="What the networks see (32 × 32)", interactive=False, elem_id="sees", format="png",
                    elem_classes="pixelated", height=240, buttons=[],
                    alt_text="The picture as the networks see it, 32 × 32 pixels",
                )  # fmt: skip
                fitting = gr.Markdown(elem_id="fitting")
                linked = gr.Markdown(elem_id="linked", elem_classes="aside")
                gr.Button("Copy the link", size="sm").click(None, None, None, js=link.COPY, api_visibility="private")
                with gr.Accordion("Which part of the picture is used", open=False):
                    used = gr.Image(
                        show_label=False, interactive=False, buttons=[],
                        alt_text="The picture as sent, dark where it is not used",
                    )  # fmt: skip
                controls = attribution_controls.build(own.methods, own.class_names, own.dmb.label)
                compute = gr.Button("Compute the attribution", variant="primary")
                other_networks = gr.Accordion("Compare other networks", open=False)
            with gr.Column(scale=3, min_width=340):
                truth = gr.Markdown(elem_id="truth")
                agreement = gr.Markdown(elem_classes="agreement", elem_id="agreement")
                gr.Markdown(about.TOPS, elem_classes="aside")
                with gr.Row():
                    tops = [
                        gr.Label(num_top_classes=5, elem_id=f"top-{side}", min_width=300, label=network.label)
                        for side, network in zip(("baseline", "dmb"), own.networks, strict=True)
                    ]
                tabs, tabs_refit, settings = _tabs(pairs, shown, controls, compute)
        refit = refit_all([introduction, pictures_refit, attribution_controls.refit(controls), tabs_refit])
        with other_networks:
            networks.build(pairs, pair, [places["left"], places["right"]], refit)

        @told
        def look(picture: Image.Image | None, mode: str, pair: Pair):  # its name must not take /inspect's
            if picture is None:
                return [gr.skip(), gr.Markdown(about.REMOVED, visible=True), *[gr.skip()] * 9]
            fitted = fit(picture, mode)
            result = pairs.inspector(pair).inspect(fitted.pixels)
            origin = origins.name(picture)
            return (
                Shown(pair, result, mode, origin), gr.Markdown(visible=False), enlarge(fitted.pixels),
                describe(fitted), show_used_part(picture, fitted), origins.describe(origin), origin,
                about.LINK_SHOWN if origin else about.LINK_UPLOAD,
                words.agreement(result),
                *(gr.Label(_top(network), label=network.label) for network in result.networks),
            )  # fmt: skip

        inspected = gr.on(
            [picture.change, mode.change, pair.change], look, [picture, mode, pair],
            [shown, failure, sees, fitting, used, truth, places["picture"], linked, agreement, *tops],
            trigger_mode="always_last", concurrency_limit=4, api_visibility="private", show_progress="minimal",
            show_progress_on=agreement,
        )  # fmt: skip
        inspected.failure(lambda: gr.Markdown(about.EARLIER, visible=True), None, failure, **HIDDEN)

        def chosen_class(event: gr.SelectData, shown: Shown | None):
            known = shown is not None and event.value in shown.result.dmb.class_names
            return event.value if known else gr.skip()

        for top in tops:
            top.select(chosen_class, shown, controls.target, **HIDDEN)
        link.build(page, pairs, origins, pair, picture, places, controls, {"fit": mode, **settings}, tabs, refit)
        api.add_endpoints(own.inspect, own.attribute, own.methods, own.class_names, own.dmb.label)
    return page


def _top(network) -> dict[str, float]:
    return dict(zip(network.class_names, network.probabilities.tolist(), strict=True))


def _introduction(own: Inspector) -> Refit:
    def text(inspector: Inspector) -> str:
        baseline, dmb = (escape(network.label) for network in inspector.networks)
        template = about.TWO_MODULATED if len(inspector.modulated) > 1 else about.INTRODUCTION
        return about.TITLE + template.format(baseline=baseline, dmb=dmb)

    return Refit((gr.Markdown(text(own)),), lambda inspector: [text(inspector)])


def _glossary(own: Inspector) -> Refit:
    def text(inspector: Inspector) -> str:
        channels = sorted({block.channels for _, block in inspector.dmb.model.blocks()})
        return about.GLOSSARY.format(
            dmb=escape(inspector.dmb.label), classes=len(inspector.class_names),
            channels=", ".join(map(str, channels)),
        )  # fmt: skip

    return Refit((gr.Markdown(text(own)),), lambda inspector: [text(inspector)])


def _tabs(
    pairs: Pairs, shown: gr.State, controls: attribution_controls.AttributionControls, compute: gr.Button
) -> tuple[gr.Tabs, Refit, dict[str, Component]]:
    """The tabs, what of them follows the networks, and their settings by the name they have in a link."""

    def attribute(pair: Pair, *arguments, **options):
        return pairs.inspector(pair).attribute(*arguments, **options)

    with gr.Tabs(overflow_behavior="wrap") as tabs:
        with gr.Tab("Factors", id="factors", elem_id="tab-factors"):
            factors_refit, settings = factors_tab.build(shown, pairs.own)
        with gr.Tab("Gate weights", id="gates", elem_id="tab-gates"):
            gates_refit = gates_tab.build(shown, pairs.own)
        with gr.Tab("Attribution", id="attribution", elem_id="tab-attribution"):
            attribution_tab.build(shown, controls, compute, attribute)
        with gr.Tab("Responses", id="responses", elem_id="tab-responses"):
            responses_tab.build(shown)
        with gr.Tab("Glossary", id="glossary", elem_id="tab-glossary"):
            glossary = _glossary(pairs.own)
    for tab in tabs.children:
        link.follow_tab(tab, tab.id, FIT_PLOTS)
    return tabs, refit_all([factors_refit, gates_refit, glossary]), settings
