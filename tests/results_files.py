"""A results folder with numbers made up for tests: runs, a table and an audit."""

from __future__ import annotations

import json
from pathlib import Path

from abn.experiment.runs import ARM_LABELS, run_file

# arm → seed → test accuracies after each of three epochs
ACCURACIES = {
    "resnet-s": {0: (50.0, 70.0, 90.0), 1: (52.0, 71.0, 91.0)},
    "resnet-dmb": {0: (49.0, 72.0, 90.5), 1: (51.0, 73.0, 90.9), 2: (50.0, 69.0)},
    "se": {0: (48.0, 92.5, 92.0)},
}
PARAMETERS = {"resnet-s": 2_777_674, "resnet-dmb": 2_957_794, "se": 2_958_242}
VERDICT = "No difference between ResNet-DMB and ResNet-S is seen with these two seeds."


def line(arm: str = "resnet-s", seed: int = 0, epoch: int = 1, **changed) -> dict:
    """A line of a run's log; a field that is changed to `...` is left out."""
    values = {
        "arm": arm, "seed": seed, "recipe": "paper", "recipe_sha256": "0123456789ab", "epochs": 3, "holdout": 0,
        "parameters": PARAMETERS.get(arm, 2_900_000), "epoch": epoch, "learning_rate": 0.1, "train_loss": 1.5,
        "train_accuracy": 45.0, "test_accuracy": 50.0, "test_loss": 1.4, "seconds": 60.0, "device": "CPU, 1 threads",
        "torch": "2.14", "torchvision": "0.29", **changed,
    }  # fmt: skip
    return {key: value for key, value in values.items() if value is not ...}


def write_run(folder: Path, arm: str, seed: int, accuracies, **changed) -> Path:
    """A run's file, with a line for each accuracy; None is an epoch that was not tested."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        line(arm, seed, epoch, test_accuracy=... if accuracy is None else accuracy, **changed)
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    path = folder / run_file(arm, seed)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def table(**changed) -> dict:
    """The table of `ACCURACIES`."""
    rows = {
        "resnet-s": (2, {"mean": 90.5, "sd": 0.7071}, {"n": 2, "mean": 90.5, "sd": 0.7071}),
        "resnet-dmb": (2, {"mean": 90.7, "sd": 0.2828}, {"n": 2, "mean": 90.7, "sd": 0.2828}),
        "se": (1, {"mean": 92.0, "sd": None}, {"n": 1, "mean": 92.5, "sd": None}),
        "awake": (0, None, None),
    }
    return {
        "recipe": "paper", "epochs": 3, "command": "abn reproduce --recipe paper --epochs 3",
        "arms": [
            {
                "arm": arm, "label": ARM_LABELS[arm], "parameters": PARAMETERS.get(arm, 2_957_794), "n": n,
                "last": last, "best": best,
            }
            for arm, (n, last, best) in rows.items()
        ],
        "contrasts": [
            {
                "arm": "resnet-s", "label": "ResNet-DMB − ResNet-S", "n": 2, "mean": 0.2, "low": -3.6, "high": 4.0,
                "p_adjusted": 1.0, "low_alone": -1.1, "high_alone": 1.5, "p": 0.62,
                "seeds_needed": 13, "seeds_needed_low": 5, "seeds_needed_high": 80,
                "verdict": VERDICT,
            },
            {
                "arm": "se", "label": "ResNet-DMB − SE", "n": 1, "mean": -1.5, "low": None, "high": None,
                "p_adjusted": None, "p": None, "seeds_needed": None, "verdict": "One seed says nothing about SE.",
            },
            {
                "arm": "awake", "label": "ResNet-DMB − Awake", "n": 0, "mean": None, "low": None, "high": None,
                "p_adjusted": None, "p": None, "seeds_needed": None, "verdict": "Awake has not been trained yet.",
            },
        ],
        "problems": [], **changed,
    }  # fmt: skip


def audit(**changed) -> dict:
    """An audit of two blocks and two conditions."""
    return {
        "checkpoint": "resnet-dmb", "weights_sha256": "ab" * 32, "recipe": "strong", "epochs": 10, "seed": 0,
        "images": 10_000, "device": "CPU", "torch": "2.14",
        "answers": [
            {"question": "Dynamic, or just a rescale?", "answer": "Freezing the factors costs 1.25 points."},
            {"question": "Does the bank matter?", "answer": "The bank is idle."},
        ],
        "blocks": [
            {
                "name": "layer1.0", "channels": 64, "sd": 0.02, "between_class": 3e-4, "within_class": 1e-4,
                "entropy": 0.9999, "leads": [0.7, 0.1, 0.1, 0.1], "bank_share": 0.02,
                "bank_variation": 5e-5,
            },
            {
                "name": "layer1.1", "channels": 64, "sd": 0.0, "between_class": 0.0, "within_class": 0.0,
                "entropy": 1.0, "leads": [1.0, 0.0, 0.0, 0.0], "bank_share": 0.01,
            },
        ],
        "conditions": [
            {
                "name": "neutral", "label": "all factors 1",
                "trained": {"accuracy": 30.0, "difference": 62.0, "low": 61.0, "high": 63.0},
                "reestimated": {"accuracy": 90.75, "difference": 1.25, "low": 1.0, "high": 1.5},
            },
            {
                "name": "bank-removed", "label": "without the bank",
                "trained": {"accuracy": 91.99, "difference": 0.01, "low": -0.05, "high": 0.07}, "reestimated": None,
            },
        ],
        "free": {
            "accuracy": 92.0,
            "reestimated": {"accuracy": 91.66, "difference": 0.34, "low": 0.11, "high": 0.57},
        }, **changed,
    }  # fmt: skip


def write_results(folder: Path) -> Path:
    """A whole results folder: one group with its table, and one audit."""
    group = folder / "paper-3"
    for arm, seeds in ACCURACIES.items():
        for seed, accuracies in seeds.items():
            write_run(group, arm, seed, accuracies)
    write_json(group / "table.json", table())
    write_json(folder / "audit" / "resnet-dmb.json", audit())
    return folder


def write_json(path: Path, values: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, ensure_ascii=False))
    return path
