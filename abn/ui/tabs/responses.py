"""The responses of both networks, as distributions."""

from __future__ import annotations

import gradio as gr

from abn.app.figures import drawing
from abn.app.figures.in_numbers import RESPONSE_COLUMNS, response_rows
from abn.ui import about
from abn.ui.page.shown import Shown


def build(shown: gr.State) -> None:
    """Add the tab's components, which redraw themselves when `shown` changes."""
    gr.Markdown(about.RESPONSES)
    plot = gr.Plot(show_label=False, elem_id="responses")
    table = gr.Dataframe(
        headers=list(RESPONSE_COLUMNS), label="The same in numbers", interactive=False, elem_id="responses-table"
    )

    def draw(seen: Shown | None):
        if seen is None:
            return [gr.skip()] * 2
        return drawing.responses(seen.result), response_rows(seen.result)

    shown.change(
        draw,
        shown,
        [plot, table],
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=plot,
    )
