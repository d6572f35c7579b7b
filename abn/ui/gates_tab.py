"""The gate weights of the modulated network."""

from __future__ import annotations

import gradio as gr
import numpy as np

from abn import figures
from abn.results import PictureResult
from abn.ui import about, words


def build(shown: gr.State, num_biases: int) -> None:
    """Add the tab's components, which redraw themselves when `shown` changes."""
    gr.Markdown(about.GATES.format(biases=num_biases))
    text = gr.Markdown()
    plot = gr.Plot(show_label=False, elem_id="gate-weights")
    table = gr.Dataframe(
        headers=["block", *(f"α{k}" for k in range(num_biases)), "entropy (share of the largest)"],
        label="The same in numbers", interactive=False,
    )  # fmt: skip

    def draw(result: PictureResult | None):
        if result is None:
            return [gr.skip()] * 3
        blocks = [block for block in result.dmb.blocks if block.is_modulated]
        weights = np.stack([block.gate_weights for block in blocks])
        entropy = figures.entropy_share(weights)
        usual = [block.usual.gates for block in blocks] if result.dmb.has_reference else None
        figure = figures.gate_weights(
            [block.name for block in blocks],
            weights,
            mean=None if usual is None else np.stack([u.mean for u in usual]),
            low=None if usual is None else np.stack([u.quantiles[5] for u in usual]),
            high=None if usual is None else np.stack([u.quantiles[95] for u in usual]),
            percentile=None
            if usual is None
            else np.stack([u.percentile(row) for u, row in zip(usual, weights, strict=True)]),
        )
        rows = [
            [block.name, *(f"{weight:.5f}" for weight in block.gate_weights), f"{share:.6f}"]
            for block, share in zip(blocks, entropy, strict=True)
        ]
        return words.gates([block.name for block in blocks], weights, entropy), figure, rows

    shown.change(
        draw,
        shown,
        [text, plot, table],
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="hidden",
    )
