"""The responses of both networks, as distributions."""

from __future__ import annotations

from itertools import zip_longest

import gradio as gr
import numpy as np

from abn import drawing
from abn.results import PictureResult
from abn.ui import about
from abn.ui.shown import Shown


def build(shown: gr.State) -> None:
    """Add the tab's components, which redraw themselves when `shown` changes."""
    gr.Markdown(about.RESPONSES)
    plot = gr.Plot(show_label=False, elem_id="responses")
    table = gr.Dataframe(
        headers=["block", "network", "channels", "5 %", "median", "95 %"],
        label="The same in numbers", interactive=False, elem_id="responses-table",
    )  # fmt: skip

    def draw(seen: Shown | None):
        if seen is None:
            return [gr.skip()] * 2
        return drawing.responses(seen.result), table_of(seen.result)

    shown.change(
        draw,
        shown,
        [plot, table],
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=plot,
    )


def table_of(result: PictureResult) -> list[list]:
    """For each block and network: the name, the label, how many responses are known, and their percentiles."""
    rows = []
    # Block by block; networks of a file from elsewhere may have different numbers of them.
    for blocks in zip_longest(*(network.blocks for network in result.networks)):
        for network, block in zip(result.networks, blocks, strict=True):
            if block is not None:
                known = block.response[np.isfinite(block.response)]  # a file may leave some out
                spread = [f"{v:.3f}" for v in np.percentile(known, [5, 50, 95])] if len(known) else ["–"] * 3
                rows.append([block.name, network.label, len(known), *spread])
    return rows
