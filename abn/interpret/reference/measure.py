"""Reference statistics: how a checkpoint modulates the images of a data set.

One picture's factors say little alone: a trained channel may scale every picture by 0.4 and vary by 0.01. One pass
over the images keeps, for each channel and gate, the mean, the standard deviation and the quantiles, over all images
and over those of each class.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from tqdm import tqdm

from abn.common.data import MEAN, STD, normalise
from abn.common.devices import images_at_once
from abn.interpret.inspection import inspect, require_evaluation_mode
from abn.interpret.reference.statistics import LEVELS, BlockReference, Reference, Statistics, own_share
from abn.models.modulation import BankModulation
from abn.models.resnet import ResNet


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
                parts = [seen.response]
                if seen.varies:
                    parts.append(seen.factors)
                if isinstance(seen, BankModulation):
                    parts.append(seen.gate_weights)
                measured.setdefault(name, []).append(tuple(part.float().cpu().numpy() for part in parts))
            bar.update(len(images))

    blocks, factors_of_all = {}, []
    for name, batches in measured.items():
        response, *modulated = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        factors_of_all += modulated[:1]
        known = [_statistics(values, labels, len(class_names)) for values in modulated]
        factors, gates = (*known, None, None)[:2]  # a static block has neither, one without a bank no gates
        blocks[name] = BlockReference(factors, gates, *_mean_and_sd(response))
    shares = _own_shares(factors_of_all) if len(factors_of_all) == len(blocks) else None
    return Reference(weights_sha256, len(pixels), tuple(class_names), blocks, shares, dataset_note)


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
    return np.quantile(values, LEVELS / 100, axis=0).astype(np.float32)


def _own_shares(factors_of_blocks: list[np.ndarray]) -> np.ndarray:
    """(L,) quantiles of the images' own shares, from every block's (N, C) factors."""
    factors = np.concatenate(factors_of_blocks, axis=1)
    return _quantiles(own_share(factors, factors.mean(axis=0, dtype=np.float64)))


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
