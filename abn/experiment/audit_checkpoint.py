"""What a trained modulation does, over all test images of CIFAR-10.

Splits the variance of every channel's factor by class, says how the gates and the bank are used, and measures
accuracy with parts of the modulation held fixed, each time with bn2's running statistics as trained and re-estimated
on training images, not augmented, under the same condition. Writes `<checkpoint>.json`. An audit that was stopped
goes on where it was.

Instead of a checkpoint it may be the folder of a finished run of `abn reproduce`, such as runs/strong-20/awake-0, of
any arm that has a bank.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abn.checkpoints.info import CheckpointInfo
from abn.checkpoints.store import load_checkpoint
from abn.common.data import CLASS_NAMES, load_cifar10, to_pixels
from abn.common.devices import choose_device, compute_in_full_float32, describe_hardware, images_at_once
from abn.common.files import replace_file
from abn.experiment.audit_conditions import Images
from abn.experiment.audit_run import audit, require_modulated
from abn.experiment.audit_statistics import INTERVAL
from abn.experiment.audit_store import Store
from abn.experiment.trained_run import is_run, load_run


def audit_checkpoint(
    source: str, data_folder: Path, out: Path, *, device_name: str = "auto", batch_size: int | None = None,
    images: int | None = None, reestimation_images: int = 5000,
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """Audit a checkpoint and write `out`/<checkpoint>.json; a stopped audit goes on where it was.

    Args:
        source: a folder, a Hub id, or the folder of a finished run of `abn reproduce`.
        data_folder: as `abn.common.data.load_cifar10` takes it.
        batch_size: images at once; None for what suits the device.
        images: the first test images alone, for a trial; None for all.
        reestimation_images: training images on which bn2 is re-estimated, the first ones.

    Returns:
        What is written, and the file.

    Raises:
        ValueError: for a static checkpoint or one of other classes, for more images than there are, and for a
            place that holds the audit of other weights; as CheckpointError, DataError or DeviceError for what
            cannot be had.
        DeviceMemoryError: where the device's memory is too small.
        OSError: where `out` cannot be written to.
    """
    device = choose_device(device_name)
    compute_in_full_float32()
    data = load_cifar10(data_folder)
    if is_run(source):
        model, name = load_run(source, data)
    else:
        model = load_checkpoint(source)
        name = Path(source).resolve().name.partition("@")[0]
    require_modulated(model)
    info = model.info
    _require_cifar10(info.class_names)
    model.to(device, memory_format=torch.channels_last)
    test = _first(images, data.x_test, data.y_test, info, "--images", "test")
    train = _first(reestimation_images, data.x_train, data.y_train, info, "--reestimate", "training")
    if images is not None:
        name = f"{name}-{images}"  # a trial takes no audit's place
    path = out / f"{name}.json"
    _require_place(path, info.weights_sha256)
    settings = {
        "weights_sha256": info.weights_sha256, "images": len(test), "reestimation_images": len(train),
        "reestimation": "pooled over all images, block by block",
    }  # fmt: skip
    store = Store(out / f".{name}.partial", settings | {"data": data.fingerprint})
    made_with = store.history(device=describe_hardware(device), torch=str(torch.__version__))
    found = audit(model, test, train, store, batch_size or images_at_once(device), progress=True)
    result = {
        "checkpoint": name, **_known(info), **settings, **made_with, "interval": INTERVAL, **found,
    }  # fmt: skip
    text = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
    replace_file(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
    store.remove()
    return result, path


def _require_cifar10(class_names: tuple[str, ...]) -> None:
    if tuple(class_names) != CLASS_NAMES:
        raise ValueError(
            f"this checkpoint tells {', '.join(class_names)} apart, which are not CIFAR-10's classes; "
            "audit it on its own data with abn.experiment.audit_run.audit"
        )


def _first(count: int | None, x: np.ndarray, y: np.ndarray, info: CheckpointInfo, option: str, split: str) -> Images:
    """The first images of a split as the checkpoint takes them; all where no count is given."""
    if count is not None and count > len(x):
        raise ValueError(f"{option} is {count}; there are {len(x)} {split} images")
    return Images(to_pixels(x[:count]), torch.from_numpy(y[:count]).long(), info.mean, info.std)


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
