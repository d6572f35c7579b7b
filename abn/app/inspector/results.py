"""What one picture's inspection holds, as plain NumPy: what the page draws and the API returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from abn.interpret.reference.statistics import BlockReference, own_share


@dataclass(frozen=True)
class ChannelSum:
    """One channel's exact sum, ``(W c)_i + Σ_k α_k B_ik = m_i`` and ``f_i = 1 + tanh(m_i)``, in float64.

    Attributes:
        bias_terms: (K,) signed parts ``α_k B_ik``.
        network_factor: the factor the network itself computed, in float32.
    """

    block: str
    channel: int
    linear_term: float
    bias_terms: np.ndarray
    network_factor: float

    @property
    def preactivation(self) -> float:
        return self.linear_term + float(self.bias_terms.sum())

    @property
    def factor(self) -> float:
        return 1 + float(np.tanh(self.preactivation))

    @property
    def residual(self) -> float:
        """The sum's factor minus the network's own: rounding, and nothing else."""
        return self.factor - self.network_factor


@dataclass(frozen=True)
class BlockResult:
    """One block of one network for one picture.

    Attributes:
        factors: (C,) in force.
        response: (C,) mean output of the second convolution, before the factors.
        linear_term, gate_weights, bias_bank: (C,), (K,), (C, K); None in a block without a bank.
        reference: its statistics over the data set, where the checkpoint carries them.
        preactivation: (C,) what the function that gives the factors was given, of a modulated block without a bank;
            with a bank it is the sum of the parts.
    """

    name: str
    factors: np.ndarray
    response: np.ndarray
    linear_term: np.ndarray | None = None
    gate_weights: np.ndarray | None = None
    bias_bank: np.ndarray | None = None
    reference: BlockReference | None = None
    preactivation: np.ndarray | None = None

    @property
    def is_modulated(self) -> bool:
        """Whether its factors depend on the picture."""
        return self.has_bank or self.preactivation is not None

    @property
    def has_bank(self) -> bool:
        """Whether its factors come of a linear term and gated biases."""
        return self.linear_term is not None

    @property
    def bias_term(self) -> np.ndarray:
        """(C,) ``B α``."""
        return self.bias_bank @ self.gate_weights

    def channel_sum(self, channel: int) -> ChannelSum:
        """The exact sum of one channel.

        Raises:
            ValueError: for a block without a bank, or a channel it does not have.
        """
        if not self.is_modulated:
            raise ValueError(f"{self.name} is static: its factors are 1 and have no parts")
        if not self.has_bank:
            raise ValueError(f"{self.name} has no bank of biases: its factors are no sum of parts")
        if not 0 <= channel < len(self.factors):
            raise ValueError(f"{self.name} has no channel {channel}; it has channels 0 to {len(self.factors) - 1}")
        return ChannelSum(
            self.name,
            channel,
            float(self.linear_term[channel]),
            self.gate_weights.astype(np.float64) * self.bias_bank[channel].astype(np.float64),
            float(self.factors[channel]),
        )

    def as_dict(self) -> dict[str, Any]:
        values = {"factors": self.factors, "response": self.response}
        if self.reference is not None and self.reference.factors is not None:
            values |= {
                "usual_mean": self.reference.factors.mean,
                "usual_sd": self.reference.factors.sd,
                "percentile": self.reference.factors.percentile(self.factors),
            }
        if self.preactivation is not None:
            values["preactivation"] = self.preactivation
        if self.has_bank:
            values |= {
                "gate_weights": self.gate_weights,
                "linear_term": self.linear_term,
                "bias_term": self.bias_term,
            }
        return {name: array.tolist() for name, array in values.items()}


@dataclass(frozen=True)
class OwnShare:
    """How much of a picture's modulation is its own, see `abn.interpret.reference.statistics.own_share`.

    Attributes:
        share: of the squares of the factors' deviations, in [0, 1]; the rest, 1 - share, every picture gets.
        median: the share of the data set's image in the middle; None where an export does not say.
    """

    share: float
    median: float | None


@dataclass(frozen=True)
class NetworkResult:
    """What one network said about one picture, and how it modulated its channels.

    Attributes:
        label: for people, e.g. "ResNet-DMB".
        probabilities: (num_classes,) raw softmax.
        median_own_share: of the data set's images, in [0, 1]; None where it is not known.
    """

    label: str
    architecture: str
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    blocks: tuple[BlockResult, ...]
    median_own_share: float | None = None

    @property
    def is_modulated(self) -> bool:
        return any(block.is_modulated for block in self.blocks)

    @property
    def has_bank(self) -> bool:
        """Whether it has gate weights."""
        return any(block.has_bank for block in self.blocks)

    @property
    def predicted(self) -> int:
        """Index of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def predicted_name(self) -> str:
        return self.class_names[self.predicted]

    @property
    def has_reference(self) -> bool:
        return all(block.reference is not None and block.reference.factors is not None for block in self.blocks)

    def block(self, name: str) -> BlockResult:
        """
        Raises:
            ValueError: for a block the network does not have.
        """
        for block in self.blocks:
            if block.name == name:
                return block
        raise ValueError(f"there is no block {name!r}; there are {', '.join(b.name for b in self.blocks)}")

    def own_share(self) -> OwnShare | None:
        """None for a checkpoint without a reference."""
        if not self.has_reference:
            return None
        means = np.concatenate([block.reference.factors.mean for block in self.blocks])
        factors = np.concatenate([block.factors for block in self.blocks])
        return OwnShare(float(own_share(factors, means)), self.median_own_share)

    def as_dict(self) -> dict[str, Any]:
        return {
            "network": self.label,
            "architecture": self.architecture,
            "predicted": self.predicted_name,
            "raw_softmax": dict(zip(self.class_names, self.probabilities.tolist(), strict=True)),
            "blocks": {block.name: block.as_dict() for block in self.blocks},
        }


@dataclass(frozen=True, eq=False)
class PictureResult:
    """Both networks on one picture.

    Attributes:
        pixels: (H, W, 3) uint8, what the networks were given.
    """

    pixels: np.ndarray
    baseline: NetworkResult
    dmb: NetworkResult

    @property
    def networks(self) -> tuple[NetworkResult, NetworkResult]:
        return self.baseline, self.dmb

    def side(self, name: str) -> NetworkResult:
        """The network on one side, "baseline" or "dmb"; the modulated one where the baseline has no factors."""
        return self.baseline if name == "baseline" and self.baseline.is_modulated else self.dmb

    @property
    def agree(self) -> bool:
        return self.baseline.predicted_name == self.dmb.predicted_name

    def as_dict(self) -> dict[str, Any]:
        return {"agree": self.agree, "baseline": self.baseline.as_dict(), "dmb": self.dmb.as_dict()}
