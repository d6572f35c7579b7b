"""Checkpoints: one format for a folder here and a repository on the Hub.

    model.safetensors       the weights, under the official implementation's names (`abn.checkpoints.weights`)
    config.json             what they are (`abn.checkpoints.info`); without it nothing loads
    README.md               a model card
    reference.safetensors   reference statistics over a data set (`abn reference`), where they were measured
    log.jsonl               a line an epoch, where this project's training made the weights

    abn push FOLDER user/repo
    abn convert FILE FOLDER

Loaded strictly, never through pickle, and never with code from a repository.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

from safetensors.torch import save

from abn.checkpoints.card import model_card
from abn.checkpoints.folder import CARD_FILE, CONFIG_FILE, TIED, WEIGHTS_FILE, load_folder
from abn.checkpoints.hub.address import require_importable
from abn.checkpoints.info import CheckpointError, CheckpointInfo, parse_config
from abn.checkpoints.sources import HubSource, locate
from abn.checkpoints.weights import load_official_state_dict, require_sound
from abn.common.data import CLASS_NAMES, MEAN, STD
from abn.common.files import replace_file
from abn.interpret.reference.file import REFERENCE_FILE
from abn.models.registry import ARCHITECTURES
from abn.models.resnet import ResNet

__all__ = [
    "CheckpointError", "CheckpointInfo", "load_checkpoint", "load_official_state_dict", "save_checkpoint",
]  # fmt: skip

TIMEOUT = 10.0  # seconds of silence after which the Hub counts as hanging
MOST_SECONDS = 600.0  # of fetching one, which 30 kB a second keep
MOST_BYTES = 1_000_000_000  # of a Hub repository's files together; ours have some sixteen million
LARGEST_LIMIT = 50_000_000_000  # bytes; what the Hub gives by plain HTTP


def save_checkpoint(
    model: ResNet,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str] = CLASS_NAMES,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    **known: Any,
) -> Path:
    """Write a checkpoint's folder; one that stands there is replaced, with reference and log, and nothing else is.

    A kill leaves the old checkpoint, the new one, or a folder that refuses to load: `config.json` goes
    first and comes last.

    Args:
        class_names: in the order of the logits.
        mean, std: what the images were normalised by, on the scale 0…1.
        known: other fields of `CheckpointInfo`, e.g. `recipe`, `seed`, `epochs`, `accuracy`, `hardware`.

    Returns:
        The folder.

    Raises:
        CheckpointError: for a field that says nonsense, weights that are not finite, a folder with somebody
            else's `config.json` or `README.md`, or one that cannot be written. What stood there is then as it
            was, but for a disk that fails half-way.
    """
    folder = Path(folder)
    if len(class_names) != model.num_classes:
        reason = f"{len(class_names)} class names are given for a network of {model.num_classes} classes"
        raise CheckpointError(reason, str(folder))
    if model.architecture not in ARCHITECTURES:
        reason = f"unknown architecture {model.architecture!r}; register it in abn.models.registry, so that it loads"
        raise CheckpointError(reason, str(folder))
    require_sound(model.state_dict(), str(folder))
    weights = weights_bytes(model)
    info = CheckpointInfo(
        architecture=model.architecture,
        class_names=tuple(class_names),
        mean=tuple(mean),
        std=tuple(std),
        num_biases=model.num_biases,
        options=model.options or None,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        **known,
    )
    config = json.dumps(info.config(), indent=2, ensure_ascii=False).encode() + b"\n"
    parse_config(config, str(folder))  # what could not be read is not written
    try:
        _require_own(folder)
        _replace_folder(folder, weights, config, model_card(info))
    except OSError as error:
        reason = f"the checkpoint could not be written ({error.strerror}); make room, or name another folder"
        raise CheckpointError(reason, str(folder)) from error
    return folder


def weights_bytes(model: ResNet) -> bytes:
    """A network's weights as `model.safetensors` holds them; their SHA-256 is what it is known by."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return save(state, {"format": "pt"})


