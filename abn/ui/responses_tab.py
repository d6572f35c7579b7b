"""The responses of both networks, as distributions."""

from __future__ import annotations

import gradio as gr
import numpy as np

from abn import figures
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
        first, second = seen.result.networks
        figure = figures.response_distributions(
            [block.name for block in first.blocks],
            {network.label: [block.response for block in network.blocks] for network in (first, second)},
        )
        rows = []
        for blocks in zip(first.blocks, second.blocks, strict=True):
            for network, block in zip((first, second), blocks, strict=True):
                low, middle, high = np.percentile(block.response, [5, 50, 95])
                rows.append(
                    [
                        block.name,
                        network.label,
                        len(block.response),
                        *(f"{v:.3f}" for v in (low, middle, high)),
                    ]
                )
        return figure, rows

    shown.change(
        draw,
        shown,
        [plot, table],
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=plot,
    )
