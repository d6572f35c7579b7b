"""A training run on disk: the state after its last finished epoch, and the log for people.

    state.pt     settings, weights, momenta and log
    log.jsonl    the same log, one JSON object an epoch

Each is replaced in one step, so a kill at any moment leaves a whole one.
"""

from __future__ import annotations

import errno
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import nn

from abn.common.files import DAMAGED_PICKLE, LOG_FILE, replace_file

STALE = 3600.0  # seconds after which a state that is not whole is taken for a killed process's
STATE_FILE = "state.pt"


class TrainingError(RuntimeError):
    """A run that cannot start or go on; the message says why and what to do.

    Attributes:
        fault: why, alone: a program with other options has another remedy.
    """

    def __init__(self, fault: str, remedy: str = "") -> None:
        super().__init__(f"{fault}; {remedy}" if remedy else fault)
        self.fault = fault


class DivergedError(TrainingError):
    """A run whose loss or weights are no longer numbers: on the same device it would end there again."""


def start(out: Path) -> None:
    """Make the folder of a new run.

    Raises:
        TrainingError: where it can be no folder, or holds a run already.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{out} cannot be made a folder ({error.strerror})", "name another --out") from error
    if (out / STATE_FILE).exists():
        raise TrainingError(f"{out} already holds a run", "pass --resume to go on with it, or name another --out")


def read(out: Path) -> dict:
    """The state that stands in a run's folder, on the CPU: "settings", "model", "optimizer" and "log".

    Raises:
        TrainingError: for one that is damaged, or a file of another kind.
    """
    path = out / STATE_FILE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"settings", "model", "optimizer", "log"} - set(state)
    except (OSError, *DAMAGED_PICKLE) as error:
        raise TrainingError(f"{path} is damaged or no state of a run", "name another --out") from error
    if missing:
        raise TrainingError(f"{path} is no state of a run: it lacks {sorted(missing)}", "name another --out")
    return state


def restore(out: Path, settings: dict) -> dict | None:
    """The state after the last finished epoch, on the CPU, for `load`; None where there is no run yet.

    Args:
        settings: what the run was fixed by, which must be what it was.

    Raises:
        TrainingError: for a state that is damaged or another run's; as `start` where there is none.
    """
    if not os.path.exists(out / STATE_FILE):  # Path's own raises where `out` can be no folder
        start(out)
        return None
    state = read(out)
    kept = state["settings"]
    for key in ("data", "variant"):  # earlier versions did not say
        if key in settings:
            kept.setdefault(key, settings[key])
    differing = sorted(key for key, value in settings.items() if kept.get(key) != value)
    if differing:
        raise TrainingError(
            f"{out} holds a run with other settings ({', '.join(differing)}: "
            f"{[state['settings'].get(key) for key in differing]})",
            "resume with the same, or name another --out",
        )
    with _writing(out, len(state["log"])):
        _sweep(out)
        _store_log(out, state["log"])  # a kill between the two files leaves the log an epoch behind
    return state


def load(state: dict | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict]:
    """Put weights and momenta where they belong, and answer with the log; an empty one for None."""
    if state is None:
        return []
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["log"]


def store(out: Path, settings: dict, model: nn.Module, optimizer: torch.optim.Optimizer, log: list[dict]) -> None:
    """Keep weights, momenta and log together, in one file that is complete or not there.

    Raises:
        TrainingError: where it cannot be written; what stood there is untouched.
    """
    state = {
        "settings": settings,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "log": log,
    }
    buffer = io.BytesIO()  # torch.save into a file reports a full disk as an internal error
    torch.save(state, buffer)
    with _writing(out, len(log)):
        replace_file(out / STATE_FILE, lambda path: path.write_bytes(buffer.getbuffer()))
        _store_log(out, log)


@contextmanager
def _writing(out: Path, epoch: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason, remedy = ("the disk is full", "make room") if full else (error.strerror, "mend that")
        raise TrainingError(
            f"epoch {epoch} could not be stored in {out}: {reason}; what stood there is untouched",
            f"{remedy} and pass --resume",
        ) from error


def _sweep(out: Path) -> None:
    """Delete what a kill while a state was written has left; not what another process may just be writing."""
    for path in out.glob(f".{STATE_FILE}.*"):
        with suppress(OSError):  # gone meanwhile
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def _store_log(out: Path, log: list[dict]) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in log)
    replace_file(out / LOG_FILE, lambda path: path.write_text(lines))
