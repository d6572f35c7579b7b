"""An export in memory, and as JSON: everything, to be opened again.

Numbers are float32 in the shortest form that reads back as the same float32; null stands for one that is not
finite. Sides are "baseline" and "dmb", whatever the networks are: their labels may be the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from abn.app.export import stored
from abn.app.export.manifest import (
    Manifest,
    PictureFile,
    Question,
    installed_versions,
    origin,
    pixels_sha256,
)
from abn.app.export.values import LARGEST_NUMBER, ExportError
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.results import BlockResult, NetworkResult, PictureResult
from abn.common.texts import LONGEST_TEXT, one_line
from abn.interpret.attribution.attribute import Attribution

SIDES = ("baseline", "dmb")
LARGEST_EXPORT = 8_000_000  # bytes; two modulated networks take about 0.6 million at K = 4, and this at K = 350
_SHORTEST_NUMBER = len("0.0,")
_OTHERWISE = "Take the other kinds of file; the npz has every number."


@dataclass(frozen=True, eq=False)
class Export:
    """One picture's results with all that is known about them.

    Attributes:
        attribution: None where nothing was attributed.
    """

    result: PictureResult
    manifest: Manifest
    attribution: AttributionPair | None = None

    @property
    def networks(self) -> dict[str, NetworkResult]:
        """Side → what its network said."""
        return dict(zip(SIDES, self.result.networks, strict=True))

    @property
    def attributions(self) -> dict[str, Attribution]:
        """Side → its network's attribution; nothing where nothing was attributed."""
        pair = self.attribution
        return {} if pair is None else {"baseline": pair.baseline, "dmb": pair.dmb}


def export_of(
    inspector: Inspector,
    result: PictureResult,
    pair: AttributionPair | None = None,
    picture: PictureFile = PictureFile(),  # noqa: B008, it is frozen
) -> Export:
    """What `inspector` found for one picture, ready to be written.

    Args:
        result: of `inspector.inspect`.
        pair: of `inspector.attribute`, for the same picture.
    """
    question = None
    if pair is not None:
        target, against = (*pair.classes, None)[:2]
        question = Question(pair.method, target, against, dict(pair.dmb.options))
    # A label may hold a folder's name.
    said = [replace(network, label=one_line(network.label, LONGEST_TEXT)) for network in result.networks]
    origins = (origin(one.label, network.model.info) for one, network in zip(said, inspector.networks, strict=True))
    manifest = Manifest(
        picture,
        pixels_sha256(result.pixels),
        *origins,
        question,
        device=str(inspector.device),
        hardware=inspector.hardware,
        versions=installed_versions(),
    )
    return Export(PictureResult(result.pixels, *said), manifest, pair)


def to_json(export: Export) -> bytes:
    """What `PictureResult.as_dict` and `AttributionPair.as_dict` hold, and whatever else it takes to draw it all.

    Raises:
        ExportError: for what `read_export` would refuse: bias banks that take too much room, or numbers that are not
            finite where the networks' answers are.
    """
    banks = [block.bias_bank for network in export.result.networks for block in network.blocks if block.has_bank]
    if _SHORTEST_NUMBER * sum(bank.size for bank in banks) > LARGEST_EXPORT:  # known before it is written in memory
        raise _too_large(banks)
    document = {
        "manifest": export.manifest.as_dict(),
        "pixels": export.result.pixels.tolist(),
        "class_names": list(export.result.dmb.class_names),
        "agree": export.result.agree,
        **{side: _network(network, side) for side, network in export.networks.items()},
        "attribution": _attribution(export),
    }
    content = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    if len(content) > LARGEST_EXPORT:
        raise _too_large(banks)
    return content


def _too_large(banks: Sequence[np.ndarray]) -> ExportError:
    most = max((bank.shape[1] for bank in banks), default=0)
    return ExportError(
        f"With bias banks of up to K = {most:,} vectors, the result.json would have more than the {LARGEST_EXPORT:,} "
        f"bytes that can be opened again. {_OTHERWISE}"
    )


