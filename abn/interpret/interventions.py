"""Hooks that change a network's factors or gates while it runs.

Each function returns a hook for `model(images, hook)`. A hook names the blocks it is meant for, so
that a network can refuse one that names a block it does not have, before it computes anything.

In the standard terms of the field: `neutral` is identity ablation; `frozen` is activation patching with the factors
of another image, and mean ablation with their mean over a data set; `shuffled` is resample ablation; `without_bank`
is zero ablation of the bias term.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from abn.models.modulation import BankModulation, Hook, Modulation

SUM_TOLERANCE = 1e-4  # float32 weights of a softmax, rounded to a few digits by a person or a slider


@dataclass(frozen=True)
class Intervention:
    """A change of some blocks' modulation.

    Attributes:
        change: (block name, modulation) → modulation.
        blocks: the blocks it changes; None for all of them.
    """

    change: Callable[[str, Modulation], Modulation]
    blocks: frozenset[str] | None = None

    def __call__(self, block: str, modulation: Modulation) -> Modulation:
        if self.blocks is not None and block not in self.blocks:
            return modulation
        return self.change(block, modulation)


def neutral(blocks: Collection[str] | None = None) -> Hook:
    """Identity ablation: neutral factors (1 in a `ResNet`), so the same network with plain convolutions.

    Args:
        blocks: names such as "layer2.0"; None for all.
    """

    def change(_: str, m: Modulation) -> Modulation:
        return replace(m, **{part: torch.full_like(getattr(m, part), value) for part, value in m.in_force.items()})

    return Intervention(change, _names(blocks))


def frozen(modulations: Mapping[str, Modulation], blocks: Collection[str] | None = None) -> Hook:
    """The factors of another pass: activation patching.

    With the mean factors of many images it is mean ablation, as in `abn.experiment.audit_conditions`.

    Args:
        modulations: by block name, as in `Inspection.modulations`; factors (N, …, C), or (1, …, C) of one
            picture for every image of a batch.
        blocks: those to freeze; None for all in `modulations`.

    Raises:
        ValueError: for a block without recorded factors, or (when the network runs) factors of
            another shape than its own.
    """
    chosen = _names(modulations if blocks is None else blocks)
    missing = chosen - set(modulations)
    if missing:
        raise ValueError(f"no recorded modulation for {_list(missing)}; there is one for {_list(modulations)}")
    for block in chosen:
        for part in modulations[block].in_force:
            _require_finite(getattr(modulations[block], part), f"the recorded {part} of {block}")

    def change(block: str, m: Modulation) -> Modulation:
        return replace(
            m, **{part: _recorded(modulations[block], part, block, getattr(m, part)) for part in m.in_force}
        )

    return Intervention(change, chosen)


def _recorded(modulation: Modulation, part: str, block: str, own: Tensor) -> Tensor:
    """A recorded tensor in the place of `own`, which says shape, precision and device."""
    recorded = getattr(modulation, part, None)
    if recorded is None:
        raise ValueError(f"the modulation recorded of {block} has no {part}")
    one = torch.Size((1, *own.shape[1:]))
    if recorded.shape not in {own.shape, one}:
        raise ValueError(
            f"the recorded {part} of {block} have shape {tuple(recorded.shape)}; "
            f"expected {tuple(own.shape)} or {tuple(one)}"
        )
    return recorded.to(own).expand(own.shape)


def other_images(count: int, seed: int) -> Tensor:
    """(count,) for every image the number of another: one random cycle through all of them.

    Raises:
        ValueError: for fewer than two images.
    """
    if count < 2:
        raise ValueError(f"there is no other image to take factors from among {count}; give 2 at least")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    donors = torch.empty_like(order)
    donors[order] = order.roll(1)
    return donors


def shuffled(seed: int, blocks: Collection[str] | None = None) -> Hook:
    """Resample ablation: every image gets the factors of another image of its batch.

    Which other is a random cycle through the batch, another one in each block.

    Args:
        seed: 0 or more; the same seed, block and batch size give the same cycle.

    Raises:
        ValueError: for another seed, or (when the network runs) a batch of one image.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; expected a whole number of at least 0")

    def change(block: str, m: Modulation) -> Modulation:
        # A block's own cycle, whatever the order or number of blocks: CRC, since hash() is salted
        # and torch's generator looks at 32 bits of its seed.
        donors = other_images(len(m.factors), zlib.crc32(f"{seed} {block}".encode()))
        donors = donors.to(m.factors.device)
        return replace(m, **{part: getattr(m, part)[donors] for part in m.in_force})

    return Intervention(change, _names(blocks))


def scaled(strength: float, blocks: Collection[str] | None = None) -> Hook:
    """Factors ``1 + s (f - 1)``: 0 removes the modulation, 1 leaves it, more exaggerates it.

    Where another factor than 1 is neutral, that one stands in the place of both ones.

    Args:
        strength: ``s``, any finite number.
    """
    _require_number(strength, "strength")

    def change(_: str, m: Modulation) -> Modulation:
        # lerp, because 1 + 1·(f - 1) can differ from f in the last bit and lerp's end point cannot.
        parts = ((part, getattr(m, part), value) for part, value in m.in_force.items())
        return replace(m, **{part: torch.full_like(own, value).lerp(own, strength) for part, own, value in parts})

    return Intervention(change, _names(blocks))


