"""Other networks than the app's own, for one visitor alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from abn.app.inspector.visitors import OWN, Pairs
from abn.common.texts import escape
from abn.ui import about
from abn.ui.edge import as_gradio_error
from abn.ui.events import HIDDEN
from abn.ui.page.latest import Latest, Superseded
from abn.ui.page.link import pair_places
from abn.ui.page.pair_state import PairState
from abn.ui.page.shown import Compared, Refit, Shown, compared_networks

RESET = "reset"
QUEUE = "networks"  # a slow Hub keeps the few places of this queue, and nothing else, waiting


def build(
    pairs: Pairs, pair: PairState, shown: gr.State, places: Sequence[gr.Textbox], refit: Refit, choices: Latest
) -> None:
    """Add the fields and their events.

    Args:
        pair: the visitor's choice, which the rest of the page follows.
        shown: holds a `Shown`, or None. Labels over a result that was read from a file stay the file's.
        places: out of sight, what `abn.ui.page.link.pair_places` says.
        refit: everything that has the networks' names in it.
        choices: networks that arrive after a newer choice change nothing.
    """
    kind = "Hub id or folder" if pairs.folders else "Hub id"
    gr.Markdown(about.NETWORKS_FOLDERS if pairs.folders else about.NETWORKS)
    fields = [
        gr.Textbox(
            label=f"{side}: {kind}", placeholder=f"empty: {own.label} of this app", max_length=400, elem_id=name
        )
        for side, name, own in zip(
            ("Left network", "Right network"), ("network-baseline", "network-dmb"), pairs.own.networks, strict=True
        )
    ]
    with gr.Row():
        load = gr.Button("Load", min_width=80)
        back = gr.Button("Reset", min_width=80)
    status = gr.Markdown(elem_id="networks-status")

    @as_gradio_error
    def choose(request: gr.Request, baseline: str, dmb: str, seen: Shown | None):
        number = choices.begin(request.session_hash)
        chosen = pairs.choose(baseline, dmb)
        inspector = pairs.inspector(chosen)
        try:
            choices.require(request.session_hash, number)
        except Superseded:
            return [gr.skip()] * len(outputs)
        names = " and ".join(f"**{escape(network.label)}**" for network in inspector.networks)
        text = " ".join([f"You compare {names}; nobody else's page changes.", *map(escape, pairs.notices(inspector))])
        return [chosen, text, *pair_places(chosen), *relabelled(compared_networks(inspector, chosen == OWN), seen)]

    def reset(request: gr.Request, seen: Shown | None):
        choices.begin(request.session_hash, RESET)
        return ["", "", OWN, "", *pair_places(OWN), *relabelled(compared_networks(pairs.own, own=True), seen)]

    def relabelled(compared: Compared, seen: Shown | None) -> list[Any]:
        from_file = seen is not None and seen.opened is not None
        return [gr.skip()] * len(refit.components) if from_file else refit.update(compared)

    outputs = [pair, status, *places, *refit.components]
    chosen = gr.on(
        [load.click, *(field.submit for field in fields)], choose, [*fields, shown], outputs, trigger_mode="once",
        concurrency_limit=2, concurrency_id=QUEUE, api_visibility="private", show_progress_on=status,
    )  # fmt: skip

    def failed(request: gr.Request):
        # What Reset has cancelled ends as a failure too, which nobody is told of, and often after Reset itself.
        return gr.skip() if choices.newest(request.session_hash) == RESET else about.NETWORKS_FAILED

    chosen.failure(failed, None, status, **HIDDEN)
    back.click(reset, shown, [*fields, *outputs], cancels=[chosen], **HIDDEN)
