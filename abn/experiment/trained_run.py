"""A finished run of the experiment as a network; of most arms there is no checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from abn.checkpoints.info import CheckpointInfo
from abn.checkpoints.store import weights_bytes
from abn.common.data import CLASS_NAMES, MEAN, STD, Cifar10
from abn.experiment.arms import ARMS
from abn.experiment.runs import group_name
from abn.models.resnet import ResNet
from abn.training.checkpoint import dataset_note
from abn.training.run_state import STATE_FILE, TrainingError, read


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds the state of a training run."""
    return (Path(folder) / STATE_FILE).is_file()


def load_run(folder: str | Path, data: Cifar10) -> tuple[ResNet, str]:
    """Load the network of a run that `abn.experiment.reproduce` finished.

    Args:
        folder: of the run's state, e.g. `runs/strong-20/awake-0`.
        data: that it was trained on.

    Returns:
        The network on the CPU, in eval mode, with what is known of it as its attribute `info`; and the run's name,
        e.g. "strong-20-awake-0".

    Raises:
        ValueError: for a folder without a whole state, an arm that there is not or that was defined otherwise, a run
            that is not finished, or other data.
    """
    try:
        state = read(Path(folder))
    except TrainingError as error:
        raise ValueError(f"{error.fault}; name a run's folder, such as runs/strong-20/awake-0") from error
    settings, log = state["settings"], state["log"]
    arm, seed, recipe = settings["architecture"], settings["seed"], settings["recipe"]
    if arm not in ARMS:
        raise ValueError(f"{folder} is a run of {arm}; expected one of {', '.join(ARMS)}")
    variant = ARMS[arm]
    if settings.get("variant", variant.described) != variant.described:
        raise ValueError(
            f"{folder} is of {settings['variant']}; this arm is {variant.described} now: train it anew, with another "
            "--runs"
        )
    if len(log) < recipe["epochs"]:
        raise ValueError(
            f"{folder} has {len(log)} of {recipe['epochs']} epochs; finish it, unless it "
            "diverged, which its file in the results tells"
        )
    if settings.get("data", data.fingerprint) != data.fingerprint:  # earlier versions did not say
        raise ValueError(f"{folder} was trained on other data; name that with --data")
    model = variant.build()
    model.load_state_dict(state["model"])
    weights_sha256 = hashlib.sha256(weights_bytes(model)).hexdigest()
    model.info = CheckpointInfo(
        arm, CLASS_NAMES, MEAN, STD, model.num_biases, weights_sha256, recipe, seed, len(log),
        dataset_note=dataset_note(data, settings["holdout"]),
    )  # fmt: skip
    return model.eval(), f"{group_name(recipe['name'], recipe['epochs'])}-{arm}-{seed}"
