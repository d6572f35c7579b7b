"""The app without its page: two networks and everything one may ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abn.app.inspector.attribution_pair import AttributionPair, pair_of_each
from abn.app.inspector.changes import Change, Intervened
from abn.app.inspector.results import BlockResult, NetworkResult, PictureResult
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import Network
from abn.checkpoints.weights import listed
from abn.common.data import normalise, to_pixels
from abn.common.devices import alone_on, compute_in_full_float32, describe_hardware
from abn.common.memory import ANOTHER_DEVICE, DeviceMemoryError, in_parts_that_fit, is_out_of_memory
from abn.common.texts import one_line
from abn.interpret.attribution.attribute import METHODS, attribute
from abn.interpret.inspection import Inspection, inspect
from abn.interpret.reference.statistics import Reference
from abn.models.modulation import Hook
from abn.models.resnet import ResNet

SEARCH_BATCH = 64  # images looked through at once for a disagreement


@dataclass(frozen=True)
class DataSetImage:
    """One test image: (32, 32, 3) uint8, its index and its true class's name."""

    pixels: np.ndarray
    index: int
    true_class: str


class Inspector:
    """Two networks, held read-only: safe to ask from several threads at once."""

    methods = METHODS

    def __init__(self, baseline: Network, dmb: Network, device: torch.device) -> None:
        """
        Raises:
            CheckpointError: for a second network without modulation, or two networks that do not tell the
                same classes apart.
            DeviceMemoryError: for networks that do not fit the device.
        """
        if not dmb.is_modulated:
            reason = f"{dmb.label} modulates no channels; it can be the first network alone (left, or --baseline)"
            raise CheckpointError(reason, dmb.model.info.source)
        first, second = baseline.model.info.class_names, dmb.model.info.class_names
        if first != second:
            place = next((i for i, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), None)
            where = "" if place is None else f" (first of all in class {place + 1})"
            raise CheckpointError(
                f"{baseline.label} tells apart {listed(first, 20)}, and {dmb.label} {listed(second, 20)}{where}; "
                "two networks are compared on the same classes in the same order"
            )
        compute_in_full_float32()
        self.device = device
        self.class_names: tuple[str, ...] = tuple(first)
        self.baseline, self.dmb = (
            replace(network, label=label, model=ready(network, device))
            for network, label in zip((baseline, dmb), _different_labels(baseline, dmb), strict=True)
        )

    @property
    def hardware(self) -> str:
        """What it computes on, in words."""
        return describe_hardware(self.device)

    @property
    def networks(self) -> tuple[Network, Network]:
        return self.baseline, self.dmb

    @property
    def modulated(self) -> dict[str, Network]:
        """The networks that modulate their channels, by side: "dmb", and "baseline" if that one does too."""
        sides = {"baseline": self.baseline, "dmb": self.dmb}
        return {side: network for side, network in sides.items() if network.is_modulated}

    def inspect(self, pixels: np.ndarray) -> PictureResult:
        """Both networks on one picture.

        Args:
            pixels: (32, 32, 3) uint8.
        """
        return self.inspect_many(pixels[None])[0]

    def inspect_many(self, pixels: np.ndarray) -> list[PictureResult]:
        """Both networks on N pictures at once: the numbers of one by one, but for rounding.

        Args:
            pixels: (N, 32, 32, 3) uint8.
        """
        results = [self._results(network, pixels) for network in self.networks]
        return [PictureResult(*one) for one in zip(pixels, *results, strict=True)]

    def attribute(
        self,
        pixels: np.ndarray,
        target: str,
        against: str | None,
        method: str,
        options: dict[str, Any],
        progress: Callable[[float], None] | None = None,
    ) -> AttributionPair:
        """Where both networks looked, for one class.

        Args:
            pixels: (32, 32, 3) uint8.
            target, against, method, options, progress: as for `attribute_many`.

        Raises:
            ValueError: for a class, method or option that does not exist.
        """
        return self.attribute_many(pixels[None], target, against, method, options, progress)[0]

    def attribute_many(
        self,
        pixels: np.ndarray,
        target: str,
        against: str | None,
        method: str,
        options: dict[str, Any],
        progress: Callable[[float], None] | None = None,
    ) -> list[AttributionPair]:
        """Where both networks looked in N pictures, for one class; the maps are on the CPU.

        Args:
            pixels: (N, 32, 32, 3) uint8.
            target: a class's name.
            against: another class's name: then the difference of the two logits is attributed.
            method: a key of `methods`; `options` are the method's.
            progress: told the share done, in [0, 1].

        Raises:
            ValueError: for a class, method or option that does not exist, or a class against itself.
        """
        goal = self.goal(target, against)
        pair = []
        for half, network in enumerate(self.networks):
            told = None if progress is None else (lambda share, half=half: progress((half + share) / 2))
            with alone_on(self.device):
                images = self._images(network, pixels)
                pair.append(attribute(network.model, images, goal, method, progress=told, **options).on_cpu())
        return pair_of_each(method, (target,) if against is None else (target, against), *pair)

    def intervene(self, pixels: np.ndarray, change: Change) -> Intervened:
        """What the modulated network says of one picture, and what it says once its modulation is changed.

        Args:
            pixels: (32, 32, 3) uint8.

        Raises:
            ValueError: for a change that does not fit the network.
        """
        hook = change.hook(self.dmb.model)
        before, after = (self._results(self.dmb, pixels[None], each)[0] for each in (None, hook))
        return Intervened(change, before, after)

    def goal(self, target: str, against: str | None) -> int | tuple[int, int]:
        """What `abn.interpret.attribution.attribute.attribute` takes for a class, or one against another.

        Raises:
            ValueError: for a class that does not exist, or a class against itself.
        """
        require_other_class(target, against)
        if against is None:
            return self.class_index(target)
        return self.class_index(target), self.class_index(against)

    def find_disagreement(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        random: np.random.Generator,
        before_batch: Callable[[], None] = lambda: None,
    ) -> DataSetImage | None:
        """A random image of (N, 32, 32, 3) on which the two networks differ; None if there is none.

        Args:
            before_batch: called now and then; what it raises ends the search.
        """
        first, second = (network.model.info.weights_sha256 for network in self.networks)
        if first == second:
            return None
        order = random.permutation(len(images))
        for start in range(0, len(order), SEARCH_BATCH):
            before_batch()
            chosen = order[start : start + SEARCH_BATCH]
            said = [self._predict(network, images[chosen]) for network in self.networks]
            differing = chosen[(said[0] != said[1]) & (np.minimum(*said) >= 0)]
            if len(differing):
                return self.data_set_image(images, labels, int(differing[0]))
        return None

    def data_set_image(self, images: np.ndarray, labels: np.ndarray, index: int) -> DataSetImage:
        return DataSetImage(images[index], index, self.class_names[labels[index]])

    def _predict(self, network: Network, pixels: np.ndarray) -> np.ndarray:
        """(N,) classes; -1 where the answer is none, see `_results`."""

        @torch.no_grad()
        def run(start: int, size: int) -> np.ndarray:
            logits = network.model(images[start : start + size])
            return torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), -1).cpu().numpy()

        with alone_on(self.device):
            images = self._images(network, pixels)
            return np.concatenate(in_parts_that_fit(run, len(images), SEARCH_BATCH, self.device))

    def _images(self, network: Network, pixels: np.ndarray) -> Tensor:
        info = network.model.info
        return normalise(to_pixels(pixels).to(self.device), info.mean, info.std)

    def class_index(self, name: str) -> int:
        """
        Raises:
            ValueError: for a class that does not exist; it lists those that do.
        """
        if name not in self.class_names:
            raise ValueError(
                f"there is no class {one_line(repr(name), 80)}; there are {listed(self.class_names, 20)}"
            )
        return self.class_names.index(name)

    def _results(self, network: Network, pixels: np.ndarray, hook: Hook | None = None) -> list[NetworkResult]:
        with alone_on(self.device):
            seen = inspect(network.model, self._images(network, pixels), hook)
            blocks, all_probabilities = _block_results(seen, network.reference), seen.probabilities.cpu().numpy()
        if not np.isfinite(all_probabilities).all():
            why, remedy = "its weights are so large that they overflow", "another network, or another picture"
            if hook is not None:
                why, remedy = "with this change its numbers overflow", "a smaller change"
            raise ValueError(f"{network.label} answers this picture with NaN or infinity: {why}; choose {remedy}")
        median = None if network.reference is None else network.reference.median_own_share
        return [
            NetworkResult(network.label, network.model.architecture, self.class_names, probabilities, each, median)
            for probabilities, each in zip(all_probabilities, blocks, strict=True)
        ]


