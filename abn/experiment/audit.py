"""A checkpoint's audit, as `abn audit CHECKPOINT --data DIR` writes it."""

from __future__ import annotations

from dataclasses import dataclass

from abn.experiment.fields import Fields, parse_object

MAKE_AUDIT = "write it anew with `abn audit CHECKPOINT --data DIR`"


@dataclass(frozen=True)
class Frozen:
    """A network with its factors frozen in one way, over all images.

    Attributes:
        accuracy: in percent.
        difference: free minus frozen, in points, with its 95 % interval `low` to `high`, paired over images.
    """

    accuracy: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Condition:
    """One way to freeze the factors.

    Attributes:
        trained: with bn2's running statistics as trained.
        reestimated: with those re-estimated on training images under the condition; None where that was not done.
    """

    name: str
    label: str
    trained: Frozen
    reestimated: Frozen | None


@dataclass(frozen=True)
class AuditBlock:
    """One block over all images.

    Attributes:
        between_class, within_class: parts of a factor's variance, mean over the channels.
        entropy: mean entropy of the gate weights over log K, in [0, 1]; None without gates.
        leads: (K,) shares of the images in which a bias vector has the largest gate weight; empty without gates.
        bank_share: mean of |B α| / (|W c| + |B α|), in [0, 1]; None without a bank.
        bank_variation: the same share of what varies between images; None without a bank.
    """

    name: str
    channels: int
    between_class: float
    within_class: float
    entropy: float | None
    leads: tuple[float, ...]
    bank_share: float | None
    bank_variation: float | None

    @property
    def between_share(self) -> float | None:
        """Share of the variance that lies between the classes, in [0, 1]; None where no factor varies."""
        total = self.between_class + self.within_class
        return self.between_class / total if total else None


@dataclass(frozen=True)
class Audit:
    """What a checkpoint's modulation does over a data set's images.

    Attributes:
        recipe, epochs, seed: None where a checkpoint does not tell, as one with converted weights.
        answers: (question, answer) pairs, a sentence each.
        accuracy: with nothing frozen, in percent.
        reestimated: the same with bn2's statistics re-estimated; its difference is what that alone costs. None where
            that was not done.
    """

    checkpoint: str
    recipe: str | None
    epochs: int | None
    seed: int | None
    images: int
    device: str
    torch: str
    answers: tuple[tuple[str, str], ...]
    blocks: tuple[AuditBlock, ...]
    conditions: tuple[Condition, ...]
    accuracy: float
    reestimated: Frozen | None


def parse_audit(text: str, where: str) -> Audit:
    """A checkpoint's audit.

    Args:
        where: the file from `results/` on, for messages.

    Raises:
        ResultsError: for a text that is no audit.
    """
    fields = parse_object(text, where, MAKE_AUDIT)
    free = fields.needed("free")
    again = free.part("reestimated")
    known = fields.values
    return Audit(
        fields.text("checkpoint"),
        None if known.get("recipe") is None else fields.text("recipe"),
        None if known.get("epochs") is None else fields.whole("epochs", 1),
        None if known.get("seed") is None else fields.whole("seed"),
        fields.whole("images", 1), fields.text("device"), fields.text("torch"),
        tuple((part.text("question"), part.text("answer")) for part in fields.parts("answers")),
        tuple(_block(part) for part in fields.parts("blocks")),
        tuple(_condition(part) for part in fields.parts("conditions")),
        free.number("accuracy", 0, 100), None if again is None else _frozen(again),
    )  # fmt: skip


def _block(fields: Fields) -> AuditBlock:
    return AuditBlock(
        fields.text("name"), fields.whole("channels", 1), fields.number("between_class", 0),
        fields.number("within_class", 0), fields.maybe("entropy", 0, 1.000001),
        () if fields.values.get("leads") is None else fields.numbers("leads", 0, 1),
        *(fields.maybe(key, 0, 1) for key in ("bank_share", "bank_variation")),
    )  # fmt: skip


def _condition(fields: Fields) -> Condition:
    again = fields.part("reestimated")
    return Condition(
        fields.text("name"), fields.text("label"), _frozen(fields.needed("trained")),
        None if again is None else _frozen(again),
    )  # fmt: skip


def _frozen(fields: Fields) -> Frozen:
    points = (fields.number(key, -100, 100) for key in ("difference", "low", "high"))
    return Frozen(fields.number("accuracy", 0, 100), *points)
