"""What an exported page says in numbers: tables and a sentence, as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np

from abn import figures
from abn.results import NetworkResult

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
    return f'<div class="scroll"><table><tr>{line("th", headings)}</tr>{body}</table></div>'


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
        return "<p>What is usual over the data set is not known for this checkpoint, so plain factors are shown.</p>"
    return (
        f"<p>Factors are moved away from 1 by {share.common:.3f} on average for every picture; this one adds "
        f"{share.own:.3f} of its own: <strong>{100 * share.share:.1f} % of its modulation is its own</strong>.</p>"
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
                f"{row.percentile:.1f}",
            )
            for row in rows
        ),
    )


def gate_table(network: NetworkResult) -> str:
    """Every gate weight; nothing where there are too many for a page's width."""
    blocks = [block for block in network.blocks if block.is_modulated]
    most = max(len(block.gate_weights) for block in blocks)
    if most > MOST_GATES:
        return ""
    return table(
        ("block", *(f"α{k}" for k in range(most))),
        ((block.name, *(f"{weight:.5f}" for weight in block.gate_weights)) for block in blocks),
    )
