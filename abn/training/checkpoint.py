"""The checkpoint of a finished training run on CIFAR-10."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abn.checkpoints.info import CheckpointError
from abn.checkpoints.store import save_checkpoint
from abn.common.data import Cifar10
from abn.common.files import LOG_FILE, replace_file
from abn.models.resnet import ResNet

if TYPE_CHECKING:
    from abn.training.run import Run

LICENSE = "apache-2.0"  # of what this project trains
TEST_IMAGES = 10_000  # of the official CIFAR-10


def save_trained(
    model: ResNet, folder: str | os.PathLike[str], run: Run, log: Sequence[Mapping], data: Cifar10 | None = None
) -> Path:
    """Write the checkpoint of a finished training run on CIFAR-10.

    Args:
        run: what was fixed when it started.
        log: one record an epoch, as `abn.training.run.train` returns them; the last one was evaluated.
        data: what it was trained and evaluated on; None for the official data set.

    Raises:
        CheckpointError: as `save_checkpoint` does.
    """
    split = "holdout" if run.holdout else "test"
    key = f"{split}_accuracy"
    evaluated = [record for record in log if key in record]
    best = max(evaluated, key=lambda record: record[key]) if len(evaluated) > 1 else {}
    folder = save_checkpoint(
        model,
        folder,
        recipe=run.settings()["recipe"],
        seed=run.seed,
        epochs=len(log),
        accuracy=log[-1][key],
        evaluated_on=split,
        test_images=run.holdout or (TEST_IMAGES if data is None else len(data.x_test)),
        best_accuracy=best.get(key),
        best_epoch=best.get("epoch"),
        hardware=", then ".join(dict.fromkeys(record["device"] for record in log)),
        torch_version=", then ".join(dict.fromkeys(record["torch"] for record in log)),
        dataset="CIFAR-10",
        dataset_note="" if data is None else dataset_note(data, run.holdout),
        license=LICENSE,
    )
    lines = "".join(json.dumps(record) + "\n" for record in log)
    try:
        replace_file(folder / LOG_FILE, lambda scratch: scratch.write_text(lines, encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{LOG_FILE} could not be written ({error.strerror}); mend that", str(folder)
        ) from error
    return folder


def dataset_note(data: Cifar10, holdout: int) -> str:
    """In what the data differ from the official ones, and what that can do to the accuracy; "" for nothing."""
    inexact, evaluated = data.inexact_test, len(data.x_test)
    if holdout:  # drawn from the training images, perhaps all of their re-compressions
        inexact, evaluated = min(data.inexact_train, holdout), holdout
    if inexact == 0:
        return ""
    return (
        f"{data.inexact_test:,} of the {len(data.x_test):,} test images and {data.inexact_train:,} of the "
        f"{len(data.x_train):,} training images are JPEG re-compressions of the originals, so the accuracy can "
        f"differ from the official data set's by at most {100 * inexact / evaluated:.2f} points."
    )
