"""One picture's results as files to take away, and back: JSON, CSV, NPZ, PNG, one HTML page, a bundle of them all.

    export = export_of(inspector, result, pair, PictureFile("ship.png", sha256))
    write_folder(export, Path("ship"))
    read_export((Path("ship") / "result.json").read_bytes()).result.dmb.predicted_name

The same results give the same bytes: no file holds a time or a path.
"""

from __future__ import annotations

from abn.app.export.arrays import to_npz
from abn.app.export.bundle import KINDS, bundle_files, to_zip, write_folder, write_zip
from abn.app.export.document import Export, export_of, to_json
from abn.app.export.html_page import to_html
from abn.app.export.images import to_png
from abn.app.export.manifest import Manifest, PictureFile
from abn.app.export.opening import read_export
from abn.app.export.tables import to_csv
from abn.app.export.values import ExportError

__all__ = [
    "KINDS",
    "Export",
    "ExportError",
    "Manifest",
    "PictureFile",
    "bundle_files",
    "export_of",
    "read_export",
    "to_csv",
    "to_html",
    "to_json",
    "to_npz",
    "to_png",
    "to_zip",
    "write_folder",
    "write_zip",
]