def manifest_json(export: Export) -> str:
    """The manifest alone, in ASCII, as it accompanies every file."""
    return json.dumps(export.manifest.as_dict(), indent=2)


def _network(network: NetworkResult, where: str) -> dict[str, Any]:
    softmax = numbers(network.probabilities, f"{where}.raw_softmax")
    return {
        "network": network.label,
        "architecture": network.architecture,
        "predicted": network.predicted_name,
        "raw_softmax": dict(zip(network.class_names, softmax, strict=True)),
        **({} if network.median_own_share is None else {"median_own_share": network.median_own_share}),
        "block_names": [block.name for block in network.blocks],  # a program may sort the members of an object
        "blocks": {
            block.name: _block(block, network.predicted, f"{where}.blocks.{block.name}") for block in network.blocks
        },
    }


def _block(block: BlockResult, predicted: int, where: str) -> dict[str, Any]:
    written = {
        "factors": numbers(block.factors, f"{where}.factors"),
        "response": numbers(block.response, f"{where}.response", gaps=True),
    }
    if block.preactivation is not None:
        written["preactivation"] = numbers(block.preactivation, f"{where}.preactivation")
    if block.has_bank:
        for name in ("gate_weights", "linear_term", "bias_term", "bias_bank"):
            written[name] = numbers(getattr(block, name), f"{where}.{name}")
    if block.reference is not None:
        reference = block.reference
        written["usual_response"] = {
            "mean": numbers(reference.response_mean, f"{where}.usual_response.mean"),
            "sd": numbers(reference.response_sd, f"{where}.usual_response.sd"),
        }
        for part, statistics, values in (
            ("usual_factors", reference.factors, block.factors),
            ("usual_gates", reference.gates, block.gate_weights),
        ):
            if statistics is not None:
                known = stored.arrays(stored.store(statistics, values, predicted))
                written[part] = {
                    name: numbers(array, f"{where}.{part}.{name}", gaps=name.startswith("percentile"))
                    for name, array in known.items()
                }
    return written


def _attribution(export: Export) -> dict[str, Any] | None:
    pair = export.attribution
    if pair is None:
        return None
    sides = {
        side: {
            "map": numbers(pixel_map, f"attribution.{side}.map", gaps=True),
            "values": numbers(attribution.values[0].cpu().numpy(), f"attribution.{side}.values", gaps=True),
            "resolution": list(attribution.resolution),
            "convergence_delta": None
            if attribution.convergence_delta is None
            else numbers(
                attribution.convergence_delta.cpu().numpy(), f"attribution.{side}.convergence_delta", gaps=True
            )[0],
            "problem": attribution.problems[0],
        }
        for (side, attribution), pixel_map in zip(export.attributions.items(), pair.maps, strict=True)
    }
    return {"method": pair.method, "target": pair.target, **sides}


def numbers(values: np.ndarray, where: str, gaps: bool = False) -> list[Any]:
    """An array as nested lists, each number in the fewest digits that read back as the same float32.

    Args:
        where: its place in the document, for the message.
        gaps: whether null may stand for a number that is not finite.

    Raises:
        ExportError: for a number that `read_export` would refuse.
    """
    values = np.asarray(values, np.float32)
    fits = np.abs(values) <= LARGEST_NUMBER
    if gaps:
        fits |= ~np.isfinite(values)
    if not fits.all():
        raise ExportError(
            f"{where} holds {values[~fits][0]:g}, and a result.json holds finite numbers of at most "
            f"{LARGEST_NUMBER:g}. {_OTHERWISE}"
        )
    return _nested(values)


def _nested(values: np.ndarray) -> list[Any]:
    if values.ndim > 1:
        return [_nested(row) for row in values]
    return [float(str(value)) if np.isfinite(value) else None for value in values]
