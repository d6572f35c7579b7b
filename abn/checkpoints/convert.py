"""A file of official weights, made into a checkpoint's folder.

The one place where a pickle is opened, and then by PyTorch's own reader that runs no code from it (`weights_only`).
What training scripts keep beside the weights (options, NumPy's numbers) is read as `Inert` objects.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.serialization import safe_globals

from abn.checkpoints.folder import CONFIG_FILE, FILES, build, require_finite_logits
from abn.checkpoints.info import CheckpointError, CheckpointInfo, parse_config
from abn.checkpoints.store import save_checkpoint
from abn.checkpoints.weights import is_pickle, listed, load_official_state_dict, plain_names, read_safetensors
from abn.common.data import CLASS_NAMES, MEAN, STD
from abn.common.files import DAMAGED_PICKLE
from abn.common.texts import one_line
from abn.models.registry import ARCHITECTURES

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts put a state dict beside an epoch or an optimiser."""

HARMLESS = (
    "argparse.Namespace",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    *(
        f"pathlib{home}.{system}Path"
        for home in ("", "._local")
        for system in ("Posix", "Windows", "PurePosix", "PureWindows")
    ),
)
"""Types that training scripts keep beside the weights: options, a NumPy accuracy, a folder."""

MARKS = {"resnet-dmb": "layer1.0.conv2_dmb.conv.weight", "resnet-s": "layer1.0.conv2.weight"}
"""Architecture → an entry that it alone has."""

BANK = "layer1.0.conv2_dmb.gate_dmb.biases"  # (64, K)
HEAD = "linear.weight"  # (classes, 256)
FIRST = "conv1.weight"  # which every architecture has: where it is, a network's weights are

_UNREADABLE = "this is no file of torch.save or safetensors, or is damaged or cut short; copy or download it again"


def convert_checkpoint(
    file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    entry: str | None = None,
    architecture: str | None = None,
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    license: str | None = None,
) -> Path:
    """Make a checkpoint of weights under the official implementation's names.

    The numbers of classes and of bias vectors are those of the weights.

    Args:
        file: what torch.save wrote of a state dict, bare or under a key, or a `.safetensors`. All names may start
            with `abn.checkpoints.weights.PREFIXES`.
        folder: a new one, or one without files of a checkpoint's names.
        entry: the key or the prefix of the names under which the weights stand, e.g. "model_ema"; a key of
            `WRAPPERS`, or the whole file, where it is not given. It has to be where several hold weights.
        architecture: a name in `abn.models.registry.ARCHITECTURES`; where it is not given, the one the names
            belong to.
        class_names: in the order of the logits; CIFAR-10's where there are ten.
        mean, std: what the images were normalised by in training, on the scale 0…1.
        license: of the weights, as the Hub calls it, e.g. "mit"; None where it is not known.

    Returns:
        The folder.

    Raises:
        CheckpointError: with a message of its own for every failure; nothing is written then.
    """
    path, name = Path(file), os.fspath(file)
    _require_room(Path(folder), os.fspath(folder))
    state = plain_names(read_state_dict(path, name, entry))
    architecture = architecture or _architecture(state, name)
    if architecture not in ARCHITECTURES:
        raise CheckpointError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}", name)
    num_classes = _size(state, HEAD, 0, name)
    has_banks = ARCHITECTURES[architecture].has_bank
    info = CheckpointInfo(
        architecture=architecture,
        class_names=_class_names(class_names, num_classes, name),
        mean=tuple(mean),
        std=tuple(std),
        num_biases=_size(state, BANK, 1, name) if has_banks else None,
        weights_sha256="",
    )
    model = build(info, name)
    load_official_state_dict(model, state, source=name)
    # Before the network is asked, whose answers a wrong mean or deviation spoils.
    parse_config(json.dumps(replace(info, weights_sha256="0" * 64).config()).encode(), name)
    require_finite_logits(model.eval(), info, name)
    return save_checkpoint(model, folder, class_names=info.class_names, mean=mean, std=std, license=license)


def _require_room(folder: Path, source: str) -> None:
    """Refuse a folder with files that would be replaced: a project's README.md is no model card."""
    # os.path's, for Path's own raise where a folder is forbidden.
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if CONFIG_FILE in there:
        raise CheckpointError("a checkpoint stands there already; name another folder", source)
    if there:
        verb = "stands" if len(there) == 1 else "stand"
        raise CheckpointError(f"{' and '.join(there)} {verb} there already; name a new folder", source)


def read_state_dict(path: Path, source: str, entry: str | None = None) -> Mapping[str, Tensor]:
    """The weights in a file, by name.

    Args:
        source: the file as the caller named it, for messages.
        entry: see `convert_checkpoint`.

    Raises:
        CheckpointError: for a file that cannot be read, needs code, is damaged, or holds something else.
    """
    try:
        pickled = is_pickle(path)
    except FileNotFoundError as error:
        raise CheckpointError("there is no such file; name one with weights", source) from error
    except OSError as error:
        reason = f"this cannot be read ({error.strerror}); name a file with weights, and look at its permissions"
        raise CheckpointError(reason, source) from error
    return _chosen(_unpickled(path, source) if pickled else _safetensors(path, source), entry, source)


