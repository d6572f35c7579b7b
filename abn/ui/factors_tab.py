"""The factors of the modulated network: heatmap, words, tables, and one channel's exact sum."""

from __future__ import annotations

from typing import Any

import gradio as gr

from abn import figures
from abn.results import BlockResult, NetworkResult, PictureResult
from abn.ui import about, words
from abn.ui.edge import refuse
from abn.ui.style import HEATMAP_CLICKS

MODES = {
    "deviation from the usual": "deviation",
    "percentile": "percentile",
    "raw factor": "raw",
}
ORDERS = {"by channel number": "index", "sorted by value": "value"}
COLUMNS = ["block", "channel", "factor", "usual mean", "deviation (sd)", "percentile", "percentile in class"]


def block_factors(network: NetworkResult) -> list[figures.BlockFactors]:
    """The network's factors as the figures want them, compared with the class it predicts."""
    return [_one_block(block, network) for block in network.blocks]


def _one_block(block: BlockResult, network: NetworkResult) -> figures.BlockFactors:
    if block.usual is None:
        return figures.BlockFactors(block.name, block.factors)
    usual = block.usual.factors
    return figures.BlockFactors(
        block.name,
        block.factors,
        mean=usual.mean,
        sd=usual.sd,
        percentile=usual.percentile(block.factors),
        class_percentile=usual.percentile(block.factors, network.predicted),
        class_name=network.predicted_name,
    )


def build(shown: gr.State, blocks: dict[str, int], has_reference: bool) -> None:
    """Add the tab's components, which redraw themselves when `shown` changes.

    Args:
        shown: holds a `PictureResult`, or None before the first picture.
        blocks: the modulated network's block names and their numbers of channels.
        has_reference: whether deviations and percentiles can be computed.
    """
    names = list(blocks)
    gr.Markdown(about.FACTORS)
    with gr.Row():
        with gr.Column(min_width=300):
            baseline_note = gr.Markdown()
        with gr.Column(min_width=300):
            own_note = gr.Markdown()
    with gr.Row():
        mode = gr.Radio(
            list(MODES.items()) if has_reference else [("raw factor", "raw")],
            value="deviation" if has_reference else "raw",
            label="Show each factor as",
        )
        order = gr.Radio(list(ORDERS.items()), value="index", label="Channels")
        own_scale = gr.Checkbox(False, label="A colour scale for each block")
    heatmap = gr.Plot(show_label=False, elem_id="factor-heatmap")
    with gr.Row():
        block = gr.Dropdown(names, value=names[0], label="Block")
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

    def draw_heatmap(result: PictureResult | None, mode: str, order: str, own: bool, block: str, channel: int):
        if result is None:
            return gr.skip()
        chosen = (names.index(block), clamp(block, channel))
        return figures.factor_heatmap(block_factors(result.dmb), mode, own_scale=own, order=order, chosen=chosen)

    def draw_texts(result: PictureResult | None):
        if result is None:
            return [gr.skip()] * 4
        note = words.static(result.baseline) if not result.baseline.is_modulated else ""
        if not result.dmb.has_reference:
            return note, words.own_share(result.dmb), "", []
        rows = figures.unusual_channels(block_factors(result.dmb))
        return note, words.own_share(result.dmb), figures.sentence_of_unusual(rows), _table(rows)

    def draw_sum(result: PictureResult | None, block: str, channel: float | None):
        if result is None:
            return gr.skip(), gr.skip()
        number = clamp(block, channel)
        exact = result.dmb.block(block).channel_sum(number)
        figure = figures.channel_sum(
            block, number, exact.linear_term, exact.bias_terms, exact.preactivation, exact.factor,
            exact.network_factor,
        )  # fmt: skip
        return figure, words.channel_sum(exact)

    def fill_table(result: PictureResult | None, opened: bool):
        if result is None or not opened:
            return gr.skip()
        if not result.dmb.has_reference:
            return [[b.name, i, round(float(f), 4)] for b in result.dmb.blocks for i, f in enumerate(b.factors)]
        return _table(figures.unusual_channels(block_factors(result.dmb), n=sum(blocks.values())))

    def from_heatmap(event: gr.SelectData):
        try:
            index, number = event.index
            return choose(names[index], int(number))
        except (TypeError, ValueError, IndexError) as error:
            raise refuse(f"{event.index!r} is no cell; choose one of the heatmap's.") from error

    def from_table(event: gr.SelectData):
        try:
            return choose(event.row_value[0], int(event.row_value[1]))
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise refuse("This is no row of the table; choose one that is shown.") from error

    def choose(name: str, number: int) -> tuple[Any, Any]:
        if not 0 <= number < blocks[name]:
            raise ValueError(f"{name} has no channel {number}")
        return name, number

    def clamp(name: str, number: float | None) -> int:
        return min(max(int(number or 0), 0), blocks[name] - 1)

    hidden = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on(
        [shown.change, mode.change, order.change, own_scale.change, block.change, channel.change],
        draw_heatmap, [shown, mode, order, own_scale, block, channel], heatmap, trigger_mode="always_last", **hidden,
    )  # fmt: skip
    gr.on(
        [shown.change, block.change, channel.change],
        draw_sum, [shown, block, channel], [channel_plot, channel_text], trigger_mode="always_last", **hidden,
    )  # fmt: skip
    shown.change(draw_texts, shown, [baseline_note, own_note, unusual_text, unusual], **hidden)
    # Nine hundred rows are sent only to those who look at them.
    everything.expand(lambda: True, None, opened, **hidden)
    everything.collapse(lambda: False, None, opened, **hidden)
    gr.on([shown.change, opened.change], fill_table, [shown, opened], table, trigger_mode="always_last", **hidden)
    clicks.select(from_heatmap, None, [block, channel], **hidden)
    gr.on([unusual.select, table.select], from_table, None, [block, channel], **hidden)
    # A channel the block does not have becomes its last one, once the person has left the field.
    gr.on([block.input, channel.submit, channel.blur], clamp, [block, channel], channel, **hidden)


def _table(rows: list[figures.UnusualChannel]) -> list[list[Any]]:
    return [
        [
            row.block, row.channel, round(float(row.factor), 4), round(float(row.mean), 4),
            round(float(row.deviation), 2), round(float(row.percentile), 1), round(float(row.class_percentile), 1),
        ]
        for row in rows
    ]  # fmt: skip
