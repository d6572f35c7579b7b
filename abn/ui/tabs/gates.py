"""The gate weights of a modulated network."""

from __future__ import annotations

import gradio as gr
import numpy as np
from gradio.components import Component

from abn.app.figures import drawing
from abn.interpret.reference.statistics import entropy_share
from abn.ui import about, words
from abn.ui.page.shown import Compared, Refit, Shown
from abn.ui.tabs.factors import modulated_side


def build(shown: gr.State, own: Compared) -> tuple[Refit, dict[str, Component]]:
    """Add the tab's components, which redraw themselves when `shown` changes.

    Args:
        shown: holds a `Shown`, or None before the first picture.
        own: the networks the page opens with.

    Returns:
        What follows the networks, and the settings by the name they have in a link.
    """
    note = gr.Markdown()
    side = modulated_side(own, "gates-network")
    text = gr.Markdown(elem_id="gates-text")
    plot = gr.Plot(show_label=False, elem_id="gate-weights")
    table = gr.Dataframe(label="The same in numbers", interactive=False, elem_id="gates-table")

    def draw(seen: Shown | None, side: str):
        if seen is None:
            return [gr.skip()] * 4
        network = seen.result.side(side)
        blocks = [block for block in network.blocks if block.has_bank]
        if not blocks:
            return "", words.no_bank(network), None, gr.Dataframe([], headers=["block"])
        weights = np.stack([block.gate_weights for block in blocks])
        entropy = entropy_share(weights)
        rows = [
            [block.name, *(f"{weight:.5f}" for weight in block.gate_weights), f"{share:.6f}"]
            for block, share in zip(blocks, entropy, strict=True)
        ]
        biases = weights.shape[1]
        headers = ["block", *(f"α{k}" for k in range(biases)), "entropy (share of the largest)"]
        said = words.gates([block.name for block in blocks], weights, entropy)
        return (
            about.GATES.format(biases=biases),
            said,
            drawing.gate_weights(network, side),
            gr.Dataframe(rows, headers=headers),
        )

    gr.on(
        [shown.change, side.change], draw, [shown, side], [note, text, plot, table], trigger_mode="always_last",
        api_visibility="private", show_progress="minimal", show_progress_on=plot,
    )  # fmt: skip
    refit = Refit((side,), lambda compared: [modulated_side(compared, "gates-network")])
    return refit, {"gates_network": side}
