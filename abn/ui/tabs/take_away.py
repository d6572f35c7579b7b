"""Results as files to take away, and a result's JSON opened again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from abn.app import export
from abn.app.export import Export
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.visitors import OWN, Pairs
from abn.common.texts import escape
from abn.interpret.attribution.methods import Method
from abn.ui import about
from abn.ui.edge import as_gradio_error
from abn.ui.events import HIDDEN
from abn.ui.page.kept_files import keep
from abn.ui.page.latest import Latest
from abn.ui.page.shown import Shown

Maps = tuple[Shown, AttributionPair] | None
LONGEST_NAME = 60  # characters of a file's name
IN_A_ROW = 3

# Label of the button → ending of the file's name, and what makes the file of an export and the picture's name.
FILES: dict[str, tuple[str, Callable[[Export, str], bytes]]] = {
    "Everything (ZIP)": (".zip", export.to_zip),
    "One page (HTML)": (".html", lambda found, name: export.to_html(found)),
    "Pictures (PNG)": ("-pictures.zip", partial(export.to_zip, kinds=["png"])),
    "Tables (CSV)": ("-tables.zip", partial(export.to_zip, kinds=["csv"])),
    "Arrays (NPZ)": (".npz", lambda found, name: export.to_npz(found)),
    "All values (JSON)": (".json", lambda found, name: export.to_json(found)),
}

# gr.DownloadButton sends what it held before its own click: another button fills it, then this presses it.
# Each has one of its own: of two files that are made at once, neither takes the other's place.
PRESS = "() => {{ setTimeout(() => document.querySelector('#{taken}')?.click(), 200); }}"


QUEUE = "files"  # writing one takes a second or more


def exported(pairs: Pairs, seen: Shown, maps: Maps) -> Export:
    """What the page shows, ready to be written; with the attribution maps if they are this result's."""
    if seen.opened is not None:
        return seen.opened
    pair = maps[1] if maps is not None and maps[0] is seen else None
    return export.export_of(pairs.inspector(seen.pair, at_hand=True), seen.result, pair, seen.file)


def file_name(seen: Shown) -> str:
    """A name for files about the picture, of letters that every system takes."""
    stem = (seen.file.name or "picture").rpartition("/")[2].partition(".")[0]
    name = re.sub(r"[^\w-]+", "-", stem, flags=re.ASCII).strip("-")[:LONGEST_NAME] or "picture"
    return f"_{name}" if re.fullmatch(r"con|prn|aux|nul|(com|lpt)\d", name, re.IGNORECASE) else name


def build(
    pairs: Pairs,
    methods: Mapping[str, Method],
    shown: gr.State,
    maps: gr.State,
    present: Callable[[Shown], list],
    presented: Sequence[Component],
    older: Sequence[Latest],
    searches: Sequence[Dependency],
) -> None:
    """Add the tab's components.

    Args:
        shown: holds a `Shown`, or None before the first picture.
        maps: holds a `Shown` with the `AttributionPair` found for it, or None.
        present: the updates of `presented` for a result that was read from a file, `shown` among them.
        older: what is still under way when a file is opened, such as networks being loaded, changes nothing then.
        searches: events whose answer would take the opened file's place.
    """
    gr.Markdown(about.TAKE_AWAY)
    holds = gr.Markdown(elem_id="take-away-holds")
    buttons, labels = [], list(FILES)
    for start in range(0, len(labels), IN_A_ROW):
        with gr.Row():
            buttons += [gr.Button(label, min_width=150) for label in labels[start : start + IN_A_ROW]]
    taken = [gr.DownloadButton(visible="hidden", elem_id=f"taken-file-{number}") for number in range(len(labels))]
    gr.Markdown(about.OPEN)
    opening = gr.UploadButton(
        "Open a result.json or its zip", file_types=[".json", ".zip"], type="binary", elem_id="open-result"
    )

    def make(label: str, button: gr.DownloadButton, seen: Shown | None, maps: Maps):
        if seen is None:
            raise ValueError(about.NOTHING_HERE)
        ending, write = FILES[label]
        name = file_name(seen)
        return keep(button, write(exported(pairs, seen, maps), name), name + ending)

    def say(seen: Shown | None, maps: Maps) -> str:
        if seen is None:
            return ""
        pair = seen.opened.attribution if seen.opened else maps[1] if maps is not None and maps[0] is seen else None
        if pair is None:
            return about.WITHOUT_MAPS
        return about.WITH_MAPS.format(method=methods[pair.method].label, target=escape(pair.target))

    @as_gradio_error
    def open_result(request: gr.Request, data: bytes | None):
        if data is None:
            raise ValueError("No file was sent: choose a result.json, or the zip with everything.")
        found = export.read_export(data)
        for latest in older:
            latest.begin(request.session_hash)
        seen = Shown(OWN, found.result, found.manifest.picture, opened=found)
        return [None if found.attribution is None else (seen, found.attribution), *present(seen)]

    for button, each in zip(buttons, taken, strict=True):
        filled = button.click(
            as_gradio_error(partial(make, button.value, each)), [shown, maps], each,
            concurrency_limit=2, concurrency_id=QUEUE, api_visibility="private", show_progress_on=holds,
        )  # fmt: skip
        filled.success(None, None, None, js=PRESS.format(taken=each.elem_id), api_visibility="private")
    gr.on([shown.change, maps.change], say, [shown, maps], holds, **HIDDEN)
    opening.upload(
        open_result,
        opening,
        [maps, *presented],
        cancels=[*searches],
        api_visibility="private",
        show_progress_on=holds,
    )
