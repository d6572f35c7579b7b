"""What a network shows of the modulation of its channels, and the hook it is shown to.

`model(images, hook)` shows each block's `Modulation` to the hook, which answers with the one to use. A hook that
keeps what it sees and returns it records; one that returns another intervenes (`abn.interpret.interventions`).

Axes: N images, C channels, K bias vectors; "…" stands for any number of axes between, such as positions or paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Modulation:
    """How one block's channels are rescaled, for every image of a batch.

    A network computes it inside its graph: in a pass with gradients, what a hook is shown can be differentiated, and
    what it answers is. `detached` is a copy without the graph; `abn.interpret.inspection.inspect` records such ones.

    Attributes:
        factors: (N, …, C) in force; float32 also under autocast.
        response: (N, …, C) what they multiply, averaged over the pixels, before the factors; None where it is not
            measured.
        preactivation: (N, …, C) what the function that gives the factors was given, such as ``m`` in ``1 + tanh(m)``;
            None where there is none. It stays as it was computed where a hook replaces the factors.
        neutral: the factor that changes nothing.
    """

    factors: Tensor
    response: Tensor | None = None
    preactivation: Tensor | None = None
    neutral: float = 1.0

    varies: ClassVar[bool] = True
    """Whether the network computes the factors from the image."""

    of_all_images: ClassVar[frozenset[str]] = frozenset()
    """Names of the tensors without an image axis, the same for every image."""

    @property
    def in_force(self) -> dict[str, float]:
        """What the network applies: name of the tensor → the value that changes nothing."""
        return {"factors": self.neutral}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor there is, by name."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def with_factors(self, factors: Tensor) -> Self:
        """The same modulation with other factors in force; all else stays as it was computed."""
        return replace(self, factors=factors)

    def rows(self, chosen: slice | Tensor) -> Self:
        """The modulation of some of the images, by their numbers in the batch."""
        return self._changed(lambda name, values: values if name in self.of_all_images else values[chosen])

    def detached(self) -> Self:
        """The same numbers outside the graph of a pass with gradients."""
        return self._changed(lambda _, values: values.detach())

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return self._changed(lambda _, values: values.to(device))

    def _changed(self, change: Callable[[str, Tensor], Tensor]) -> Self:
        return replace(self, **{name: change(name, values) for name, values in self.tensors.items()})


@dataclass(frozen=True)
class StaticModulation(Modulation):
    """A block that modulates nothing: every factor is `neutral`, whatever the image, unless a hook sets another."""

    varies: ClassVar[bool] = False

    @classmethod
    def of(cls, response: Tensor) -> Self:
        """Factors 1 for a (N, C) response."""
        return cls(torch.ones_like(response), response)


@dataclass(frozen=True, kw_only=True)
class BankModulation(Modulation):
    """Factors ``f = 1 + tanh(m)`` with ``m = W c + B α``, see `abn.models.layers`; factors and parts are (N, C).

    Attributes:
        linear_term: (N, C) ``W c``.
        gate_weights: (N, K) ``α``, rows that sum to 1 as the network computes them.
        bias_bank: (C, K) ``B``, a copy: it does not change with the network's parameter.
    """

    linear_term: Tensor
    gate_weights: Tensor
    bias_bank: Tensor

    of_all_images: ClassVar[frozenset[str]] = frozenset({"bias_bank"})

    @classmethod
    def of(cls, response: Tensor, linear_term: Tensor, gate_weights: Tensor, bias_bank: Tensor) -> Self:
        """The factors that follow from the parts."""
        m = preactivation(linear_term, gate_weights, bias_bank)
        return cls(
            factors_of(m), response, m,
            linear_term=linear_term, gate_weights=gate_weights, bias_bank=bias_bank.to(m.dtype, copy=True),
        )  # fmt: skip

    @property
    def bias_terms(self) -> Tensor:
        """(N, C, K) signed parts ``α_k B_ik`` of every channel's pre-activation."""
        return self.gate_weights[:, None, :] * self.bias_bank

    def with_gates(self, gate_weights: Tensor) -> Self:
        """The same equation with other gate weights.

        Args:
            gate_weights: (N, K), or (1, K) for every image. ``α_k = 0`` removes bias vector k.

        Raises:
            ValueError: for weights of another shape.
        """
        num_images, num_biases = self.gate_weights.shape
        if gate_weights.shape not in {(num_images, num_biases), (1, num_biases)}:
            raise ValueError(
                f"gate weights have shape {tuple(gate_weights.shape)}; "
                f"this block takes ({num_images}, {num_biases}) or (1, {num_biases})"
            )
        gate_weights = gate_weights.to(self.gate_weights).expand(num_images, num_biases)
        m = preactivation(self.linear_term, gate_weights, self.bias_bank)
        return replace(self, factors=factors_of(m), preactivation=m, gate_weights=gate_weights)


