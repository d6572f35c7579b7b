"""See what a network said about pictures, and how it modulated its channels on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abn.common.memory import in_parts_that_fit
from abn.interpret.interventions import compose
from abn.models.modulation import Hook, Modulated, Modulation, joined


@dataclass(frozen=True)
class Inspection:
    """One pass of a network over N images.

    Attributes:
        logits: (N, num_classes).
        modulations: by block name, in the order of computation; what was in force, so after any
            intervention. Detached: none is tied to a graph or to the network's parameters.
    """

    logits: Tensor
    modulations: dict[str, Modulation]

    @property
    def probabilities(self) -> Tensor:
        """(N, num_classes) softmax of the logits: uncalibrated."""
        return self.logits.softmax(dim=1)


def recorder(modulations: dict[str, Modulation]) -> Hook:
    """A hook that keeps what it is shown in `modulations`, in the graph of the pass, and changes nothing."""

    def record(block: str, modulation: Modulation) -> Modulation:
        modulations[block] = modulation
        return modulation

    return record


def require_evaluation_mode(model: torch.nn.Module) -> None:
    """Raise ValueError for a network any part of which is in training mode: looking at it would change it."""
    training = [name for name, module in model.named_modules() if module.training]
    if training:
        what = "the network" if training[0] == "" else f"the network's {training[0]}"
        raise ValueError(f"{what} is in training mode, where a pass changes it; call model.eval() first")


@torch.no_grad()
def inspect(model: Modulated, images: Tensor, hook: Hook | None = None) -> Inspection:
    """Run a network once and keep each block's modulation, in the network's own precision whatever autocast says.

    Args:
        model: in eval mode; left as it is.
        images: (N, 3, 32, 32), normalised as the network's checkpoint says (`abn.common.data.normalise`).
        hook: an intervention (`abn.interpret.interventions`), asked about the N images together; what is recorded is
            its answer. Without one, a batch that the device's memory does not hold is split.

    Raises:
        ValueError: for a network in training mode, or a hook that does not fit the network.
        DeviceMemoryError: where the device's memory is full even for the smallest batch.
    """
    require_evaluation_mode(model)

    def run(start: int, size: int) -> Inspection:
        modulations: dict[str, Modulation] = {}
        record = recorder(modulations)
        with torch.autocast(images.device.type, enabled=False):
            logits = model(images[start : start + size], record if hook is None else compose(hook, record))
        return Inspection(logits.detach(), {name: m.detached() for name, m in modulations.items()})

    count = len(images)
    if count == 0:
        return run(0, 0)
    return _joined(in_parts_that_fit(run, count, count, images.device, smallest=1 if hook is None else count))


def _joined(parts: list[Inspection]) -> Inspection:
    """Inspections of the parts of a batch, as one of the batch."""
    first = parts[0]
    if len(parts) == 1:
        return first
    together = {name: joined([part.modulations[name] for part in parts]) for name in first.modulations}
    return Inspection(torch.cat([part.logits for part in parts]), together)
