"""All files of one picture together: in memory, as a zip, or as a folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

from abn.app.export.arrays import to_npz
from abn.app.export.document import Export, manifest_json, to_json
from abn.app.export.html_page import to_html
from abn.app.export.images import to_png
from abn.app.export.tables import to_csv
from abn.common.files import replace_file, replace_folder

RESULT_FILE, MANIFEST_FILE = "result.json", "manifest.json"
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip knows no time before, and the same results shall give the same bytes

KINDS: dict[str, Callable[[Export, str], dict[str, bytes]]] = {
    "json": lambda export, name: {RESULT_FILE: to_json(export)},
    "csv": to_csv,
    "npz": lambda export, name: {"arrays.npz": to_npz(export)},
    "png": lambda export, name: to_png(export),
    "html": lambda export, name: {"report.html": to_html(export)},
}
"""Kind of file → what makes those of a picture, by file name."""


def bundle_files(export: Export, name: str = "picture", kinds: Collection[str] = tuple(KINDS)) -> dict[str, bytes]:
    """File name → content; `manifest.json` is always among them.

    Args:
        name: of the picture, for the tables' first column.
        kinds: keys of `KINDS`.

    Raises:
        ValueError: for a kind that does not exist.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"there is no kind of file {unknown[0]!r}; there are {', '.join(KINDS)}")
    files = {MANIFEST_FILE: manifest_json(export).encode()}
    for kind, make in KINDS.items():
        if kind in kinds:
            files |= make(export, name)
    return files


def to_zip(export: Export, name: str = "picture", kinds: Collection[str] = tuple(KINDS)) -> bytes:
    """A zip with the folder `name` in it; arguments as for `bundle_files`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in bundle_files(export, name, kinds).items():
            entry = zipfile.ZipInfo(f"{name}/{file}", _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return content.getvalue()


def write_folder(export: Export, folder: Path, kinds: Collection[str] = tuple(KINDS)) -> None:
    """Write the files into `folder`, whole or not at all; what stood there is replaced.

    Raises:
        OSError: where it cannot be written.
    """
    files = bundle_files(export, folder.name, kinds)

    def write(scratch: Path) -> None:
        for name, content in files.items():
            (scratch / name).write_bytes(content)

    replace_folder(folder, write)


def write_zip(export: Export, path: Path, kinds: Collection[str] = tuple(KINDS)) -> None:
    """Write the zip to `path`, whole or not at all.

    Raises:
        OSError: where it cannot be written.
    """
    content = to_zip(export, path.stem, kinds)
    replace_file(path, lambda scratch: scratch.write_bytes(content))
