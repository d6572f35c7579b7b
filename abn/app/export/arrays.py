"""NPZ: every array under a name that says what it is, without pickle.

with np.load("arrays.npz") as arrays:
    arrays["dmb/layer2.0/factors"]            # (128,) float32
    json.loads(arrays["manifest"].item())     # a string array of no dimension
"""

from __future__ import annotations

import io

import numpy as np

from abn.app.export import stored
from abn.app.export.document import Export, manifest_json
from abn.app.inspector.results import NetworkResult


def to_npz(export: Export) -> bytes:
    """All arrays: pixels, class names and, for each side, probabilities, every block's parts, and attribution.

    "SIDE/BLOCK/…" has factors, response, linear_term, gate_weights and bias_bank, and the reference statistics as
    usual_factors/… and usual_gates/… (mean, sd, low and high for 5 % and 95 %, percentile, percentile_in_class);
    "SIDE/attribution" is (3, H, W), or (1, H, W) for a method with one value for all colours.
    """
    found = {
        "manifest": np.array(manifest_json(export)),
        "pixels": export.result.pixels,
        "class_names": np.array(export.result.dmb.class_names),
    }
    for side, network in export.networks.items():
        found |= {f"{side}/{name}": array for name, array in _network(network).items()}
    for side, attribution in export.attributions.items():
        found[f"{side}/attribution"] = attribution.values[0].cpu().numpy()
        if attribution.convergence_delta is not None:
            found[f"{side}/convergence_delta"] = attribution.convergence_delta[0].cpu().numpy()
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **found)
    return content.getvalue()


def _network(network: NetworkResult) -> dict[str, np.ndarray]:
    found = {"probabilities": network.probabilities, "block_names": np.array([b.name for b in network.blocks])}
    for block in network.blocks:
        for name in ("factors", "response", "linear_term", "gate_weights", "bias_bank", "preactivation"):
            array = getattr(block, name)
            if array is not None:
                found[f"{block.name}/{name}"] = array
        if block.reference is None:
            continue
        found[f"{block.name}/usual_response/mean"] = block.reference.response_mean
        found[f"{block.name}/usual_response/sd"] = block.reference.response_sd
        for part, statistics, values in (
            ("usual_factors", block.reference.factors, block.factors),
            ("usual_gates", block.reference.gates, block.gate_weights),
        ):
            if statistics is not None:
                kept = stored.arrays(stored.store(statistics, values, network.predicted))
                found |= {f"{block.name}/{part}/{name}": np.float32(array) for name, array in kept.items()}
    return found
