"""What a trained modulation does, over all test images of CIFAR-10.

    abn audit CHECKPOINT --data DIR [--out results/audit] [--device auto] [--batch N]
                               [--images N] [--reestimate 5000]

Splits the variance of every channel's factor by class, says how the gates and the bank are used, and measures
accuracy with parts of the modulation held fixed, each time with bn2's running statistics as trained and re-estimated
on training images, not augmented, under the same condition. Writes `<checkpoint>.json`. An audit that was stopped
goes on where it was.

Instead of a checkpoint, CHECKPOINT may be the folder of a finished run of `abn.experiment.reproduce`, such as
runs/strong-20/awake-0, of any arm that has a bank.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abn.checkpoints.info import CheckpointInfo
from abn.checkpoints.store import load_checkpoint
from abn.common.data import CLASS_NAMES, Cifar10, load_cifar10, to_pixels
from abn.common.devices import choose_device, compute_in_full_float32, describe_hardware, images_at_once
from abn.common.files import replace_file
from abn.common.memory import DeviceMemoryError
from abn.common.options import require_at_least_one
from abn.experiment.audit_conditions import Images
from abn.experiment.audit_report import tables
from abn.experiment.audit_run import audit, require_bank
from abn.experiment.audit_statistics import INTERVAL
from abn.experiment.audit_store import Store
from abn.experiment.trained_run import is_run, load_run


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="abn audit",
        description="Measure what a checkpoint's modulation does over CIFAR-10.",
    )
    parser.add_argument(
        "checkpoint",
        help="a folder, a Hub id (user/repo, user/repo@revision), or the folder of a finished run of "
        "abn.experiment.reproduce (runs/strong-20/awake-0)",
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with cifar10.npz or torchvision's CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("results/audit"), metavar="DIR", help="(results/audit)")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--batch", type=int, metavar="N", help="images at once, instead of what suits the device")
    parser.add_argument("--images", type=int, metavar="N", help="the first N test images alone, for a trial")
    parser.add_argument(
        "--reestimate", type=int, default=5000, metavar="N", help="training images for bn2, the first ones (5000)"
    )
    args = parser.parse_args(argv)
    require_at_least_one(parser, args, "batch", "images", "reestimate")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    try:
        device = choose_device(args.device)
        compute_in_full_float32()
        data = load_cifar10(args.data)
        if is_run(args.checkpoint):
            model, name = load_run(args.checkpoint, data)
        else:
            model = load_checkpoint(args.checkpoint)
            name = Path(args.checkpoint).resolve().name.partition("@")[0]
        require_bank(model)
        info = model.info
        _require_cifar10(info.class_names)
        model.to(device, memory_format=torch.channels_last)
        test, train = _images(data, info, args)
        if args.images is not None:
            name = f"{name}-{args.images}"  # a trial takes no audit's place
        path = args.out / f"{name}.json"
        _require_place(path, info.weights_sha256)
        settings = {
            "weights_sha256": info.weights_sha256, "images": len(test), "reestimation_images": len(train),
            "reestimation": "pooled over all images, block by block",
        }  # fmt: skip
        store = Store(args.out / f".{name}.partial", settings | {"data": data.fingerprint})
        made_with = store.history(device=describe_hardware(device), torch=str(torch.__version__))
        found = audit(model, test, train, store, args.batch or images_at_once(device), progress=True)
        result = {
            "checkpoint": name, **_known(info), **settings, **made_with, "interval": INTERVAL, **found,
        }  # fmt: skip
        text = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
        replace_file(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
        store.remove()
    except OSError as error:
        sys.exit(f"audit: {args.out} cannot be written to ({error}); make room, or name another --out")
    except (ValueError, DeviceMemoryError) as error:  # CheckpointError, DataError and DeviceError among them
        sys.exit(f"abn.experiment.audit_command: {error}")
    except KeyboardInterrupt:
        sys.exit("abn.experiment.audit_command: stopped; the same command goes on from here")
    print(tables(result))
    print(f"in {path}")


def _require_cifar10(class_names: tuple[str, ...]) -> None:
    if tuple(class_names) != CLASS_NAMES:
        raise ValueError(
            f"this checkpoint tells {', '.join(class_names)} apart, which are not CIFAR-10's classes; "
            "audit it on its own data with abn.experiment.audit_run.audit"
        )


def _images(data: Cifar10, info: CheckpointInfo, args: argparse.Namespace) -> tuple[Images, Images]:
    """The test images, and the training images on which bn2 is re-estimated."""

    def first(count: int | None, x: np.ndarray, y: np.ndarray, option: str, split: str) -> Images:
        if count is not None and count > len(x):
            raise ValueError(f"{option} is {count}; there are {len(x)} {split} images")
        return Images(to_pixels(x[:count]), torch.from_numpy(y[:count]).long(), info.mean, info.std)

    return (
        first(args.images, data.x_test, data.y_test, "--images", "test"),
        first(args.reestimate, data.x_train, data.y_train, "--reestimate", "training"),
    )


def _require_place(path: Path, weights_sha256: str | None) -> None:
    """Refuse to replace the audit of other weights: two checkpoints may have folders of one name."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("weights_sha256")
    except (FileNotFoundError, ValueError, AttributeError):  # nothing there, or nothing that anybody can read
        return
    if found != weights_sha256:
        raise ValueError(
            f"{path} is the audit of other weights (SHA-256 {str(found)[:12]}…, not {str(weights_sha256)[:12]}…); "
            "rename or remove it, or name another --out"
        )


def _known(info: CheckpointInfo) -> dict[str, Any]:
    recipe = (info.recipe or {}).get("name")
    return {"recipe": recipe, "epochs": info.epochs, "seed": info.seed, "dataset_note": info.dataset_note}


if __name__ == "__main__":
    main()
