"""The app as a process of its own, and what the system says of that process (Linux: from /proc)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Use:
    """What a process holds at one moment.

    Attributes:
        memory: resident set, in MB.
    """

    memory: float
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Server:
    """A running app.

    Attributes:
        temporary: the folder that holds every temporary file of the process, and nothing else.
        log: what it printed on stderr.
    """

    url: str
    process: subprocess.Popen
    temporary: Path
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def use(self) -> Use:
        """
        Raises:
            OSError: for a process that has ended, or a system without /proc.
        """
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return Use(
            int(status["VmRSS"].split()[0]) / 1000,
            int(status["Threads"]),
            len(list((folder / "fd").iterdir())),
        )


@contextmanager
def served(*arguments: str, temporary: Path | None = None) -> Iterator[Server]:
    """Start `python app.py` on a free port of 127.0.0.1; end it, and delete what it left, on leaving.

    Args:
        arguments: of app.py.
        temporary: the process's folder for temporary files; a new one by default.

    Raises:
        RuntimeError: for an app that does not start, with what it printed.
    """
    own = Path(tempfile.mkdtemp(prefix="abn-benchmark-"))
    temporary = temporary or own / "temporary"
    temporary.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "GRADIO_TEMP_DIR"}
    log = own / "stderr.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, str(HOME / "app.py"), "--host", "127.0.0.1", *arguments], text=True,
            stdout=subprocess.PIPE, stderr=stream, env=environment | {"TMPDIR": str(temporary)},
        )  # fmt: skip
    try:
        line = next((line for line in process.stdout if ": http" in line and "Adaptive" in line), None)
        if line is None:
            raise RuntimeError(f"the app did not start: {log.read_text()[-2000:]}")
        yield Server(line.split(": ", 1)[1].strip(), process, temporary, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        shutil.rmtree(own, ignore_errors=True)
