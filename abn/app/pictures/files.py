"""Many pictures from files and folders: which there are, what to call them, and the pixels a network sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abn.app.export.manifest import PictureFile
from abn.app.pictures.fitting import fit
from abn.app.pictures.formats import ACCEPTED, SUFFIXES, PictureError
from abn.app.pictures.reading import read_file, read_picture
from abn.common.texts import one_line

LONGEST_STEM = 180  # bytes of a file's name that its bundle keeps: with hash, number and ending 255 at most
LONGEST_SHOWN = 4096  # characters of what a person reads of a path
DIGITS = 8  # of the hash that a bundle's name ends with


@dataclass(frozen=True)
class Found:
    """One file to be read.

    Attributes:
        shown: as a person should read it: the folder that was named and what lies below, or the file's name.
        problem: why it cannot be read, where that is known already.
    """

    path: Path
    shown: str
    problem: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown", one_line(self.shown, LONGEST_SHOWN))


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """One picture as the networks see it.

    Attributes:
        name: of its bundle, unlike that of any other in the run: "ship-172ac036".
        pixels: (32, 32, 3) uint8.
    """

    found: Found
    name: str
    pixels: np.ndarray
    file: PictureFile


def find_pictures(places: Iterable[Path], leave_out: Path | None = None) -> Iterator[Found]:
    """The named files, whatever they are called, and every picture below the named folders, in alphabetical order.

    In a folder a picture is what has a picture's ending (`SUFFIXES`); hidden files and folders are passed over. A
    file is found once, however often it is named. A folder without pictures, or that cannot be looked into, is found
    itself, with its problem.

    Args:
        leave_out: a folder to pass over, e.g. the one that is written to.
    """
    seen: set[str] = set()
    for place in places:
        # Path.is_dir raises for a name too long and in a forbidden folder; what those are is said when they are read.
        found = _below(place, leave_out) if os.path.isdir(place) else [Found(place, place.name)]
        for one in found:
            real = os.path.realpath(one.path)  # Path.resolve raises for links in a circle
            if real not in seen:
                seen.add(real)
                yield one


def _below(folder: Path, leave_out: Path | None) -> list[Found]:
    out = None if leave_out is None else os.path.realpath(leave_out)
    found: list[Found] = []

    def refused(error: OSError) -> None:
        path = Path(error.filename)
        problem = f"The folder could not be looked into ({error.strerror}); look at its permissions."
        found.append(Found(path, f"{_shown(path, folder)}/", problem))

    for here, folders, files in os.walk(folder, onerror=refused):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(here, name)) != out
        )
        for name in sorted(files):
            path = Path(here, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                found.append(Found(path, _shown(path, folder)))
    return found or [Found(folder, f"{_shown(folder, folder)}/", f"The folder holds no {ACCEPTED} file.")]


def _shown(path: Path, folder: Path) -> str:
    """The folder that was named, by its own name, and what lies below."""
    return Path(Path(os.path.realpath(folder)).name or folder, path.relative_to(folder)).as_posix()


class PictureReader:
    """Reads pictures and gives each a name that no other has, the same in every run.

    The name is the file's, without its ending and without letters that a file system may mind, and the first digits
    of its content's hash; a second copy of the same file gets a number.
    """

    def __init__(self, mode: str) -> None:
        """
        Args:
            mode: how a picture becomes a square, a key of `abn.app.pictures.fitting.FITS`.
        """
        self._mode = mode
        self._taken: dict[str, int] = {}

    def read(self, found: Found) -> ReadPicture:
        """
        Raises:
            PictureError: for what cannot be used as a picture, with a sentence.
        """
        if found.problem:
            raise PictureError(found.problem)
        content = read_file(found.path)
        fitted = fit(read_picture(content), self._mode)
        digest = hashlib.sha256(content).hexdigest()
        file = PictureFile(found.path.name, digest, fitted.original_size, fitted.mode, fitted.box)
        return ReadPicture(found, self._name(found.path.stem, digest), fitted.pixels, file)

    def _name(self, stem: str, digest: str) -> str:
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)
        kept = plain.encode()[:LONGEST_STEM].decode(errors="ignore")  # a letter that was cut through goes
        name = f"{kept}-{digest[:DIGITS]}"
        # Not every file system tells capitals from small letters.
        count = self._taken[name.casefold()] = self._taken.get(name.casefold(), 0) + 1
        return name if count == 1 else f"{name}-{count}"
