"""`abn audit`: what a trained modulation does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence
from abn.cli.options import BatchSize, Data, Device


def audit(
    checkpoint: Annotated[
        str,
        typer.Argument(help="folder, Hub id, or a finished run of abn reproduce (runs/strong-20/awake-0)"),
    ],
    data: Data,
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("results/audit"),
    device: Device = "auto",
    batch_size: BatchSize = None,
    images: Annotated[int | None, typer.Option(min=1, help="the first test images alone, for a trial")] = None,
    reestimate: Annotated[int, typer.Option(min=1, help="training images for bn2, the first ones")] = 5000,
) -> None:
    """Measure what a checkpoint's modulation does.

    Over all test images of CIFAR-10, with parts of the modulation held fixed.
    """
    from abn.common.memory import DeviceMemoryError
    from abn.experiment.audit_checkpoint import audit_checkpoint
    from abn.experiment.audit_report import tables

    expected = (ValueError, DeviceMemoryError)  # CheckpointError, DataError and DeviceError are ValueErrors
    stopped = "the same command goes on from here"
    with ends_in_a_sentence(
        "abn audit", *expected, stopped=stopped, unwritable=(out, "make room, or name another --out")
    ):
        result, path = audit_checkpoint(
            checkpoint, data, out, device_name=device, batch_size=batch_size, images=images,
            reestimation_images=reestimate,
        )  # fmt: skip
        print(tables(result))
        print(f"in {path}")