Hook = Callable[[str, Modulation], Modulation]
"""Shown ("layer2.0", the modulation as computed); answers with the one to use."""


class Modulated(Protocol):
    """A network that shows its modulation: whatever fits this can be looked into.

    A hook that names the blocks it is meant for (`hook.blocks`) is refused, with ValueError and before anything is
    computed, where the network lacks one of them (`require_blocks`).
    """

    def blocks(self) -> Iterable[tuple[str, int]]:
        """("layer2.0", 128) …: name and number of channels, in the order in which a hook is shown them."""
        ...

    def __call__(self, images: Tensor, hook: Hook | None = None) -> Tensor:
        """Normalised images (N, 3, H, W) → logits (N, num_classes)."""
        ...


@dataclass(frozen=True)
class Stop:
    """A pass that has stopped behind a block's convolution, before its factors are applied.

    Attributes:
        name: of the block.
        modulation: what a hook is shown there.
        state: what the network needs to go on; its own affair.
    """

    name: str
    modulation: Modulation
    state: Any


@runtime_checkable
class Resumable(Modulated, Protocol):
    """A network that can stop behind a block's convolution and go on from there with other factors.

    What was computed before is then shared by all of them.
    """

    def stops(self, images: Tensor) -> Iterator[Stop]:
        """One pass over (N, 3, H, W) images that stops at every block in turn, and goes on with its own factors."""
        ...

    def resume(self, stop: Stop, factors: Tensor, hook: Hook | None = None) -> Tensor:
        """Go on from one image's stop with (V, C) factors, a row a variant → (V, num_classes) logits.

        Args:
            hook: asked about the blocks behind the stop.
        """
        ...


def ask(hook: Hook, name: str, shown: Modulation) -> Modulation:
    """The hook's answer for one block.

    Raises:
        TypeError: for an answer that is no `Modulation`, or lacks something the block applies.
        ValueError: for an answer whose tensors have another shape than those shown.
    """
    answer = hook(name, shown)
    if not isinstance(answer, Modulation):
        raise TypeError(f"the hook answered {type(answer).__name__} for {name}; expected a Modulation")
    for part in shown.in_force:
        expected, given = getattr(shown, part), getattr(answer, part, None)
        if given is None:
            raise TypeError(f"the hook answered {type(answer).__name__} without {part} for {name}")
        if given.shape != expected.shape:
            raise ValueError(
                f"the hook answered {part} of shape {tuple(given.shape)} for {name}; expected {tuple(expected.shape)}"
            )
    return answer


def require_blocks(hook: Hook | None, there: Iterable[str]) -> None:
    """Raise ValueError, with the names there are, for a hook that names a block which is not there."""
    there = list(there)
    unknown = sorted(set(getattr(hook, "blocks", None) or ()) - set(there))
    if unknown:
        raise ValueError(f"this network has no block {', '.join(unknown)}; it has {', '.join(there)}")


def joined(parts: Sequence[Modulation]) -> Modulation:
    """The modulations of one block for the parts of a batch, as one of the whole batch."""
    first = parts[0]
    together = {
        name: values if name in first.of_all_images else torch.cat([getattr(part, name) for part in parts])
        for name, values in first.tensors.items()
    }
    return replace(first, **together)


def preactivation(linear_term: Tensor, gate_weights: Tensor, bias_bank: Tensor) -> Tensor:
    """``m = W c + B α``: (N, C) and (N, K) and (C, K) → (N, C), never in bfloat16 by autocast."""
    with torch.autocast(linear_term.device.type, enabled=False):
        return torch.addmm(linear_term, gate_weights, bias_bank.to(linear_term.dtype).t())


def factors_of(m: Tensor) -> Tensor:
    """``f = 1 + tanh(m)``: the factors, in (0, 2), same shape as `m`."""
    return 1 + torch.tanh(m)
