"""Where expected errors become what a person reads."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from typing import Any

import gradio as gr

from abn.common.memory import DeviceMemoryError


def refuse(message: str) -> gr.Error:
    """An error to raise: the message as plain text (Gradio would render it as HTML), no traceback logged."""
    return gr.Error(html.escape(message, quote=False), duration=None, print_exception=False)


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the library's errors that are written for people into Gradio's errors."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except gr.Error:  # a ValueError too, and already as a person should read it
            raise
        except (ValueError, DeviceMemoryError) as error:
            raise refuse(str(error)) from error

    return wrapped
