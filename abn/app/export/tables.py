"""CSV: the numbers as long tables, one row a number's place.

Plain RFC 4180, in UTF-8 with a heading and nothing before it, so that a spreadsheet, R and pandas open it without
an option; comment lines before the heading would break all three. The manifest therefore lies beside: a table never
leaves without `manifest.json`. Every row begins with the picture's name, so that tables of many pictures can be
joined.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from abn.app.export.document import Export
from abn.app.figures import drawing
from abn.app.inspector.results import BlockResult

FACTOR_COLUMNS = (
    "linear_term", "bias_term", "usual_mean", "usual_sd", "deviation", "percentile", "percentile_in_predicted_class",
)  # fmt: skip


def to_csv(export: Export, name: str = "picture") -> dict[str, bytes]:
    """File name → table.

    probabilities.csv: side, network, class, raw softmax and rank; factors.csv: every channel of every block of both
    networks; gate_weights.csv: every gate; attribution.csv, where there is one: every pixel. What does not exist (a
    static block's linear term, the statistics of a checkpoint without a reference) is an empty field.

    Args:
        name: of the picture, for the first column.
    """
    written = {
        "probabilities.csv": _table(name, ("class", "raw_softmax", "rank"), _probabilities(export)),
        "factors.csv": _table(name, ("block", "channel", "factor", "response", *FACTOR_COLUMNS), _factors(export)),
    }
    if any(network.has_bank for network in export.result.networks):
        columns = ("block", "gate", "weight", "usual_mean", "usual_sd", "usual_5", "usual_95", "percentile")
        written["gate_weights.csv"] = _table(name, columns, _gates(export))
    if export.attribution is not None:
        columns = ("picture", "row", "column", "red", "green", "blue", "baseline", "dmb", "dmb_minus_baseline")
        written["attribution.csv"] = _lines(columns, ((name, *row) for row in _pixels(export)))
    return written


def _table(name: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> bytes:
    return _lines(("picture", "side", "network", *columns), ((name, *row) for row in rows))


def _lines(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)  # \r\n, as the standard has it
    writer.writerow(columns)
    writer.writerows([_field(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _field(value: Any) -> Any:
    """Numbers in the fewest digits that read back as the same float32; not finite or unknown is empty."""
    if isinstance(value, np.floating):
        return str(np.float32(value)) if np.isfinite(value) else ""
    return spreadsheet_safe(value) if isinstance(value, str) else value


def spreadsheet_safe(text: str) -> str:
    """A file's or class's name as it stands in a table: it must not become a spreadsheet's formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _probabilities(export: Export) -> Iterator[tuple[Any, ...]]:
    for side, network in export.networks.items():
        ranks = np.empty(len(network.probabilities), int)
        ranks[np.argsort(-network.probabilities, kind="stable")] = np.arange(1, len(ranks) + 1)
        for name, probability, rank in zip(network.class_names, network.probabilities, ranks, strict=True):
            yield side, network.label, name, probability, rank


def _factors(export: Export) -> Iterator[tuple[Any, ...]]:
    for side, network in export.networks.items():
        for block, compared in zip(network.blocks, drawing.block_factors(network), strict=True):
            known = compared.mean is not None
            parts = (
                block.linear_term,
                block.bias_term if block.has_bank else None,
                compared.mean,
                compared.sd,
                compared.deviation if known else None,
                compared.percentile,
                compared.class_percentile,
            )
            for channel, (factor, response) in enumerate(zip(block.factors, block.response, strict=True)):
                rest = (None if part is None else part[channel] for part in parts)
                yield side, network.label, block.name, channel, factor, response, *rest


def _gates(export: Export) -> Iterator[tuple[Any, ...]]:
    for side, network in export.networks.items():
        for block in network.blocks:
            if block.has_bank:
                yield from ((side, network.label, block.name, *row) for row in _block_gates(block))


def _block_gates(block: BlockResult) -> Iterator[tuple[Any, ...]]:
    statistics = None if block.reference is None else block.reference.gates
    known = []
    if statistics is not None:
        low, high = statistics.quantile(5), statistics.quantile(95)
        known = [statistics.mean, statistics.sd, low, high, statistics.percentile(block.gate_weights)]
    for gate, weight in enumerate(block.gate_weights):
        yield gate, weight, *((values[gate] for values in known) if known else (None,) * 5)


def _pixels(export: Export) -> Iterator[tuple[Any, ...]]:
    first, second = export.attribution.maps
    for row, column in np.ndindex(first.shape):
        values = first[row, column], second[row, column], second[row, column] - first[row, column]
        yield row, column, *map(int, export.result.pixels[row, column]), *values
