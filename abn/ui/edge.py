"""Expected errors of the library as `gr.Error`, which the page shows and a client receives."""

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


def as_gradio_error(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate an event's function: its `ValueError` or `DeviceMemoryError` reaches the page as a `gr.Error`.

    These are the library's errors with messages for people; any other exception is a fault and passes unchanged.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except gr.Error:  # a ValueError too, and already as a person should read it
            raise
        except (ValueError, DeviceMemoryError) as error:
            raise refuse(str(error)) from error

    return wrapped
