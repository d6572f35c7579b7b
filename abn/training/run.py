"""Training: a run, its loop, and the checkpoint it ends in.

The pictures live on the training device as uint8 and are augmented there, a batch at a time. Everything
random in an epoch comes from one generator seeded by (seed, epoch), so a run that was killed resumes
from its last finished epoch and sees what it would have seen.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from abn.common.data import Cifar10, load_cifar10
from abn.common.devices import (
    describe_hardware,
    gains_by_bfloat16,
    keep_freed_memory,
    make_deterministic,
    require_compiler,
)
from abn.models.registry import ARCHITECTURES, every_parameter
from abn.models.resnet import ResNet
from abn.training import run_state
from abn.training.batches import Batches, split_data
from abn.training.epoch import make_optimizer, to_train, train_epoch
from abn.training.evaluation import evaluate
from abn.training.recipes import RECIPES, Recipe
from abn.training.run_state import TrainingError
from abn.training.workers import ALONE, Workers


@dataclass(frozen=True)
class Run:
    """One training run: what is fixed when it starts, and checked when it resumes.

    Attributes:
        architecture: a key of `ARCHITECTURES`, or any other that the caller gives its `Variant` for.
        holdout: training images set aside to evaluate on; with 0 the test images are evaluated on.
        evaluate_every: epochs between evaluations; the last is always evaluated.
    """

    architecture: str
    recipe: Recipe
    seed: int
    holdout: int
    evaluate_every: int

    def settings(self) -> dict:
        return {**asdict(self), "recipe": asdict(self.recipe)}


@dataclass(frozen=True)
class Variant:
    """A network to train that `ARCHITECTURES` does not have.

    Attributes:
        build: makes it, with freshly initialised weights.
        parameter_groups: its parameters as an optimiser takes them; a group's `weight_decay` and `lr_scale` (a
            multiple of the recipe's rate) stand for the recipe's in that group.
    """

    build: Callable[[], nn.Module]
    parameter_groups: Callable[[nn.Module], list[dict]] = every_parameter

    @classmethod
    def of(cls, architecture: str) -> Variant:
        """One that `ARCHITECTURES` has, as that says to train it."""
        known = ARCHITECTURES[architecture]
        return cls(known.build, known.parameter_groups)

    @property
    def described(self) -> str:
        """What it is made by, with the arguments of a `functools.partial`: where that differs, another network."""
        groups = "" if self.parameter_groups is every_parameter else f", {_called(self.parameter_groups)}"
        return _called(self.build) + groups


def _called(function: Callable) -> str:
    if not isinstance(function, partial):
        return function.__name__
    given = [*map(repr, function.args), *(f"{name}={value!r}" for name, value in function.keywords.items())]
    return f"{function.func.__name__}({', '.join(given)})" if given else function.func.__name__


def train(
    run: Run,
    data: Cifar10,
    out: Path,
    device: torch.device,
    *,
    variant: Variant | None = None,
    resume: bool = False,
    compile_network: bool = False,
    progress: bool = True,
    after_epoch: Callable[[list[dict]], None] = lambda log: None,
    workers: Workers = ALONE,
) -> tuple[ResNet, list[dict]]:
    """Train a network; after every epoch its state and log stand in `out`.

    On a CPU this process keeps from then on the memory that it frees (`abn.common.devices.keep_freed_memory`).

    Args:
        variant: what `run.architecture` stands for where it is no name in `ARCHITECTURES`.
        resume: go on from the last finished epoch in `out`, where there is one.
        after_epoch: is given the log so far whenever an epoch is stored, and once at the start; on rank 0 alone.
        workers: the processes that train together, each of which calls this alike. A run may go on with another
            number of them, as it may on another device; the log says with how many each epoch was made.

    Returns:
        The trained network in eval mode, and the log: a dictionary an epoch.

    Raises:
        TrainingError: when `out` holds another run, when the loss is no longer a number, when the
            state cannot be written, or when a batch is too small for the workers; on all of them alike.
    """
    if device.type == "cpu":
        keep_freed_memory()
    train_split, eval_split = split_data(data, run.holdout, device)
    workers.require_shares(len(train_split), run.recipe.batch_size)
    torch.manual_seed(run.seed)
    made = variant or Variant.of(run.architecture)
    model = made.build().to(device, memory_format=torch.channels_last)
    recipe = run.recipe
    optimizer = make_optimizer(made.parameter_groups(model), recipe, device)
    settings = run.settings() | {"data": data.fingerprint}
    if variant is not None:
        settings["variant"] = variant.described
    found = workers.from_first(lambda: run_state.restore(out, settings) if resume else run_state.start(out))
    log = run_state.load(found, model, optimizer)
    batches = Batches(train_split, recipe.batch_size, run.seed, recipe.augmentation, workers)
    judged = to_train(model, recipe, device, workers, compile_network=compile_network)
    bfloat16 = gains_by_bfloat16(device)
    hardware = workers.describe(describe_hardware(device))
    workers.from_first(lambda: after_epoch(log))

    bar = tqdm(
        total=recipe.epochs * len(batches), initial=len(log) * len(batches), unit="batch",
        disable=not progress, mininterval=1, dynamic_ncols=True,
        leave=None,  # under another bar it goes when it is done
    )  # fmt: skip

    def keep() -> dict:
        run_state.store(out, settings, model, optimizer, log)
        after_epoch(log)
        bar.write(json.dumps(log[-1]), file=sys.stderr)
        return log[-1]

    with bar:
        for epoch in range(len(log), recipe.epochs):
            bar.set_description(f"{run.architecture} epoch {epoch + 1}/{recipe.epochs}")
            started = time.perf_counter()
            record = train_epoch(judged, optimizer, recipe, batches, epoch, bar, bfloat16=bfloat16)
            record["seconds"] = round(time.perf_counter() - started, 1)
            record |= {"precision": "bfloat16" if bfloat16 else "float32", "compiled": compile_network}
            if (epoch + 1) % run.evaluate_every == 0 or epoch + 1 == recipe.epochs:
                workers.spread_statistics(model)
                accuracy, loss = evaluate(model, eval_split, workers)
                split = "holdout" if run.holdout else "test"
                record |= {f"{split}_accuracy": round(accuracy, 4), f"{split}_loss": round(loss, 6)}
            record |= {"workers": workers.world_size, "device": hardware, "torch": str(torch.__version__)}
            log.append(record)
            log[-1] = workers.from_first(keep)  # seconds and device are rank 0's
    return model.eval(), log


def recipe(name: str, epochs: int | None = None, lr: float | None = None) -> Recipe:
    """The recipe of this name, with another number of epochs or peak learning rate where one is given."""
    known = RECIPES[name]
    return replace(known, epochs=epochs or known.epochs, lr=lr or known.lr)


def train_checkpoint(
    run: Run,
    data_folder: Path,
    out: Path,
    device_name: str = "auto",
    *,
    resume: bool = False,
    download: bool = False,
    deterministic: bool = False,
    compile_network: bool = False,
    workers: Workers = ALONE,
) -> Path:
    """Train a network of `ARCHITECTURES` on CIFAR-10, and save it in `out`/checkpoint.

    Args:
        data_folder, download: as `abn.common.data.load_cifar10` takes them.
        device_name: as `Workers.choose_device` takes it.
        deterministic: ask for the same bits in every run on CUDA, which is slower.
        resume, compile_network, workers: as `train` takes them.

    Returns:
        The checkpoint's folder.

    Raises:
        DataError, DeviceError: for data or a device that cannot be had.
        TrainingError: as `train` raises it, and where the checkpoint cannot be written.
    """
    device = workers.agree(lambda: workers.choose_device(device_name))
    if deterministic:
        make_deterministic()
    if compile_network:
        workers.agree(require_compiler)
    data = workers.agree(lambda: load_cifar10(data_folder, download))
    model, log = train(run, data, out, device, resume=resume, compile_network=compile_network, workers=workers)
    return workers.from_first(lambda: _save(model, out / "checkpoint", run, log, data))


def _save(model: ResNet, folder: Path, run: Run, log: list[dict], data: Cifar10) -> Path:
    from abn.checkpoints.info import CheckpointError
    from abn.training.checkpoint import save_trained  # after the run, which does not need safetensors

    try:
        return save_trained(model, folder, run, log, data)
    except CheckpointError as error:
        raise TrainingError(f"the run is finished, but: {error}; then pass --resume to write it anew") from error
