"""What an audit under way has computed, in a folder beside its results, so that it goes on after a kill."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from abn.common.files import replace_file
from abn.models.modulation import BankModulation, Modulation

SETTINGS_FILE, HISTORY_FILE, RECORDED_FILE = "settings.json", "history.json", "recorded.npz"


class Store:
    """A folder of arrays that belong to one set of settings.

    A file that is damaged counts as not there: what it held is computed again.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """
        Args:
            settings: all that the arrays depend on, as JSON can hold it.

        Raises:
            ValueError: for a folder that an audit of other settings left: it may hold hours of work.
            OSError: where the folder cannot be written to.
        """
        self.folder = folder
        self._told: set[str] = set()  # of files that are damaged
        path = folder / SETTINGS_FILE
        wanted = json.dumps(settings, sort_keys=True)
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, lambda scratch: scratch.write_text(wanted, encoding="utf-8"))
        elif path.read_bytes() != wanted.encode():
            raise ValueError(
                f"{folder} holds an unfinished audit of other weights or settings; finish that, remove the folder, "
                "or name another --out"
            )

    def history(self, **now: str) -> dict[str, str]:
        """What all runs so far were made with, e.g. device="NVIDIA H200": a change reads "NVIDIA H200, then …"."""
        path = self.folder / HISTORY_FILE
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        values = {key: list(dict.fromkeys([*before.get(key, []), value])) for key, value in now.items()}
        replace_file(path, lambda scratch: scratch.write_text(json.dumps(values), encoding="utf-8"))
        return {key: ", then ".join(of_key) for key, of_key in values.items()}

    def answers(self, name: str) -> np.ndarray | None:
        """(N,) bool that was kept under a name, or None."""
        kept = self._read(f"{name}.npz")
        return None if kept is None else kept["correct"]

    def keep_answers(self, name: str, correct: np.ndarray) -> None:
        """Keep (N,) bool under a name."""
        self._write(f"{name}.npz", {"correct": correct})

    def recorded(self) -> dict[str, Modulation] | None:
        """The modulations that were kept, by block in the order of computation, or None."""
        kept = self._read(RECORDED_FILE)
        if kept is None:
            return None
        blocks: dict[str, dict[str, torch.Tensor]] = {}
        for key, values in kept.items():
            name, _, term = key.rpartition("/")
            blocks.setdefault(name, {})[term] = torch.from_numpy(values)
        return {
            name: BankModulation(**terms) if "bias_bank" in terms else Modulation(**terms)
            for name, terms in blocks.items()
        }

    def keep_recorded(self, recorded: Mapping[str, Modulation]) -> None:
        """Keep modulations that are on the CPU."""
        terms = ((name, *term) for name, m in recorded.items() for term in m.tensors.items())
        self._write(RECORDED_FILE, {f"{name}/{term}": values.numpy() for name, term, values in terms})

    def remove(self) -> None:
        """The audit is done: nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, name: str) -> dict[str, np.ndarray] | None:
        try:
            with np.load(self.folder / name, allow_pickle=False) as stored:
                return dict(stored)
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, EOFError, ValueError):
            if name not in self._told:
                self._told.add(name)
                tqdm.write(f"{self.folder / name} is damaged, so it is computed again", file=sys.stderr)
            return None

    def _write(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        def write(scratch: Path) -> None:
            with scratch.open("wb") as file:  # a path would be given another ending
                np.savez(file, **arrays)

        replace_file(self.folder / name, write)
