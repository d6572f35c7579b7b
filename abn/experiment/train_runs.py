"""One experiment's runs: where each is kept, how it is trained, and which have ended."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from abn.common.data import MEAN, STD, Cifar10, to_pixels
from abn.common.devices import choose_device, describe_hardware
from abn.common.files import replace_file
from abn.experiment.arms import ARMS, has_gates, parameters
from abn.experiment.audit_conditions import Images
from abn.experiment.bank_use import measure
from abn.experiment.fields import ResultsError
from abn.experiment.runs import RunLog, read_runs, run_file
from abn.training.recipes import Recipe
from abn.training.run import Run, TrainingError, train
from abn.training.run_state import DivergedError

Trainer = Callable[[str, int, Callable[[list[dict]], None]], None]


@dataclass(frozen=True)
class Experiment:
    """What is to be trained, and where it is kept.

    Attributes:
        results: folder of this recipe's lines, to be committed.
        runs: folder of the states, to go on from.
        every: epochs between evaluations.
    """

    arms: list[str]
    seeds: int
    recipe: Recipe
    results: Path
    runs: Path
    every: int = 1

    def lines(self, arm: str, seed: int, parameters: int, log: list[dict]) -> str:
        """A run's log as its results file has it."""
        known = {
            "arm": arm,
            "seed": seed,
            "recipe": self.recipe.name,
            "recipe_sha256": self.recipe.sha256,
            "epochs": self.recipe.epochs,
            "holdout": 0,
            "parameters": parameters,
            "torchvision": torchvision.__version__,
            "variant": ARMS[arm].described,
        }
        return "".join(json.dumps({**known, **record}) + "\n" for record in log)

    def ended(self) -> dict[tuple[str, int], RunLog]:
        """The runs among the results that are finished, or diverged.

        Raises:
            ResultsError: for results of another recipe than this one, or of an arm that was defined otherwise.
        """
        runs, _ = read_runs(self.results)  # `write_tables` tells of broken lines, once
        for run in runs:
            if run.recipe_sha256 != self.recipe.sha256:
                raise ResultsError(
                    f"{self.results.name}/ holds runs of recipe {run.recipe} ({run.recipe_sha256}); this one is "
                    f"{self.recipe.name} ({self.recipe.sha256}): mixed recipes in one table say nothing; "
                    "name another --out"
                )
            others = {record.get("variant") for record in run.records} - {None, ARMS[run.arm].described}
            if others:
                raise ResultsError(
                    f"{self.results.name}/{run_file(run.arm, run.seed)} is of {', '.join(map(str, others))}; this "
                    f"arm is {ARMS[run.arm].described} now: name another --out"
                )
        return {(run.arm, run.seed): run for run in runs if run.last is not None or run.diverged is not None}


def trainer(experiment: Experiment, data: Cifar10, device_name: str, compile_network: bool) -> Trainer:
    """What trains one run and keeps its results file up to date after every epoch."""
    device = choose_device(device_name)
    tested = Images(to_pixels(data.x_test), torch.from_numpy(data.y_test).long(), MEAN, STD)

    def run_one(arm: str, seed: int, follow: Callable[[list[dict]], None]) -> None:
        variant = ARMS[arm]
        count, gates = parameters(arm), has_gates(arm)
        path, folder = experiment.results / run_file(arm, seed), experiment.runs / f"{arm}-{seed}"
        written = _epochs_in(path)
        latest, since = [], time.perf_counter()

        def write(log: list[dict]) -> None:
            text = experiment.lines(arm, seed, count, [record | {"data": data.fingerprint} for record in log])
            replace_file(path, lambda temporary: temporary.write_text(text))

        def keep(log: list[dict]) -> None:
            nonlocal latest, since, written
            follow(log)
            latest, since = list(log), time.perf_counter()
            if len(log) < written:  # before the first epoch
                print(
                    f"abn reproduce: {path.name} has lines up to epoch {written} of a run that was not "
                    f"finished, and its state in {folder} is that of epoch {len(log)}: it goes on from there, and "
                    "the later lines are replaced; to keep them, stop this and bring that folder here from where "
                    "they were made",
                    file=sys.stderr,
                )
                written = 0
                return
            # A run whose bank is still to be measured lacks its last line, so it is not finished.
            there = log[:-1] if gates and len(log) == experiment.recipe.epochs else log
            if there:
                write(there)

        try:
            model, log = train(
                Run(arm, experiment.recipe, seed, 0, experiment.every), data, folder, device, variant=variant,
                resume=True, compile_network=compile_network, after_epoch=keep,
            )  # fmt: skip
        except DivergedError as error:
            here = {"device": describe_hardware(device), "torch": str(torch.__version__)}
            seconds = round(time.perf_counter() - since, 1)
            write([*latest, {"epoch": len(latest) + 1, "seconds": seconds, "diverged": True} | here])
            remedy = f"to try it again, remove {path.name} and that run's folder"
            raise DivergedError(f"{arm}, seed {seed}: {error.fault}", remedy) from error
        except TrainingError as error:
            remedy = "mend that and the same command goes on; or remove that run's folder, or name another --runs"
            raise TrainingError(f"{arm}, seed {seed}: {error.fault}", remedy) from error
        if gates:
            write([*log[:-1], log[-1] | {"bank": measure(model, tested)}])

    return run_one


def _epochs_in(path: Path) -> int:
    """How many finished epochs a run's file has."""
    runs, _ = read_runs(path.parent)
    found = [run.records for run in runs if run_file(run.arm, run.seed) == path.name]
    return sum(not record.get("diverged") for records in found for record in records)
