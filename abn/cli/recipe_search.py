"""`abn recipe-search`: which settings make the `strong` recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence, require_known
from abn.cli.options import Compile, Data, Device, Results, Runs, Seed


def recipe_search(
    data: Data,
    epochs: Annotated[int, typer.Option(min=1, help="of each run")] = 40,
    arch: Annotated[str, typer.Option(help="such as resnet-s or resnet-dmb")] = "resnet-s",
    seed: Seed = 0,
    out: Results = Path("results"),
    runs: Runs = Path("runs"),
    device: Device = "auto",
    compile: Compile = False,
) -> None:
    """Search for the settings of the strong recipe.

    Each candidate is judged on held-out training images, not on the test set.
    """
    from abn.common.data import DataError
    from abn.common.devices import DeviceError
    from abn.experiment.recipe_search import markdown, search_all
    from abn.models.registry import ARCHITECTURES
    from abn.training.run import TrainingError

    require_known(arch, sorted(ARCHITECTURES), "--arch")
    command = "abn recipe-search"
    expected = (DataError, DeviceError, TrainingError)
    stopped = "the same command goes on from the last finished epoch"
    unwritable = (out, "name another --out or --runs")
    with ends_in_a_sentence(command, *expected, stopped=stopped, unwritable=unwritable):
        found = search_all(
            data, out, runs, architecture=arch, epochs=epochs, seed=seed, device_name=device,
            compile_network=compile,
        )  # fmt: skip
        if found is None:
            print(f"{command}: other processes are still training", file=sys.stderr)
        else:
            print(markdown(found))
