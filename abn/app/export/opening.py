"""Open an exported JSON again, alone or in its bundle. It may come from anybody: what does not fit is refused."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from abn.app.export.bundle import MANIFEST_FILE, RESULT_FILE
from abn.app.export.document import LARGEST_EXPORT, SIDES, Export
from abn.app.export.manifest import FORMAT, VERSION, Manifest, Question, pixels_sha256, whole_numbers
from abn.app.export.stored import HIGH, LOW, StoredStatistics
from abn.app.export.values import (
    LARGEST_NUMBER,
    ExportError,
    Factors,
    Maps,
    Matrix,
    Percentiles,
    Pixels,
    Shares,
    Spreads,
    Vector,
    VectorWithGaps,
)
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.results import BlockResult, NetworkResult, PictureResult
from abn.common.documents import (
    STRICT,
    DocumentError,
    Line,
    Names,
    NotJsonError,
    Within,
    read_document,
    shortened,
)
from abn.interpret.attribution.attribute import Attribution
from abn.interpret.reference.statistics import BlockReference

LARGEST_BUNDLE = 32_000_000  # bytes; "Everything" of two modulated networks has about three million
MOST_ENTRIES = 1_000  # files in it; ours have twenty
MOST_LISTS = 200_000  # in the JSON; a list takes sixty bytes in memory and only two in the file
MOST_MEMBERS = 20_000  # of its objects
MOST_BLOCKS = 32  # of a network; ours have six
MOST_CHANNELS = 4096  # of a block; ours have up to 256
MOST_IN_ALL = 16_384  # channels of a network's blocks together; ours have 896
MOST_WEIGHTS = 10_000  # gate weights likewise; ours have 24
SUM_TOLERANCE = 1e-3  # of probabilities and gate weights, which sum to 1 but for rounding

_FOREIGN = f"This is no export of this program; open the {RESULT_FILE} of a bundle, or its zip."
WITHOUT_RESULT = (
    f"a bundle without {RESULT_FILE}, which holds the numbers; inspect the picture again with json among the "
    "--kinds, or take the JSON from the page."
)
_DAMAGED = "The file is a damaged or encrypted zip; take the bundle anew."


@dataclass(frozen=True)
class _Format:
    format: Any = None
    version: Any = None


@dataclass(frozen=True)
class _Heading:
    """What tells another program's or version's file, before anything else of it is read."""

    __pydantic_config__ = STRICT

    manifest: _Format


@dataclass(frozen=True)
class _Statistics:
    mean: Vector
    sd: Spreads
    low: Vector
    high: Vector
    percentile: Percentiles
    percentile_in_class: Percentiles


@dataclass(frozen=True)
class _Responses:
    mean: Vector
    sd: Spreads


@dataclass(frozen=True)
class _Block:
    factors: Factors
    response: VectorWithGaps
    linear_term: Vector | None = None
    gate_weights: Shares | None = None
    bias_bank: Matrix | None = None
    preactivation: Vector | None = None
    usual_response: _Responses | None = None
    usual_factors: _Statistics | None = None
    usual_gates: _Statistics | None = None

    def __post_init__(self) -> None:
        parts = (self.linear_term, self.gate_weights, self.bias_bank)
        if self.linear_term is not None and any(part is None for part in parts):
            raise ValueError("lacks gate_weights or bias_bank; it is no whole export")
        known = (self.usual_factors, self.usual_gates)
        if self.linear_term is not None and self.usual_response is not None and None in known:
            raise ValueError("lacks usual_factors or usual_gates; it is no whole export")
        if self.preactivation is not None and self.usual_response is not None and self.usual_factors is None:
            raise ValueError("lacks usual_factors; it is no whole export")


@dataclass(frozen=True)
class _Network:
    network: Line
    architecture: Line
    raw_softmax: dict[str, Annotated[float, Within(0, 1)]]
    block_names: Names
    blocks: dict[str, _Block]
    median_own_share: Annotated[float, Within(0, 1)] | None = None


@dataclass(frozen=True)
class _Half:
    values: Maps
    resolution: Annotated[tuple[int, int], whole_numbers(2, 1)]
    convergence_delta: Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)] | None = None
    problem: Line | None = None


@dataclass(frozen=True)
class _Halves:
    baseline: _Half
    dmb: _Half


@dataclass(frozen=True)
class _Document:
    __pydantic_config__ = STRICT

    manifest: Manifest
    pixels: Pixels
    class_names: Names
    baseline: _Network
    dmb: _Network
    attribution: _Halves | None


def read_export(data: bytes) -> Export:
    """What `to_json` wrote, as the page and the writers take it.

    Args:
        data: the content of a `result.json`, or of a zip with one in it; from anybody.

    Raises:
        ExportError: for another file, a newer format, one cut short or too large, missing parts, shapes
            that do not agree or no network here has, numbers out of range, or pixels that are not the manifest's.
    """
    if zipfile.is_zipfile(io.BytesIO(data)):
        data = _from_zip(data)
    try:
        _check_format(data)
        document = read_document(_Document, data)
    except NotJsonError as error:
        raise ExportError(
            f"The file is no JSON, or was cut short; open the {RESULT_FILE} of a bundle, whole as it was written."
        ) from error
    except DocumentError as error:
        raise ExportError(f"{error.place or 'The file'} {error.problem}.") from error
    known = document.manifest
    if pixels_sha256(document.pixels) != known.pixels_sha256:
        raise ExportError(
            "The pixels are not those of the manifest's hash: the export was changed after it was written."
        )
    networks = [_network(getattr(document, side), document.class_names, known, side) for side in SIDES]
    result = PictureResult(document.pixels, *networks)
    if not result.dmb.is_modulated:
        raise ExportError("dmb has no block with factors of its own; expected a modulated network on that side.")
    return Export(result, known, _attribution(document))


def _from_zip(data: bytes) -> bytes:
    """The one `result.json` of a bundle, at most one byte more of it than an export may have."""
    if len(data) > LARGEST_BUNDLE or data.count(b"PK\x01\x02") > MOST_ENTRIES:  # before its directory is read
        raise ExportError(
            f"The zip has more than {LARGEST_BUNDLE:,} bytes or {MOST_ENTRIES:,} files; it is no bundle of this "
            "program."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [entry.filename.split("/")[-1] for entry in archive.infolist()]
            found = [entry for entry, name in zip(archive.infolist(), names, strict=True) if name == RESULT_FILE]
            if not found and MANIFEST_FILE in names:
                raise ExportError(f"The zip is {WITHOUT_RESULT}")
            if len(found) != 1:
                raise ExportError(f"The zip holds {len(found)} files called {RESULT_FILE}; expected one.")
            if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may take gigabytes
                raise ExportError(_DAMAGED)
            with archive.open(found[0]) as file:
                return file.read(LARGEST_EXPORT + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
        raise ExportError(_DAMAGED) from error


def _check_format(data: bytes) -> None:
    """Refuse what is too large to be worth reading, or of another program, or of another version of this one."""
    if len(data) > LARGEST_EXPORT:
        raise ExportError(
            f"The {RESULT_FILE} has {len(data):,} bytes, and an export at most {LARGEST_EXPORT:,}; open one that "
            "this program wrote."
        )
    if data.count(b"[") + data.count(b"{") > MOST_LISTS or data.count(b":") > MOST_MEMBERS:
        raise ExportError(
            f"The file holds more than {MOST_LISTS:,} lists or {MOST_MEMBERS:,} members; it is no export of this "
            "program."
        )
    try:
        found = read_document(_Heading, data).manifest
    except NotJsonError:
        raise
    except DocumentError as error:
        raise ExportError(_FOREIGN) from error
    if found.format != FORMAT:
        raise ExportError(_FOREIGN)
    if type(found.version) is not int:
        raise ExportError(f"manifest.version is {shortened(found.version)}; expected a whole number.")
    told = f"The export has format version {shortened(found.version)}"
    if found.version > VERSION:
        raise ExportError(f"{told}, and this program reads {VERSION}; open it with a newer one.")
    if found.version != VERSION:
        raise ExportError(f"{told}, which never was; this program reads {VERSION}.")


def _network(read: _Network, class_names: tuple[str, ...], manifest: Manifest, side: str) -> NetworkResult:
    if set(read.raw_softmax) != set(class_names):
        raise ExportError(f"{side}.raw_softmax names other classes than class_names does; expected the same.")
    probabilities = np.float32([read.raw_softmax[name] for name in class_names])
    _require_sum_of_1(probabilities, f"{side}.raw_softmax")
    where, names = f"{side}.blocks", read.block_names
    if set(read.blocks) != set(names):
        raise ExportError(f"{where} has other blocks than block_names says; expected the same.")
    _require_at_most(MOST_BLOCKS, len(names), "blocks", where)
    predicted = int(probabilities.argmax())
    blocks = tuple(_block(read.blocks[name], name, predicted, f"{where}.{name}") for name in names)
    _require_at_most(MOST_IN_ALL, sum(len(block.factors) for block in blocks), "channels in all", where)
    counts = {None if block.gate_weights is None else len(block.gate_weights) for block in blocks}
    weights = sum(0 if block.gate_weights is None else len(block.gate_weights) for block in blocks)
    _require_at_most(MOST_WEIGHTS, weights, "gate weights in all", where)
    origin = getattr(manifest, side)
    if (read.network, read.architecture) != (origin.label, origin.architecture):
        raise ExportError(f"{side} is another network than the manifest says; the export was changed.")
    if counts != {origin.num_biases}:
        raise ExportError(f"{side} has bias banks of another size than the manifest says; the export was changed.")
    return NetworkResult(read.network, read.architecture, class_names, probabilities, blocks, read.median_own_share)


def _block(read: _Block, name: str, predicted: int, where: str) -> BlockResult:
    size = len(read.factors)
    _require_at_most(MOST_CHANNELS, size, "channels", where)
    _require_shape(read.response, (size,), f"{where}.response")
    parts = None, None, None
    if read.linear_term is not None:
        parts = read.linear_term, read.gate_weights, read.bias_bank
        _require_shape(read.linear_term, (size,), f"{where}.linear_term")
        _require_sum_of_1(read.gate_weights, f"{where}.gate_weights")
        _require_shape(read.bias_bank, (size, len(read.gate_weights)), f"{where}.bias_bank")
    if read.preactivation is not None:
        _require_shape(read.preactivation, (size,), f"{where}.preactivation")
    reference, responses = None, read.usual_response
    if responses is not None:
        for part in ("mean", "sd"):
            _require_shape(getattr(responses, part), (size,), f"{where}.usual_response.{part}")
        reference = BlockReference(
            _statistics(read.usual_factors, read.factors, predicted, f"{where}.usual_factors"),
            None if parts[1] is None else _statistics(read.usual_gates, parts[1], predicted, f"{where}.usual_gates"),
            responses.mean,
            responses.sd,
        )
    return BlockResult(name, read.factors, read.response, *parts, reference, read.preactivation)


def _statistics(
    read: _Statistics | None, values: np.ndarray, class_index: int, where: str
) -> StoredStatistics | None:
    if read is None:
        return None
    for name, array in vars(read).items():
        _require_shape(array, values.shape, f"{where}.{name}")
    if (read.low > read.high).any():
        raise ExportError(f"{where} has a low above its high; the export was changed after it was written.")
    quantiles = {LOW: read.low, HIGH: read.high}
    return StoredStatistics(
        values, read.mean, read.sd, quantiles, read.percentile, class_index, read.percentile_in_class
    )


def _require_shape(values: np.ndarray, expected: tuple[int, ...], where: str) -> None:
    if values.shape != expected:
        found, wanted = (" × ".join(map(str, shape)) for shape in (values.shape, expected))
        raise ExportError(f"{where} holds {found} numbers; expected {wanted}.")


def _require_at_most(most: int, found: int, what: str, where: str) -> None:
    """What is drawn grows with blocks × channels: a small file must not ask for a large figure."""
    if found > most:
        raise ExportError(
            f"{where} has {found:,} {what}; expected at most {most:,}, and no network of this program has as "
            "many. Open a result.json that it wrote."
        )


def _require_sum_of_1(values: np.ndarray, where: str) -> None:
    total = float(values.sum())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ExportError(f"{where} sums to {total:.6g}; expected 1.")


def _attribution(document: _Document) -> AttributionPair | None:
    question, halves = document.manifest.question, document.attribution
    if (halves is None) != (question is None):
        raise ExportError("Of the manifest's question and the attribution one is missing; it is no whole export.")
    if question is None or halves is None:
        return None
    classes = (question.target,) if question.against is None else (question.target, question.against)
    unknown = [name for name in classes if name not in document.class_names]
    if unknown:
        raise ExportError(f"manifest.question names the class {unknown[0][:60]!r}, which class_names lacks.")
    sides = [_half(getattr(halves, side), question, f"attribution.{side}.values") for side in SIDES]
    return AttributionPair(question.method, " against ".join(classes), *sides, classes)


def _half(read: _Half, question: Question, where: str) -> Attribution:
    if len(read.values) not in (1, 3):
        raise ExportError(f"{where} has {len(read.values)} colours; expected 1 or 3.")
    return Attribution(
        torch.from_numpy(read.values)[None],
        question.method,
        read.resolution,
        None if read.convergence_delta is None else torch.tensor([read.convergence_delta]),
        (read.problem,),
        dict(question.options),
    )
