"""Which two networks a page compares, kept by the page itself.

Gradio keeps a `gr.State` with the session, of which a restarted server knows nothing, and which it forgets of a page
that slept: such a page would show the app's own networks under the names of those that were chosen. So the choice
lies in the browser, one for each tab, and comes with every request; it is read as strictly as anything sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from abn.app.inspector.visitors import OWN, Choice, Pair
from abn.checkpoints.sources import HubSource, locate
from abn.checkpoints.store import CheckpointError
from abn.ui.edge import refuse

SIDES = ("baseline", "dmb")
_UNFIT = "Which networks this page compares cannot be read from what it sent; reload the page."


class PairState(gr.Textbox):
    """A `Pair` out of sight: a function gets it as an input, and gives a new one as an output."""

    def __init__(self, value: str = "", *, folders: bool = False, **options: Any) -> None:
        """
        Args:
            folders: whether the page may name folders of this machine.
            options: of `gr.Textbox`, with which Gradio makes a session's own copy.
        """
        self._folders = folders
        super().__init__(value, **{"visible": "hidden", **options})

    def get_block_name(self) -> str:
        return "textbox"  # gr.Textbox's own frontend

    get_block_class = get_block_name

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        return super().get_config(cls or gr.Textbox)  # Gradio reads the names of a component's options off __init__

    def postprocess(self, value: Pair | str | None) -> str:
        return write_pair(value) if isinstance(value, Pair) else ""

    def preprocess(self, payload: str | None) -> Pair:
        """
        Raises:
            gr.Error: for what `write_pair` has not written, and for a folder where none may be named.
        """
        try:
            return read_pair(payload or "", self._folders)
        except (ValueError, TypeError, KeyError, AttributeError, CheckpointError, RecursionError) as error:
            raise refuse(_UNFIT) from error


def write_pair(pair: Pair) -> str:
    """A pair as JSON; "" for the app's own networks."""
    if pair == OWN:
        return ""
    written = {}
    for side in SIDES:
        if (choice := getattr(pair, side)) is not None:
            kind = "hub" if isinstance(choice.place, HubSource) else "folder"
            written[side] = {kind: str(choice.place), "weights_sha256": choice.weights_sha256}
    return json.dumps(written)


def read_pair(text: str, folders: bool) -> Pair:
    """`write_pair`'s pair again.

    Args:
        folders: whether a folder may be named.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, CheckpointError: for anything else.
    """
    if not text:
        return OWN
    written = json.loads(text)
    if not written or not set(written) <= set(SIDES):
        raise ValueError(text)
    return Pair(**{side: _choice(folders, **written[side]) for side in written})


def _choice(folders: bool, weights_sha256: str, hub: str | None = None, folder: str | None = None) -> Choice:
    if not isinstance(weights_sha256, str) or (hub is None) == (folder is None) or (folder and not folders):
        raise ValueError(weights_sha256)
    place = Path(folder) if folder is not None else locate(hub, hub_only=True)
    return Choice(place, weights_sha256)