def _require_own(folder: Path) -> None:
    """Refuse a folder with another project's files: they are not to be replaced, however often it is saved there."""
    for name, mark in ((CONFIG_FILE, b'"weights_sha256"'), (CARD_FILE, b"library_name: abn")):
        try:
            content = (folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if mark not in content:
            raise CheckpointError(f"a {name} of another project stands there; name a new folder", str(folder))


def _replace_folder(folder: Path, weights: bytes, config: bytes, card: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    path = folder / WEIGHTS_FILE
    others = path.exists() and path.read_bytes() != weights
    for name in TIED:  # made of the weights that stood here; a log without any is a training run's own
        if others or (name == REFERENCE_FILE and not path.exists()):
            (folder / name).unlink(missing_ok=True)
    # Bytes, not safetensors' own save_file: that makes a file which only its owner may read.
    replace_file(path, lambda scratch: scratch.write_bytes(weights))
    replace_file(folder / CARD_FILE, lambda scratch: scratch.write_text(card, encoding="utf-8"))
    replace_file(folder / CONFIG_FILE, lambda scratch: scratch.write_bytes(config))


def load_checkpoint(
    source: str | os.PathLike[str] | HubSource,
    revision: str | None = None,
    *,
    timeout: float = TIMEOUT,
    max_bytes: int = MOST_BYTES,
    max_seconds: float = MOST_SECONDS,
    public_only: bool = False,
    cache: Path | None = None,
) -> ResNet:
    """Load a network from a folder or from the Hub.

    Args:
        source: a folder, or "user/repo", "user/repo@revision" or the address of a repository's page on the Hub; see
            `abn.checkpoints.sources.locate`.
        revision: branch, tag or commit of a Hub repository; "main" where none is given.
        timeout: seconds without a byte after which a request to the Hub fails.
        max_bytes: that are fetched from the Hub in all. A file that is announced larger is not begun, and one that
            arrives larger is cut off. A folder may be of any size.
        max_seconds: for all requests to the Hub together.
        public_only: for a source that a stranger named: no folder here, no token of ours, nothing that a token
            fetched earlier, and no cached copy where the Hub cannot be reached.
        cache: folder to fetch into; None for huggingface_hub's own cache. The network does not need it any more
            once it is loaded.

    Returns:
        The network on the CPU, in eval mode, with the `CheckpointInfo` as its attribute `info`.

    Raises:
        CheckpointError: with a message of its own for every failure.

    Warns:
        UserWarning: when the Hub cannot be reached and an older load's files are used; also `info.notice`.
    """
    name = str(source) if isinstance(source, HubSource) else os.fspath(source)
    place = locate(source, revision, hub_only=public_only)
    if isinstance(place, Path):
        return load_folder(place, name)
    name = str(place)  # the id alone where the address of a page was given
    for option, seconds in (("timeout", timeout), ("max_seconds", max_seconds)):
        if not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf):
            raise CheckpointError(f"{option} is {seconds!r}; expected a positive number of seconds", name)
    if not (isinstance(max_bytes, int) and 0 < max_bytes <= LARGEST_LIMIT):
        reason = f"max_bytes is {max_bytes!r}; expected a whole number from 1 to {LARGEST_LIMIT:,}"
        raise CheckpointError(reason, name)
    require_importable(name)
    from abn.checkpoints.hub.download import Request, fetch  # huggingface_hub is not needed for a folder, nor to save

    required, optional = (CONFIG_FILE, WEIGHTS_FILE), (REFERENCE_FILE,)
    request = Request(
        place.repo, place.revision, required, optional, timeout, max_bytes, max_seconds, public_only, cache
    )
    fetched = fetch(request, name)
    if fetched.notice:
        warn(f"{name}: {fetched.notice}", stacklevel=2)
    model = load_folder(fetched.folder, name)
    notices = {"notice": fetched.notice, "public_notice": fetched.public_notice}
    model.info = replace(model.info, commit=fetched.commit, **notices)
    return model
