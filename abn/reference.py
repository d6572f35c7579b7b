"""What is usual: how a checkpoint modulates the 10,000 test images of CIFAR-10.

    python -m abn.reference CHECKPOINT --data DIR

One picture's factors say little alone: a trained channel may scale every picture by 0.4 and vary by
0.01. One pass over the test images keeps, for each channel and gate, the mean, the standard deviation
and the quantiles, over all images and over those of each class (`abn.usual`). `reference.safetensors` in the
checkpoint's folder holds them (`abn.reference_file`).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from abn.data import CLASS_NAMES, MEAN, STD, load_cifar10, normalise, to_pixels
from abn.devices import choose_device, compute_in_full_float32, images_at_once
from abn.inspection import inspect, require_evaluation_mode
from abn.options import require_at_least_one
from abn.reference_file import REFERENCE_FILE, ReferenceFileError, load_reference, save_reference
from abn.resnet import ResNet
from abn.usual import QUANTILES, BlockReference, Reference, Statistics

__all__ = [
    "BlockReference", "Reference", "ReferenceFileError", "compute_reference", "load_reference", "save_reference",
]  # fmt: skip


def compute_reference(
    model: ResNet,
    pixels: Tensor,
    labels: Tensor,
    batch_size: int | None = None,
    *,
    class_names: tuple[str, ...],
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
    weights_sha256: str,
    dataset_note: str = "",
    progress: bool = False,
) -> Reference:
    """Measure a network on images, in batches.

    Args:
        model: in eval mode; left as it is.
        pixels: (N, 3, 32, 32) uint8, on any device.
        labels: (N,) true classes; each class needs an image at least.
        batch_size: images a pass; None for what suits the device.
        class_names: the checkpoint's, in the order of its logits.
        mean: of each colour, as the checkpoint's normalisation has it; `std` likewise.

    Raises:
        ValueError: for a network in training mode, a batch size below 1, or labels that do not fit.
    """
    require_evaluation_mode(model)
    device = next(model.parameters()).device
    batch_size = images_at_once(device) if batch_size is None else batch_size
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    labels = labels.cpu().numpy()
    _check_labels(labels, len(pixels), class_names)

    measured: dict[str, list[tuple[np.ndarray, ...]]] = {}
    with tqdm(total=len(pixels), unit="image", disable=not progress) as bar:
        for start in range(0, len(pixels), batch_size):
            images = normalise(pixels[start : start + batch_size].to(device), mean, std)
            for name, seen in inspect(model, images).modulations.items():
                parts = [seen.response] + ([seen.factors, seen.gate_weights] if seen.has_parts else [])
                measured.setdefault(name, []).append(tuple(part.float().cpu().numpy() for part in parts))
            bar.update(len(images))

    blocks = {}
    for name, batches in measured.items():
        response, *modulated = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        known = [_statistics(values, labels, len(class_names)) for values in modulated]
        factors, gates = known or (None, None)  # a static block has neither
        blocks[name] = BlockReference(factors, gates, *_mean_and_sd(response))
    return Reference(weights_sha256, len(pixels), tuple(class_names), blocks, dataset_note)


def _check_labels(labels: np.ndarray, num_images: int, class_names: tuple[str, ...]) -> None:
    if num_images == 0 or labels.shape != (num_images,):
        raise ValueError(f"there are {num_images} images, and labels of shape {labels.shape}; expected as many")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(
            f"the labels are {labels.min()} to {labels.max()}; "
            f"this checkpoint has {len(class_names)} classes, 0 to {len(class_names) - 1}"
        )
    absent = [name for index, name in enumerate(class_names) if not (labels == index).any()]
    if absent:
        raise ValueError(f"there is no image of {', '.join(absent)}; every class needs one at least")


def _mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # In float64: a factor's mean is some hundred times its deviation.
    return (
        values.mean(axis=0, dtype=np.float64).astype(np.float32),
        values.std(axis=0, dtype=np.float64).astype(np.float32),
    )


def _quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, np.linspace(0, 1, QUANTILES), axis=0).astype(np.float32)


def _statistics(values: np.ndarray, labels: np.ndarray, num_classes: int) -> Statistics:
    of_class = [values[labels == index] for index in range(num_classes)]
    means, sds = zip(*map(_mean_and_sd, of_class), strict=True)
    return Statistics(
        *_mean_and_sd(values),
        _quantiles(values),
        np.stack(means),
        np.stack(sds),
        np.stack([_quantiles(part) for part in of_class]),
    )


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m abn.reference",
        description="Measure what is usual for a checkpoint over CIFAR-10's test images.",
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
            "measure it on its own data with abn.reference.compute_reference"
        )


def main(argv: list[str] | None = None) -> None:
    from abn.checkpoints import load_checkpoint

    args = parse_arguments(argv)
    if not os.path.isdir(args.checkpoint):  # Path's own raises for a name too long for any file
        sys.exit(
            f"abn.reference: {args.checkpoint} is no folder here; name a checkpoint's local folder "
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
        sys.exit(f"abn.reference: {REFERENCE_FILE} could not be written to {args.checkpoint}: {error}")
    except ValueError as error:  # CheckpointError, DataError and DeviceError among them
        sys.exit(f"abn.reference: {error}")
    except KeyboardInterrupt:
        sys.exit("abn.reference: stopped; nothing was written")
    print(f"reference over {reference.num_images} images in {path}")


if __name__ == "__main__":
    main()