def gates(block: str, weights: Tensor | Sequence[float]) -> Hook:
    """Other gate weights in one block, the same equation otherwise.

    Args:
        block: such as "layer2.0".
        weights: (K,) for every image, or (N, K); each row sums to 1.

    Raises:
        ValueError: for weights that are no numbers, not finite or do not sum to 1, and (when the network runs) for
            a block without gates or another number of them.
    """
    try:
        alpha = torch.atleast_2d(torch.as_tensor(weights, dtype=torch.float32))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # all of them PyTorch's, for no numbers
        raise ValueError(f"the gate weights of {block} are {weights!r}; expected K numbers that sum to 1") from error
    if alpha.dim() != 2 or alpha.numel() == 0:
        raise ValueError(f"gate weights have shape {tuple(alpha.shape)}; expected (K,) or (N, K)")
    _require_finite(alpha, f"the gate weights of {block}")
    sums = alpha.sum(dim=1)
    if (sums - 1).abs().max() > SUM_TOLERANCE:
        worst = sums[(sums - 1).abs().argmax()].item()
        raise ValueError(f"the gate weights of {block} sum to {worst:.6g}; expected 1")

    return _regated(lambda _: alpha, [block])


def uniform_gates(blocks: Collection[str] | None = None) -> Hook:
    """Every bias vector with the weight 1/K.

    Args:
        blocks: names such as "layer2.0"; None for all.

    Raises:
        ValueError: (when the network runs) for a block without gates.
    """
    return _regated(lambda own: torch.full_like(own, 1 / own.shape[1]), blocks)


def only_vector(index: int, blocks: Collection[str] | None = None) -> Hook:
    """The whole weight on one bias vector, as if the gates had chosen it alone.

    Args:
        index: in [0, K).
        blocks: names such as "layer2.0"; None for all.

    Raises:
        ValueError: for no whole number, and (when the network runs) for a bank without that vector, or a block
            without gates.
    """
    _require_whole(index, "bias vector")

    def one(own: Tensor) -> Tensor:
        if not 0 <= index < own.shape[1]:
            raise ValueError(f"there is no bias vector {index}; the bank has vectors 0 to {own.shape[1] - 1}")
        return torch.zeros_like(own).index_fill(1, torch.tensor(index, device=own.device), 1)

    return _regated(one, blocks)


def without_bank(blocks: Collection[str] | None = None) -> Hook:
    """Zero ablation of the bias term: factors ``1 + tanh(W c)``.

    Args:
        blocks: names such as "layer2.0"; None for all.

    Raises:
        ValueError: (when the network runs) for a block without gates.
    """
    return _regated(torch.zeros_like, blocks)


def channel(block: str, index: int, factor: float) -> Hook:
    """Another factor in one channel, for every image (and position or path, where the factors have those).

    Args:
        block: such as "layer2.0".
        index: in [0, C).
        factor: any finite number; 1 takes the channel's modulation away, 0 silences its convolution.
    """
    _require_number(factor, "factor")
    _require_whole(index, "channel")

    def change(name: str, m: Modulation) -> Modulation:
        channels = m.factors.shape[-1]
        if not 0 <= index < channels:
            raise ValueError(f"{name} has no channel {index}; it has channels 0 to {channels - 1}")
        factors = m.factors.clone()
        factors[..., index] = factor
        return m.with_factors(factors)

    return Intervention(change, frozenset({block}))


def compose(*hooks: Hook) -> Hook:
    """One hook that asks several from left to right, each seeing the last one's answer."""

    def change(block: str, modulation: Modulation) -> Modulation:
        for hook in hooks:
            modulation = hook(block, modulation)
        return modulation

    named = [blocks for hook in hooks if (blocks := getattr(hook, "blocks", None)) is not None]
    return _Composed(change, frozenset().union(*named) if named else None)


@dataclass(frozen=True)
class _Composed(Intervention):
    """Names its parts' blocks, but asks every part about every block: some have no list."""

    def __call__(self, block: str, modulation: Modulation) -> Modulation:
        return self.change(block, modulation)


def _regated(weights: Callable[[Tensor], Tensor], blocks: Collection[str] | None) -> Hook:
    """The same equation with the gate weights that `weights` makes of a block's own (N, K)."""

    def change(name: str, m: Modulation) -> Modulation:
        if not isinstance(m, BankModulation):
            raise ValueError(f"{name} has no bank of biases, so no gates to change")
        return m.with_gates(weights(m.gate_weights))

    return Intervention(change, _names(blocks))


@overload
def _names(blocks: Collection[str]) -> frozenset[str]: ...
@overload
def _names(blocks: Collection[str] | None) -> frozenset[str] | None: ...
def _names(blocks: Collection[str] | None) -> frozenset[str] | None:
    if blocks is None:
        return None
    if isinstance(blocks, str):
        raise ValueError(f"blocks is {blocks!r}; expected a list of names, such as [{blocks!r}]")
    return frozenset(blocks)


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _require_number(value: float, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; expected a finite number")


def _require_whole(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}; expected a whole number")


def _require_finite(values: Tensor, name: str) -> None:
    wrong = values[~torch.isfinite(values)]
    if len(wrong):
        raise ValueError(f"{name} hold {wrong[0].item()}; expected finite numbers")
