"""Files and folders that are whole or not there."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

LOG_FILE = "log.jsonl"  # of a training run: one JSON object an epoch
DAMAGED_PICKLE = (
    EOFError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    AssertionError, OverflowError, struct.error,
)  # fmt: skip
"""What torch.load raises on files that were cut or changed, found by cutting and changing some thousands."""
LONGEST_HEADER = 4_000_000  # bytes of names and metadata, of which each becomes twenty or more in memory


def require_writable(folder: Path) -> None:
    """Make a folder where there is none, and a file in it that is gone at once: to be asked before hours of work.

    Raises:
        OSError: where either cannot be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def replace_file(path: Path, write: Callable[[Path], object], lasting: bool = True) -> None:
    """Write beside `path`, then put it there in one step: a kill leaves the old file or the new one.

    Args:
        write: is given the scratch path and writes the whole file there.
        lasting: whether a machine that loses its power keeps to this too, at the price of a wait for the disk.
    """
    scratch = _beside(path)
    try:
        write(scratch)
        if lasting:
            with scratch.open("rb") as written:
                os.fsync(written.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Fill a folder beside `path`, then put it there: a kill leaves the old folder, none, or the new one.

    Args:
        write: is given the scratch folder, which is there and empty.
    """
    scratch, old = _beside(path), _beside(path, "old")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        write(scratch)
        if path.is_dir():  # no system exchanges two folders in one step everywhere
            os.replace(path, old)
        os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, ending: str = "") -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}{ending}")


def header_length(path: Path) -> int:
    """How many bytes of names, shapes and metadata a safetensors file begins with; 0 for a file that is none.

    Raises:
        OSError: where it cannot be read.
    """
    with path.open("rb") as file:
        start, size = file.read(8), os.fstat(file.fileno()).st_size
    length = int.from_bytes(start, "little")
    return length if length <= size - 8 else 0
