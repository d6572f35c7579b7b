"""The command that measures a checkpoint's reference statistics over CIFAR-10's test images.

abn reference CHECKPOINT --data DIR
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from abn.checkpoints.store import load_checkpoint
from abn.common.data import CLASS_NAMES, load_cifar10, to_pixels
from abn.common.devices import choose_device, compute_in_full_float32
from abn.common.options import require_at_least_one
from abn.interpret.reference.file import REFERENCE_FILE, save_reference
from abn.interpret.reference.measure import compute_reference


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="abn reference",
        description="Measure a checkpoint's reference statistics over CIFAR-10's test images.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint's folder; the reference is written into it")
    parser.add_argument("--data", required=True, type=Path, help="folder with cifar10.npz or torchvision's CIFAR-10")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="images at once, instead of what suits the device"
    )
    args = parser.parse_args(argv)
    require_at_least_one(parser, args, "batch_size")
    return args


def _require_cifar10(class_names: tuple[str, ...]) -> None:
    if tuple(class_names) != CLASS_NAMES:
        raise ValueError(
            f"this checkpoint tells {', '.join(class_names)} apart, which are not CIFAR-10's classes; "
            "measure it on its own data with abn.interpret.reference.measure.compute_reference"
        )


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    if not os.path.isdir(args.checkpoint):  # Path's own raises for a name too long for any file
        sys.exit(
            f"abn.cli.reference: {args.checkpoint} is no folder here; name a checkpoint's local folder "
            "(one on the Hub has to be downloaded first, since the reference is written into it)"
        )
    try:
        device = choose_device(args.device)
        compute_in_full_float32()
        model = load_checkpoint(str(args.checkpoint)).to(device)
        info = model.info
        _require_cifar10(info.class_names)
        data = load_cifar10(args.data)
        reference = compute_reference(
            model, to_pixels(data.x_test), torch.from_numpy(data.y_test).long(), args.batch_size,
            class_names=info.class_names, mean=info.mean, std=info.std,
            weights_sha256=info.weights_sha256, dataset_note=info.dataset_note, progress=True,
        )  # fmt: skip
        path = save_reference(reference, args.checkpoint)
    except OSError as error:
        sys.exit(f"abn.cli.reference: {REFERENCE_FILE} could not be written to {args.checkpoint}: {error}")
    except ValueError as error:  # CheckpointError, DataError and DeviceError among them
        sys.exit(f"abn.cli.reference: {error}")
    except KeyboardInterrupt:
        sys.exit("abn.cli.reference: stopped; nothing was written")
    print(f"reference over {reference.num_images} images in {path}")


if __name__ == "__main__":
    main()
