"""`abn reproduce`: the paper's table with controls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence, require_known
from abn.cli.options import Compile, Device, Download, Epochs, EvaluateEvery, OptionalData, Recipe, Results, Runs


def _part(text: str) -> str:
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
        raise typer.BadParameter(f"{text} is not I/N with I from 1 to N, such as 1/3.")
    return text


def reproduce(
    table: Annotated[
        bool, typer.Option("--table", help="train nothing; compute the tables of what is there, without --data")
    ] = False,
    data: OptionalData = None,
    download: Download = False,
    seeds: Annotated[int, typer.Option(min=1, help="how many, from 0 on")] = 10,
    arms: Annotated[str | None, typer.Option(metavar="LIST", help="such as resnet-s,se; all by default")] = None,
    recipe: Recipe = "paper",
    epochs: Epochs = None,
    evaluate_every: EvaluateEvery = 1,
    out: Results = Path("results"),
    runs: Runs = Path("runs"),
    part: Annotated[
        str, typer.Option(metavar="I/N", callback=_part, help="do every N-th seed, on the I-th of N machines")
    ] = "1/1",
    device: Device = "auto",
    compile: Compile = False,
) -> None:
    """Train the experiment's runs, and make its table.

    Every arm on every seed that is not done yet; then the table and the contrasts of all runs there are.
    """
    from abn.common.data import DataError
    from abn.common.devices import DeviceError
    from abn.common.memory import DeviceMemoryError
    from abn.experiment.arms import ARMS
    from abn.experiment.fields import ResultsError
    from abn.experiment.reproduce import train_missing, write_tables
    from abn.experiment.runs import group_name
    from abn.experiment.train_runs import Experiment
    from abn.training import run as training

    chosen = list(ARMS) if arms is None else [arm.strip() for arm in arms.split(",") if arm.strip()] or [""]
    for arm in chosen:
        require_known(arm, list(ARMS), "--arms")
    require_known(recipe, sorted(training.RECIPES), "--recipe")
    if data is None and not table:
        raise typer.BadParameter("name the folder with CIFAR-10; only --table does without.", param_hint="'--data'")
    expected = (DataError, DeviceError, DeviceMemoryError, ResultsError, training.TrainingError)
    stopped = "the same command goes on from the last finished epoch"
    remedy = "mend that, or name another --out or --runs"
    with ends_in_a_sentence("abn reproduce", *expected, stopped=stopped, unwritable=(out, remedy)):
        diverged = []
        if data is not None and not table:
            used = training.recipe(recipe, epochs)
            group = group_name(used.name, used.epochs)
            index, _, of = part.partition("/")
            done = train_missing(
                Experiment(chosen, seeds, used, out / group, runs / group, evaluate_every), data,
                part=(int(index), int(of)), download=download, device_name=device, compile_networks=compile,
            )  # fmt: skip
            print(f"{done.done} runs done here, {done.elsewhere} under way in other processes", file=sys.stderr)
            diverged = done.diverged
        if not write_tables(out):
            raise ResultsError(f"{out.name}/ holds no runs; train some: leave out --table and name --data")
        if diverged:
            sys.exit("\n  ".join(["abn reproduce: runs that diverged, and do not count:", *diverged]))
