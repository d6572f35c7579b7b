"""The page: the picture on the left, the two networks and what they did on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio.components import Component

from abn.app.inspector.visitors import Pair, Pairs
from abn.common.data import Cifar10
from abn.common.texts import escape
from abn.experiment.folder import Results
from abn.ui import about
from abn.ui.events import EVERY_CLICK, HIDDEN
from abn.ui.page import api, link, looking, networks, picture_column
from abn.ui.page.kept_files import KeptImage
from abn.ui.page.latest import Latest
from abn.ui.page.looking import Answer, present
from abn.ui.page.pair_state import PairState
from abn.ui.page.picture_column import Origins
from abn.ui.page.picture_input import GuardedBlocks
from abn.ui.page.shown import Compared, Refit, Shown, compared_in, compared_networks, refit_all
from abn.ui.style import FIT_PLOTS
from abn.ui.tabs import attribution as attribution_tab
from abn.ui.tabs import attribution_controls, take_away
from abn.ui.tabs import factors as factors_tab
from abn.ui.tabs import gates as gates_tab
from abn.ui.tabs import responses as responses_tab
from abn.ui.tabs import results as results_tab

KEEP_SECONDS = 3600  # uploads older than this are deleted at the next sweep, of which there is one as often


def build_page(
    pairs: Pairs,
    examples: Sequence[Path],
    data: Cifar10 | None = None,
    keep: int = KEEP_SECONDS,
    results: Results | None = None,
) -> gr.Blocks:
    """The whole page and its API.

    Args:
        examples: pictures to offer, the first of which is inspected when the page opens.
        data: where given, real test images can be drawn.
        keep: after how many seconds an upload is deleted, at the next sweep, of which there is one as often.
        results: of the experiment, where there are any.
    """
    own = pairs.own
    origins = Origins(examples, data)
    with GuardedBlocks(
        title="Adaptive Bias Networks", analytics_enabled=False, fill_width=True,
        delete_cache=(keep, keep),
    ) as page:  # fmt: skip
        introduction = _introduction(compared_networks(own, own=True))
        for notice in pairs.notices(own):
            gr.Markdown(escape(notice), elem_classes="notice")
        loading = gr.Markdown(visible=False, elem_classes="notice", elem_id="loading")
        failure = gr.Markdown(visible=False, elem_classes="notice", elem_id="failure")
        pair = PairState(folders=pairs.folders)
        shown = gr.State(None)
        maps = gr.State(None)
        # Of networks, of pictures looked at, and of searches; or of a file's result in their place.
        choices, looks, wanted = Latest(), Latest(), Latest()
        places = {name: gr.Textbox("", visible="hidden") for name in ("picture", "left", "right")}
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture, mode, pictures_refit, searches = picture_column.build(
                    pairs, pair, origins, data, keep, wanted
                )
                sees = KeptImage(
                    label="What the networks see (32 × 32)", interactive=False, elem_id="sees", format="png",
                    elem_classes="pixelated", height=240, buttons=[],
                    alt_text="The picture as the networks see it, 32 × 32 pixels",
                )  # fmt: skip
                fitting = gr.Markdown(elem_id="fitting")
                linked = gr.Markdown(elem_id="linked", elem_classes="aside")
                copy = gr.Button("Copy the link", size="sm", elem_id="copy-link")
                copy.click(None, None, None, js=link.COPY, api_visibility="private")
                with gr.Accordion("Which part of the picture is used", open=False):
                    used = KeptImage(
                        show_label=False, interactive=False, buttons=[], elem_id="used",
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
                tabs, taking, tabs_refit, settings = _tabs(
                    pairs, shown, maps, controls, compute, results or Results()
                )
        refit = refit_all([introduction, pictures_refit, attribution_controls.refit(controls), tabs_refit])
        with other_networks:
            networks.build(pairs, pair, shown, [places["left"], places["right"]], refit, choices)

        answer = Answer(shown, failure, sees, truth, places["picture"], linked, agreement, tops)
        looking.build(pairs, origins, (picture, mode, pair), answer, (fitting, used), refit, looks)

        def remind(seen: Shown | None):
            return gr.skip() if seen is not None else gr.Markdown(about.NOTHING_HERE, visible=True)

        # Of a page whose session is forgotten nothing can be drawn anew.
        drawn = [each for name, each in settings.items() if name not in results_tab.SETTINGS]
        gr.on([each.input for each in drawn], remind, shown, failure, **HIDDEN)

        def chosen_class(event: gr.SelectData, shown: Shown | None):
            known = shown is not None and event.value in shown.result.dmb.class_names
            return event.value if known else gr.skip()

        for top in tops:
            top.select(chosen_class, shown, controls.target, **EVERY_CLICK)
        with taking:
            take_away.build(
                pairs, own.methods, shown, maps,
                lambda seen: [*present(seen, origins), None, "", None, *refit.update(compared_in(seen.result))],
                [*answer.components, picture, fitting, used, *refit.components], [choices, looks, wanted], searches,
            )  # fmt: skip
        link.build(
            page, pairs, origins, pair, shown, picture, places, loading, controls, {"fit": mode, **settings},
            tabs, refit, choices,
        )  # fmt: skip
        api.add_endpoints(own)
    return page


def _introduction(own: Compared) -> Refit:
    def text(compared: Compared) -> str:
        baseline, dmb = map(escape, compared.labels)
        template = about.TWO_MODULATED if len(compared.modulated) > 1 else about.INTRODUCTION
        return about.TITLE + template.format(baseline=baseline, dmb=dmb)

    return Refit((gr.Markdown(text(own)),), lambda compared: [text(compared)])


def _glossary(own: Compared) -> Refit:
    def text(compared: Compared) -> str:
        return about.GLOSSARY.format(
            dmb=escape(compared.labels[1]), classes=len(compared.class_names),
            channels=", ".join(map(str, compared.channels)),
        )  # fmt: skip

    return Refit((gr.Markdown(text(own)),), lambda compared: [text(compared)])


def _tabs(
    pairs: Pairs,
    shown: gr.State,
    maps: gr.State,
    controls: attribution_controls.AttributionControls,
    compute: gr.Button,
    results: Results,
) -> tuple[gr.Tabs, gr.Tab, Refit, dict[str, Component]]:
    """Add the tabs.

    Returns:
        The tabs; the one for files, which is still empty; what follows the networks; and the settings by the name
        they have in a link.
    """
    own = compared_networks(pairs.own, own=True)

    def attribute(pair: Pair, *arguments, **options):
        return pairs.inspector(pair, at_hand=True).attribute(*arguments, **options)

    with gr.Tabs(overflow_behavior="wrap") as tabs:
        with gr.Tab("Factors", id="factors", elem_id="tab-factors"):
            factors_refit, settings = factors_tab.build(shown, own)
        with gr.Tab("Gate weights", id="gates", elem_id="tab-gates"):
            gates_refit, gates_settings = gates_tab.build(shown, own)
        with gr.Tab("Attribution", id="attribution", elem_id="tab-attribution"):
            attribution_settings = attribution_tab.build(shown, maps, controls, compute, attribute)
        with gr.Tab("Responses", id="responses", elem_id="tab-responses"):
            responses_tab.build(shown)
        taking = gr.Tab("Take away", id="take-away", elem_id="tab-take-away")
        with gr.Tab("Results", id="results", elem_id="tab-results"):
            results_settings = results_tab.build(results)
        with gr.Tab("Glossary", id="glossary", elem_id="tab-glossary"):
            glossary = _glossary(own)
    for tab in tabs.children:
        link.follow_tab(tab, tab.id, FIT_PLOTS)
    settings |= {**gates_settings, **attribution_settings, **results_settings}
    return tabs, taking, refit_all([factors_refit, gates_refit, glossary]), settings