def require_other_class(target: str, against: str | None) -> None:
    """
    Raises:
        ValueError: for a class against itself.
    """
    if target == against:
        raise ValueError(f"{target} is set against itself; choose another class as the target, or against it")


def _block_results(seen: Inspection, reference: Reference | None) -> list[tuple[BlockResult, ...]]:
    """For each image all its blocks."""
    of_block = []
    for name, m in seen.modulations.items():
        arrays = {term: values.cpu().numpy() for term, values in m.tensors.items()}
        bank = arrays.pop("bias_bank", None)
        if bank is not None:
            del arrays["preactivation"]  # the sum of parts that are there
        known = None if reference is None else reference.blocks[name]
        rows = (dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True))
        of_block.append([BlockResult(name, **row, bias_bank=bank, reference=known) for row in rows])
    return list(zip(*of_block, strict=True))


def ready(network: Network, device: torch.device) -> ResNet:
    """The network's model, on the device and for looking at; one that is so already is left alone: others use it.

    Raises:
        DeviceMemoryError: for one that does not fit the device.
    """
    model = network.model
    meant = device
    if device.type == "cuda" and device.index is None and torch.cuda.is_available():
        meant = torch.device("cuda", torch.cuda.current_device())
    try:
        places = {part.device for part in (*model.parameters(), *model.buffers())}
        if any(place.type != meant.type or meant.index not in (None, place.index) for place in places):
            with alone_on(device):
                model.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"The memory of {device} is full, so {network.label} does not fit; try again when other work on it has "
            f"ended, or {ANOTHER_DEVICE}."
        ) from error
    if model.training or any(parameter.requires_grad for parameter in model.parameters()):
        model.requires_grad_(False).eval()
    return model


def _different_labels(first: Network, second: Network) -> tuple[str, str]:
    """Two labels by which two networks can be told apart, also two of one architecture."""
    if first.label != second.label:
        return first.label, second.label
    if first.name != second.name:
        return tuple(f"{network.label} ({network.name})" for network in (first, second))
    return f"{first.label} (left)", f"{second.label} (right)"
