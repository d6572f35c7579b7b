"""Which settings make the `strong` recipe? Each candidate is judged on held-out training images, not the test set.

Each candidate is trained once, on the training images without the 5,000 held out. Start the command several times on
one machine and each process takes candidates that no other has begun; the last one writes the results.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from abn.common.data import Cifar10, load_cifar10
from abn.common.devices import choose_device, describe_hardware, require_compiler
from abn.common.files import replace_file, require_writable
from abn.training.recipes import QUICK, Recipe
from abn.training.run import Run, train

HOLDOUT = 5000
FILE = "recipe_search.json"
CUTOUT = 12  # pixels, as Jordan (2024) has it for runs of this length
LESS_DECAY = 5e-4  # the paper's

_base = replace(QUICK, name="strong")
CANDIDATES: dict[str, Recipe] = {
    "quick, longer": _base,
    "cutout": replace(_base, cutout=CUTOUT),
    "cutout, weight decay 5e-4": replace(_base, cutout=CUTOUT, weight_decay=LESS_DECAY),
}
"""From the fewest changes to the most."""


def search(
    data: Cifar10, architecture: str, epochs: int, seed: int, runs: Path, device: torch.device, fast: bool
) -> list[dict] | None:
    """Train every candidate that is neither finished nor under way elsewhere.

    Returns:
        A row a candidate; None while another process still trains one.
    """
    folder = runs / "recipe_search"
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict] = {}
    found_one = True
    while found_one and len(rows) < len(CANDIDATES):  # what was under way elsewhere may be finished by now
        found_one = False
        for name in [name for name in CANDIDATES if name not in rows]:
            recipe = replace(CANDIDATES[name], epochs=epochs)
            called = f"{architecture}-{seed}-{recipe.sha256}"
            run = Run(architecture, recipe, seed, HOLDOUT, epochs)
            try:
                with FileLock(folder / f"{called}.lock", timeout=1):
                    _, log = train(run, data, folder / called, device, resume=True, compile_network=fast)
            except Timeout:
                continue
            found_one = True
            last = {key: log[-1][key] for key in ("holdout_accuracy", "holdout_loss", "train_accuracy")}
            rows[name] = {"candidate": name, **last, "recipe_sha256": recipe.sha256, "recipe": asdict(recipe)}
            print(json.dumps(rows[name]), file=sys.stderr, flush=True)
    return [rows[name] for name in CANDIDATES] if len(rows) == len(CANDIDATES) else None


def best(rows: list[dict]) -> dict:
    """The row of the highest held-out accuracy; the first, with the fewest changes, of equal ones."""
    return max(rows, key=lambda row: row["holdout_accuracy"])


def markdown(found: dict) -> str:
    """What was found, as a table."""
    lines = [
        f"{found['architecture']}, {found['epochs']} epochs on {found['images']:,} training images, seed "
        f"{found['seed']}, n = 1 each, measured after the last epoch on the {found['holdout']:,} others:",
        "",
        "| settings | accuracy, % | loss |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['candidate']} | {row['holdout_accuracy']:.2f} | {row['holdout_loss']:.3f} |"
        for row in found["candidates"]
    ]
    return "\n".join([*lines, "", f"Chosen: {best(found['candidates'])['candidate']}."])


def search_all(
    data_folder: Path, out: Path, runs: Path, *, architecture: str = "resnet-s", epochs: int = 40, seed: int = 0,
    device_name: str = "auto", compile_network: bool = False,
) -> dict | None:  # fmt: skip
    """Judge every candidate, and write what is found to `out`/recipe_search.json.

    Args:
        data_folder: as `abn.common.data.load_cifar10` takes it.
        runs: folder of the runs' states; what is finished there is not trained again.

    Returns:
        What is written: the settings, and a row a candidate; None while another process still trains one.

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
    rows = search(data, architecture, epochs, seed, runs, device, compile_network)
    if rows is None:
        return None
    found = {
        "architecture": architecture, "epochs": epochs, "images": len(data.x_train) - HOLDOUT,
        "holdout": HOLDOUT, "seed": seed, "device": describe_hardware(device),
        "torch": str(torch.__version__), "candidates": rows,
    }  # fmt: skip
    replace_file(out / FILE, lambda path: path.write_text(json.dumps(found, indent=1) + "\n"))
    return found
