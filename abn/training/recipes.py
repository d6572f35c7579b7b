"""Recipes: everything that shapes a training run but the architecture, the seed and the data."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace

from abn.training.batches import Augmentation


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        schedule: "cosine" is stepped once an epoch, from `lr` towards 0 (the paper's);
            "onecycle" is stepped every batch: linear from 0 to `lr` over `warmup`, linear back to 0.
        lr: peak learning rate, for the mean loss over a batch.
        warmup: share of the steps in [0, 1) that "onecycle" spends rising.
        label_smoothing: probability in [0, 1) spread evenly over the classes of every target.
        padding, padding_mode, alternate_flips, early_size, cutout: as in `abn.training.batches.Augmentation`.
        early_share: share of the epochs in [0, 1) that are early ones, with crops of `early_size` pixels.
    """

    name: str
    epochs: int
    schedule: str
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    batch_size: int = 128
    warmup: float = 0.0
    label_smoothing: float = 0.0
    padding: int = 4
    padding_mode: str = "constant"
    alternate_flips: bool = False
    early_size: int | None = None
    early_share: float = 0.0
    cutout: int = 0

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(
            self.padding, self.padding_mode, self.alternate_flips, self.early_size,
            round(self.early_share * self.epochs), self.cutout,
        )  # fmt: skip

    @property
    def sha256(self) -> str:
        """First 12 hex digits of the hash of every setting: equal for runs that may stand in one table."""
        settings = asdict(self)
        if not self.cutout:
            del settings["cutout"]  # a later setting: the hashes of runs that knew none still hold
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]

    def learning_rate(self, epoch: int, batch: int, batches: int) -> float:
        """The rate for a batch (0-based) of an epoch (0-based) of `batches` batches."""
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        done = (epoch * batches + batch + 1) / (self.epochs * batches + 1)
        rising = done / self.warmup if self.warmup else 1.0
        return self.lr * min(rising, (1 - done) / (1 - self.warmup))


QUICK = Recipe(
    "quick",
    epochs=10,
    schedule="onecycle",
    lr=0.125,
    nesterov=True,
    weight_decay=1.25e-3,
    warmup=0.2,
    label_smoothing=0.1,
    padding=2,
    padding_mode="reflect",
    alternate_flips=True,
    early_size=24,
    early_share=0.5,
)
"""For a short budget: one cycle as in Smith & Topin (2018); Nesterov, label smoothing, reflected padding and
alternating flips as in Jordan (2024), whose weight decay an epoch this one has too; small crops first, which cost
half as much, as in Tan & Le (2021, EfficientNetV2)."""

RECIPES = {
    # The official implementation's; its "full" run has 50 epochs.
    "paper": Recipe("paper", epochs=15, schedule="cosine"),
    "quick": QUICK,
    # Chosen by `abn.experiment.recipe_search` on held-out training images.
    "strong": replace(QUICK, name="strong", epochs=40, weight_decay=5e-4, cutout=12),
}
