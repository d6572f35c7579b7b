"""Many pictures through both networks, each written as a bundle: what `abn inspect` does.

A picture that fails is noted, and the others go on. A bundle appears under its name when it is whole.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from abn.app.bulk.summary import Row, row_of, to_csv
from abn.app.export import KINDS, ExportError, export_of, write_folder, write_zip
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.results import PictureResult
from abn.app.pictures.files import Found, PictureReader, ReadPicture
from abn.app.pictures.formats import PictureError
from abn.common.files import replace_file
from abn.common.memory import DeviceMemoryError
from abn.interpret.attribution.methods import DEFAULT_METHOD

SUMMARY_FILE = "summary.csv"
STALE = 3600.0  # seconds after which an unfinished bundle is taken for a killed run's
_UNFINISHED = re.compile(r"\..+-[0-9a-f]{8}(-\d+)?(\.zip)?(\.\d+){1,2}(old)?")


@dataclass(frozen=True)
class Job:
    """What to do with every picture.

    Attributes:
        fit: how a picture becomes a square, a key of `abn.app.pictures.fitting.FITS`.
        target: a class's name; None for what the second network says of each picture.
        against: another class's name, or None.
        method: of `abn.interpret.attribution.methods.METHODS`, with its `options`; None to attribute nothing.
        kinds: of files, keys of `abn.app.export.KINDS`.
        zipped: a zip a picture in place of a folder.
        batch_size: pictures that go through the networks at once.
    """

    fit: str = "crop"
    target: str | None = None
    against: str | None = None
    method: str | None = DEFAULT_METHOD
    options: Mapping[str, Any] = field(default_factory=dict)
    kinds: Sequence[str] = tuple(KINDS)
    zipped: bool = False
    batch_size: int = 64


def run(
    inspector: Inspector, found: Sequence[Found], out: Path, job: Job, done: Callable[[], object] = lambda: None
) -> list[Row]:
    """Inspect, attribute and write every picture, and `summary.csv` of them all.

    Args:
        out: a folder, which is made where it is missing.
        done: called once for every picture, whether written or failed.

    Returns:
        A row a picture, in the order of `found`.

    Raises:
        OSError: where `out` cannot be made.
    """
    out.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    rows: dict[Found, Row] = {}
    try:
        _fill(rows, inspector, found, out, job, done)
    finally:  # a run that is stopped tells what it wrote
        ordered = [rows[one] for one in found if one in rows]
        if ordered:
            _write_summary(out, ordered)
    return ordered


def _write_summary(out: Path, rows: Sequence[Row]) -> None:
    """The rows as a file; where the disk does not take it, the older file goes: it is of another run."""
    path, content = out / SUMMARY_FILE, to_csv(rows)
    try:
        replace_file(path, lambda scratch: scratch.write_bytes(content))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        print(f"{path} could not be written ({reason})", file=sys.stderr)
        with suppress(OSError):
            path.unlink()


def _fill(
    rows: dict[Found, Row],
    inspector: Inspector,
    found: Sequence[Found],
    out: Path,
    job: Job,
    done: Callable[[], object],
) -> None:
    """A row for every picture, as it is written or fails."""
    reader = PictureReader(job.fit)
    for start in range(0, len(found), job.batch_size):
        read = []
        for one in found[start : start + job.batch_size]:
            try:
                read.append(reader.read(one))
            except PictureError as error:
                rows[one] = Row(one.shown, problem=str(error))
                done()
        for picture, row in _inspect(inspector, read, out, job):
            rows[picture.found] = row
            done()


def _inspect(
    inspector: Inspector, read: Sequence[ReadPicture], out: Path, job: Job
) -> Iterator[tuple[ReadPicture, Row]]:
    if not read:
        return
    try:
        results = inspector.inspect_many(np.stack([picture.pixels for picture in read]))
    except DeviceMemoryError as error:  # another batch may find room again
        yield from ((picture, Row(picture.found.shown, problem=str(error))) for picture in read)
        return
    except ValueError as error:  # of one picture, which the others are not to suffer for
        if len(read) == 1:
            yield read[0], Row(read[0].found.shown, problem=str(error))
            return
        for picture in read:
            yield from _inspect(inspector, [picture], out, job)
        return
    answers = _attribute(inspector, results, job)
    for picture, result, answer in zip(read, results, answers, strict=True):
        if isinstance(answer, str):
            yield picture, Row(picture.found.shown, problem=answer)
        else:
            yield picture, _write(inspector, picture, result, answer, out, job)


def _write(
    inspector: Inspector,
    picture: ReadPicture,
    result: PictureResult,
    pair: AttributionPair | None,
    out: Path,
    job: Job,
) -> Row:
    shown = picture.found.shown
    export = export_of(inspector, result, pair, picture.file)
    bundle = f"{picture.name}.zip" if job.zipped else picture.name
    try:
        (write_zip if job.zipped else write_folder)(export, out / bundle, job.kinds)
    except ExportError as error:
        return Row(shown, problem=str(error))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Row(shown, problem=f"Its bundle could not be written ({reason}); make room, or name another folder.")
    return row_of(shown, bundle, result)


def _attribute(
    inspector: Inspector, results: Sequence[PictureResult], job: Job
) -> list[AttributionPair | str | None]:
    """For each picture its maps, those of one target computed together, or why it has none; None if not asked."""
    answers: list[AttributionPair | str | None] = [None] * len(results)
    if job.method is None:
        return answers
    by_target: dict[str, list[int]] = defaultdict(list)
    for index, result in enumerate(results):
        by_target[job.target or result.dmb.predicted_name].append(index)
    for target, indices in by_target.items():
        if target == job.against:
            reason = f"{results[0].dmb.label} says {target} itself; name another class as the target."
            found = [reason] * len(indices)
        else:
            pixels = np.stack([results[index].pixels for index in indices])
            try:
                found = inspector.attribute_many(pixels, target, job.against, job.method, dict(job.options))
            except DeviceMemoryError as error:
                found = [str(error)] * len(indices)
        for index, answer in zip(indices, found, strict=True):
            answers[index] = answer
    return answers


def _sweep(out: Path) -> None:
    """Remove what a killed run left half-written; a run beside this one writes younger ones."""
    for path in out.glob(".*"):
        with suppress(OSError):  # that run may have finished it meanwhile, or removed it
            if not _UNFINISHED.fullmatch(path.name) or time.time() - path.lstat().st_mtime < STALE:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
