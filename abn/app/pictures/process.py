"""Decoding in processes of their own, with limits: what a file makes a decoder do is not done to the one that asks.

A small file can ask for all of a machine's memory or for minutes of computing, or make a decoder crash. A process
here has `Limits`: of address space (not on macOS, which enforces no such limit, nor on Windows), of computing for
each picture (not on Windows), and of time; one that takes more ends, and the next picture gets another.

The processes are started when the first picture comes, import Pillow and NumPy alone, are kept for the next
pictures, and end when the pipe to the process that started them closes, however that comes about.

Request: the file's length (8 bytes, big-endian), then the file. Answer: a line of JSON, then the pixels if any.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO

from abn.app.pictures.formats import MAX_PIXELS, PictureError

PROCESSES = 2


@dataclass(frozen=True)
class Limits:
    """What decoding may take.

    Attributes:
        memory: bytes of address space; the hungriest decoder takes 1.1 GB for a picture of the most pixels accepted.
        computing: whole seconds of processor time for a picture.
        time: seconds that a picture may take, also where the machine is busy with others.
    """

    memory: int = 1_500_000_000
    computing: int = 10
    time: float = 60.0


_LENGTH = struct.Struct(">Q")
_START = (
    "import json, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = json.loads(sys.argv[1]); "
    "from abn.app.pictures.process import Limits, answer_requests; answer_requests(Limits(**json.loads(sys.argv[2])))"
)
_CRASHED = "This file makes its decoder crash: it is damaged, or no picture; send another one."


@dataclass(frozen=True)
class Pixels:
    """An answer: see `abn.app.pictures.decoding.Decoded`.

    Attributes:
        rgb: `shape[0]` × `shape[1]` × 3 bytes, row by row; the shape is height and width.
    """

    rgb: bytes
    shape: tuple[int, int]
    size: tuple[int, int]
    reduced: int


class DecodingProcess:
    """One process that decodes a picture at a time; `close` ends it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        # Not by multiprocessing, whose children run the main module anew: here that imports torch and Gradio.
        command = [sys.executable, "-c", _START, json.dumps(sys.path), json.dumps(asdict(self._limits))]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread takes address space
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def decode(self, data: bytes) -> Pixels:
        """
        Raises:
            PictureError: with the decoder's sentence, or what limit was met; the process may have ended.
            RuntimeError: if the process could not start.
        """
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self._limits.time, stop)
        timer.daemon = True
        timer.start()
        try:
            with suppress(BrokenPipeError):  # it has ended, of which the answer tells
                self._requests.write(_LENGTH.pack(len(data)) + data)
                self._requests.flush()
            answer = self._read()
        finally:
            timer.cancel()
        if answer is None:
            raise self._ended(late.is_set())
        return answer

    def _read(self) -> Pixels | None:
        """The answer; None from a process that ended."""
        line = self._answers.readline(10_000)
        if not line.endswith(b"\n"):
            return None
        head = json.loads(line)
        if "problem" in head:
            if head["problem"] is None:
                self.close()  # its memory may be in pieces
                raise self._too_large()
            raise PictureError(head["problem"])
        height, width = head["shape"]
        if not 0 < height * width <= MAX_PIXELS:
            raise RuntimeError(f"a decoding process answered with {height} × {width} pixels")
        rgb = self._answers.read(3 * height * width)
        if len(rgb) < 3 * height * width:
            return None
        return Pixels(rgb, (height, width), tuple(head["size"]), head["reduced"])

    def _ended(self, late: bool) -> Exception:
        code = self._process.wait()
        self.close()
        if late or code == -getattr(signal, "SIGXCPU", 0):
            seconds = f"{self._limits.time:g}" if late else f"{self._limits.computing:g}"
            return PictureError(
                f"This picture takes more than {seconds} s to read, far longer than pictures do; "
                "save it anew as JPEG or PNG and send that."
            )
        if code > 0:
            return RuntimeError(f"a decoding process ended with code {code}; its own words are above")
        if code == -getattr(signal, "SIGKILL", 0):  # not by us: the system had no memory left
            return self._too_large()
        return PictureError(_CRASHED)

    def _too_large(self) -> PictureError:
        return PictureError(
            f"This picture takes more than {self._limits.memory / 1e9:.1f} GB of memory to read; "
            "save it anew as JPEG or PNG, or send a smaller one."
        )

    def close(self) -> None:
        with suppress(OSError):
            self._requests.close()
        self._process.kill()  # at most a picture that nobody waits for is lost
        self._process.wait()
        self._answers.close()


class Decoders:
    """Up to `PROCESSES` decoding processes, kept warm and safe under threads."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(PROCESSES)
        self._idle: list[DecodingProcess] = []
        self._lock = threading.Lock()

    def decode(self, data: bytes) -> Pixels:
        """Wait for a process to be free, and have it decode a picture.

        Raises:
            PictureError: see `DecodingProcess.decode`.
        """
        with self._room:
            process = self._take()
            try:
                return process.decode(data)
            except PictureError:
                raise
            except BaseException:  # by Ctrl-C too its answer would be taken for the next picture's
                process.close()
                raise
            finally:
                with self._lock:
                    self._idle.append(process)

    def _take(self) -> DecodingProcess:
        with self._lock:
            while self._idle:
                process = self._idle.pop()  # the one used last, so that a second is started only under load
                if process.alive:
                    return process
                process.close()
        return DecodingProcess()

    def close(self) -> None:
        """End the processes that are idle; another picture starts one anew."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()


decoders = Decoders()
atexit.register(decoders.close)


# In the process


def answer_requests(limits: Limits) -> None:
    """Decode what comes by standard input until that closes."""
    from abn.app.pictures.decoding import decode  # here, so that the process that asks loads no decoders

    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):  # C libraries write there what they mind about a file
        os.dup2(nowhere, output)
    _limit_memory(limits.memory)
    warnings.simplefilter("ignore")  # Python remembers each text, and Pillow's differ from file to file
    while len(length := requests.read(_LENGTH.size)) == _LENGTH.size:
        _limit_computing(limits.computing)
        pixels = b""
        try:
            decoded = decode(requests.read(*_LENGTH.unpack(length)))
            pixels = decoded.image.tobytes()
            width, height = decoded.image.size
            head = {"shape": (height, width), "size": decoded.size, "reduced": decoded.reduced}
            decoded = None
        except PictureError as error:
            head = {"problem": str(error)}
        except MemoryError:
            head = {"problem": None}
        answers.write(json.dumps(head).encode() + b"\n" + pixels)
        answers.flush()


def _limit_memory(most: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows has no such module, macOS refuses the limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_computing(most: int) -> None:
    """So many seconds from now: the limit counts from the process's start."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + 1 + most
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
