"""How events of the page behave that are no endpoints."""

from __future__ import annotations

HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}
"""Nobody has to wait for them visibly."""

EVERY_CLICK = {"trigger_mode": "multiple", "concurrency_limit": 1, **HIDDEN}
"""One after the other and none left out; Gradio else ignores a click while the one before it is not answered."""
