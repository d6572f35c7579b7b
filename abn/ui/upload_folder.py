"""A folder of this process alone, which is gone when the process is; in it, one for uploads.

Gradio deletes what it remembers to have stored; what a killed server leaves behind nobody remembers. So every start
sweeps the folders of servers that no longer run. A server holds a lock on its folder for as long as it lives, which
the system lets go whatever ends it. The number of a process would tell less: it is taken anew, and each container
counts from the beginning.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

LOCK = ".lock"


def use_own_folder() -> Path:
    """Make this process's folder and tell Gradio where in it uploads go; call it before any component is made.

    It lies in a GRADIO_TEMP_DIR that the host has set, or in the system's temporary folder. Neither is taken itself:
    what others keep there is not ours to sweep.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    outside = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    base = outside / f"adaptive-bias-networks-{user}"
    try:
        with suppress(FileExistsError):
            base.mkdir(mode=0o700, parents=True)
        for earlier in filter(_is_ours, outside.glob(f"{base.name}-*")):
            sweep(earlier)
            with suppress(OSError):  # another's that runs
                earlier.rmdir()
        if not _is_ours(base):
            base = Path(tempfile.mkdtemp(prefix=f"{base.name}-", dir=outside))
        sweep(base)
        own, lock = _locked_folder(base)
    except OSError as error:
        sys.exit(
            f"app.py: no upload folder can be made in {outside} ({error.strerror}); let GRADIO_TEMP_DIR name a "
            "folder that can be written to"
        )
    os.environ["GRADIO_TEMP_DIR"] = str(own / "uploads")
    atexit.register(_remove, own, lock)
    return own


def sweep(base: Path) -> None:
    """Delete the folders of servers that no longer run."""
    for path in base.glob(f"*{LOCK}"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _remove(path.with_suffix(""), lock)


def _is_ours(base: Path) -> bool:
    """Whether nobody else can exchange what lies in a folder, whose name anybody on this machine may have taken."""
    found = base.lstat()
    return stat.S_ISDIR(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid())


def _locked_folder(base: Path) -> tuple[Path, FileLock]:
    """A new folder, and the lock that keeps others from sweeping it."""
    while True:
        own = base / uuid4().hex
        lock = FileLock(own.with_suffix(LOCK))
        with lock.acquire():
            # Another's sweep may have had the file before it was locked here, and removed it.
            if os.path.exists(lock.lock_file):
                own.mkdir(mode=0o700)
                own.joinpath("uploads").mkdir()
                lock.acquire()  # counted: it outlives this block
                return own, lock


def _remove(folder: Path, lock: FileLock) -> None:
    """Delete a folder whose lock is held here, and with it the lock."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # where a file that is open cannot be removed, the next start does it
        os.unlink(lock.lock_file)
    lock.release(force=True)
