"""Which channels' modulation matters for one picture: each factor replaced by itself, all the others left free.

For a target (a class's logit, or one class against another) the effect of channel i of a block is the target with
that factor replaced, minus the target as it is: mean ablation with ``to="mean"``, identity ablation with
``to="neutral"``. A bias vector's effect is that of subtracting ``α_k B_k`` from its block's pre-activation, without
giving its gate weight to the others. Blocks behind the change compute their factors anew from what reaches them,
unless `frozen_downstream`.

Single effects do not add up to the effect of replacing all factors at once (`joint`): blocks work on what the blocks
before them left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from abn.common.devices import images_at_once
from abn.common.memory import in_parts_that_fit
from abn.interpret.inspection import inspect, require_evaluation_mode
from abn.interpret.interventions import frozen
from abn.interpret.reference.statistics import Reference
from abn.models.modulation import BankModulation, Hook, Modulated, Modulation, Resumable, Stop, factors_of

Replacement = Literal["mean", "neutral"]


@dataclass(frozen=True)
class Necessity:
    """What each factor and bias vector does for one target on one picture, in the target's own unit (logits).

    Attributes:
        target: () its value with nothing replaced.
        effects: by block name, (C,): the target with that factor replaced, minus `target`.
        vectors: by block name, (K,): the same with that bias vector's term removed; only blocks with a bank.
        joint: () the target with every factor replaced at once, minus `target`.
    """

    target: Tensor
    effects: dict[str, Tensor]
    vectors: dict[str, Tensor]
    joint: Tensor

    @property
    def sum_of_effects(self) -> Tensor:
        """() of all single effects of factors; it differs from `joint`."""
        return torch.stack([effects.sum() for effects in self.effects.values()]).sum()

    def ranking(self) -> list[tuple[str, int, float]]:
        """(block, channel, effect), the largest absolute effect first."""
        rows = [
            (name, index, value)
            for name, effects in self.effects.items()
            for index, value in enumerate(effects.tolist())
        ]
        return sorted(rows, key=lambda row: -abs(row[2]))

    def carrying(self, share: float = 0.8) -> int:
        """How few channels make up this share of the sum of absolute effects; 0 where no effect is."""
        sizes = torch.cat([effects.abs() for effects in self.effects.values()]).double().sort(descending=True).values
        total = sizes.sum()
        return 0 if total == 0 else int((sizes.cumsum(0) < share * total - 1e-12 * total).sum()) + 1


def necessity(
    model: Modulated,
    image: Tensor,
    target: int | tuple[int, int],
    to: Replacement = "mean",
    reference: Reference | None = None,
    *,
    frozen_downstream: bool = False,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Necessity:
    """Replace each factor of each block, one at a time, and see what becomes of the target.

    Where the network can stop behind a block's convolution and go on from there (`Resumable`), what comes before is
    computed once; elsewhere each variant is a whole pass. Memory is bounded by the batch.

    Args:
        model: in eval mode; left as it is.
        image: (1, 3, H, W), normalised.
        target: a class index, or a pair (one class, against another).
        to: "mean", each channel's mean over the data set, or "neutral", the factor that changes nothing.
        reference: of this network, for "mean".
        frozen_downstream: keep the factors of the blocks behind the change as they were.
        batch_size: variants a pass; None for what suits the device.
        progress: called with (variants done, variants in all) before every pass; what it raises ends the work.

    Raises:
        ValueError: for more than one image, a network in training mode, "mean" without a reference, or a reference
            that lacks a block.
    """
    from abn.interpret.attribution.targets import as_target

    require_evaluation_mode(model)  # type: ignore[arg-type]
    if len(image) != 1:
        raise ValueError(f"there are {len(image)} images; expected one")
    value_of = as_target(target, model, 1)
    with torch.no_grad():
        own = inspect(model, image)
        replaced = {name: _replacement(name, m, to, reference) for name, m in own.modulations.items() if m.varies}
        if not replaced:
            raise ValueError("no block of this network modulates its channels, so there is nothing to replace")
        work = _Work(model, image, own.modulations, frozen_downstream, batch_size, progress)
        found = work.logits({name: _variants(own.modulations[name], values) for name, values in replaced.items()})
        everything = frozen({name: own.modulations[name].with_factors(values) for name, values in replaced.items()})
        before = value_of(own.logits, {})[0]
        joint = value_of(inspect(model, image, everything).logits, {})[0] - before
    effects, vectors = {}, {}
    for name, logits in found.items():
        channels = replaced[name].shape[-1]
        differences = value_of(logits, {}) - before
        effects[name] = differences[:channels]
        if len(differences) > channels:
            vectors[name] = differences[channels:]
    return Necessity(before, effects, vectors, joint)


def _replacement(name: str, m: Modulation, to: Replacement, reference: Reference | None) -> Tensor:
    """(1, C) the factors that stand in for a block's own."""
    if to == "neutral":
        return torch.full_like(m.factors, m.neutral)
    if to != "mean":
        raise ValueError(f"to is {to!r}; expected 'mean' or 'neutral'")
    block = None if reference is None else reference.blocks.get(name)
    if block is None or block.factors is None:
        what = "no reference is given" if reference is None else f"the reference has no factors of {name}"
        raise ValueError(f"{what}, so there are no means; measure one with abn reference, or replace by 'neutral'")
    return torch.from_numpy(block.factors.mean).to(m.factors)[None]


