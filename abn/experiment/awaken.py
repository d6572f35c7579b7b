"""Which small change of ResNet-DMB wakes its bank? Short runs, measured on held-out training images.

In a trained ResNet-DMB the gates stay near uniform and the bank hardly moves. The bank starts at zero, and gates
that are nearly alike for every image give its vectors nearly the same gradient: they stay alike, and alike vectors
give the gates no gradient. Each candidate is trained for a few epochs on a part of the training images, and looked at
on images held out of them; the test images are not touched. The "awake" arm of the experiment is the smallest
change that does it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from abn.common.data import MEAN, STD, Cifar10, DataError, load_cifar10
from abn.common.devices import choose_device, describe_hardware, require_compiler
from abn.common.files import replace_file, require_writable
from abn.experiment.arms import ARMS
from abn.experiment.audit_conditions import Images
from abn.experiment.audit_report import IDLE
from abn.experiment.bank_use import measure
from abn.models.resnet import resnet_dmb
from abn.models.variants import awake, gate_parameters_apart
from abn.training.batches import split_data
from abn.training.recipes import RECIPES
from abn.training.run import Run, Variant, train

HOLDOUT = 5000
FILE = "awaken.json"

_no_decay = partial(gate_parameters_apart, weight_decay=0.0)
_fast = partial(gate_parameters_apart, lr_scale=10.0)
CANDIDATES: dict[str, Variant] = {
    "as the paper has it": Variant(resnet_dmb),
    "no weight decay on B, G, g": Variant(resnet_dmb, _no_decay),
    "10 × learning rate on B, G, g": Variant(resnet_dmb, _fast),
    "temperature 0.1": Variant(partial(awake, standardise=False, temperature=0.1)),
    "standardised c": Variant(awake),
    "standardised c, no weight decay on B, G, g": Variant(awake, _no_decay),
    "standardised c, 10 × learning rate": Variant(awake, _fast),
    "standardised c, temperature 0.1": Variant(partial(awake, temperature=0.1)),
    "temperature 0.1, 10 × learning rate": Variant(partial(awake, standardise=False, temperature=0.1), _fast),
    "standardised c, temperature 0.1, 10 × learning rate": ARMS["awake"],
}
"""From the smallest change to the largest."""


def try_one(name: str, data: Cifar10, epochs: int, seed: int, runs: Path, device: torch.device, fast: bool) -> dict:
    """Train one candidate, or go on with it, and measure it on the held-out images."""
    run = Run(name, replace(RECIPES["quick"], epochs=epochs), seed, HOLDOUT, epochs)
    variant = CANDIDATES[name]
    called = re.sub(r"[^a-z0-9.]+", "-", name.lower())
    folder = runs / "awaken" / f"{epochs}-{len(data.x_train) - HOLDOUT}-{called}-{seed}"
    model, log = train(run, data, folder, device, variant=variant, resume=True, compile_network=fast)
    _, held = split_data(data, HOLDOUT, device)
    use = measure(model, Images(held.pixels, held.labels, MEAN, STD))
    shown = {key: use[key] for key in ("entropy", "bank_share", "bank_variation")}
    return {"candidate": name, "holdout_accuracy": log[-1]["holdout_accuracy"], **shown}


def markdown(found: Mapping) -> str:
    """What was found, as a table."""
    lines = [
        f"{found['epochs']} epochs on {found['images']:,} training images, seed {found['seed']}, measured on "
        f"{HOLDOUT:,} others (means over the blocks):",
        "",
        "| change | entropy of the gates / log K | bank's share of m | and of m's variation | accuracy, % |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['candidate']} | {row['entropy']:.4f} | {row['bank_share']:.3f} | {row['bank_variation']:.4f} | "
        f"{row['holdout_accuracy']:.2f} |"
        for row in found["candidates"]
    ]
    return "\n".join([*lines, "", verdict(found["candidates"])])


def verdict(rows: Sequence[Mapping]) -> str:
    """Which is the first change that wakes the bank, if any does."""
    used = next((row["candidate"] for row in rows if row["bank_variation"] >= IDLE), None)
    share = f"{100 * IDLE:.0f} % of what varies between images"
    if used is None:
        return f"None of them makes the bank {share}, below which it counts as idle."
    return f"The smallest change tried under which the bank is at least {share}: {used}."


def try_all(
    data_folder: Path, out: Path, runs: Path, *, epochs: int = 3, images: int = 10_000, seed: int = 0,
    device_name: str = "auto", compile_network: bool = False,
) -> dict:  # fmt: skip
    """Try every candidate, and write what is found to `out`/awaken.json.

    Args:
        data_folder: as `abn.common.data.load_cifar10` takes it.
        runs: folder of the runs' states; what is finished there is not trained again.
        images: training images to train on; the `HOLDOUT` after them are measured on.

    Returns:
        What is written: the settings, and a row a candidate.

    Raises:
        DataError, DeviceError: for data or a device that cannot be had.
        TrainingError: as `abn.training.run.train` raises it.
        OSError: where the results cannot be written.
    """
    device = choose_device(device_name)
    require_writable(out)
    if compile_network:
        require_compiler()
    data = load_cifar10(data_folder)
    kept = images + HOLDOUT
    if kept > len(data.x_train):
        raise DataError(f"--images is {images}; expected at most {len(data.x_train) - HOLDOUT}")
    data = replace(data, x_train=data.x_train[:kept], y_train=data.y_train[:kept])
    found = {
        "epochs": epochs, "images": images, "holdout": HOLDOUT, "seed": seed,
        "device": describe_hardware(device), "torch": str(torch.__version__), "candidates": [],
    }  # fmt: skip
    for name in CANDIDATES:
        row = try_one(name, data, epochs, seed, runs, device, compile_network)
        found["candidates"].append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    replace_file(out / FILE, lambda path: path.write_text(json.dumps(found, indent=1) + "\n"))
    return found
