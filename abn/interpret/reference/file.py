"""`reference.safetensors`: a checkpoint's reference statistics, in its folder, tied to its weights by their hash."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from abn.common.files import LONGEST_HEADER, header_length, replace_file
from abn.common.texts import one_line, whole_number
from abn.interpret.reference.statistics import LEVELS, BlockReference, Reference, Statistics

REFERENCE_FILE = "reference.safetensors"
FORMAT = "abn-reference"
OWN_SHARE = "own_share"
VERSION = "2"
"""Raised when what an older reader would need changes. Tensors that a reader does not know are passed over, so that
more can be kept of a channel (a histogram, the images at its ends) under names of their own."""
REMEDY = "make it anew with: abn reference CHECKPOINT --data DIR"


class ReferenceFileError(ValueError):
    """A `reference.safetensors` that cannot be used; the message says why and what to do."""


def save_reference(reference: Reference, folder: str | Path) -> Path:
    """Write `reference.safetensors` into a checkpoint's folder, whole or not at all.

    Raises:
        OSError: where the folder cannot be written to.
    """
    path = Path(folder) / REFERENCE_FILE
    tensors, sizes = {}, {}
    for name, block in reference.blocks.items():
        tensors |= {f"{name}/response_mean": block.response_mean, f"{name}/response_sd": block.response_sd}
        sizes[name] = {"response": len(block.response_mean)}
        for part in ("factors", "gates"):
            statistics = getattr(block, part)
            if statistics is not None:
                sizes[name][part] = len(statistics.mean)
                tensors |= {f"{name}/{part}/{key}": value for key, value in vars(statistics).items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "weights_sha256": reference.weights_sha256,
        "num_images": str(reference.num_images),
        "class_names": json.dumps(reference.class_names),
        "blocks": json.dumps(sizes),  # safetensors keeps no order of its own
        "quantile_levels_percent": json.dumps(LEVELS.tolist()),
        "dataset_note": reference.dataset_note,
    }
    if reference.own_share is not None:
        tensors[OWN_SHARE] = reference.own_share
    stored = serialize({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata)
    replace_file(path, lambda scratch: scratch.write_bytes(stored))
    return path


def load_reference(folder: str | Path, weights_sha256: str, source: str = "") -> Reference | None:
    """Read a checkpoint's reference; None where its folder holds none.

    Args:
        weights_sha256: hash of the weights the reference has to describe.
        source: the checkpoint as the caller named it, for messages.

    Raises:
        ReferenceFileError: for one that belongs to other weights, or is no reference of this version.
    """
    path = Path(folder) / REFERENCE_FILE
    if not path.exists():
        return None
    try:
        return _read(path, weights_sha256)
    except ReferenceFileError as error:
        if not source:
            raise
        raise ReferenceFileError(f"{source}: {error}") from error


def _read(path: Path, weights_sha256: str) -> Reference:
    try:
        if header_length(path) > LONGEST_HEADER:
            raise ReferenceFileError(f"{REFERENCE_FILE} has more than {LONGEST_HEADER:,} bytes of names; {REMEDY}")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_metadata(metadata, weights_sha256)
            class_names = _class_names(json.loads(metadata["class_names"]))
            num_images = whole_number(metadata["num_images"])
            if not num_images:
                raise ValueError(f"num_images is {metadata['num_images']!r}")
            sizes = json.loads(metadata["blocks"])
            shapes = {
                f"{name}/{part}{key}": shape
                for name, parts in sizes.items()
                for part, size in parts.items()
                for key, shape in _shapes(part, size, len(class_names)).items()
            }
            missing = sorted(set(shapes) - set(file.keys()))
            if missing:
                raise ReferenceFileError(f"{REFERENCE_FILE} misses {one_line(missing[0], 80)}; {REMEDY}")
            own_share = _take(file, OWN_SHARE, (len(LEVELS),)) if OWN_SHARE in file.keys() else None  # noqa: SIM118
            tensors = {name: _take(file, name, shape) for name, shape in shapes.items()}
            blocks = {name: _block(tensors, name) for name in sizes}
    except ReferenceFileError:
        raise
    except (SafetensorError, OSError) as error:
        message = f"{REFERENCE_FILE} is unreadable, truncated or no safetensors file; {REMEDY}"
        raise ReferenceFileError(message) from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        words = one_line(str(error), 80)
        raise ReferenceFileError(f"{REFERENCE_FILE} has damaged metadata ({words}); {REMEDY}") from error
    return Reference(weights_sha256, num_images, class_names, blocks, own_share, metadata.get("dataset_note", ""))


def _class_names(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise ValueError("class_names is no list of names")
    return tuple(found)


def _check_metadata(metadata: dict[str, str], weights_sha256: str) -> None:
    if metadata.get("format") != FORMAT:
        raise ReferenceFileError(f"{REFERENCE_FILE} is a safetensors file but no reference; {REMEDY}")
    if metadata.get("version") != VERSION:
        version = one_line(repr(metadata.get("version")), 40)
        raise ReferenceFileError(
            f"{REFERENCE_FILE} has format version {version}, this code reads {VERSION!r}; {REMEDY}"
        )
    if json.loads(metadata["quantile_levels_percent"]) != LEVELS.tolist():
        raise ReferenceFileError(f"{REFERENCE_FILE} has quantiles at other levels than this code reads; {REMEDY}")
    measured = metadata.get("weights_sha256", "")
    if measured != weights_sha256:
        raise ReferenceFileError(
            f"{REFERENCE_FILE} belongs to the weights {one_line(measured, 12)}…, "
            f"but this checkpoint has {weights_sha256[:12]}…; {REMEDY}"
        )


def _shapes(part: str, size: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """What one part of a block ("response", "factors", "gates") of `size` channels or gates stores."""
    if part == "response":
        return {"_mean": (size,), "_sd": (size,)}
    if part not in ("factors", "gates"):
        raise ValueError(f"unknown part {part!r}")
    every = {"mean": (size,), "sd": (size,), "quantiles": (len(LEVELS), size)}
    of_class = {f"class_{key}": (num_classes, *shape) for key, shape in every.items()}
    return {f"/{key}": shape for key, shape in (every | of_class).items()}


def _take(file: safe_open, name: str, shape: tuple[int, ...]) -> np.ndarray:
    stored = file.get_slice(name)
    if stored.get_dtype() != "F32" or tuple(stored.get_shape()) != shape:
        raise ReferenceFileError(
            f"{name} in {REFERENCE_FILE} is {stored.get_dtype()} {tuple(stored.get_shape())}, "
            f"expected F32 {shape}; {REMEDY}"
        )
    array = file.get_tensor(name)
    if not np.isfinite(array).all():
        raise ReferenceFileError(f"{name} in {REFERENCE_FILE} holds values that are not finite; {REMEDY}")
    if name.endswith("sd") and array.min() < 0:
        raise ReferenceFileError(f"{name} in {REFERENCE_FILE} holds a standard deviation below 0; {REMEDY}")
    if name == OWN_SHARE and (array.min() < 0 or array.max() > 1 or (np.diff(array) < 0).any()):
        raise ReferenceFileError(f"{name} in {REFERENCE_FILE} holds no ascending shares from 0 to 1; {REMEDY}")
    if name.endswith("quantiles") and (np.diff(array, axis=-2) < 0).any():
        raise ReferenceFileError(f"{name} in {REFERENCE_FILE} holds quantiles that fall; {REMEDY}")
    return array


def _block(tensors: dict[str, np.ndarray], name: str) -> BlockReference:
    def statistics(part: str) -> Statistics | None:
        if f"{name}/{part}/mean" not in tensors:
            return None
        return Statistics(**{field.name: tensors[f"{name}/{part}/{field.name}"] for field in fields(Statistics)})

    response = (tensors[f"{name}/response_mean"], tensors[f"{name}/response_sd"])
    return BlockReference(statistics("factors"), statistics("gates"), *response)