def _variants(m: Modulation, values: Tensor) -> Tensor:
    """(C, C) own factors with one replaced in each row, and (K, C) below them with one bias vector removed."""
    rows = m.factors.expand(m.factors.shape[-1], -1).clone()
    rows.diagonal().copy_(values[0])
    if not isinstance(m, BankModulation):
        return rows
    assert m.preactivation is not None  # a bank's factors have one
    return torch.cat([rows, factors_of(m.preactivation - m.bias_terms[0].T)])


class _Work:
    """The passes of one request."""

    def __init__(
        self,
        model: Modulated,
        image: Tensor,
        own: Mapping[str, Modulation],
        frozen_downstream: bool,
        batch_size: int | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.model = model
        self.image = image
        self.hook: Hook | None = frozen(own) if frozen_downstream else None
        self.batch = batch_size or images_at_once(image.device)
        self.progress = progress
        self.done = 0

    def logits(self, variants: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By block, (V, num_classes) for its (V, C) factors."""
        total = sum(map(len, variants.values()))
        return {
            name: torch.cat(list(self._block(run, variants[name], total)))
            for name, run in self._runs()
            if name in variants
        }

    def _block(self, run: Callable[[Tensor], Tensor], rows: Tensor, total: int) -> Iterator[Tensor]:
        def part(start: int, size: int) -> Tensor:
            if self.progress is not None:
                self.progress(self.done + start, total)
            return run(rows[start : start + size])

        yield from in_parts_that_fit(part, len(rows), self.batch, self.image.device)
        self.done += len(rows)

    def _runs(self) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
        """Each block's name with a function (V, C) factors in that block → (V, num_classes) logits."""
        if isinstance(self.model, Resumable):
            for stop in self.model.stops(self.image):
                yield stop.name, self._resuming(self.model, stop)
        else:
            for name, _ in self.model.blocks():
                yield name, self._whole(name)

    def _resuming(self, model: Resumable, stop: Stop) -> Callable[[Tensor], Tensor]:
        return lambda factors: model.resume(stop, factors, self.hook)

    def _whole(self, name: str) -> Callable[[Tensor], Tensor]:
        def run(factors: Tensor) -> Tensor:
            def hook(block: str, m: Modulation) -> Modulation:
                m = m if self.hook is None else self.hook(block, m)
                return m.with_factors(factors) if block == name else m

            return self.model(self.image.expand(len(factors), -1, -1, -1), hook)

        return run
