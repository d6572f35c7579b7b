"""Where a picture comes from: an upload, an example, or an image of the data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency
from PIL import Image

from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import Pair, Pairs
from abn.app.pictures.fitting import FITS, fit
from abn.app.pictures.reading import read_file, read_picture
from abn.common.data import CLASS_NAMES, Cifar10
from abn.common.texts import whole_number
from abn.ui import words
from abn.ui.edge import as_gradio_error, refuse
from abn.ui.events import EVERY_CLICK, HIDDEN
from abn.ui.page.latest import Latest, Superseded
from abn.ui.page.pair_state import PairState
from abn.ui.page.picture_input import PictureInput
from abn.ui.page.shown import Compared, Refit
from abn.ui.tabs.attribution_controls import SLOW_QUEUE

FIT_LABELS = {"crop": "centre crop", "pad": "whole picture, padded"}


class Origins:
    """Pictures that a link can name, "example/ship" or "test/17", recognised by their pixels."""

    def __init__(self, examples: Sequence[Path], data: Cifar10 | None) -> None:
        self._examples, self._files = {}, {}
        for path in examples:
            content = read_file(path)
            self._examples[path.stem] = read_picture(content)
            self._files[f"example/{path.stem}"] = (path.name, hashlib.sha256(content).hexdigest())
        self._data = data
        self._names = {}
        if data is not None:
            self._names |= {_digest(pixels): f"test/{index}" for index, pixels in enumerate(data.x_test)}
        self._names |= {_digest(np.asarray(picture)): f"example/{name}" for name, picture in self._examples.items()}
        self._sizes = {picture.size for picture in self._examples.values()}
        if data is not None:
            self._sizes.add((data.x_test.shape[2], data.x_test.shape[1]))

    @property
    def examples(self) -> list[tuple[Image.Image, str]]:
        """Pictures and the names of their files, without the ending."""
        return [(picture, name) for name, picture in self._examples.items()]

    @property
    def first(self) -> Image.Image | None:
        """The example that the page opens with."""
        return next(iter(self._examples.values()), None)

    def name(self, picture: Image.Image) -> str:
        """What a link calls the picture; "" for a visitor's own."""
        if picture.size not in self._sizes:  # a photo's pixels need not be copied to tell
            return ""
        return self._names.get(_digest(np.asarray(picture)), "")

    def file(self, name: str) -> tuple[str, str | None]:
        """(What the picture's file is called, its SHA-256) of a name; of a test image there is no file to hash.

        The browser sends pictures of this page encoded anew, which is another file.
        """
        return self._files.get(name) or (f"test image {name.partition('/')[2]}", None)

    def picture(self, name: str) -> Image.Image | None:
        """The picture of that name, or None."""
        kind, _, rest = name.partition("/")
        if kind == "example":
            return self._examples.get(rest)
        index = whole_number(rest)
        if kind == "test" and self._data is not None and index is not None and index < len(self._data.x_test):
            return Image.fromarray(self._data.x_test[index])
        return None

    def describe(self, name: str) -> str:
        """A sentence on an image of the data set; "" for any other picture."""
        kind, _, rest = name.partition("/")
        if kind != "test":
            return ""
        true_class = CLASS_NAMES[self._data.y_test[int(rest)]]
        return f"CIFAR-10 test image {int(rest)}; its true class is **{true_class}**."


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()


