"""A checkpoint's reference statistics, measured over CIFAR-10's test images and kept in its folder."""

from __future__ import annotations

from pathlib import Path

import torch

from abn.checkpoints.store import load_checkpoint
from abn.common.data import CLASS_NAMES, load_cifar10, to_pixels
from abn.common.devices import choose_device, compute_in_full_float32
from abn.interpret.reference.file import REFERENCE_FILE, ReferenceFileError, save_reference
from abn.interpret.reference.measure import compute_reference


def add_reference(
    checkpoint: Path, data_folder: Path, device_name: str = "auto", batch_size: int | None = None
) -> tuple[int, Path]:
    """Measure a checkpoint over CIFAR-10's test images and write the result into its folder.

    Args:
        data_folder: as `abn.common.data.load_cifar10` takes it.
        device_name: as `abn.common.devices.choose_device` takes it.
        batch_size: images a pass; None for what suits the device.

    Returns:
        The number of images, and the file.

    Raises:
        ValueError: for a checkpoint of other classes than CIFAR-10's; as CheckpointError, DataError, DeviceError
            or ReferenceFileError for a checkpoint, data or a device that cannot be had, or a folder that cannot be
            written to.
    """
    device = choose_device(device_name)
    compute_in_full_float32()
    model = load_checkpoint(str(checkpoint)).to(device)
    info = model.info
    if tuple(info.class_names) != CLASS_NAMES:
        raise ValueError(
            f"this checkpoint tells {', '.join(info.class_names)} apart, which are not CIFAR-10's classes; "
            "measure it on its own data with abn.interpret.reference.measure.compute_reference"
        )
    data = load_cifar10(data_folder)
    reference = compute_reference(
        model, to_pixels(data.x_test), torch.from_numpy(data.y_test).long(), batch_size,
        class_names=info.class_names, mean=info.mean, std=info.std,
        weights_sha256=info.weights_sha256, dataset_note=info.dataset_note, progress=True,
    )  # fmt: skip
    try:
        return reference.num_images, save_reference(reference, checkpoint)
    except OSError as error:
        raise ReferenceFileError(f"{REFERENCE_FILE} could not be written to {checkpoint}: {error}") from error
