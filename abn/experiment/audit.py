"""A checkpoint's audit, as `abn audit CHECKPOINT --data DIR` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from abn.common.documents import STRICT, Text, Within
from abn.experiment.fields import read_results_document
from abn.experiment.table import Percent, Points, Share

MAKE_AUDIT = "write it anew with `abn audit CHECKPOINT --data DIR`"

Variance = Annotated[float, Within(0)]
Size = Annotated[int, Within(1)]


@dataclass(frozen=True)
class Frozen:
    """A network with its factors frozen in one way, over all images.

    Attributes:
        accuracy: in percent.
        difference: free minus frozen, in points, with its 95 % interval `low` to `high`, paired over images.
    """

    accuracy: Percent
    difference: Points
    low: Points
    high: Points


@dataclass(frozen=True)
class Condition:
    """One way to freeze the factors.

    Attributes:
        trained: with bn2's running statistics as trained.
        reestimated: with those re-estimated on training images under the condition; None where that was not done.
    """

    name: Text
    label: Text
    trained: Frozen
    reestimated: Frozen | None = None


@dataclass(frozen=True)
class AuditBlock:
    """One block over all images.

    Attributes:
        between_class, within_class: parts of a factor's variance, mean over the channels.
        entropy: mean entropy of the gate weights over log K, in [0, 1]; None without gates.
        leads: (K,) shares of the images in which a bias vector has the largest gate weight; None without gates.
        bank_share: mean of |B α| / (|W c| + |B α|), in [0, 1]; None without a bank.
        bank_variation: the same share of what varies between images; None without a bank.
    """

    name: Text
    channels: Size
    between_class: Variance
    within_class: Variance
    entropy: Annotated[float, Within(0, 1.000001)] | None = None
    leads: tuple[Share, ...] | None = None
    bank_share: Share | None = None
    bank_variation: Share | None = None

    @property
    def between_share(self) -> float | None:
        """Share of the variance that lies between the classes, in [0, 1]; None where no factor varies."""
        total = self.between_class + self.within_class
        return self.between_class / total if total else None


@dataclass(frozen=True)
class Answer:
    """A question about the checkpoint and what the audit found, a sentence each."""

    question: Text
    answer: Text


@dataclass(frozen=True)
class Free:
    """The network with nothing frozen.

    Attributes:
        accuracy: in percent.
        reestimated: with bn2's statistics re-estimated; its difference is what that alone costs. None where that was
            not done.
    """

    accuracy: Percent
    reestimated: Frozen | None = None


@dataclass(frozen=True)
class Audit:
    """What a checkpoint's modulation does over a data set's images.

    Attributes:
        recipe, epochs, seed: None where a checkpoint does not tell, as one with converted weights.
    """

    __pydantic_config__ = STRICT

    checkpoint: Text
    images: Size
    device: Text
    torch: Text
    answers: tuple[Answer, ...]
    blocks: tuple[AuditBlock, ...]
    conditions: tuple[Condition, ...]
    free: Free
    recipe: Text | None = None
    epochs: Size | None = None
    seed: Annotated[int, Within(0)] | None = None


def parse_audit(content: bytes, where: str) -> Audit:
    """A checkpoint's audit.

    Args:
        where: the file from `results/` on, for messages.

    Raises:
        ResultsError: for what is no audit.
    """
    return read_results_document(Audit, content, where, MAKE_AUDIT)
