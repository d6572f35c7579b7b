"""The app without its page: two networks and everything one may ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from abn.attribution import METHODS, Attribution, attribute
from abn.checkpoints import CheckpointError, load_checkpoint
from abn.data import normalise, to_pixels
from abn.inspection import Inspection, inspect
from abn.memory import in_parts_that_fit
from abn.reference import Reference, load_reference
from abn.resnet import ResNet
from abn.results import BlockResult, NetworkResult, PictureResult
from abn.sources import HubSource, locate

LABELS = {"resnet-s": "ResNet-S", "resnet-dmb": "ResNet-DMB"}
SEARCH_BATCH = 64  # images looked through at once for a disagreement


@dataclass(frozen=True)
class Network:
    """One loaded checkpoint, on the device.

    Attributes:
        label: for people, e.g. "ResNet-DMB".
        reference: what is usual over the data set; None where the checkpoint carries none.
        notice: what a person should know about how it was loaded, or None.
    """

    label: str
    model: ResNet
    reference: Reference | None = None
    notice: str | None = None


def load_network(source: str | None, bundled: Path) -> Network:
    """A checkpoint with its reference; the bundled one where none is named or a Hub id cannot be had.

    Args:
        source: a folder, a Hub id, or None for the bundled checkpoint.
        bundled: the folder of the checkpoint that came with the code.

    Raises:
        CheckpointError: for a named folder, or the bundled one, that cannot be used.
        ReferenceFileError: for a reference that belongs to other weights.
    """
    place = bundled if source is None else locate(source)
    notice = None
    try:
        model = load_checkpoint(source or bundled)
    except CheckpointError as error:
        if not isinstance(place, HubSource):
            raise
        notice = f"{str(error).rstrip('.')}. The checkpoint that came with this app is shown in its place."
        model = load_checkpoint(bundled)
    info = model.info
    label = LABELS.get(model.architecture, model.architecture)
    return Network(label, model, load_reference(info.folder, info.weights_sha256, info.source), notice or info.notice)


@dataclass(frozen=True, eq=False)
class AttributionPair:
    """One method on both networks, for the same picture and target.

    Attributes:
        target: in words, e.g. "ship" or "ship against truck".
        baseline, dmb: for one image.
    """

    method: str
    target: str
    baseline: Attribution
    dmb: Attribution

    @cached_property
    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Two (H, W) signed maps, summed over the colours."""
        return tuple(a.pixel_map()[0].cpu().numpy() for a in (self.baseline, self.dmb))

    def as_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "target": self.target,
            **{
                side: {
                    "map": pixel_map.tolist(),
                    "resolution": list(attribution.resolution),
                    "convergence_delta": _first(attribution.convergence_delta),
                    "problem": attribution.problems[0],
                }
                for side, attribution, pixel_map in zip(
                    ("baseline", "dmb"), (self.baseline, self.dmb), self.maps, strict=True
                )
            },
        }


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
        """
        if dmb.model.num_biases is None:
            raise CheckpointError(f"{dmb.label} modulates no channels; give it as --baseline", dmb.model.info.source)
        first, second = baseline.model.info.class_names, dmb.model.info.class_names
        if first != second:
            raise CheckpointError(
                f"{baseline.label} tells apart {', '.join(first)}, and {dmb.label} {', '.join(second)}; "
                "two networks are compared on the same classes in the same order"
            )
        self.device = device
        self.class_names: tuple[str, ...] = tuple(first)
        self.baseline, self.dmb = (
            replace(network, model=network.model.to(device).requires_grad_(False).eval())
            for network in (baseline, dmb)
        )

    @property
    def block_channels(self) -> dict[str, int]:
        """The modulated network's blocks and their numbers of channels."""
        return {name: block.channels for name, block in self.dmb.model.blocks()}

    @property
    def num_biases(self) -> int:
        """K of the modulated network's bias banks."""
        return self.dmb.model.num_biases

    @property
    def networks(self) -> tuple[Network, Network]:
        return self.baseline, self.dmb

    def inspect(self, pixels: np.ndarray) -> PictureResult:
        """Both networks on one picture.

        Args:
            pixels: (32, 32, 3) uint8.
        """
        results = [self._result(network, pixels) for network in self.networks]
        return PictureResult(pixels, *results)

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
            target: a class's name.
            against: another class's name: then the difference of the two logits is attributed.
            method: a key of `methods`; `options` are the method's.
            progress: told the share done, in [0, 1].

        Raises:
            ValueError: for a class, method or option that does not exist.
        """
        goal: int | tuple[int, int] = self._class_index(target)
        if against is not None:
            goal = (goal, self._class_index(against))
        pair = []
        for half, network in enumerate(self.networks):
            told = None if progress is None else (lambda share, half=half: progress((half + share) / 2))
            images = self._images(network, pixels[None])
            pair.append(attribute(network.model, images, goal, method, progress=told, **options))
        return AttributionPair(method, target if against is None else f"{target} against {against}", *pair)

    def find_disagreement(
        self, images: np.ndarray, labels: np.ndarray, random: np.random.Generator
    ) -> DataSetImage | None:
        """A random image of (N, 32, 32, 3) on which the two networks differ; None if there is none."""
        order = random.permutation(len(images))
        for start in range(0, len(order), SEARCH_BATCH):
            chosen = order[start : start + SEARCH_BATCH]
            said = [self._predict(network, images[chosen]) for network in self.networks]
            differing = chosen[said[0] != said[1]]
            if len(differing):
                return self.data_set_image(images, labels, int(differing[0]))
        return None

    def data_set_image(self, images: np.ndarray, labels: np.ndarray, index: int) -> DataSetImage:
        return DataSetImage(images[index], index, self.class_names[labels[index]])

    def _predict(self, network: Network, pixels: np.ndarray) -> np.ndarray:
        images = self._images(network, pixels)

        @torch.no_grad()
        def run(start: int, size: int) -> np.ndarray:
            return network.model(images[start : start + size]).argmax(dim=1).cpu().numpy()

        return np.concatenate(in_parts_that_fit(run, len(images), SEARCH_BATCH, self.device))

    def _images(self, network: Network, pixels: np.ndarray) -> Tensor:
        info = network.model.info
        return normalise(to_pixels(pixels).to(self.device), info.mean, info.std)

    def _class_index(self, name: str) -> int:
        if name not in self.class_names:
            raise ValueError(f"there is no class {name!r}; there are {', '.join(self.class_names)}")
        return self.class_names.index(name)

    def _result(self, network: Network, pixels: np.ndarray) -> NetworkResult:
        seen = inspect(network.model, self._images(network, pixels[None]))
        return NetworkResult(
            label=network.label,
            architecture=network.model.architecture,
            class_names=self.class_names,
            probabilities=seen.probabilities[0].cpu().numpy(),
            blocks=_block_results(seen, network.reference),
        )


def _block_results(seen: Inspection, reference: Reference | None) -> tuple[BlockResult, ...]:
    return tuple(
        BlockResult(
            name=name,
            factors=m.factors[0].cpu().numpy(),
            response=m.response[0].cpu().numpy(),
            linear_term=_first_row(m.linear_term),
            gate_weights=_first_row(m.gate_weights),
            bias_bank=None if m.bias_bank is None else m.bias_bank.detach().cpu().numpy(),
            usual=None if reference is None else reference.blocks[name],
        )
        for name, m in seen.modulations.items()
    )


def _first_row(values: Tensor | None) -> np.ndarray | None:
    return None if values is None else values[0].cpu().numpy()


def _first(values: Tensor | None) -> float | None:
    return None if values is None else values[0].item()
