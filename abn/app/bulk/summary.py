"""What became of many pictures: one row each, as a table for people and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from abn.app.export.manifest import pixels_sha256
from abn.app.export.tables import spreadsheet_safe
from abn.app.inspector.results import PictureResult
from abn.common.texts import aligned


@dataclass(frozen=True)
class Said:
    """What one network said of one picture."""

    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Row:
    """One picture in the summary; without a `problem` it is inspected and written.

    Attributes:
        shown: the picture, as a person named it.
        bundle: name of its folder or zip.
    """

    shown: str
    bundle: str = ""
    said: tuple[Said, Said] | None = None
    pixels_sha256: str = ""
    problem: str = ""

    @property
    def agree(self) -> bool:
        return self.said[0].predicted == self.said[1].predicted


def row_of(shown: str, bundle: str, result: PictureResult) -> Row:
    """What the summary keeps of a picture that was written."""
    said = (Said(n.label, n.predicted_name, float(n.probabilities.max())) for n in result.networks)
    return Row(shown, bundle, tuple(said), pixels_sha256(result.pixels))


def table(rows: Sequence[Row]) -> str:
    """The rows without a problem, aligned, with a heading."""
    written = [row for row in rows if row.said]
    if not written:
        return ""
    labels = [said.label for said in written[0].said]
    lines = [("picture", *labels, "agree", "written to")]
    for row in written:
        said = (f"{one.predicted} {100 * one.probability:.1f} %" for one in row.said)
        lines.append((row.shown, *said, "yes" if row.agree else "no", row.bundle))
    return aligned(lines)


def to_csv(rows: Sequence[Row]) -> bytes:
    """The same and the failures as CSV, a row a picture."""
    text = io.StringIO()
    writer = csv.writer(text)
    sides = [f"{side}_{what}" for side in ("baseline", "dmb") for what in ("network", "predicted", "raw_softmax")]
    writer.writerow(["picture", "bundle", *sides, "agree", "pixels_sha256", "problem"])
    for row in rows:
        said = [value for one in row.said or () for value in (one.label, one.predicted, f"{one.probability:.7g}")]
        agree = ("yes" if row.agree else "no") if row.said else ""
        fields = [row.shown, row.bundle, *(said or [""] * len(sides)), agree, row.pixels_sha256, row.problem]
        writer.writerow(map(spreadsheet_safe, fields))
    return text.getvalue().encode(errors="replace")