def build(
    pairs: Pairs, pair: PairState, origins: Origins, data: Cifar10 | None, keep: int, wanted: Latest
) -> tuple[PictureInput, gr.Radio, Refit, list[Dependency]]:
    """Add the components.

    Args:
        keep: after how many seconds an upload is deleted, at the next sweep, of which there is one as often.
        wanted: begun by everything after which a search is of no use any more.

    Returns:
        The picture, how it is fitted, what follows the networks, and the events whose answer is a picture that may
        come late: whatever puts something else on the page cancels them.
    """
    picture = PictureInput(label="Picture", elem_id="picture", height=300)
    gr.Markdown(words.kept(keep), elem_classes="aside")
    follows: list[tuple[Any, Any]] = []  # a component, and with which networks it is in sight
    gallery = _gallery(pairs.own, origins, follows) if origins.examples else None
    slow = [] if data is None else [_test_image_buttons(pairs, pair, data, picture, follows, wanted)]

    # What a person does next ends a search that still goes on and discards its answer, as do other networks than it
    # asked: Gradio's cancelling stops no thread.
    def newer(request: gr.Request) -> None:
        wanted.begin(request.session_hash)

    if gallery is not None:

        def example(request: gr.Request, event: gr.SelectData):
            newer(request)
            if not isinstance(event.index, int) or not 0 <= event.index < len(origins.examples):
                count = len(origins.examples)
                raise refuse(f"There is no example {event.index!r}; choose one of the {count} shown.")
            return origins.examples[event.index][0]

        gallery.select(example, None, picture, cancels=slow, **EVERY_CLICK)
    if slow:
        gr.on([picture.input, pair.change], newer, None, None, cancels=slow, **HIDDEN)
    mode = gr.Radio(
        [(FIT_LABELS.get(name, name), name) for name in FITS], value="crop", label="Fit to a square by", elem_id="fit"
    )
    refit = Refit(
        tuple(component for component, _ in follows),
        lambda compared: [type(component)(visible=fits(compared)) for component, fits in follows],
    )
    return picture, mode, refit, slow


def _gallery(own: Inspector, origins: Origins, follows: list[tuple[Any, Any]]) -> gr.Gallery:
    gr.Markdown("**Examples**, drawn for this page:")
    gallery = gr.Gallery(
        origins.examples, label="Examples", show_label=False, columns=5, height="auto", allow_preview=False,
        buttons=[], object_fit="cover", elem_id="examples", format="png",
    )  # fmt: skip
    if own.class_names == CLASS_NAMES:

        @cache
        def table() -> str:
            return words.examples([(name, own.inspect(fit(picture).pixels)) for picture, name in origins.examples])

        with gr.Accordion("What the networks make of them", open=False) as made_of_them:
            said = gr.Markdown("The networks are asked when this is opened.", elem_id="examples-said")
        # Not before somebody asks: the page would be served later.
        made_of_them.expand(lambda: table(), None, said, api_visibility="private")
        follows.append((made_of_them, lambda compared: compared.own))
    return gallery


def _test_image_buttons(
    pairs: Pairs,
    pair: PairState,
    data: Cifar10,
    picture: PictureInput,
    follows: list[tuple[Any, Any]],
    wanted: Latest,
) -> Dependency:
    """Two buttons that draw a test image; returns the slower one's event, a search."""

    def knows_classes(networks: Compared | Inspector) -> bool:
        return networks.class_names == CLASS_NAMES

    with gr.Row(visible=knows_classes(pairs.own)) as row:
        draw = gr.Button("Draw a test image")
        differ = gr.Button("Draw one they disagree on")
    follows.append((row, knows_classes))

    def any_image(request: gr.Request):
        wanted.begin(request.session_hash)
        return data.x_test[np.random.default_rng().integers(len(data.x_test))]

    @as_gradio_error
    def disagreement(request: gr.Request, pair: Pair):
        number = wanted.begin(request.session_hash)

        def still_wanted() -> None:
            wanted.require(request.session_hash, number)

        try:
            inspector = pairs.inspector(pair, at_hand=True)
            found = inspector.find_disagreement(data.x_test, data.y_test, np.random.default_rng(), still_wanted)
        except Superseded:
            return gr.skip()
        if found is None:
            gr.Info("The networks agree on every test image.")
            return gr.skip()
        return found.pixels

    search = differ.click(
        disagreement, pair, picture, concurrency_limit=2, concurrency_id=SLOW_QUEUE, api_visibility="private"
    )
    draw.click(any_image, None, picture, cancels=[search], **HIDDEN)
    return search
