"""What a person changes of a network's modulation, in plain values, and the hook that does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any

from abn.app.inspector.results import NetworkResult
from abn.interpret import interventions
from abn.models.modulation import Hook, require_blocks
from abn.models.registry import ARCHITECTURES
from abn.models.resnet import ResNet

OWN, UNIFORM, NO_BANK, ONE_VECTOR = "own", "uniform", "no bank", "one vector"
GATES = {
    OWN: "as the network computes them",
    UNIFORM: "every bias vector with the weight 1/K",
    NO_BANK: "no bias vector at all, so that the factors are 1 + tanh(W c)",
    ONE_VECTOR: "the whole weight on the vector that is named",
}
STRONGEST = 4.0  # times what the network does: a bound for controls
LARGEST_FACTOR = 2.0  # of those a network can compute


@dataclass(frozen=True)
class Change:
    """A change of one network's modulation; what stands first acts first.

    Attributes:
        block: such as "layer2.0"; None for every block.
        gates: a key of `GATES`.
        strength: in [0, 4]; factors become ``1 + s·(f - 1)``, which is ``1 + s·tanh(m)``: 0 removes the modulation, 1
            leaves it.
        vector: in [0, K), the one of "one vector"; None with other gates.
        channel: in [0, C) of the block, which then has to be named: the one to get another factor; None for none.
        factor: in [0, 2], that channel's in place of its own: 1 takes its modulation away, 0 silences its
            convolution.
    """

    block: str | None = None
    gates: str = OWN
    strength: float = 1.0
    vector: int | None = None
    channel: int | None = None
    factor: float | None = None

    def hook(self, model: ResNet) -> Hook:
        """The hook that does it, for that network.

        Raises:
            ValueError: for a static network; other gates than its own where there is no bank; a block, vector or
                channel that it does not have; a value out of its range; and values of which one needs another that
                is not there.
        """
        if not ARCHITECTURES[model.architecture].modulated:
            raise ValueError("this network is static: it has no gates or factors to change")
        blocks = dict(model.blocks())
        chosen = None if self.block is None else [self.block]
        _require_between("strength", self.strength, STRONGEST)
        scaled = interventions.scaled(float(self.strength), chosen)
        require_blocks(scaled, blocks)
        hooks = [*self._gates(model.num_biases, chosen), scaled]
        if self.channel is not None or self.factor is not None:
            if self.block is None or self.channel is None or self.factor is None:
                raise ValueError(
                    f"block {self.block or 'none'}, channel {_said(self.channel)}, factor {_said(self.factor)}: to "
                    "change one channel, name its block, such as layer2.0, the channel, and its factor"
                )
            _require_between("factor", self.factor, LARGEST_FACTOR)
            _require_index("channel", self.channel, blocks[self.block])
            hooks.append(interventions.channel(self.block, int(self.channel), float(self.factor)))
        return interventions.compose(*hooks)

    def _gates(self, num_biases: int | None, blocks: list[str] | None) -> list[Hook]:
        if self.gates not in list(GATES):  # a list, so that what cannot be hashed is refused too
            raise ValueError(f"the gates cannot be {self.gates!r}; choose one of {', '.join(GATES)}")
        if (self.gates == ONE_VECTOR) != (self.vector is not None):
            raise ValueError(
                f"vector is {_said(self.vector)} and the gates are {self.gates!r}; a vector is named with the gates "
                f"{ONE_VECTOR!r}, and only then"
            )
        if self.gates != OWN and num_biases is None:
            raise ValueError(f"the gates are {self.gates!r}, and this network has no bank of biases; choose {OWN!r}")
        if self.gates == UNIFORM:
            return [interventions.uniform_gates(blocks)]
        if self.gates == NO_BANK:
            return [interventions.without_bank(blocks)]
        if self.gates == ONE_VECTOR:
            _require_index("vector", self.vector, num_biases)
            return [interventions.only_vector(int(self.vector), blocks)]
        return []


@dataclass(frozen=True, eq=False)
class Intervened:
    """One network on one picture, without a change and with it.

    Batch normalisation keeps the statistics it was trained with in both, which no longer match changed factors: part
    of a difference comes from that alone.

    Attributes:
        before, after: `after` holds what was in force: changed gates and factors, and what followed from them in
            later blocks. Its factors need not follow from its parts, which are those before strength and factor act.
    """

    change: Change
    before: NetworkResult
    after: NetworkResult

    @property
    def total_variation(self) -> float:
        """``½ Σ |p - q|`` of the two raw softmaxes: 0 for the same, 1 for disjoint ones."""
        return 0.5 * float(abs(self.after.probabilities - self.before.probabilities).sum())

    def as_dict(self) -> dict[str, Any]:
        return {
            "change": asdict(self.change),
            "total_variation": self.total_variation,
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
        }


def _said(value: Any) -> str:
    return "none" if value is None else repr(value)


def _require_between(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= most:
        raise ValueError(f"{name} is {value!r}; expected a number from 0 to {most:g}")


def _require_index(name: str, value: Any, count: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value < count:
        raise ValueError(f"{name} is {value!r}; expected a whole number from 0 to {count - 1}")
