"""A number field that rounds nothing."""

from __future__ import annotations

import gradio as gr


class WholeNumber(gr.Number):
    """A number that is handed on as it was sent, where `gr.Number` rounds it: what it is for refuses a fraction."""

    is_template = True

    def preprocess(self, payload: float | None) -> float | int | None:
        if payload is None:
            return None
        if isinstance(payload, bool) or not isinstance(payload, int | float):
            raise TypeError(f"{payload!r} is no number")  # as `gr.Number` does, for whoever turns it into words
        self.raise_if_out_of_bounds(payload, self.minimum, self.maximum)
        return int(payload) if isinstance(payload, float) and payload.is_integer() else payload
