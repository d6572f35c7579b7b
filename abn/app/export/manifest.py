"""What an export is of and how it came about: picture, networks, options, machine, versions.

Nothing here names a path: a checkpoint's folder and a picture's file stand with their base names.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torchvision
from pydantic import AfterValidator

import abn
from abn.app.pictures.fitting import FITS
from abn.checkpoints.info import MOST_BIASES, CheckpointInfo
from abn.common.documents import Expected, Line, Sha256, Within
from abn.common.texts import is_line, one_line
from abn.interpret.attribution.methods import Value, find_method

FORMAT = "abn-export"
VERSION = 1
MOST_VERSIONS = 64  # told in a file; ours tells ten
LONGEST_NAME = 255  # characters of a picture's or folder's name
LIBRARIES = (
    "torch",
    "torchvision",
    "captum",
    "numpy",
    "pillow",
    "plotly",
    "safetensors",
    "huggingface_hub",
)


def whole_numbers(count: int, least: int) -> Expected:
    """Metadata of a tuple: so many whole numbers of at least `least`."""
    return Expected(
        f"{count} whole numbers of at least {least}", lambda found: all(least <= one < 2**31 for one in found)
    )


@dataclass(frozen=True)
class PictureFile:
    """Where the pixels came from; what is not known is None.

    Attributes:
        name: the file's base name, or what stands for it, e.g. "test image 17"; of a path the rest is dropped.
        sha256: of the file's bytes.
        size: (width, height) of the picture in pixels.
        fit: how it became a square, a key of `abn.app.pictures.fitting.FITS`; None for pixels taken as they were.
        used: (left, top, right, bottom) of the part that was used.
    """

    name: Line | None = None
    sha256: Sha256 | None = None
    size: Annotated[tuple[int, int], whole_numbers(2, 1)] | None = None
    fit: Annotated[str, Expected(f"one of {', '.join(FITS)}", FITS.__contains__)] | None = None
    used: Annotated[tuple[int, int, int, int], whole_numbers(4, 0)] | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            plain = one_line(self.name.replace("\\", "/").rpartition("/")[2], LONGEST_NAME)
            object.__setattr__(self, "name", plain if is_line(plain) else None)


@dataclass(frozen=True)
class Origin:
    """One network: what it is and where it was loaded from.

    Attributes:
        source: "user/repo@revision" on the Hub, or the base name of a folder.
        commit: on the Hub; None for a folder.
        num_biases: K of its bias banks; None for a network without any.
    """

    label: Line
    architecture: Line
    source: Line
    commit: Line | None
    weights_sha256: Sha256
    num_biases: Annotated[int, Within(1, MOST_BIASES)] | None

    @property
    def hub_id(self) -> str | None:
        """ "user/repo@commit", to be loaded again; None for a folder's."""
        return None if self.commit is None else f"{self.source.partition('@')[0]}@{self.commit}"


@dataclass(frozen=True)
class Question:
    """What was attributed, and how.

    Attributes:
        target, against: classes' names; None for no other class.
        options: all of the method's; those that are left out have their defaults.

    Raises:
        ValueError: for a method that does not exist, or options that it does not take.
    """

    method: Line
    target: Line
    against: Line | None
    options: dict[str, Value]

    def __post_init__(self) -> None:
        try:
            options = find_method(self.method).complete(self.options)
        except ValueError as error:
            raise ValueError(f"cannot be asked: {error}") from error
        object.__setattr__(self, "options", options)


def _known_versions(versions: dict[str, str | None]) -> dict[str, str | None]:
    """Only names that a library can have, and no more than anybody would read."""
    names = [name for name in versions if name.isidentifier() and len(name) <= LONGEST_NAME]
    return {name: versions[name] for name in names[:MOST_VERSIONS]}


@dataclass(frozen=True)
class Manifest:
    """Everything needed to compute an export anew.

    Attributes:
        pixels_sha256: of the (H, W, 3) uint8 pixels, row by row.
        baseline, dmb: the two networks.
        question: None where nothing was attributed.
        device: such as "cpu" or "cuda:0"; `hardware` is its name.
        versions: of Python and each library; None for one that is not installed.
    """

    picture: PictureFile
    pixels_sha256: Sha256
    baseline: Origin
    dmb: Origin
    question: Question | None
    device: Line
    hardware: Line
    versions: Annotated[dict[str, Line | None], AfterValidator(_known_versions)]

    def as_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION} | asdict(self)


def pixels_sha256(pixels: np.ndarray) -> str:
    """Hash of (H, W, 3) uint8 pixels, row by row."""
    return hashlib.sha256(np.ascontiguousarray(pixels, np.uint8).tobytes()).hexdigest()


def installed_versions() -> dict[str, str | None]:
    """Of Python, this package and the libraries whose numbers or formats an export holds."""
    return (
        {"python": platform.python_version(), "abn": abn.__version__}
        | {name: _version(name) for name in LIBRARIES}
        | {"torch": str(torch.__version__), "torchvision": torchvision.__version__}
    )  # with their builds, as "+cu130"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def origin(label: str, info: CheckpointInfo) -> Origin:
    """What a manifest says of a loaded checkpoint."""
    source = info.source or info.architecture
    if info.commit is None:
        name = one_line(Path(source).expanduser().resolve().name, LONGEST_NAME)
        source = name if is_line(name) else info.architecture
    return Origin(label, info.architecture, source, info.commit, info.weights_sha256, info.num_biases)
