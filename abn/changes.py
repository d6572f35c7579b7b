"""What a person changes of a network's modulation, in plain values, and the probe that does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from abn import interventions
from abn.resnet import Probe, ResNet
from abn.results import NetworkResult

OWN, UNIFORM, REMOVED = "own", "uniform", "removed"
VECTOR = "vector "
STRONGEST = 4.0
LARGEST_FACTOR = 2.0  # of those a network can compute


def gate_choices(num_biases: int) -> dict[str, str]:
    """What the gates may be set to → what that does, for people."""
    return {
        OWN: "as the network computes them",
        UNIFORM: f"every bias vector with the weight 1/{num_biases}",
        REMOVED: "no bias vector: factors 1 + tanh(W c)",
    } | {f"{VECTOR}{k}": f"bias vector {k} alone" for k in range(num_biases)}


@dataclass(frozen=True)
class Change:
    """A change of one network's modulation; what stands first acts first.

    Attributes:
        block: such as "layer2.0"; None for every block.
        gates: a key of `gate_choices`.
        strength: factors become ``1 + s·(f - 1)``, which is ``1 + s·tanh(m)``: 0 removes the modulation, 1 leaves it.
        channel: of the block, which then has to be named, one channel to give another factor; None for none.
        factor: that channel's, in [0, 2]; 1 takes its modulation away, 0 silences its convolution.
    """

    block: str | None = None
    gates: str = OWN
    strength: float = 1.0
    channel: int | None = None
    factor: float = 1.0

    def probe(self, model: ResNet) -> Probe:
        """The probe for a network with bias banks.

        Raises:
            ValueError: for a block, bias vector or channel the network does not have, a value out of its range, or
                a channel of no block in particular.
        """
        choices = gate_choices(model.num_biases)
        if self.gates not in choices:
            raise ValueError(f"the gates cannot be {self.gates!r}; choose one of {', '.join(choices)}")
        _require_between("strength", self.strength, STRONGEST)
        _require_between("factor", self.factor, LARGEST_FACTOR)
        blocks = None if self.block is None else [self.block]
        model.require_blocks(None if blocks is None else frozenset(blocks))
        probes = []
        if self.gates == UNIFORM:
            probes.append(interventions.uniform_gates(blocks))
        elif self.gates == REMOVED:
            probes.append(interventions.without_bank(blocks))
        elif self.gates != OWN:
            probes.append(interventions.only_vector(int(self.gates.removeprefix(VECTOR)), blocks))
        probes.append(interventions.scaled(self.strength, blocks))
        if self.channel is not None:
            if self.block is None:
                raise ValueError(f"channel {self.channel} is of no block yet; name the block, such as layer2.0")
            probes.append(interventions.channel(self.block, self.channel, self.factor))
        return interventions.compose(*probes)


@dataclass(frozen=True, eq=False)
class Intervened:
    """One network on one picture, without a change and with it; batch normalisation is as trained in both.

    Attributes:
        before, after: `after` holds what was in force: changed factors, and what followed from them in later blocks.
    """

    change: Change
    before: NetworkResult
    after: NetworkResult

    @property
    def moved(self) -> float:
        """Total variation distance ``½ Σ |p - q|`` of the two raw softmaxes: 0 for the same, 1 for disjoint ones."""
        return 0.5 * float(abs(self.after.probabilities - self.before.probabilities).sum())

    def as_dict(self) -> dict[str, Any]:
        return {
            "change": asdict(self.change),
            "moved": self.moved,
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
        }


def _require_between(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{name} is {value!r}; expected a number from 0 to {most:g}")
