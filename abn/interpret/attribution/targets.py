"""What an attribution is towards: one number for every image, of what the network answered.

A target is a function of the logits and of the modulations recorded on the way, so that a factor or a
gate can stand where a class does. `Score` joins it with a network and a hook to the function
``images → (N,)`` that a method differentiates or perturbs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from abn.interpret.inspection import recorder
from abn.interpret.interventions import compose
from abn.models.modulation import Hook, Modulation, joined
from abn.models.resnet import ResNet


class Target(Protocol):
    """(logits (N, num_classes), modulations by block name) → (N,), one number an image.

    Where `reads_modulations` is False nothing is recorded, and `modulations` is empty; a plain function, which does
    not say, gets them.
    """

    reads_modulations: ClassVar[bool]

    def __call__(self, logits: Tensor, modulations: dict[str, Modulation]) -> Tensor: ...


@dataclass(frozen=True)
class ClassLogit:
    """The logit of one class."""

    reads_modulations: ClassVar[bool] = False
    index: int

    def __call__(self, logits: Tensor, modulations: dict[str, Modulation]) -> Tensor:
        return logits[:, self.index]


@dataclass(frozen=True)
class ClassAgainst:
    """The logit of one class minus that of another."""

    reads_modulations: ClassVar[bool] = False
    index: int
    other: int

    def __call__(self, logits: Tensor, modulations: dict[str, Modulation]) -> Tensor:
        return logits[:, self.index] - logits[:, self.other]


@dataclass(frozen=True)
class ClassOfEach:
    """For each of N images the logit of its own class; asked about k·N images, copy after copy, too."""

    reads_modulations: ClassVar[bool] = False
    indices: tuple[int, ...]

    def __call__(self, logits: Tensor, modulations: dict[str, Modulation]) -> Tensor:
        indices = torch.tensor(self.indices, device=logits.device).repeat(len(logits) // len(self.indices))
        return logits.gather(1, indices[:, None])[:, 0]

    def rows(self, images: slice) -> ClassOfEach:
        """The same for some of the images."""
        return ClassOfEach(self.indices[images])


Goal = int | tuple[int, int] | Sequence[int] | Tensor | np.ndarray | Target
"""What a caller may name as a target, see `as_target`."""


def as_target(target: Goal, model: ResNet, num_images: int) -> Target:
    """What a caller names as a target, as a function of the logits.

    Args:
        target: a class index; a tuple (a, b) for the logit of a minus that of b; a list, tensor or array (N,) of one
            class an image; or a function that is a `Target` already.
        num_images: N.

    Raises:
        ValueError: for an index outside the network's classes, a class against itself, or another number of classes
            than there are images.
    """
    if callable(target):
        return target
    if isinstance(target, tuple):
        if len(target) != 2:
            raise ValueError(
                f"target is {target!r}; expected a class index, a pair (a, b) for a against b, or a list of one "
                "class an image"
            )
        index, other = (_class_index(value, model) for value in target)
        if index == other:
            raise ValueError(f"target sets class {index} against itself; expected two different classes")
        return ClassAgainst(index, other)
    shape = (len(target),) if isinstance(target, list) else tuple(getattr(target, "shape", ()))
    if shape:
        if shape != (num_images,):
            raise ValueError(
                f"target has shape {shape}; expected ({num_images},), one class an image, or the tuple (a, b) for "
                "class a against class b"
            )
        return ClassOfEach(tuple(_class_index(value, model) for value in target))
    return ClassLogit(_class_index(target, model))


def _class_index(value: Any, model: ResNet) -> int:
    """Python's, NumPy's and PyTorch's whole numbers, of which truth values are none."""
    try:
        is_truth = isinstance(value, bool) or getattr(value, "dtype", None) in (torch.bool, np.dtype(bool))
        index = -1 if is_truth else operator.index(value)
    except TypeError:
        index = -1
    if not 0 <= index < model.num_classes:
        names = getattr(getattr(model, "info", None), "class_names", None)
        listed = f" ({', '.join(f'{i} {name}' for i, name in enumerate(names))})" if names else ""
        raise ValueError(f"target is {value!r}; the network has the classes 0 to {model.num_classes - 1}{listed}")
    return index


class Score:
    """The function ``images (k·N, 3, H, W) → (k·N,)`` of one request; knows its share done.

    A method evaluates k altered copies of the N images in one pass, copy after copy. The hook is asked
    about N images at a time all the same, so that one meant for these N pictures (frozen factors, a
    shuffle among them) means what it does in `model(images, hook)`.
    """

    def __init__(
        self,
        model: ResNet,
        target: Target,
        hook: Hook | None,
        num_images: int,
        progress: Callable[[float], None] | None = None,
        *,
        per_pass: int,
    ) -> None:
        """
        Args:
            num_images: N.
            progress: called with the share done, 0 to 1.
            per_pass: how many images a method should evaluate at once, where it has that many.
        """
        self.model = model
        self.target = target
        self.per_pass = per_pass
        self._hook = None if hook is None else _PerCopy(hook, num_images)
        self._progress = progress
        self._expected = num_images
        self._done = 0

    def expect(self, evaluations: int) -> None:
        """Say how many images will be evaluated in all, which is what progress is a share of."""
        self._expected = evaluations

    def __call__(self, images: Tensor) -> Tensor:
        if self._progress is not None:
            self._progress(min(1.0, self._done / self._expected))
        self._done += len(images)
        modulations: dict[str, Modulation] = {}
        logits = self.model(images, self.hook(modulations))
        return self.target(logits, modulations)

    def hook(self, modulations: dict[str, Modulation]) -> Hook | None:
        """What one pass is to be given; it leaves in `modulations` what the target reads."""
        if not getattr(self.target, "reads_modulations", True):
            return self._hook
        record = recorder(modulations)
        return record if self._hook is None else compose(self._hook, record)


class _PerCopy:
    """A hook for N images, asked about k·N: once for each copy, its answers joined."""

    def __init__(self, hook: Hook, num_images: int) -> None:
        self.hook = hook
        self.num_images = num_images
        self.blocks = getattr(hook, "blocks", None)  # the blocks an intervention names

    def __call__(self, block: str, modulation: Modulation) -> Modulation:
        num_copies = len(modulation.factors) // self.num_images
        if num_copies == 1:
            return _differentiable(self.hook(block, modulation))
        n = self.num_images
        answers = [self.hook(block, modulation.rows(slice(i * n, i * n + n))) for i in range(num_copies)]
        return joined(answers)


def _differentiable(modulation: Modulation) -> Modulation:
    """Factors recorded under `torch.inference_mode` cannot stand in a graph; their copy can."""
    factors = getattr(modulation, "factors", None)
    if factors is None or not factors.is_inference():
        return modulation
    return modulation.with_factors(factors.clone())
