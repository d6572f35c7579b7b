"""What comes with the code and is no code: checkpoints, results and example pictures.

They lie beside the package in a clone of the repository, and inside it where it was installed.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def bundled(folder: str) -> Path:
    """Where a folder that comes with the code is, such as "checkpoints"; in a clone if it is nowhere."""
    installed = _PACKAGE / "bundled" / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
