"""What is usual: how a checkpoint modulates the 10,000 test images of CIFAR-10.

    python -m abn.reference CHECKPOINT --data DIR

One picture's factors say little alone: a trained channel may scale every picture by 0.4 and vary by
0.01. One pass over the test images keeps, for each channel and gate, the mean, the standard deviation
and the quantiles, over all images and over those of each class. `reference.safetensors` in the
checkpoint's folder holds them, tied to the weights by their hash.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize
from torch import Tensor
from tqdm import tqdm

from abn.data import MEAN, STD, load_cifar10, normalise, to_pixels
from abn.files import replace_file
from abn.inspection import inspect, require_evaluation_mode
from abn.resnet import ResNet

REFERENCE_FILE = "reference.safetensors"
FORMAT = "abn-reference"
VERSION = "1"
REMEDY = "make it anew with: python -m abn.reference CHECKPOINT --data DIR"
QUANTILES = 101  # at 0, 1, … 100 %
RESOLUTION = 1e-6
"""Factors and gate weights that differ by less are one number: float32 steps by 1.2e-7 at 1, and another
batch size or device sums in another order."""


class ReferenceFileError(ValueError):
    """A `reference.safetensors` that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Statistics:
    """How C values (a block's factors, or its gate weights) are distributed over the images.

    All arrays are float32. Standard deviations divide by the number of images.

    Attributes:
        mean: (C,).
        sd: (C,) standard deviation, in the values' own unit.
        quantiles: (101, C) at 0, 1, … 100 %, ascending.
        class_mean: (num_classes, C) over the images whose true class it is.
        class_sd: (num_classes, C).
        class_quantiles: (num_classes, 101, C).
    """

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray
    class_mean: np.ndarray
    class_sd: np.ndarray
    class_quantiles: np.ndarray

    def percentile(self, values: np.ndarray, class_index: int | None = None) -> np.ndarray:
        """What share of the images has lower values, in percent.

        Interpolated between the quantiles. A value that many images share has the middle of their
        ranks, so 50 for a channel that never varies; one below every image has 0, one above 100.

        Args:
            values: (..., C).
            class_index: compare with the images of this true class alone.

        Returns:
            (..., C) in [0, 100]; NaN where the value is.

        Raises:
            ValueError: for values of another length, or a class that does not exist.
        """
        values = self._require_channels(values)
        quantiles = self.quantiles if class_index is None else self.class_quantiles[self._class(class_index)]
        flat = quantiles[-1] - quantiles[0] < RESOLUTION
        values = np.where(flat & (np.abs(values - quantiles[0]) < RESOLUTION), quantiles[0], values)

        # Among the quantiles of its channel, a value has `below` smaller ones and `reached` smaller or equal.
        below = (quantiles < values[..., None, :]).sum(axis=-2)
        reached = (quantiles <= values[..., None, :]).sum(axis=-2)
        last = QUANTILES - 1
        lower, upper = np.clip(below - 1, 0, last), np.clip(below, 0, last)
        channels = np.arange(values.shape[-1])
        low, high = quantiles[lower, channels], quantiles[upper, channels]
        step = np.where(high > low, high - low, 1)
        between = lower + np.clip((values - low) / step, 0, 1)
        ranks = np.where(reached > below, (below + reached - 1) / 2, between)
        ranks = np.where(below > last, last, ranks)
        return np.where(np.isnan(values), np.nan, ranks * (100 / last))

    def deviation(self, values: np.ndarray) -> np.ndarray:
        """``(values - mean) / sd``: the distance from the data set's mean, in standard deviations.

        A channel that never varies (sd below float32's rounding) has 0 where the value is the mean,
        and an infinite deviation of the difference's sign anywhere else.

        Args:
            values: (..., C).

        Raises:
            ValueError: for values of another length.
        """
        difference = self._require_channels(values) - self.mean
        constant = self.sd < RESOLUTION
        beyond = np.where(np.abs(difference) < RESOLUTION, 0.0, np.copysign(np.inf, difference))
        return np.where(constant, beyond, difference / np.where(constant, 1, self.sd))

    def _require_channels(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim == 0 or values.shape[-1] != len(self.mean):
            raise ValueError(f"values have shape {values.shape}; expected (..., {len(self.mean)})")
        return values

    def _class(self, class_index: int) -> int:
        if not 0 <= class_index < len(self.class_mean):
            raise ValueError(f"class_index is {class_index}; expected 0 to {len(self.class_mean) - 1}")
        return class_index


@dataclass(frozen=True)
class BlockReference:
    """What is usual for one block.

    Attributes:
        factors: of C channels; None for a static block, whose factors are 1 for every image.
        gates: of K gate weights; None for a block that has none.
        response_mean: (C,) float32, of the second convolution's mean output before the factors.
        response_sd: (C,) float32, over the images.
    """

    factors: Statistics | None
    gates: Statistics | None
    response_mean: np.ndarray
    response_sd: np.ndarray


@dataclass(frozen=True)
class Reference:
    """What is usual for a checkpoint.

    Attributes:
        weights_sha256: hash of the weights that were measured.
        num_images: how many images were measured.
        class_names: rows of the per-class statistics.
        blocks: by block name, in the order of computation.
        dataset_note: what the images are, and what to know of them.
    """

    weights_sha256: str
    num_images: int
    class_names: tuple[str, ...]
    blocks: dict[str, BlockReference]
    dataset_note: str = ""


def compute_reference(
    model: ResNet,
    pixels: Tensor,
    labels: Tensor,
    batch_size: int = 500,
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
        class_names: the checkpoint's, in the order of its logits.
        mean: of each colour, as the checkpoint's normalisation has it; `std` likewise.

    Raises:
        ValueError: for a network in training mode, a batch size below 1, or labels that do not fit.
    """
    require_evaluation_mode(model)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    labels = labels.cpu().numpy()
    _check_labels(labels, len(pixels), class_names)

    device = next(model.parameters()).device
    measured: dict[str, list[tuple[np.ndarray, ...]]] = {}
    with tqdm(total=len(pixels), unit="image", disable=not progress) as bar:
        for start in range(0, len(pixels), batch_size):
            images = normalise(pixels[start : start + batch_size].to(device), mean, std)
            for name, seen in inspect(model, images).modulations.items():
                parts = [seen.factors, seen.response] + ([seen.gate_weights] if seen.has_parts else [])
                measured.setdefault(name, []).append(tuple(part.float().cpu().numpy() for part in parts))
            bar.update(len(images))

    blocks = {}
    for name, batches in measured.items():
        factors, response, *gates = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        blocks[name] = BlockReference(
            None if (factors == 1).all() else _statistics(factors, labels, len(class_names)),
            _statistics(gates[0], labels, len(class_names)) if gates else None,
            *_mean_and_sd(response),
        )
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


def save_reference(reference: Reference, folder: str | Path) -> Path:
    """Write `reference.safetensors` into a checkpoint's folder, whole or not at all.

    Raises:
        OSError: where the folder cannot be written to.
    """
    path = Path(folder) / REFERENCE_FILE
    tensors, sizes = {}, {}
    for name, block in reference.blocks.items():
        tensors |= {f"{name}/response_mean": block.response_mean, f"{name}/response_sd": block.response_sd}
        sizes[name] = {"response": len(block.response_mean)}
        for part in ("factors", "gates"):
            statistics = getattr(block, part)
            if statistics is not None:
                sizes[name][part] = len(statistics.mean)
                tensors |= {f"{name}/{part}/{key}": value for key, value in vars(statistics).items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "weights_sha256": reference.weights_sha256,
        "num_images": str(reference.num_images),
        "class_names": json.dumps(reference.class_names),
        "blocks": json.dumps(sizes),  # safetensors keeps no order of its own
        "dataset_note": reference.dataset_note,
    }
    stored = serialize({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata)
    replace_file(path, lambda scratch: scratch.write_bytes(stored))
    return path


def load_reference(folder: str | Path, weights_sha256: str) -> Reference | None:
    """Read a checkpoint's reference; None where its folder holds none.

    Args:
        weights_sha256: hash of the weights the reference has to describe.

    Raises:
        ReferenceFileError: for one that belongs to other weights, or is no reference of this version.
    """
    path = Path(folder) / REFERENCE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_metadata(metadata, weights_sha256)
            class_names = tuple(json.loads(metadata["class_names"]))
            sizes = json.loads(metadata["blocks"])
            shapes = {
                f"{name}/{part}{key}": shape
                for name, parts in sizes.items()
                for part, size in parts.items()
                for key, shape in _shapes(part, size, len(class_names)).items()
            }
            if set(file.keys()) != set(shapes):
                differing = sorted(set(file.keys()) ^ set(shapes))
                raise ReferenceFileError(f"{REFERENCE_FILE} misses or adds {differing[0]}; {REMEDY}")
            tensors = {name: _take(file, name, shape) for name, shape in shapes.items()}
            num_images = int(metadata["num_images"])
            blocks = {name: _block(tensors, name) for name in sizes}
    except ReferenceFileError:
        raise
    except (SafetensorError, OSError) as error:
        message = f"{REFERENCE_FILE} is unreadable, truncated or no safetensors file; {REMEDY}"
        raise ReferenceFileError(message) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReferenceFileError(f"{REFERENCE_FILE} has damaged metadata ({error}); {REMEDY}") from error
    return Reference(weights_sha256, num_images, class_names, blocks, metadata.get("dataset_note", ""))


def _check_metadata(metadata: dict[str, str], weights_sha256: str) -> None:
    if metadata.get("format") != FORMAT:
        raise ReferenceFileError(f"{REFERENCE_FILE} is a safetensors file but no reference; {REMEDY}")
    if metadata.get("version") != VERSION:
        version = metadata.get("version")
        raise ReferenceFileError(
            f"{REFERENCE_FILE} has format version {version!r}, this code reads {VERSION!r}; {REMEDY}"
        )
    measured = metadata.get("weights_sha256", "")
    if measured != weights_sha256:
        raise ReferenceFileError(
            f"{REFERENCE_FILE} belongs to the weights {measured[:12]}…, "
            f"but this checkpoint has {weights_sha256[:12]}…; {REMEDY}"
        )


def _shapes(part: str, size: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """What one part of a block ("response", "factors", "gates") of `size` channels or gates stores."""
    if part == "response":
        return {"_mean": (size,), "_sd": (size,)}
    if part not in ("factors", "gates"):
        raise ValueError(f"unknown part {part!r}")
    every = {"mean": (size,), "sd": (size,), "quantiles": (QUANTILES, size)}
    of_class = {f"class_{key}": (num_classes, *shape) for key, shape in every.items()}
    return {f"/{key}": shape for key, shape in (every | of_class).items()}


def _take(file: safe_open, name: str, shape: tuple[int, ...]) -> np.ndarray:
    stored = file.get_slice(name)
    if stored.get_dtype() != "F32" or tuple(stored.get_shape()) != shape:
        raise ReferenceFileError(
            f"{name} in {REFERENCE_FILE} is {stored.get_dtype()} {tuple(stored.get_shape())}, "
            f"expected F32 {shape}; {REMEDY}"
        )
    array = file.get_tensor(name)
    if not np.isfinite(array).all():
        raise ReferenceFileError(f"{name} in {REFERENCE_FILE} holds values that are not finite; {REMEDY}")
    return array


def _block(tensors: dict[str, np.ndarray], name: str) -> BlockReference:
    def statistics(part: str) -> Statistics | None:
        if f"{name}/{part}/mean" not in tensors:
            return None
        return Statistics(**{field.name: tensors[f"{name}/{part}/{field.name}"] for field in fields(Statistics)})

    response = (tensors[f"{name}/response_mean"], tensors[f"{name}/response_sd"])
    return BlockReference(statistics("factors"), statistics("gates"), *response)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m abn.reference",
        description="Measure what is usual for a checkpoint over CIFAR-10's test images.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint's folder; the reference is written into it")
    parser.add_argument("--data", required=True, type=Path, help="folder with cifar10.npz or torchvision's CIFAR-10")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--batch-size", type=int, default=500, metavar="N", help="images at once (default 500)")
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f"--batch-size is {args.batch_size}; expected at least 1")
    return args


def main(argv: list[str] | None = None) -> None:
    from abn.checkpoints import load_checkpoint
    from abn.devices import choose_device

    args = parse_arguments(argv)
    if not args.checkpoint.is_dir():
        sys.exit(
            f"abn.reference: {args.checkpoint} is no folder here; name a checkpoint's local folder "
            "(one on the Hub has to be downloaded first, since the reference is written into it)"
        )
    try:
        device = choose_device(args.device)
        model = load_checkpoint(str(args.checkpoint)).to(device)
        info = model.info
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