def _safetensors(path: Path, source: str) -> Mapping[str, Tensor]:
    try:
        return read_safetensors(path, source)
    except CheckpointError as error:
        if isinstance(error.__cause__, SafetensorError):
            raise CheckpointError(_UNREADABLE, source) from error
        raise


class Inert:
    """Stands for an object beside the weights; takes whatever it is made of, and keeps and runs nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _unpickled(path: Path, source: str) -> Any:
    try:
        with safe_globals([(Inert, name) for name in HARMLESS]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED_PICKLE as error:
        needed = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, UnpicklingError) else None
        if needed is not None:
            raise CheckpointError(
                f"opening this would run code ({needed[1]}), so it is not opened; where it was made, save the "
                "weights alone: torch.save(model.state_dict(), …)",
                source,
            ) from error
        raise CheckpointError(_UNREADABLE, source) from error


def _chosen(content: Any, entry: str | None, source: str) -> Mapping[str, Tensor]:
    """The state dict among what a file holds.

    Raises:
        CheckpointError: where there is none, several and none is named, or none under the name.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"this holds a {type(content).__name__}; expected a state dict", source)
    choices = _choices(content)
    if entry is not None:
        if entry not in choices:
            remedy = f"name one that does: {listed(sorted(choices))}" if choices else "leave it out"
            raise CheckpointError(f"no entry {one_line(entry, 40)!r} holds a network's weights; {remedy}", source)
        return choices[entry]
    if len(choices) > 1:
        reason = f"several entries hold weights; name one with --entry: {listed(sorted(choices))}"
        raise CheckpointError(reason, source)
    for key in WRAPPERS:  # first, for a tensor may stand beside them: the best accuracy, say
        if isinstance(content.get(key), Mapping):
            return content[key]
    if any(isinstance(value, Tensor) for value in content.values()):
        return content
    there = listed([repr(key) for key in content]) or "nothing"
    remedy = f"; name it with --entry {one_line(next(iter(choices)), 40)}" if choices else ""
    raise CheckpointError(
        f"no weights are in this, nor under {', '.join(WRAPPERS)}; there is {there}{remedy}", source
    )


def _choices(content: Mapping[Any, Any], nested: bool = False) -> dict[str, Mapping[str, Tensor]]:
    """Key, or first part of the names, → the weights of a whole network that stand there.

    Args:
        nested: `content` stands under a key of `WRAPPERS` itself.
    """
    entries = {str(key): value for key, value in content.items() if isinstance(value, Mapping)}
    prefixed: dict[str, dict[str, Tensor]] = {}
    for name, value in content.items():
        prefix, point, rest = str(name).partition(".")
        if point and isinstance(value, Tensor):
            prefixed.setdefault(prefix, {})[rest] = value
    choices: dict[str, Mapping[str, Tensor]] = {}
    for name, state in (entries | prefixed).items():
        if FIRST in plain_names(state):
            choices[name] = state
        elif name in WRAPPERS and not nested:
            choices |= _choices(state, nested=True)
    return choices


def _architecture(state: Mapping[str, Tensor], source: str) -> str:
    for architecture, mark in MARKS.items():
        if mark in state:
            return architecture
    expected = " or ".join(f"{mark} ({architecture})" for architecture, mark in MARKS.items())
    there = listed(sorted(map(str, state))) or "nothing"
    raise CheckpointError(f"these are weights of neither network: expected {expected}, there is {there}", source)


def _size(state: Mapping[str, Tensor], name: str, dimension: int, source: str) -> int:
    """A size of the network, read from an entry's shape."""
    entry = state.get(name)
    if entry is None:
        raise CheckpointError(f"the weights lack {name}, whose shape is needed; take the whole state dict", source)
    if not isinstance(entry, Tensor) or entry.dim() != 2 or entry.shape[dimension] == 0:
        found = f"has shape {tuple(entry.shape)}" if isinstance(entry, Tensor) else f"is a {type(entry).__name__}"
        raise CheckpointError(f"{name} {found}; expected a matrix", source)
    return entry.shape[dimension]


def _class_names(given: Sequence[str] | None, number: int, source: str) -> tuple[str, ...]:
    if given is None and number == len(CLASS_NAMES):
        return CLASS_NAMES
    if given is None:
        reason = f"these weights tell {number} classes apart, which have no names here; give them (--class-names)"
        raise CheckpointError(reason, source)
    if len(given) != number:
        raise CheckpointError(
            f"{len(given)} class names are given, and the weights tell {number} classes apart", source
        )
    return tuple(given)
