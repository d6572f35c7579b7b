"""Where uploads are kept: a folder of this process alone, which is gone when the process is.

Gradio deletes what it remembers to have stored; what a killed server leaves behind nobody remembers. So
every start sweeps the folders of servers that no longer run.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def use_own_folder() -> Path:
    """Make this process's upload folder and tell Gradio of it; call it before any component is made.

    It lies in a GRADIO_TEMP_DIR that the host has set, or in the system's temporary folder. Neither is taken itself:
    what others keep there is not ours to sweep.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    outside = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    base = outside / f"adaptive-bias-networks-{user}"
    own = base / str(os.getpid())
    try:
        sweep(base)
        shutil.rmtree(own, ignore_errors=True)  # of an earlier process with this number, as containers reuse it
        own.mkdir(mode=0o700, parents=True)
    except OSError as error:
        sys.exit(
            f"app.py: no upload folder can be made in {outside} ({error.strerror}); let GRADIO_TEMP_DIR name a "
            "folder that can be written to"
        )
    os.environ["GRADIO_TEMP_DIR"] = str(own)
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def sweep(base: Path) -> None:
    """Delete the folders of processes that no longer run."""
    if os.name != "posix" or not base.is_dir():  # elsewhere there is no harmless way to ask for a process
        return
    for folder in base.iterdir():
        if folder.name.isdigit() and not _runs(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
