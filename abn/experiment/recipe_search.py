"""Which settings make the `strong` recipe? Each candidate is judged on held-out training images, not the test set.

    abn recipe-search --data DIR [--epochs 40] [--arch resnet-s] [--out results]

Each candidate is trained once, on the training images without the 5,000 held out. Start the command several times on
one machine and each process takes candidates that no other has begun; the last one writes the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from abn.common.data import Cifar10, DataError, load_cifar10
from abn.common.devices import DeviceError, choose_device, describe_hardware
from abn.common.files import replace_file, require_writable
from abn.common.options import require_at_least_one
from abn.models.resnet import ARCHITECTURES
from abn.training.recipes import QUICK, Recipe
from abn.training.run import Run, TrainingError, train

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


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="abn recipe-search", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10.npz or torchvision's CIFAR-10")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--arch", default="resnet-s", choices=sorted(ARCHITECTURES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results, to be committed")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs' states")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks; needs a C++ compiler")
    args = parser.parse_args(argv)
    require_at_least_one(parser, args, "epochs")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    try:
        device = choose_device(args.device)
        require_writable(args.out)
        data = load_cifar10(args.data)
        rows = search(data, args.arch, args.epochs, args.seed, args.runs, device, args.compile)
        if rows is None:
            print("abn.experiment.recipe_search: other processes are still training", file=sys.stderr)
            return
        found = {
            "architecture": args.arch, "epochs": args.epochs, "images": len(data.x_train) - HOLDOUT,
            "holdout": HOLDOUT, "seed": args.seed, "device": describe_hardware(device),
            "torch": str(torch.__version__), "candidates": rows,
        }  # fmt: skip
        replace_file(args.out / FILE, lambda path: path.write_text(json.dumps(found, indent=1) + "\n"))
    except (DataError, DeviceError, TrainingError) as error:
        sys.exit(f"abn.experiment.recipe_search: {error}")
    except OSError as error:
        sys.exit(
            f"abn.experiment.recipe_search: {error.filename or args.out} cannot be written ({error.strerror}); "
            "name another folder"
        )
    except KeyboardInterrupt:
        sys.exit("abn.experiment.recipe_search: stopped; the same command goes on from the last finished epoch")
    print(markdown(found))


if __name__ == "__main__":
    main()
