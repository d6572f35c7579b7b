"""See what a network said about pictures, and how it modulated its channels on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abn.interventions import compose
from abn.layers import Modulation
from abn.resnet import Probe, ResNet


@dataclass(frozen=True)
class Inspection:
    """One pass of a network over N images.

    Attributes:
        logits: (N, num_classes).
        modulations: by block name, in the order of computation; what was in force, so after any
            intervention.
    """

    logits: Tensor
    modulations: dict[str, Modulation]

    @property
    def probabilities(self) -> Tensor:
        """(N, num_classes) softmax of the logits: uncalibrated."""
        return self.logits.softmax(dim=1)


def recorder(modulations: dict[str, Modulation]) -> Probe:
    """A probe that keeps what it is shown in `modulations`, and changes nothing."""

    def record(block: str, modulation: Modulation) -> Modulation:
        modulations[block] = modulation
        return modulation

    return record


def require_evaluation_mode(model: torch.nn.Module) -> None:
    """Raise ValueError for a network in training mode: looking at it would change its statistics."""
    if model.training:
        raise ValueError("the network is in training mode, where a pass changes it; call model.eval() first")


@torch.no_grad()
def inspect(model: ResNet, images: Tensor, probe: Probe | None = None) -> Inspection:
    """Run a network once and keep each block's modulation.

    Args:
        model: in eval mode; left as it is.
        images: (N, 3, 32, 32), normalised as the network's checkpoint says (`abn.data.normalise`).
        probe: an intervention (`abn.interventions`); what is recorded is its answer.

    Raises:
        ValueError: for a network in training mode, or a probe that does not fit the network.
    """
    require_evaluation_mode(model)
    modulations: dict[str, Modulation] = {}
    record = recorder(modulations)
    logits = model(images, record if probe is None else compose(probe, record))
    return Inspection(logits, modulations)
