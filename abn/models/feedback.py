"""AFB-FFN: a transformer's feed-forward layer that corrects its own biases and gates its own weights.

The mechanism of "Adaptive Neural Feedback Methods for Bias and Weight Adjustment in Feed Forward Layers of LLMs", of
which the abstract alone is public: feedback units read a feed-forward layer's intermediate activations and generate
bias-correction vectors and weight-gating signals during the forward pass. The equations are this project's reading of
it. With ``x`` (N, T, d), F hidden units and r the width of the feedback unit, for every token by itself:

    v1   h = W1 x + b1                          (N, T, F)
         u = GELU(P GELU(h) + p)                (N, T, r)    the feedback unit reads the activations
         Δ = U_b u + c_b                        (N, T, F)    correction of the bias b1, before the activation
         g = 1 + tanh(U_g u + c_g)              (N, T, F)    gate in (0, 2), of W2's columns
         y = W2 (g ⊙ GELU(h + Δ)) + b2

    v2   y = W2 (g ⊙ GELU(h)) + b2 + V_b u + c_v             one pass: corrects the bias b2 instead
    v3   s = softmax(U_s u + c_s) over K groups of units, g = K s for every unit of its group; else as v1
    v4   u = GELU(P (mean h, RMS h, mean GELU(h), RMS GELU(h)) + p): statistics, not content; else as v1

``U_*``, ``V_b`` and ``c_*`` start at zero, so that every variant begins as the plain layer ``W2 GELU(W1 x + b1) +
b2`` with the same weights; the feedback unit draws its own from a generator of its own. (For v3 the outputs are the
plain layer's to the last bit where K is a power of two.)

**Gate entropy** is, for v1, v2 and v4, the mean over tokens and units of the entropy of a coin that falls with
probability g/2, log 2 at the start; for v3 the mean over tokens of the entropy of s, log K at the start. A gate that
never moves keeps it for ever: report it beside the variance of g between tokens (`gate_variance`).

Axes: N texts, T tokens, F units, r widths of the feedback unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abn.models.layers import require_positive
from abn.models.modulation import Hook, Modulation, ask

Variant = Literal["v1", "v2", "v3", "v4"]
VARIANTS: tuple[Variant, ...] = ("v1", "v2", "v3", "v4")
STATISTICS = 4
"""What v4's feedback unit reads: mean and root mean square, of h and of GELU(h)."""


@dataclass(frozen=True, kw_only=True)
class FeedbackModulation(Modulation):
    """What one feed-forward layer's feedback did to every token.

    `factors` are the gates g (N, T, F), `preactivation` what tanh or softmax was given, and `response` the
    activations before the gates (N, T, F).

    Attributes:
        shift: the correction of the bias: (N, T, F) before the activation, or (N, T, d) of the output in v2.
        feedback: (N, T, r) ``u``, what the feedback unit computed; None where the layer has none.
        grouped: whether the gates are those of groups of units (v3).
    """

    shift: Tensor
    feedback: Tensor | None = None
    grouped: bool = False

    no_shift: ClassVar[float] = 0.0
    """The shift that changes nothing."""

    @property
    def in_force(self) -> dict[str, float]:
        return {"factors": self.neutral, "shift": self.no_shift}

    def with_shift(self, shift: Tensor) -> Self:
        """The same modulation with another correction of the bias in force."""
        return replace(self, shift=shift)

    @property
    def gate_entropy(self) -> Tensor:
        """() in nats, as the module's docstring defines it."""
        if self.grouped:
            shares = self.factors / self.factors.sum(dim=-1, keepdim=True)  # s / (units a group), over units
            entropy = torch.special.entr(shares).sum(dim=-1)
            # Each group's share is spread evenly over its units, which adds the logarithm of their number.
            return (entropy - math.log(self.factors.shape[-1] / self.preactivation.shape[-1])).mean()
        half = self.factors / 2
        return (torch.special.entr(half) + torch.special.entr(1 - half)).mean()

    @property
    def gate_variance(self) -> Tensor:
        """() variance of the gates between tokens, averaged over units."""
        return self.factors.flatten(0, -2).var(dim=0, unbiased=False).mean()


class FeedbackUnit(nn.Module):
    """``u = GELU(P a + p)``: (N, T, width) → (N, T, r), a bottleneck that reads a layer's activations.

    Its weights are drawn as `nn.Linear` draws them (uniform within ± 1/√width), from a generator of their own, so
    that the random numbers of the network around it stay those of a network without feedback.
    """

    def __init__(self, width: int, r: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(r, width).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(r).uniform_(-bound, bound, generator=generator))

    def forward(self, activations: Tensor) -> Tensor:
        return F.gelu(F.linear(activations, self.weight, self.bias))


class Correction(nn.Module):
    """``U u + c``: (N, T, r) → (N, T, width), zero at the start; without `u`, the constant c for every token."""

    def __init__(self, r: int, width: int, dynamic: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, r)) if dynamic else None
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, u: Tensor | None, like: Tensor) -> Tensor:
        """
        Args:
            u: (N, T, r); None for a constant correction.
            like: (N, T, …), whose first axes the answer has.
        """
        if self.weight is None or u is None:
            return self.bias.expand(*like.shape[:-1], -1)
        return F.linear(u, self.weight, self.bias)


