"""A checkpoint's folder, read strictly: every file is what it should be, or a message says what is wrong with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from abn.checkpoints.info import CheckpointError, CheckpointInfo, parse_config
from abn.checkpoints.weights import load_official_state_dict, read_safetensors
from abn.common.data import normalise
from abn.common.files import LOG_FILE
from abn.common.texts import one_line
from abn.interpret.reference.file import REFERENCE_FILE
from abn.models.registry import ARCHITECTURES, Architecture
from abn.models.resnet import ResNet

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"

TIED = (REFERENCE_FILE, LOG_FILE)
"""What belongs to the weights: beside other ones it would be wrong."""

FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, *TIED)
"""What a checkpoint's folder holds; writing one replaces them."""

LARGEST_CONFIG = 1_000_000  # bytes; ours have about two thousand


def load_folder(folder: Path, source: str) -> ResNet:
    """The network of a folder, on the CPU and in eval mode, with its `CheckpointInfo` as `info`.

    Args:
        source: the checkpoint as the caller named it, for messages.

    Raises:
        CheckpointError: with a message of its own for every failure.
    """
    info = read_info(folder, source)
    model = build(info, source)
    load_official_state_dict(model, read_safetensors(folder / WEIGHTS_FILE, source), source=source)
    with (folder / WEIGHTS_FILE).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != info.weights_sha256:
        raise CheckpointError(
            f"{CONFIG_FILE} describes other weights: {WEIGHTS_FILE} has the SHA-256 {found[:12]}…, not "
            f"{info.weights_sha256[:12]}…; take both files from the same checkpoint",
            source,
        )
    model.info = replace(info, source=source, folder=folder)
    # Colours innermost, as pictures come: a pass is faster so, above all that of one picture.
    model = model.eval().to(memory_format=torch.channels_last)
    require_finite_logits(model, info, source)
    return model


def require_finite_logits(model: ResNet, info: CheckpointInfo, source: str) -> None:
    """Refuse a network whose numbers, each finite, overflow together.

    Args:
        model: in eval mode, on the CPU.

    Raises:
        CheckpointError: where the logits of a black, a grey or a white picture are not finite.
    """
    brightness = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)
    with torch.inference_mode():
        logits = model(normalise(brightness.expand(3, 3, 32, 32), info.mean, info.std))
    if not logits.isfinite().all():
        reason = "its answers to plain pictures are NaN or infinite; take weights from before the training diverged"
        raise CheckpointError(reason, source)


def read_info(folder: Path, source: str) -> CheckpointInfo:
    """What a folder's `config.json` says.

    Raises:
        CheckpointError: for a file that is missing, cannot be read or says nonsense.
    """
    return parse_config(_read_config(folder, source), source)


def _read_config(folder: Path, source: str) -> bytes:
    try:
        with (folder / CONFIG_FILE).open("rb") as file:
            text = file.read(LARGEST_CONFIG + 1)
    except FileNotFoundError as error:
        reason = f"there is no {CONFIG_FILE}, so this is no checkpoint; name a folder that save_checkpoint wrote"
        raise CheckpointError(reason, source) from error
    except OSError as error:
        reason = f"{CONFIG_FILE} cannot be read ({error.strerror}); look at the file and its permissions"
        raise CheckpointError(reason, source) from error
    if len(text) > LARGEST_CONFIG:
        raise CheckpointError(f"{CONFIG_FILE} has more than {LARGEST_CONFIG:,} bytes: another file", source)
    return text


def build(info: CheckpointInfo, source: str) -> ResNet:
    """The network without its weights: nothing is allocated, or drawn from the global random generator.

    Raises:
        CheckpointError: for an architecture that is not known, or cannot have such a bank or such options.
    """
    known = ARCHITECTURES.get(info.architecture)
    if known is None:
        named = one_line(repr(info.architecture), 60)
        raise CheckpointError(
            f"unknown architecture {named}; this version has {', '.join(sorted(ARCHITECTURES))}", source
        )
    sizes: dict[str, Any] = {"num_classes": len(info.class_names), **_options(info, known, source)}
    if known.takes_num_biases and info.num_biases is not None:
        sizes["num_biases"] = info.num_biases
    try:
        with torch.device("meta"):
            model = known.build(**sizes)
    except ValueError as error:
        raise CheckpointError(f"{CONFIG_FILE}: {error}", source) from error
    if info.num_biases != model.num_biases:
        expected = "a whole number, for it has bias banks" if known.takes_num_biases else json.dumps(model.num_biases)
        raise CheckpointError(
            f"{CONFIG_FILE}: num_biases is {json.dumps(info.num_biases)}, which {info.architecture} cannot have; "
            f"expected {expected}",
            source,
        )
    return model


def _options(info: CheckpointInfo, known: Architecture, source: str) -> dict[str, Any]:
    """What else the architecture's builder is given."""
    options = info.options or {}
    for name, value in options.items():
        kind = known.options.get(name)
        if kind is None:
            there = ", ".join(known.options) or "none"
            named = one_line(repr(name), 60)
            raise CheckpointError(
                f"{CONFIG_FILE}: {info.architecture} has no option {named}; there is {there}", source
            )
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (kind is not bool and isinstance(value, bool)):
            raise CheckpointError(
                f"{CONFIG_FILE}: the option {name} is {one_line(json.dumps(value), 60)}; expected a "
                f"{'number' if kind is float else kind.__name__}",
                source,
            )
    return dict(options)
