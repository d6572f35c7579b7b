"""The conditions under which the audit runs a network: what each holds fixed, and the passes that try them.

Factors are recorded once, from the free network with its statistics as trained; frozen conditions use those. A
condition is asked for a hook for given images, so that an image's factors follow it into whatever batch it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from abn.common.data import normalise
from abn.interpret.inspection import inspect
from abn.interpret.interventions import compose, frozen, gates, neutral, other_images, uniform_gates, without_bank
from abn.interpret.recalibration import reestimated
from abn.models.modulation import BankModulation, Hook, Modulation, joined
from abn.models.resnet import ResNet

Recorded = Mapping[str, Modulation]
"""By block name, of all N test images, on the CPU."""


@dataclass(frozen=True)
class Images:
    """Labelled pictures, and how the network wants them normalised.

    Attributes:
        pixels: (N, 3, 32, 32) uint8.
        labels: (N,) int64 true classes.
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(numbers of the images, their labels, the images normalised on `device`), in the data set's order."""
        for chosen in torch.arange(len(self)).split(size):
            yield chosen, self.labels[chosen], normalise(self.pixels[chosen].to(device), self.mean, self.std)


@dataclass(frozen=True)
class Condition:
    """One way to run a network.

    Attributes:
        name: in the results, e.g. "class_mean".
        label: for people.
        hook: (numbers of the images, their labels) → the hook for them, or None for the free network.
    """

    name: str
    label: str
    hook: Callable[[Tensor, Tensor], Hook | None]


def conditions(recorded: Recorded, labels: Tensor, seed: int = 0) -> tuple[Condition, ...]:
    """The free network, then what is held against it; conditions of gates and bank where every block has one.

    Means are over the test images, which have labels only for the classes' means. Training images, on which bn2 is
    re-estimated, get the same means, and in turn the factors of the test images.

    Args:
        recorded: the free network's modulations over the test images.
        labels: (N,) their true classes.
        seed: of the permutation by which images get another image's factors.

    Raises:
        ValueError: for fewer than two images, where there is no other one.
    """
    means = {name: m.with_factors(_mean(m.factors)) for name, m in recorded.items()}
    of_class = {name: _class_means(m.factors, labels) for name, m in recorded.items()}
    donors = other_images(len(labels), seed)

    def rows(factors: Mapping[str, Tensor], chosen: Tensor) -> Hook:
        return frozen({name: recorded[name].with_factors(factors[name][chosen]) for name in recorded})

    own = {name: m.factors for name, m in recorded.items()}
    tried = (
        Condition("free", "free", lambda numbers, labels: None),
        Condition("neutral", "all factors 1", lambda numbers, labels: neutral()),
        Condition("mean", "factors at their mean over the test images", lambda numbers, labels: frozen(means)),
        Condition(
            "class_mean", "factors at their true class's mean (uses the label)",
            lambda numbers, labels: rows(of_class, labels),
        ),
        Condition(
            "shuffled", "factors of another test image",
            lambda numbers, labels: rows(own, donors[numbers % len(donors)]),
        ),
    )  # fmt: skip
    banks = {name: m for name, m in recorded.items() if isinstance(m, BankModulation)}
    if len(banks) < len(recorded):
        return tried
    average = compose(*(gates(name, _mean(m.gate_weights)) for name, m in banks.items()))
    return (
        *tried,
        Condition("uniform", "gates uniform, 1/K", lambda numbers, labels: uniform_gates()),
        Condition("mean_bank", "bank term at its mean for every image", lambda numbers, labels: average),
        Condition("no_bank", "bank removed, m = W c", lambda numbers, labels: without_bank()),
    )


def _mean(values: Tensor) -> Tensor:
    # In float64: a factor's mean is some hundred times its deviation.
    return values.double().mean(dim=0, keepdim=True).float()


def _class_means(values: Tensor, labels: Tensor) -> Tensor:
    """(num_classes, C); NaN, which `frozen` refuses, for a class without an image."""
    return torch.cat([_mean(values[labels == label]) for label in range(int(labels.max()) + 1)])


def record(model: ResNet, images: Images, batch: int, bar: tqdm) -> tuple[dict[str, Modulation], np.ndarray]:
    """The free network's modulations of all images, on the CPU, and (N,) bool which it classifies correctly."""
    parts: dict[str, list[Modulation]] = {}
    answers = []
    for _, labels, pictures in images.batches(batch, _device(model)):
        seen = inspect(model, pictures)
        answers.append((seen.logits.argmax(dim=1).cpu() == labels.cpu()).numpy())
        for name, m in seen.modulations.items():
            parts.setdefault(name, []).append(m.to("cpu"))
        bar.update(len(pictures))
    return {name: joined(of_block) for name, of_block in parts.items()}, np.concatenate(answers)


def correct(model: ResNet, images: Images, condition: Condition, batch: int, bar: tqdm) -> np.ndarray:
    """(N,) bool: which images a network classifies correctly under a condition."""
    answers = []
    for numbers, labels, pictures in images.batches(batch, _device(model)):
        logits = inspect(model, pictures, condition.hook(numbers, labels)).logits
        answers.append((logits.argmax(dim=1).cpu() == labels.cpu()).numpy())
        bar.update(len(pictures))
    return np.concatenate(answers)


def adapted(model: ResNet, images: Images, condition: Condition, batch: int, bar: tqdm) -> ResNet:
    """A copy whose bn2 statistics are those of training images, under the same condition."""
    start = bar.n

    def progress(share: float) -> None:
        bar.update(start + round(share * len(images)) - bar.n)

    batches = (
        (pictures, condition.hook(numbers, labels))
        for numbers, labels, pictures in images.batches(batch, _device(model))
    )
    return reestimated(model, batches, progress=progress)


def _device(model: ResNet) -> torch.device:
    return next(model.parameters()).device
