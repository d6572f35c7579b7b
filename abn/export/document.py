"""An export in memory, and as JSON: everything, to be opened again.

Numbers are float32 in the shortest form that reads back as the same float32; null stands for one that is not
finite. Sides are "baseline" and "dmb", whatever the networks are: their labels may be the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from abn.attribution import Attribution
from abn.attribution_pair import AttributionPair
from abn.export import stored
from abn.export.manifest import (
    Manifest,
    PictureFile,
    Question,
    installed_versions,
    origin,
    pixels_sha256,
)
from abn.inspector import Inspector
from abn.results import BlockResult, NetworkResult, PictureResult
from abn.texts import LONGEST_TEXT, one_line

SIDES = ("baseline", "dmb")


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
    """What `PictureResult.as_dict` and `AttributionPair.as_dict` hold, and whatever else it takes to draw it all."""
    document = {
        "manifest": export.manifest.as_dict(),
        "pixels": export.result.pixels.tolist(),
        "class_names": list(export.result.dmb.class_names),
        "agree": export.result.agree,
        **{side: _network(network) for side, network in export.networks.items()},
        "attribution": _attribution(export),
    }
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def manifest_json(export: Export) -> str:
    """The manifest alone, in ASCII, as it accompanies every file."""
    return json.dumps(export.manifest.as_dict(), indent=2)


def _network(network: NetworkResult) -> dict[str, Any]:
    return {
        "network": network.label,
        "architecture": network.architecture,
        "predicted": network.predicted_name,
        "raw_softmax": dict(zip(network.class_names, numbers(network.probabilities), strict=True)),
        "block_names": [block.name for block in network.blocks],  # a program may sort the members of an object
        "blocks": {block.name: _block(block, network.predicted) for block in network.blocks},
    }


def _block(block: BlockResult, predicted: int) -> dict[str, Any]:
    written = {"factors": numbers(block.factors), "response": numbers(block.response)}
    if block.is_modulated:
        written |= {
            name: numbers(getattr(block, name)) for name in ("gate_weights", "linear_term", "bias_term", "bias_bank")
        }
    if block.usual is not None:
        usual = block.usual
        written["usual_response"] = {"mean": numbers(usual.response_mean), "sd": numbers(usual.response_sd)}
        for part, statistics, values in (
            ("usual_factors", usual.factors, block.factors),
            ("usual_gates", usual.gates, block.gate_weights),
        ):
            if statistics is not None:
                known = stored.arrays(stored.store(statistics, values, predicted))
                written[part] = {name: numbers(array) for name, array in known.items()}
    return written


def _attribution(export: Export) -> dict[str, Any] | None:
    pair = export.attribution
    if pair is None:
        return None
    sides = {
        side: {
            "map": numbers(pixel_map),
            "values": numbers(attribution.values[0].cpu().numpy()),
            "resolution": list(attribution.resolution),
            "convergence_delta": None
            if attribution.convergence_delta is None
            else numbers(attribution.convergence_delta.cpu().numpy())[0],
            "problem": attribution.problems[0],
        }
        for (side, attribution), pixel_map in zip(export.attributions.items(), pair.maps, strict=True)
    }
    return {"method": pair.method, "target": pair.target, **sides}


def numbers(values: np.ndarray) -> list[Any]:
    """An array as nested lists, each number in the fewest digits that read back as the same float32."""
    values = np.asarray(values, np.float32)
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(str(value)) if np.isfinite(value) else None for value in values]
