"""`abn train`: one network, on CIFAR-10."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence, require_known
from abn.cli.options import Compile, Data, Device, Download, Epochs, EvaluateEvery, Recipe, Seed


def _positive(rate: float | None) -> float | None:
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise typer.BadParameter(f"{rate} is not a positive number.")
    return rate


def train(
    arch: Annotated[str, typer.Option(help="such as resnet-s or resnet-dmb")],
    data: Data,
    out: Annotated[Path, typer.Option(help="folder for the state, the log and the checkpoint")],
    recipe: Recipe = "paper",
    epochs: Epochs = None,
    lr: Annotated[float | None, typer.Option(callback=_positive, help="peak rate, instead of the recipe's")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last finished epoch in --out")] = False,
    download: Download = False,
    holdout: Annotated[int, typer.Option(min=0, help="evaluate on so many held-out training images")] = 0,
    evaluate_every: EvaluateEvery = 1,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="the same weights in every run on CUDA, slower")
    ] = False,
    compile: Compile = False,
) -> None:
    """Train a network on CIFAR-10.

    `torchrun --standalone --nproc_per_node 2 -m abn train …` trains it in two processes.
    """
    from abn.common.data import DataError
    from abn.common.devices import DeviceError
    from abn.training import run as training
    from abn.training.workers import joined

    require_known(arch, sorted(training.ARCHITECTURES), "--arch")
    require_known(recipe, sorted(training.RECIPES), "--recipe")
    expected = (DataError, DeviceError, training.TrainingError)
    stopped = "pass --resume to go on from the last finished epoch"
    with joined("abn train") as workers, ends_in_a_sentence("abn train", *expected, stopped=stopped):
        run = training.Run(arch, training.recipe(recipe, epochs, lr), seed, holdout, evaluate_every)
        folder = training.train_checkpoint(
            run, data, out, device, resume=resume, download=download, deterministic=deterministic,
            compile_network=compile, workers=workers,
        )  # fmt: skip
        print(f"checkpoint in {folder}")
