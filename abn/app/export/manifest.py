"""What an export is of and how it came about: picture, networks, options, machine, versions.

Nothing here names a path: a checkpoint's folder and a picture's file stand with their base names.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

import abn
from abn.app.export.parts import ExportError, Part
from abn.app.pictures.fitting import FITS
from abn.checkpoints.info import MOST_BIASES, CheckpointInfo
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

    name: str | None = None
    sha256: str | None = None
    size: tuple[int, int] | None = None
    fit: str | None = None
    used: tuple[int, int, int, int] | None = None

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

    label: str
    architecture: str
    source: str
    commit: str | None
    weights_sha256: str
    num_biases: int | None

    @property
    def hub_id(self) -> str | None:
        """ "user/repo@commit", to be loaded again; None for a folder's."""
        return None if self.commit is None else f"{self.source.partition('@')[0]}@{self.commit}"


@dataclass(frozen=True)
class Question:
    """What was attributed, and how.

    Attributes:
        target, against: classes' names; None for no other class.
        options: all of the method's, the defaults too.
    """

    method: str
    target: str
    against: str | None
    options: Mapping[str, Value]


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
    pixels_sha256: str
    baseline: Origin
    dmb: Origin
    question: Question | None
    device: str
    hardware: str
    versions: Mapping[str, str | None]

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


def check_format(part: Part) -> None:
    """Raise ExportError for a document of another program, or of another version of this one."""
    if part.object().get("format") != FORMAT:
        raise ExportError("This is no export of this program; open the result.json of a bundle.")
    found = part.part("version").whole()
    if found > VERSION:
        raise ExportError(
            f"The export has format version {found}, and this program reads {VERSION}; open it with a newer one."
        )
    if found != VERSION:
        raise ExportError(f"The export has format version {found}, which never was; this program reads {VERSION}.")


def read_manifest(part: Part) -> Manifest:
    """
    Raises:
        ExportError: for what is missing or nonsense.
    """
    check_format(part)
    question = part.optional("question")
    versions = part.part("versions")
    return Manifest(
        picture=_read_picture(part.part("picture")),
        pixels_sha256=part.part("pixels_sha256").sha256(),
        baseline=_read_origin(part.part("baseline")),
        dmb=_read_origin(part.part("dmb")),
        question=None if question is None else _read_question(question),
        device=part.part("device").text(),
        hardware=part.part("hardware").text(),
        versions={
            name: versions.part(name).text_or_none()
            for name in list(versions.object())[:MOST_VERSIONS]
            if name.isidentifier() and len(name) <= LONGEST_NAME
        },
    )


def _read_picture(part: Part) -> PictureFile:
    def known(key: str, read: Any) -> Any:
        found = part.optional(key)
        return None if found is None else read(found)

    return PictureFile(
        name=known("name", Part.text),
        sha256=known("sha256", Part.sha256),
        size=known("size", lambda size: size.wholes(2, least=1)),
        fit=known("fit", lambda fit: fit.choice(list(FITS))),
        used=known("used", lambda used: used.wholes(4)),
    )


def _read_origin(part: Part) -> Origin:
    commit, num_biases = part.optional("commit"), part.optional("num_biases")
    return Origin(
        label=part.part("label").text(),
        architecture=part.part("architecture").text(),
        source=part.part("source").text(),
        commit=None if commit is None else commit.text(),
        weights_sha256=part.part("weights_sha256").sha256(),
        num_biases=None if num_biases is None else num_biases.whole(1, MOST_BIASES),
    )


def _read_question(part: Part) -> Question:
    against = part.optional("against")
    try:
        method = find_method(part.part("method").value)
        options = method.complete(part.part("options").object())
    except ExportError:
        raise
    except ValueError as error:
        raise ExportError(f"{part.where}: {str(error)[:300]}.") from error
    return Question(method.name, part.part("target").text(), None if against is None else against.text(), options)
