"""What a trained modulation does, over all test images of CIFAR-10.

    python -m benchmarks.audit CHECKPOINT --data DIR [--out results/audit] [--device auto] [--batch 100] [--images N]

Splits the variance of every channel's factor by class, says how the gates and the bank are used, and measures
accuracy with parts of the modulation held fixed, each time with bn2's running statistics as trained and re-estimated
on training images under the same condition. Writes `<checkpoint>.json`. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from abn.checkpoint_info import CheckpointInfo
from abn.checkpoints import load_checkpoint
from abn.data import CLASS_NAMES, Cifar10, load_cifar10, to_pixels
from abn.devices import choose_device, describe_hardware
from abn.files import replace_file
from abn.layers import Modulation
from abn.memory import DeviceMemoryError
from abn.resnet import ResNet
from benchmarks import audit_conditions
from benchmarks.audit_conditions import Condition, Images, Recorded
from benchmarks.audit_report import answers, tables
from benchmarks.audit_statistics import bank_share, bank_variation, entropy, leads, paired_difference, variance_split
from benchmarks.audit_store import Store

REESTIMATION_IMAGES = 5000
"""The first ones of the training set, not augmented."""


def audit(model: ResNet, test: Images, train: Images, store: Store, batch: int = 100, progress: bool = False) -> dict:
    """Measure a modulated network.

    Args:
        model: in eval mode; left as it is.
        test: the images on which all is measured.
        train: the images on which bn2 is re-estimated, of classes that are among `test`'s.
        store: what an earlier run with the same settings left is taken from it.

    Returns:
        "answers", "blocks", "conditions" and "free", as they stand in the results.

    Raises:
        ValueError: for a network without bias banks, or classes of `train` that are missing in `test`.
    """
    require_bank(model)
    absent = sorted(set(train.labels.tolist()) - set(test.labels.tolist()))
    if absent:
        listed = ", ".join(map(str, absent))
        raise ValueError(f"there is no test image of class {listed}, so it has no mean factors; take more images")
    with tqdm(unit="image", disable=not progress) as bar:
        recorded = _recorded(model, test, store, batch, bar)
        found = {}
        tried = audit_conditions.conditions(recorded, test.labels)
        bar.total = bar.n + sum(_passes(condition, store, test, train) for condition in tried)
        for condition in tried:
            bar.set_description(condition.name)
            found[condition.name] = _correct(model, condition, test, train, store, batch, bar)
    blocks = [_block(name, m, test) for name, m in recorded.items()]
    measured = [_measured(condition, found) for condition in tried]
    free, compared = measured[0], measured[1:]
    return {
        "answers": answers(blocks, compared),
        "blocks": blocks,
        "free": {"accuracy": free["trained"]["accuracy"], **free},
        "conditions": compared,
    }


def require_bank(model: ResNet) -> None:
    """Raise ValueError for a network that has nothing to audit."""
    if model.num_biases is None:
        raise ValueError(
            f"{model.architecture} has no bias bank, so no modulation to audit; name a checkpoint that has one, "
            "such as checkpoints/resnet-dmb"
        )


def _recorded(model: ResNet, test: Images, store: Store, batch: int, bar: tqdm) -> Recorded:
    recorded = store.recorded()
    if recorded is None or store.answers("free-trained") is None:
        bar.set_description("free")
        bar.total = len(test)
        recorded, correct = audit_conditions.record(model, test, batch, bar)
        store.keep_recorded(recorded)
        store.keep_answers("free-trained", correct)
    return recorded


def _passes(condition: Condition, store: Store, test: Images, train: Images) -> int:
    """Images that are still to pass through the network."""
    needed = {"trained": len(test), "reestimated": len(train) + len(test)}
    return sum(count for key, count in needed.items() if store.answers(f"{condition.name}-{key}") is None)


def _correct(
    model: ResNet, condition: Condition, test: Images, train: Images, store: Store, batch: int, bar: tqdm
) -> dict[str, np.ndarray]:
    """(N,) bool for bn2 as trained and for bn2 re-estimated."""
    found = {}
    for key in ("trained", "reestimated"):
        name = f"{condition.name}-{key}"
        found[key] = store.answers(name)
        if found[key] is None:
            network = model if key == "trained" else audit_conditions.adapted(model, train, condition, bar)
            found[key] = audit_conditions.correct(network, test, condition, batch, bar)
            store.keep_answers(name, found[key])
    return found


def _block(name: str, m: Modulation, test: Images) -> dict[str, Any]:
    """What one block's modulation does, as the results have it.

    "between_class", "within_class" and "relative_sd" are means over the channels, "sd" is the root of the first two's
    sum, "gates" the mean gate weights.
    """
    labels, gates = test.labels.numpy(), m.gate_weights.numpy()
    split = variance_split(m.factors.numpy(), labels)
    linear_term = m.linear_term.numpy()
    bias_term = gates.astype(float) @ m.bias_bank.numpy().T.astype(float)
    between, within = split.between.mean(), split.within.mean()
    variance = between + within
    return {
        "name": name,
        "channels": len(split.mean),
        "sd": float(variance**0.5),
        "between_class": float(between),
        "within_class": float(within),
        "relative_sd": float(split.relative_sd.mean()),
        "within_share": float(within / variance) if variance > 0 else 0.0,
        "entropy": entropy(gates),
        "gates": [float(weight) for weight in gates.mean(axis=0, dtype=float)],
        "leads": [float(share) for share in leads(gates)],
        "bank_share": bank_share(linear_term, bias_term),
        "bank_variation": bank_variation(linear_term, bias_term),
        "channel_mean": _rounded(split.mean),
        "channel_between_class": _rounded(split.between),
        "channel_within_class": _rounded(split.within),
    }


def _rounded(values: np.ndarray) -> list[float]:
    """To six digits: a channel's variance has no more, and the file stays small."""
    return [float(f"{value:.6g}") for value in values]


