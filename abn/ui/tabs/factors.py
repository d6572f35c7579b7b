"""The factors of a modulated network: heatmap, words, tables, and one channel's exact sum."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
from gradio.components import Component

from abn.app import figures
from abn.app.figures.drawing import block_factors
from abn.app.inspector.results import NetworkResult
from abn.common.texts import escape
from abn.ui import about, words
from abn.ui.edge import refuse
from abn.ui.events import EVERY_CLICK, HIDDEN
from abn.ui.page.shown import Compared, Refit, Shown
from abn.ui.style import HEATMAP_CLICKS

MODES = {
    "deviation from the usual": "deviation",
    "percentile": "percentile",
    "raw factor": "raw",
}
ORDERS = {"by channel number": "index", "sorted by value": "value"}
COLUMNS = ["block", "channel", "factor", "usual mean", "deviation (sd)", "percentile", "percentile in class"]


def build(shown: gr.State, own: Compared) -> tuple[Refit, dict[str, Component]]:
    """Add the tab's components, which redraw themselves when `shown` changes.

    Args:
        shown: holds a `Shown`, or None before the first picture.
        own: the networks the page opens with.

    Returns:
        What follows the networks, and the settings by the name they have in a link.
    """
    gr.Markdown(about.FACTORS)
    notes = []
    with gr.Row():
        for name in ("baseline", "dmb"):
            with gr.Column(min_width=300):
                notes.append(gr.Markdown(elem_id=f"factors-note-{name}"))
    side = modulated_side(own, "factor-network")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            mode = gr.Radio(_modes(own), value=_first_mode(own), label="Show each factor as", elem_id="factor-mode")
        with gr.Column(min_width=200):
            order = gr.Radio(list(ORDERS.items()), value="index", label="Channels", elem_id="factor-order")
        with gr.Column(min_width=200):
            own_scale = gr.Checkbox(False, label="A colour scale for each block", elem_id="factor-scale")
    heatmap = gr.Plot(show_label=False, elem_id="factor-heatmap")
    with gr.Row():
        block = gr.Dropdown(_block_names(own), value=_block_names(own)[0], label="Block", elem_id="block")
        channel = gr.Number(0, precision=0, label="Channel", elem_id="channel")
    channel_plot = gr.Plot(show_label=False, elem_id="channel-sum")
    channel_text = gr.Markdown(elem_id="channel-text")
    unusual_text = gr.Markdown()
    unusual = gr.Dataframe(
        headers=COLUMNS, label="The most unusual channels of this picture: choose a row to open its sum",
        interactive=False, elem_id="unusual-channels",
    )  # fmt: skip
    with gr.Accordion("All channels, to sort and to search", open=False) as everything:
        table = gr.Dataframe(
            headers=COLUMNS, show_search="filter", interactive=False, max_height=420, show_label=False,
            elem_id="all-channels",
        )  # fmt: skip
    opened = gr.State(False)
    clicks = gr.HTML(js_on_load=HEATMAP_CLICKS, visible="hidden")

    def draw_heatmap(
        seen: Shown | None, side: str, mode: str, order: str, own: bool, block: str, channel: float | None
    ):
        if seen is None:
            return gr.skip()
        network = seen.result.side(side)
        if not network.has_reference:
            mode = "raw"
        cell = _cell(network, block, channel)
        return figures.factor_heatmap(block_factors(network), mode, own_scale=own, order=order, chosen=cell)

    def draw_texts(seen: Shown | None, side: str):
        if seen is None:
            return [gr.skip()] * 4
        said = [words.own_share(each) if each.is_modulated else words.static(each) for each in seen.result.networks]
        network = seen.result.side(side)
        if not network.has_reference:
            return *said, "", []
        rows = figures.unusual_channels(block_factors(network))
        return *said, escape(figures.sentence_of_unusual(rows)), _table(rows)

    def draw_sum(seen: Shown | None, side: str, block: str, channel: float | None):
        if seen is None:
            return gr.skip(), gr.skip()
        network = seen.result.side(side)
        row, number = _cell(network, block, channel)
        if not network.blocks[row].has_bank:
            return None, words.channel_without_bank(network.blocks[row], number)
        exact = network.blocks[row].channel_sum(number)
        figure = figures.channel_sum(
            exact.block, number, exact.linear_term, exact.bias_terms, exact.preactivation, exact.factor,
            exact.network_factor,
        )  # fmt: skip
        return figure, words.channel_sum(exact)

    def fill_table(seen: Shown | None, side: str, opened: bool):
        if seen is None or not opened:
            return gr.skip()
        network = seen.result.side(side)
        if not network.has_reference:
            return [[b.name, i, round(float(f), 4)] for b in network.blocks for i, f in enumerate(b.factors)]
        return _table(figures.every_channel(block_factors(network)))

    def from_heatmap(event: gr.SelectData, seen: Shown | None, side: str):
        if seen is None:
            raise refuse(about.NOTHING_HERE)
        try:
            index, number = event.index
            return choose(seen, side, seen.result.side(side).blocks[index].name, int(number))
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise refuse(f"{event.index!r} is no cell; choose one of the heatmap's.") from error

    def from_table(event: gr.SelectData, seen: Shown | None, side: str):
        try:
            return choose(seen, side, event.row_value[0], int(event.row_value[1]))
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise refuse("This is no row of the table; choose one that is shown.") from error

    def choose(seen: Shown, side: str, name: str, number: int) -> tuple[Any, Any]:
        if not 0 <= number < len(seen.result.side(side).block(name).factors):
            raise ValueError(f"{name} has no channel {number}")
        return name, number

    def clamp(seen: Shown | None, side: str, name: str, number: float | None):
        if seen is None:
            return gr.skip()
        nearest = _cell(seen.result.side(side), name, number)[1]
        return gr.skip() if nearest == number else nearest  # a channel chosen meanwhile stays

    redrawn = {"api_visibility": "private", "show_progress": "minimal"}
    seen = [shown, side]
    gr.on(
        [shown.change, *(c.change for c in (side, mode, order, own_scale, block, channel))],
        draw_heatmap, [*seen, mode, order, own_scale, block, channel], heatmap, trigger_mode="always_last", **redrawn,
    )  # fmt: skip
    gr.on(
        [shown.change, side.change, block.change, channel.change],
        draw_sum, [*seen, block, channel], [channel_plot, channel_text], trigger_mode="always_last",
        show_progress_on=channel_plot, **redrawn,
    )  # fmt: skip
    gr.on(
        [shown.change, side.change], draw_texts, seen, [*notes, unusual_text, unusual], trigger_mode="always_last",
        **HIDDEN,
    )  # fmt: skip
    # Nine hundred rows are sent only to those who look at them.
    everything.expand(lambda: True, None, opened, **HIDDEN)
    everything.collapse(lambda: False, None, opened, **HIDDEN)
    gr.on(
        [shown.change, side.change, opened.change], fill_table, [*seen, opened], table, trigger_mode="always_last",
        **HIDDEN,
    )  # fmt: skip
    clicks.select(from_heatmap, seen, [block, channel], **EVERY_CLICK)
    gr.on([unusual.select, table.select], from_table, seen, [block, channel], **EVERY_CLICK)
    # A channel the block does not have becomes its last one, once the person has left the field.
    gr.on([block.input, channel.submit, channel.blur], clamp, [*seen, block, channel], channel, **HIDDEN)

    def refit(compared: Compared) -> list[Any]:
        names = _block_names(compared)
        return [
            modulated_side(compared, "factor-network"), gr.Radio(_modes(compared), value=_first_mode(compared)),
            gr.Dropdown(names, value=names[0]), 0,
        ]  # fmt: skip

    settings = {
        "network": side, "show": mode, "order": order, "own_scale": own_scale, "block": block, "channel": channel,
    }  # fmt: skip
    return Refit((side, mode, block, channel), refit), settings


def modulated_side(compared: Compared, name: str) -> gr.Radio:
    """Which of two modulated networks a tab shows; out of sight where there is but one."""
    sides = [(network.label, side) for side, network in compared.modulated.items()]
    return gr.Radio(sides, value="dmb", label="Network", visible=len(sides) > 1, elem_id=name)


def _modes(compared: Compared) -> list[tuple[str, str]]:
    known = any(network.has_reference for network in compared.modulated.values())
    return list(MODES.items()) if known else [("raw factor", "raw")]


def _first_mode(compared: Compared) -> str:
    return _modes(compared)[0][1]


def _block_names(compared: Compared) -> list[str]:
    return list(dict.fromkeys(name for network in compared.modulated.values() for name in network.blocks))


def _cell(network: NetworkResult, block: str, channel: float | None) -> tuple[int, int]:
    """(index of the block, channel): the nearest there is, while the page changes from one network to another."""
    names = [each.name for each in network.blocks]
    row = names.index(block) if block in names else 0
    return row, min(max(int(channel or 0), 0), len(network.blocks[row].factors) - 1)


def _table(rows: list[figures.UnusualChannel]) -> list[list[Any]]:
    def rounded(value: float | None, digits: int) -> float | None:  # None is an empty cell
        return None if value is None or not math.isfinite(value) else round(float(value), digits)

    return [
        [
            row.block, row.channel, rounded(row.factor, 4), rounded(row.mean, 4), rounded(row.deviation, 2),
            rounded(row.percentile, 2), rounded(row.class_percentile, 2),
        ]
        for row in rows
    ]  # fmt: skip
