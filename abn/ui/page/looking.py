"""A picture is looked at, and what the two networks say of it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component
from PIL import Image

from abn.app.export import PictureFile
from abn.app.export.stored import without_network
from abn.app.inspector.results import NetworkResult, PictureResult
from abn.app.inspector.visitors import OWN, Pair, Pairs
from abn.app.pictures.fitting import describe, enlarge, fit, show_used_part
from abn.ui import about, words
from abn.ui.edge import as_gradio_error
from abn.ui.events import HIDDEN
from abn.ui.page import link
from abn.ui.page.latest import Latest, Superseded
from abn.ui.page.pair_state import PairState
from abn.ui.page.picture_column import Origins
from abn.ui.page.shown import Refit, Shown, compared_networks

FAILURE = 1  # the place of `failure` among `Answer.components`


@dataclass(frozen=True)
class Answer:
    """The components that say what was found of a picture, whether it was looked at or read from a file.

    Attributes:
        shown: the session's `Shown`.
        failure: that what stands on the page is not of the picture above it; hidden where it is.
        place: out of sight, the picture's origin.
    """

    shown: gr.State
    failure: gr.Markdown
    sees: gr.Image
    truth: gr.Markdown
    place: gr.Textbox
    linked: gr.Markdown
    agreement: gr.Markdown
    tops: Sequence[gr.Label]

    @property
    def components(self) -> list[Component]:
        """All of them; `present` has their updates."""
        return [
            self.shown, self.failure, self.sees, self.truth, self.place, self.linked, self.agreement, *self.tops
        ]  # fmt: skip


def present(seen: Shown, origins: Origins) -> list[Any]:
    """One update for each of `Answer.components`."""
    result = seen.result
    notice = gr.Markdown(visible=False)
    if seen.opened is not None:
        notice = gr.Markdown(words.opened(seen.opened), visible=True)
    return [
        seen, notice, enlarge(result.pixels), origins.describe(seen.origin), seen.origin, link.note(seen),
        words.agreement(result), *map(_top, result.networks),
    ]  # fmt: skip


def _top(network: NetworkResult) -> gr.Label:
    values = zip(network.class_names, network.probabilities.tolist(), strict=True)
    return gr.Label(dict(values), label=network.label)


def build(
    pairs: Pairs,
    origins: Origins,
    asked: tuple[gr.Image, gr.Radio, PairState],
    answer: Answer,
    fitted: tuple[gr.Markdown, gr.Image],
    refit: Refit,
    looks: Latest,
) -> None:
    """Look whenever the picture, how it is fitted, or the networks change.

    Args:
        asked: the picture, how it is fitted to a square, and the networks.
        fitted: how the picture was fitted, in words, and the part of it that was used.
        looks: an older look changes nothing once a newer one has begun.
    """
    picture, mode, pair = asked
    unchanged = [gr.skip()] * len(refit.components)

    def inspect(pair: Pair, pixels: np.ndarray) -> PictureResult:
        result = pairs.inspector(pair, at_hand=True).inspect(pixels)
        # Of other networks each visitor keeps a little alone, so that they can be forgotten.
        return result if pair == OWN else without_network(result)

    def without_picture(pair: Pair, before: Shown | None) -> list[Any]:
        updates = [gr.skip()] * len(answer.components)
        if before is not None and before.opened is None:
            if before.pair != pair:  # the last picture's pixels, by the networks that were chosen since
                updates = present(replace(before, pair=pair, result=inspect(pair, before.result.pixels)), origins)
            updates[FAILURE] = gr.Markdown(about.REMOVED, visible=True)
        return [*updates, gr.skip(), gr.skip(), *unchanged]

    def see(picture: Image.Image, mode: str, pair: Pair, before: Shown | None) -> list[Any]:
        used, origin = fit(picture, mode), origins.name(picture)
        name, sha256 = origins.file(origin) if origin else picture.info.get("file", (None, None))
        file = PictureFile(name, sha256, used.original_size, used.mode, used.box)
        seen = Shown(pair, inspect(pair, used.pixels), file, origin)
        labels = unchanged
        if before is not None and before.opened is not None:  # they are of the file's networks
            labels = refit.update(compared_networks(pairs.inspector(pair, at_hand=True), own=pair == OWN))
        return [*present(seen, origins), describe(used), show_used_part(picture, used), *labels]

    @as_gradio_error
    def look(
        request: gr.Request,
        picture: Image.Image | None,
        mode: str,
        pair: Pair,
        before: Shown | None,
    ):
        """Whatever is to be seen of a picture, unless something newer is by then."""
        number = looks.begin(request.session_hash)
        updates = without_picture(pair, before) if picture is None else see(picture, mode, pair, before)
        try:
            looks.require(request.session_hash, number)
        except Superseded:
            return [gr.skip()] * len(updates)
        return updates

    inspected = gr.on(
        [picture.change, mode.change, pair.change], look, [*asked, answer.shown],
        [*answer.components, *fitted, *refit.components], trigger_mode="always_last", concurrency_limit=4,
        api_visibility="private", show_progress="minimal", show_progress_on=answer.agreement,
    )  # fmt: skip
    inspected.failure(lambda: gr.Markdown(about.EARLIER, visible=True), None, answer.failure, **HIDDEN)
