"""What an exported page says in numbers: tables and a sentence, as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

import numpy as np

from abn.app import figures
from abn.app.figures.in_numbers import REGION_COLUMNS, RESPONSE_COLUMNS, region_rows, response_rows
from abn.app.inspector.results import NetworkResult, PictureResult
from abn.interpret.attribution.methods import Method
from abn.interpret.reference.statistics import entropy_share

TOP = 5  # classes shown of each network
MOST_GATES = 8


def escape(text: object) -> str:
    return html.escape(str(text))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """The first `texts` columns are words, the others numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = ["" if index < texts else ' class="number"' for index in range(len(cells))]
        if tag == "th":
            kinds = [f'{kind} scope="col"' for kind in kinds]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f'<div class="scroll" tabindex="0"><table><tr>{line("th", headings)}</tr>{body}</table></div>'


def top_classes(network: NetworkResult) -> str:
    """The most probable classes with their shares."""
    order = np.argsort(-network.probabilities, kind="stable")[:TOP]
    shares = [(network.class_names[index], f"{100 * network.probabilities[index]:.1f}") for index in order]
    rows = "".join(
        f'<tr><td class="share" style="--width:{share}%">{escape(name)}</td><td class="number">{share} %</td></tr>'
        for name, share in shares
    )
    return f"<div><h3>{escape(network.label)}: {escape(network.predicted_name)}</h3><table>{rows}</table></div>"


def own_share(network: NetworkResult) -> str:
    """How much of the picture's modulation is its own."""
    share = network.own_share()
    if share is None:
        return "<p>The reference statistics of this checkpoint are not known, so plain factors are shown.</p>"
    ordinary = "" if share.median is None else f" ({100 * share.median:.1f} % for the median test image)"
    return (
        f"<p>Of what modulation does to this picture's factors, <strong>{100 * share.share:.1f} %</strong> is its own"
        f"{ordinary} and {100 * (1 - share.share):.1f} % is what every picture gets: shares of squared distances.</p>"
    )


def unusual_table(rows: Sequence[figures.UnusualChannel]) -> str:
    """A row for each channel."""
    return table(
        ("block", "channel", "factor", "usual mean", "deviation (sd)", "percentile"),
        (
            (
                row.block,
                str(row.channel),
                f"{row.factor:.4f}",
                f"{row.mean:.4f}",
                f"{row.deviation:+.2f}",
                "–" if math.isnan(row.percentile) else f"{row.percentile:.2f}",
            )
            for row in rows
        ),
    )


def gate_table(network: NetworkResult) -> str:
    """Every gate weight, or where there are too many for a page's width the largest; and the entropy."""
    blocks = [block for block in network.blocks if block.has_bank]
    entropy = [f"{float(entropy_share(block.gate_weights)):.6f}" for block in blocks]
    most = max(len(block.gate_weights) for block in blocks)
    headings, cells = [f"α{k}" for k in range(most)], [[f"{w:.5f}" for w in block.gate_weights] for block in blocks]
    if most > MOST_GATES:
        largest = [int(np.argmax(block.gate_weights)) for block in blocks]
        headings = ["largest weight"]
        cells = [[f"{block.gate_weights[k]:.5f} (α{k})"] for block, k in zip(blocks, largest, strict=True)]
    return table(
        ("block", *headings, "entropy (share of the largest)"),
        ((block.name, *row, share) for block, row, share in zip(blocks, cells, entropy, strict=True)),
    )


def response_table(result: PictureResult) -> str:
    """A row a block and network: percentiles of its responses."""
    return table(RESPONSE_COLUMNS, ([str(cell) for cell in row] for row in response_rows(result)), texts=2)


def region_table(labels: Sequence[str], maps: Sequence[np.ndarray], method: Method) -> str:
    """The maps by regions, folded away until they are asked for."""
    rows = region_rows([figures.regions(values) for values in maps], method.adds_up)
    kind = "Sums" if method.adds_up else "Means"
    numbers = table((*REGION_COLUMNS, *labels), rows, texts=2)
    return (
        f"<details><summary>The maps in numbers, by 4 × 4 regions</summary><p>{kind}, in {escape(method.unit)}. Rows "
        f"count from the top, columns from the left, both from 0.</p>{numbers}</details>"
    )
