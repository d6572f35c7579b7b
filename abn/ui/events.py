"""How events of the page behave that are no endpoints."""

from __future__ import annotations

HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}
"""The page shows no progress for them."""

EVERY_CLICK = {"trigger_mode": "multiple", "concurrency_limit": 1, **HIDDEN}
"""One after the other, over all visitors, and none left out: otherwise Gradio ignores a click while the one before it
is not answered. For what takes no time."""
