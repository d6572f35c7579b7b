"""The processes that decode: their limits, what becomes of them, and that nothing of a bad file stays."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abn.app.pictures import process
from abn.app.pictures.formats import PictureError
from abn.app.pictures.process import PROCESSES, Decoders, DecodingProcess, Limits
from abn.app.pictures.reading import read_picture

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and resource limits are POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or sets a limit that only Linux enforces")


def encoded(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def noise(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def wordy_gif() -> bytes:
    """Twenty megabytes of comments, which Pillow adds up one by one: minutes of computing."""
    gif = encoded(noise(), "GIF")
    start = gif.index(b"\x2c", 13 + 3 * 256)
    return gif[:start] + b"\x21\xfe" + (b"\xff" + b"x" * 255) * 78_000 + b"\0" + gif[start:]


@pytest.fixture
def started():
    processes: list[DecodingProcess] = []

    def start(**limits) -> DecodingProcess:
        processes.append(DecodingProcess(Limits(**limits)))
        return processes[-1]

    yield start
    for one in processes:
        one.close()


def gone(pid: int) -> bool:
    """Whether a process ends within half a minute."""
    for _ in range(300):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_a_process_decodes_one_picture_after_the_other(started):
    one = started()
    for seed in range(3):
        answer = one.decode(encoded(noise(seed)))
        assert (answer.rgb, answer.shape, answer.size) == (noise(seed).tobytes(), (16, 24), (24, 16))
        with pytest.raises(PictureError, match="not a picture"):
            one.decode(b"text")
    assert one.alive


@pytest.mark.process
def test_computing_is_limited_for_each_picture_and_not_for_all_together(started):
    one = started(computing=1)
    photograph = encoded(Image.effect_noise((3000, 2000), 50).convert("RGB"), "JPEG", progressive=True)
    while True:  # until it has computed for longer than one picture may
        one.decode(photograph)
        if cpu_seconds(one.pid) >= 3:
            break
    with pytest.raises(PictureError, match="takes more than 1 s to read, far longer than pictures do"):
        one.decode(wordy_gif())
    assert not one.alive


def cpu_seconds(pid: int) -> float:
    said = subprocess.run(["ps", "-o", "cputimes=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return float(said.stdout)


@linux
def test_memory_is_limited(started):
    one = started(memory=600_000_000)
    large = Image.new("RGB", (8000, 6000))
    assert one.decode(encoded(large.resize((4000, 3000)))).size == (4000, 3000)
    with pytest.raises(PictureError, match="takes more than 0.6 GB of memory to read"):
        one.decode(encoded(large.convert("RGBA"), compress_level=1))


def test_time_is_limited_where_nothing_is_computed(started):
    one = started()
    one.decode(encoded(noise()))  # to start it takes longer than the limit
    one._limits = Limits(time=0.5)
    os.kill(one.pid, signal.SIGSTOP)
    with pytest.raises(PictureError, match="takes more than 0.5 s to read"):
        one.decode(encoded(noise()))
    assert not one.alive


@pytest.mark.parametrize(
    ("signalled", "sentence"),
    [(signal.SIGSEGV, "makes its decoder crash"), (signal.SIGABRT, "makes its decoder crash"),
     (signal.SIGKILL, "of memory to read")],
)  # fmt: skip
def test_a_process_that_ends_while_it_decodes_is_told(started, signalled, sentence):
    one = started()
    one.decode(encoded(noise()))
    os.kill(one.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(one.decode, encoded(noise()))
        time.sleep(0.2)
        os.kill(one.pid, signalled)
        os.kill(one.pid, signal.SIGCONT)
        with pytest.raises(PictureError, match=sentence):
            asked.result(30)


def test_a_process_that_cannot_start_is_our_fault_and_no_ones_picture(monkeypatch, started, capfd):
    monkeypatch.setattr(process, "_START", "import no_such_module")
    with pytest.raises(RuntimeError, match="ended with code 1"):
        started().decode(encoded(noise()))
    assert "no_such_module" in capfd.readouterr().err


# The pool


@pytest.fixture
def pool():
    decoders = Decoders()
    yield decoders
    decoders.close()


def test_a_process_is_kept_and_another_started_only_for_one_that_ended(pool):
    pool.decode(encoded(noise()))
    (first,) = pool._idle
    pool.decode(encoded(noise(1)))
    assert pool._idle == [first]
    os.kill(first.pid, signal.SIGKILL)
    first._process.wait()
    assert pool.decode(encoded(noise(2))).rgb == noise(2).tobytes()
    (second,) = pool._idle
    assert second is not first


def test_threads_get_each_their_own_picture_by_few_processes(pool):
    sources = [encoded(noise(seed)) if seed % 5 else b"text" for seed in range(60)]

    def decode(source: bytes) -> bytes | None:
        try:
            return pool.decode(source).rgb
        except PictureError:
            return None

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(decode, sources))
    assert answers == [noise(seed).tobytes() if seed % 5 else None for seed in range(60)]
    assert 1 <= len(pool._idle) <= PROCESSES


def test_an_answer_that_nobody_waited_for_is_not_given_to_the_next(pool, monkeypatch):
    pool.decode(encoded(noise()))
    with monkeypatch.context() as patch:

        def interrupt(self):
            raise KeyboardInterrupt

        patch.setattr(DecodingProcess, "_read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.decode(encoded(noise(1)))
    assert pool.decode(encoded(noise(2))).rgb == noise(2).tobytes()


def test_after_bad_files_good_ones_are_read():
    for bad in (encoded(noise())[:200], b"", b"text", encoded(noise(), "JPEG")[:300]):
        with pytest.raises(PictureError):
            read_picture(bad)
        assert np.array_equal(read_picture(encoded(noise())), noise())


# What is started, and that it ends


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "default", "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.process
def test_importing_starts_nothing_and_the_process_loads_decoders_alone():
    done = run(
        "import sys, abn, abn.app.pictures.files\n"
        "from abn.app.pictures.process import decoders\n"
        "print(decoders._idle, 'pillow_heif' in sys.modules)"
    )
    assert (done.stdout, done.stderr) == ("[] False\n", "")
    done = run("import sys, abn.app.pictures.decoding; print({'torch', 'gradio', 'plotly'} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


_READER = (
    "import sys, pathlib\n"
    "from abn.app.pictures.process import decoders\n"
    "from abn.app.pictures.reading import read_picture\n"
    "read_picture(pathlib.Path(sys.argv[1]))\n"
    "print(decoders._idle[0].pid, flush=True)\n"
)


@pytest.mark.process
@linux
def test_the_process_ends_with_the_one_that_started_it(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded(noise()))
    done = run(_READER, file)
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(int(done.stdout))


@pytest.mark.process
@linux
@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_where_the_one_that_started_it_is_killed(tmp_path, signalled):
    """Ctrl-C reaches the whole group: the process says nothing of it."""
    file = tmp_path / "a.png"
    file.write_bytes(encoded(noise()))
    reading = _READER.replace("\n", "\n    ")
    script = f"import time\ntry:\n    {reading}time.sleep(60)\nexcept KeyboardInterrupt: pass"
    reader = subprocess.Popen(
        [sys.executable, "-c", script, file], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    pid = int(reader.stdout.readline())
    if signalled == signal.SIGINT:
        os.killpg(reader.pid, signalled)
    else:
        reader.send_signal(signalled)
    assert reader.communicate(timeout=60) == ("", "")
    assert gone(pid)
