"""Runs that stop, are killed, or find another run or a full disk: what stands on it, and how they go on."""

import errno
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from abn.training import run as training
from abn.training.batches import Batches
from abn.training.run import TrainingError
from tests.training.test_training import go, python, same_weights, tiny, tiny_network, tiny_run

__all__ = ["tiny", "tiny_network"]  # a fixture for every test here, and what the killed processes take


# --- going on ---


class _StopError(Exception):
    pass


def stop_in(monkeypatch, epoch):
    """Make the run end in an epoch (0-based), as a kill would, after two of its three batches."""
    original = Batches.epoch

    def broken(self, number):
        for i, batch in enumerate(original(self, number)):
            if number == epoch and i == 2:
                raise _StopError
            yield batch

    monkeypatch.setattr(Batches, "epoch", broken)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_stopped_run_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch, epoch):
    expected, expected_log = go(tiny_run(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_in(patch, epoch)
        with pytest.raises(_StopError):
            go(tiny_run(), tmp_path / "stopped")
    torch.manual_seed(77)  # nothing may depend on what the process drew before
    network, log = go(tiny_run(), tmp_path / "stopped", resume=True)
    assert same_weights(network.state_dict(), expected.state_dict())
    for record, other in zip(log, expected_log, strict=True):
        assert record | {"seconds": 0} == other | {"seconds": 0}
    momenta = [
        torch.load(tmp_path / name / "state.pt")["optimizer"]["state"][0]["momentum_buffer"]
        for name in ("whole", "stopped")
    ]
    assert torch.equal(*momenta)


def test_a_name_too_long_for_any_folder_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="cannot be made a folder .*; name another --out"):
        go(tiny_run(), tmp_path / ("x" * 300), resume=True)


def test_a_finished_run_is_not_trained_again(tmp_path):
    expected, log = go(tiny_run(), tmp_path)
    content = (tmp_path / "state.pt").read_bytes()
    network, again = go(tiny_run(), tmp_path, resume=True)
    assert same_weights(network.state_dict(), expected.state_dict())
    assert again == log
    assert (tmp_path / "state.pt").read_bytes() == content


def test_resuming_where_nothing_stands_starts_anew(tmp_path):
    network, _ = go(tiny_run(), tmp_path / "new", resume=True)
    assert same_weights(network.state_dict(), go(tiny_run(), tmp_path / "other")[0].state_dict())


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    go(tiny_run(), tmp_path)
    content = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(TrainingError, match="already holds a run; pass --resume to go on with it, or name another"):
        go(tiny_run(), tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == content


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "seed: [0]"),
        ({"holdout": 4}, "holdout: [0]"),
        ({"architecture": "resnet-s"}, "architecture: ['tiny']"),
        ({"recipe": replace(tiny_run().recipe, epochs=4)}, "recipe:"),
        ({"recipe": replace(tiny_run().recipe, lr=0.05)}, "recipe:"),
        ({"seed": 2, "evaluate_every": 3}, "evaluate_every, seed: [1, 0]"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(tmp_path, changed, named):
    go(tiny_run(), tmp_path)
    content = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(TrainingError) as caught:
        go(tiny_run(**changed), tmp_path, resume=True)
    assert f"holds a run with other settings ({named}" in str(caught.value)
    assert (tmp_path / "state.pt").read_bytes() == content


def test_resuming_with_other_images_is_refused_and_an_older_state_does_not_say(tmp_path):
    go(tiny_run(), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.save(state | {"settings": state["settings"] | {"data": "0" * 12}}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match="holds a run with other settings .data: ..000000000000"):
        go(tiny_run(), tmp_path, resume=True)
    del state["settings"]["data"]
    torch.save(state, tmp_path / "state.pt")
    assert len(go(tiny_run(), tmp_path, resume=True)[1]) == tiny_run().recipe.epochs


def test_what_a_kill_left_half_written_goes_when_the_run_goes_on(tmp_path):
    go(tiny_run(), tmp_path)
    for name in (".state.pt.123.456", ".state.pt.77.8", "notes.txt"):
        (tmp_path / name).write_bytes(b"half a state")
    for name in (".state.pt.123.456", "notes.txt"):
        os.utime(tmp_path / name, (0, 0))
    go(tiny_run(), tmp_path, resume=True)
    kept = [".state.pt.77.8", "log.jsonl", "notes.txt", "state.pt"]  # the first may be another process's
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def torch_file(path, value):
    torch.save(value, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["junk", "a word", "empty", "truncated", "foreign", "no dictionary"])
def test_a_state_that_is_none_is_refused(tmp_path, kind):
    path = tmp_path / "state.pt"
    go(tiny_run(), tmp_path)
    content = {
        "junk": lambda: b"junk",
        "a word": lambda: b"hello\n",
        "empty": lambda: b"",
        "truncated": lambda: path.read_bytes()[:-500],
        "foreign": lambda: torch_file(tmp_path / "other.pt", {"weights": torch.zeros(2)}),
        "no dictionary": lambda: torch_file(tmp_path / "other.pt", torch.zeros(2)),
    }[kind]()
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="state.pt is .*no state of a run.*name another --out"):
        go(tiny_run(), tmp_path, resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("resume", [False, True])
def test_an_output_that_can_be_no_folder_is_refused_before_training(tmp_path, monkeypatch, resume):
    (tmp_path / "file").write_text("kept")
    monkeypatch.setattr(training, "train_epoch", lambda *_: pytest.fail("trained"))
    with pytest.raises(TrainingError, match="file cannot be made a folder .*name another --out"):
        go(tiny_run(), tmp_path / "file", resume=resume)
    assert (tmp_path / "file").read_text() == "kept"


# --- what the disk may do ---


def fail_from_epoch_2(original, error):
    calls = []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) > 2:  # the first epoch's state and log
            raise error
        return original(*args, **kwargs)

    return call


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_full_disk_is_called_one_and_the_last_epoch_is_kept(tmp_path, monkeypatch, function):
    with monkeypatch.context() as patch:
        error = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr(os, function, fail_from_epoch_2(getattr(os, function), error))
        with pytest.raises(TrainingError) as caught:
            go(tiny_run(), tmp_path)
    message = str(caught.value)
    assert f"epoch 2 could not be stored in {tmp_path}: the disk is full" in message
    assert "what stood there is untouched; make room and pass --resume" in message
    assert sorted(os.listdir(tmp_path)) == ["log.jsonl", "state.pt"]
    assert len(torch.load(tmp_path / "state.pt", weights_only=True)["log"]) == 1
    network, _ = go(tiny_run(), tmp_path, resume=True)
    assert same_weights(network.state_dict(), go(tiny_run(), tmp_path / "other")[0].state_dict())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_disk_that_is_really_full(tmp_path):
    written_first = tmp_path / f".state.pt.{os.getpid()}.{threading.get_ident()}"
    written_first.symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="epoch 1 could not be stored in .*: the disk is full"):
        go(tiny_run(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_another_write_error_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", fail_from_epoch_2(os.replace, OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(TrainingError, match="epoch 2 could not be stored in .*: Read-only file system"):
        go(tiny_run(), tmp_path)


# --- processes ---

MOMENTS = ("second batch", "half a state", "before the state", "between state and log", "last log")
KILLS = """
import os, signal, sys
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
import test_run_state as tests
from abn.training import run as training
from tests.training.test_training import TINY

training.ARCHITECTURES["tiny"] = TINY
training.gains_by_bfloat16 = lambda device: False


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def arm(moment):
    replace, seen = os.replace, []
    if moment == "second batch":
        epoch = training.Batches.epoch

        def broken(self, number):
            for i, batch in enumerate(epoch(self, number)):
                if (number, i) == (1, 1):
                    die()
                yield batch

        training.Batches.epoch = broken
        return

    def counted(source, target):
        seen.append(target)
        number = {"half a state": 3, "before the state": 3, "between state and log": 4, "last log": 6}[moment]
        if len(seen) == number:
            if moment == "half a state":
                os.truncate(source, os.path.getsize(source) // 2)
            die()
        replace(source, target)

    os.replace = counted


out = Path(sys.argv[2])
tests.go(tests.tiny_run(), out / "whole")  # here, so that no child has to import what the first step imports
for moment in tests.MOMENTS:
    def killed(moment=moment):
        arm(moment)
        tests.go(tests.tiny_run(), out / moment)

    assert child(killed) == -signal.SIGKILL, moment
    state = torch.load(out / moment / "state.pt", weights_only=True)  # whole, whatever the moment
    print(moment, len(state["log"]), sep=": ")
    assert child(lambda: tests.go(tests.tiny_run(), out / moment, resume=True)) == 0, moment
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(tmp_path):
    output = python(KILLS, str(Path(__file__).parent), str(tmp_path)).stdout.splitlines()
    assert output == [f"{moment}: {stored}" for moment, stored in zip(MOMENTS, (1, 1, 1, 2, 3), strict=True)]
    whole = torch.load(tmp_path / "whole" / "state.pt", weights_only=True)
    for moment in MOMENTS:
        state = torch.load(tmp_path / moment / "state.pt", weights_only=True)
        assert same_weights(state["model"], whole["model"]), moment
        lines = (tmp_path / moment / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3], moment
