"""What a picture's figures show, as rows of text: for the page and for an exported one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from abn.app import figures
from abn.app.inspector.results import PictureResult

RESPONSE_COLUMNS = ("block", "network", "channels", "5 %", "median", "95 %")
REGION_COLUMNS = ("rows", "columns")  # and a column a map


def response_rows(result: PictureResult) -> list[list]:
    """For each block and network: the name, the label, how many responses are known, and their percentiles."""
    rows = []
    # Block by block; networks of a file from elsewhere may have different numbers of them.
    for blocks in zip_longest(*(network.blocks for network in result.networks)):
        for network, block in zip(result.networks, blocks, strict=True):
            if block is not None:
                known = block.response[np.isfinite(block.response)]  # a file may leave some out
                spread = [f"{v:.3f}" for v in np.percentile(known, [5, 50, 95])] if len(known) else ["–"] * 3
                rows.append([block.name, network.label, len(known), *spread])
    return rows


def _region_value(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.4g}"


def region_rows(found: Sequence[Sequence[figures.Region]], adds_up: bool) -> list[list[str]]:
    """For each region its rows, its columns, and every map's value in it.

    Args:
        found: the regions of each map, of one grid.
        adds_up: as `abn.interpret.attribution.methods.Method` has it.
    """
    return [
        [
            "{}–{}".format(*same[0].rows),
            "{}–{}".format(*same[0].columns),
            *(_region_value(r.value(adds_up)) for r in same),
        ]
        for same in zip(*found, strict=True)
    ]