class FeedbackFFN(nn.Module):
    """A feed-forward layer with feedback, for any transformer: (N, T, d) → (N, T, d).

    Attributes:
        fc1, fc2: ``W1, b1`` (d → F) and ``W2, b2`` (F → d), as in the plain layer.
        feedback: the feedback unit, None for a static layer.
        gate: ``U_g, c_g`` (or ``U_s, c_s``), None without gates.
        shift: ``U_b, c_b`` (or ``V_b, c_v``), None without a correction of the bias.
    """

    def __init__(
        self,
        d: int,
        hidden: int,
        r: int = 8,
        variant: Variant = "v1",
        *,
        gates: bool = True,
        shifts: bool = True,
        dynamic: bool = True,
        of_another_text: bool = False,
        groups: int = 8,
        seed: int = 0,
    ) -> None:
        """
        Args:
            d: width of a token.
            hidden: F.
            gates, shifts: either may be left out: bias-only and gate-only layers.
            dynamic: False leaves out the feedback unit: ``c_*`` alone, the same for every token.
            of_another_text: each token gets the ``u`` of the token at its position in the batch's next text: the
                control in which feedback is as strong, and tells nothing about the token.
            groups: K of v3, which divides `hidden`.
            seed: of the feedback unit's weights.

        Raises:
            ValueError: for a size below 1, an unknown variant, groups that do not divide the units, or a layer that
                would have neither gates nor shifts.
        """
        super().__init__()
        require_positive(d=d, hidden=hidden, r=r, groups=groups)
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}; expected one of {', '.join(VARIANTS)}")
        if variant == "v3" and hidden % groups:
            raise ValueError(f"groups is {groups}, which does not divide the {hidden} units; take a divisor")
        if not (gates or shifts):
            raise ValueError("gates and shifts are both left out; use a plain feed-forward layer instead")
        self.variant: Variant = variant
        self.of_another_text = of_another_text
        self.fc1 = nn.Linear(d, hidden)
        self.activation = nn.GELU()
        self.fc2 = nn.Linear(hidden, d)
        reads = STATISTICS if variant == "v4" else hidden
        self.feedback = FeedbackUnit(reads, r, seed) if dynamic else None
        self.gate = Correction(r, groups if variant == "v3" else hidden, dynamic) if gates else None
        self.shift = Correction(r, d if variant == "v2" else hidden, dynamic) if shifts else None

    @property
    def hidden(self) -> int:
        """F, the number of units, so of gates."""
        return self.fc1.out_features

    def forward(self, x: Tensor, name: str = "", hook: Hook | None = None) -> Tensor:
        """(N, T, d) → (N, T, d); the hook is shown the layer's `FeedbackModulation` under `name`."""
        h = self.fc1(x)
        activations = self.activation(h)
        u = self._feedback(h, activations)
        shift, (gates, preactivation) = self._shift(u, x, h), self._gates(u, h)
        before = self._activations(h, activations, shift)
        if hook is not None:
            answer = ask(hook, name, self._shown(u, shift, gates, preactivation, before))
            gates = answer.factors.to(h.dtype)
            if answer.shift is not shift:
                shift = answer.shift.to(h.dtype)
                before = self._activations(h, activations, shift)
        y = self.fc2(before if gates is None else gates * before)
        return y if self.variant != "v2" or shift is None else y + shift

    def _feedback(self, h: Tensor, activations: Tensor) -> Tensor | None:
        if self.feedback is None:
            return None
        u = self.feedback(statistics(h, activations) if self.variant == "v4" else activations)
        if not self.of_another_text:
            return u
        if len(u) < 2:
            raise ValueError(
                "this layer takes the feedback of another text, and the batch has one; give two at least"
            )
        return u.roll(1, dims=0)

    def _shift(self, u: Tensor | None, x: Tensor, h: Tensor) -> Tensor | None:
        return None if self.shift is None else self.shift(u, x if self.variant == "v2" else h)

    def _gates(self, u: Tensor | None, h: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The gates g (N, T, F) and what their function was given, (N, T, F) or (N, T, K)."""
        if self.gate is None:
            return None, None
        given = self.gate(u, h)
        if self.variant != "v3":
            return 1 + torch.tanh(given), given
        groups = given.shape[-1]
        return (groups * given.softmax(dim=-1)).repeat_interleave(self.hidden // groups, dim=-1), given

    def _activations(self, h: Tensor, plain: Tensor, shift: Tensor | None) -> Tensor:
        """(N, T, F) the activations before the gates; v2's shift comes after them."""
        return plain if shift is None or self.variant == "v2" else self.activation(h + shift)

    def _shown(
        self,
        u: Tensor | None,
        shift: Tensor | None,
        gates: Tensor | None,
        preactivation: Tensor | None,
        before: Tensor,
    ) -> FeedbackModulation:
        return FeedbackModulation(
            torch.ones_like(before) if gates is None else gates,
            before,
            preactivation,
            shift=torch.zeros_like(before) if shift is None else shift,
            feedback=u,
            grouped=self.variant == "v3" and gates is not None,
        )


def statistics(h: Tensor, activations: Tensor) -> Tensor:
    """(N, T, 4): mean and root mean square over the units of h, and of the activations."""
    return torch.stack(
        [each for values in (h, activations) for each in (values.mean(dim=-1), values.square().mean(dim=-1).sqrt())],
        dim=-1,
    )


class FFN(nn.Module):
    """The plain feed-forward layer ``W2 GELU(W1 x + b1) + b2``: (N, T, d) → (N, T, d)."""

    def __init__(self, d: int, hidden: int) -> None:
        """
        Raises:
            ValueError: for a size below 1.
        """
        super().__init__()
        require_positive(d=d, hidden=hidden)
        self.fc1 = nn.Linear(d, hidden)
        self.activation = nn.GELU()
        self.fc2 = nn.Linear(hidden, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))
