"""`abn awaken`: which small change of ResNet-DMB makes it use its bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence
from abn.cli.options import Compile, Data, Device, Results, Runs, Seed


def awaken(
    data: Data,
    epochs: Annotated[int, typer.Option(min=1, help="of each run")] = 3,
    images: Annotated[int, typer.Option(min=1, help="training images to train on")] = 10_000,
    seed: Seed = 0,
    out: Results = Path("results"),
    runs: Runs = Path("runs"),
    device: Device = "auto",
    compile: Compile = False,
) -> None:
    """Search for a change that makes the bank used.

    Short runs of ResNet-DMB with small changes, measured on held-out training images.
    """
    from abn.common.data import DataError
    from abn.common.devices import DeviceError
    from abn.experiment.awaken import markdown, try_all
    from abn.training.run import TrainingError

    expected = (DataError, DeviceError, TrainingError)
    stopped = "the same command goes on from the last finished epoch"
    unwritable = (out, "name another --out or --runs")
    with ends_in_a_sentence("abn awaken", *expected, stopped=stopped, unwritable=unwritable):
        found = try_all(
            data, out, runs, epochs=epochs, images=images, seed=seed, device_name=device, compile_network=compile
        )
        print(markdown(found))
