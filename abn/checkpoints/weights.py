"""Weights: read from safetensors alone, and compared with the network entry by entry."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from abn.checkpoints.info import PICKLE_REMEDY, PICKLE_SUFFIXES, CheckpointError
from abn.common.files import LONGEST_HEADER, header_length
from abn.common.texts import one_line
from abn.models.resnet import ResNet

_LFS_POINTER = b"version https://git-lfs"
_PICKLES = (b"PK\x03\x04", b"\x80")  # how files of torch.save start: a pickle in a zip; before 2020 a bare one
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""What DataParallel and AveragedModel, torch.compile, and modules that hold the network put before every name."""

_LONGEST_NAME = 80  # characters that a message quotes; ours have at most 45

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def read_safetensors(path: Path, source: str) -> dict[str, Tensor]:
    """Every tensor of a file, which is opened as nothing else.

    Args:
        source: the checkpoint as the caller named it, for messages.

    Raises:
        CheckpointError: for a missing, unreadable or truncated file, a pickle, or a Git LFS pointer.
    """
    try:
        if is_pickle(path):
            raise CheckpointError(f"{path.name} is a pickle under another name; {PICKLE_REMEDY}", source)
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
        if start == _LFS_POINTER:
            raise CheckpointError(f"{path.name} is a Git LFS pointer, not the weights; run git lfs pull", source)
        if (length := header_length(path)) > LONGEST_HEADER:
            reason = (
                f"{path.name} has a header of {length:,} bytes; expected at most {LONGEST_HEADER:,}: another file"
            )
            raise CheckpointError(reason, source)
        return load_file(path)
    except FileNotFoundError as error:
        pickles = sorted(other.name for other in path.parent.iterdir() if other.suffix in PICKLE_SUFFIXES)
        reason = (
            f"only {one_line(pickles[0], _LONGEST_NAME)}; {PICKLE_REMEDY}"
            if pickles
            else "so there are no weights; put them there"
        )
        raise CheckpointError(f"there is no {path.name}, {reason}", source) from error
    except SafetensorError as error:
        reason = f"{path.name} is no safetensors file, or is cut short; fetch or save the checkpoint anew"
        raise CheckpointError(reason, source) from error
    except OSError as error:
        reason = f"{path.name} cannot be read ({error.strerror}); look at the file and its permissions"
        raise CheckpointError(reason, source) from error


def is_pickle(path: Path) -> bool:
    """Whether a file starts as torch.save's do, and not as safetensors.

    Either may start with the byte 0x80: there it is the lowest of the header's length.

    Raises:
        OSError: where it cannot be read.
    """
    with path.open("rb") as file:
        start, size = file.read(9), os.fstat(file.fileno()).st_size
    is_safetensors = start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size - 8
    return start.startswith(_PICKLES) and not is_safetensors


def plain_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries without the `PREFIXES`, in any nesting, that all of their names share.

    `n_averaged`, which torch.optim.swa_utils.AveragedModel keeps beside its "module.", is left out.
    """
    entries = {str(name): tensor for name, tensor in state_dict.items()}
    while entries:
        averaged = {name: tensor for name, tensor in entries.items() if name != "n_averaged"}
        if averaged and all(name.startswith("module.") for name in averaged):
            entries = averaged
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in entries)), None)
        if prefix is None:
            break
        entries = {name.removeprefix(prefix): tensor for name, tensor in entries.items()}
    return entries


def load_official_state_dict(model: ResNet, state_dict: Mapping[str, Tensor], *, source: str = "state dict") -> None:
    """Load weights under the official implementation's names, which are ours too, into either network.

    All names may start with the same `PREFIXES`; `num_batches_tracked` may be missing.

    Args:
        model: on the "meta" device, it is put on the CPU.
        source: what the weights are called in messages.

    Raises:
        CheckpointError: that names missing, unexpected, misshapen or non-finite entries. The model is then
            as it was.
    """
    given = plain_names(state_dict)
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, torch.zeros(tensor.shape, dtype=tensor.dtype))
    _require_same_entries(given, expected, _described(model), source)
    require_sound(given, source)
    if any(tensor.is_meta for tensor in expected.values()):
        # Copies, which outlive the mapped file. (`to_empty` would do, but imports sympy: two seconds.)
        copies = {name: given[name].to("cpu", tensor.dtype, copy=True) for name, tensor in expected.items()}
        model.load_state_dict(copies, assign=True)
    else:
        model.load_state_dict(given)


def _described(model: ResNet) -> str:
    classes = f"{model.num_classes} class{'es' * (model.num_classes != 1)}"
    banks = f" and {model.num_biases} bias vectors" if model.num_biases else ""
    return f"{model.architecture} with {classes}{banks}"


def _require_same_entries(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str, source: str
) -> None:
    missing, unexpected = sorted(set(expected) - set(given)), sorted(map(str, set(given) - set(expected)))
    if missing:
        raise CheckpointError(f"the weights lack {listed(missing)}; expected those of {network}", source)
    if unexpected:
        raise CheckpointError(f"the weights hold {listed(unexpected)}, which {network} has not", source)
    for name, tensor in expected.items():
        entry = given[name]
        if not isinstance(entry, Tensor):
            raise CheckpointError(f"{name} is a {type(entry).__name__}; expected a tensor", source)
        if entry.shape != tensor.shape:
            raise CheckpointError(
                f"{name} has shape {tuple(entry.shape)}; expected {tuple(tensor.shape)} for {network}", source
            )
        if entry.layout != torch.strided or entry.is_meta:
            kind = "no values" if entry.is_meta else "a sparse tensor"
            raise CheckpointError(f"{name} holds {kind}; expected a plain tensor, so save it as one", source)
        allowed = _FLOATS if tensor.is_floating_point() else (tensor.dtype,)
        if entry.dtype not in allowed:
            raise CheckpointError(f"{name} holds {entry.dtype}; expected {tensor.dtype}", source)


def require_sound(state: Mapping[str, Tensor], source: str) -> None:
    """Refuse, by name, weights a network cannot compute with.

    Raises:
        CheckpointError: for NaN, infinity, a number that is one in float32, or a negative variance.
    """
    broken = [name for name, tensor in state.items() if not tensor.float().isfinite().all()]
    if broken:
        reason = f"NaN or infinity stands in {listed(broken)}; take weights from before the training diverged"
        raise CheckpointError(reason, source)
    negative = [name for name, tensor in state.items() if name.endswith("running_var") and (tensor < 0).any()]
    if negative:
        raise CheckpointError(f"negative variances stand in {listed(negative)}; the file is damaged", source)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, each on one line, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(one_line(name, _LONGEST_NAME) for name in names[:most]) + more
