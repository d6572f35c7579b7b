"""The responses of both networks, as distributions."""

from __future__ import annotations

from itertools import zip_longest

import gradio as gr
import numpy as np

from abn import drawing
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
        rows = []
        # Block by block; networks of a file from elsewhere may have different numbers of them.
        for blocks in zip_longest(*(network.blocks for network in seen.result.networks)):
            for network, block in zip(seen.result.networks, blocks, strict=True):
                if block is not None:
                    spread = np.percentile(block.response, [5, 50, 95])
                    rows.append([block.name, network.label, len(block.response), *(f"{v:.3f}" for v in spread)])
        return drawing.responses(seen.result), rows

    shown.change(
        draw,
        shown,
        [plot, table],
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=plot,
    )