def _measured(condition: Condition, found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Accuracies in percent, and the free network's minus these, with bn2 treated alike.

    The free network is held against itself as trained: what re-estimation alone does to it.
    """
    free, own = found["free"], found[condition.name]
    result: dict[str, Any] = {"name": condition.name, "label": condition.label}
    for key, correct in own.items():
        reference = free["trained"] if condition.name == "free" else free[key]
        result[key] = {"accuracy": 100 * float(correct.mean()), **asdict(paired_difference(reference, correct))}
    return result


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.audit", description="Measure what a checkpoint's modulation does over CIFAR-10."
    )
    parser.add_argument("checkpoint", help="a folder or Hub id (user/repo, user/repo@revision)")
    parser.add_argument("--data", required=True, type=Path, help="folder with cifar10.npz or torchvision's CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("results/audit"), metavar="DIR", help="(results/audit)")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--batch", type=int, default=100, metavar="N", help="images at once (100)")
    parser.add_argument("--images", type=int, metavar="N", help="the first N test images alone, for a trial")
    args = parser.parse_args(argv)
    for name in ("batch", "images"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is {value}; expected at least 1")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    try:
        device = choose_device(args.device)
        model = load_checkpoint(args.checkpoint).to(device, memory_format=torch.channels_last)
        require_bank(model)
        info = model.info
        _require_cifar10(info.class_names)
        test, train = _images(load_cifar10(args.data), info, args.images)
        path = args.out / f"{_name(args)}.json"
        settings = {
            "weights_sha256": info.weights_sha256, "images": len(test), "reestimation_images": len(train),
            "reestimation_batch": audit_conditions.REESTIMATION_BATCH,
        }  # fmt: skip
        store = Store(args.out / f".{_name(args)}.partial", settings)
        made_with = store.history(device=describe_hardware(device), torch=str(torch.__version__))
        found = audit(model, test, train, store, args.batch, progress=True)
        result = {"checkpoint": _name(args), **_known(info), **settings, **made_with, **found}
        text = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
        replace_file(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
        store.remove()
    except OSError as error:
        sys.exit(f"benchmarks.audit: {args.out} cannot be written to ({error}); make room, or name another --out")
    except (ValueError, DeviceMemoryError) as error:  # CheckpointError, DataError and DeviceError among them
        sys.exit(f"benchmarks.audit: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks.audit: stopped; the same command goes on from here")
    print(tables(result))
    print(f"in {path}")


def _require_cifar10(class_names: tuple[str, ...]) -> None:
    if tuple(class_names) != CLASS_NAMES:
        raise ValueError(
            f"this checkpoint tells {', '.join(class_names)} apart, which are not CIFAR-10's classes; "
            "audit it on its own data with benchmarks.audit.audit"
        )


def _images(data: Cifar10, info: CheckpointInfo, count: int | None) -> tuple[Images, Images]:
    """The test images, and the training images on which bn2 is re-estimated."""
    if count is not None and count > len(data.x_test):
        raise ValueError(f"--images is {count}; there are {len(data.x_test)} test images")
    x, y = data.x_test[:count], data.y_test[:count]
    x_train, y_train = data.x_train[:REESTIMATION_IMAGES], data.y_train[:REESTIMATION_IMAGES]
    return tuple(
        Images(to_pixels(pixels), torch.from_numpy(labels).long(), info.mean, info.std)
        for pixels, labels in ((x, y), (x_train, y_train))
    )


def _name(args: argparse.Namespace) -> str:
    """Of the results: the checkpoint's, with the number of images of a trial, which takes no audit's place."""
    name = Path(args.checkpoint).resolve().name.partition("@")[0]
    return name if args.images is None else f"{name}-{args.images}"


def _known(info: CheckpointInfo) -> dict[str, Any]:
    recipe = (info.recipe or {}).get("name")
    return {"recipe": recipe, "epochs": info.epochs, "seed": info.seed, "dataset_note": info.dataset_note}


if __name__ == "__main__":
    main()
