"""A group's `table.json`, as `abn reproduce --table` computes it from the runs."""

from __future__ import annotations

from dataclasses import dataclass

from abn.experiment.fields import Fields, ResultsError, parse_object

MAKE_TABLE = "write it anew with `abn reproduce --table`"


@dataclass(frozen=True)
class Spread:
    """Test accuracies of `n` runs, in percent.

    Attributes:
        sd: standard deviation over the runs; None for a single one.
    """

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class ArmRow:
    """One arm of the table.

    Attributes:
        n: finished runs.
        last: of the last epoch; None where no run is finished.
        best: of each run's best epoch on the test set, a biased figure; None where no run was evaluated after
            every epoch.
    """

    arm: str
    label: str
    parameters: int
    n: int
    last: Spread | None
    best: Spread | None


@dataclass(frozen=True)
class Contrast:
    """ResNet-DMB minus another arm, paired by seed, in points of last-epoch test accuracy.

    Attributes:
        arm: the other arm.
        n: seeds that finished both.
        mean: None where there is no such seed.
        low, high: 95 % t-interval; None where n < 2.
        p, p_holm: two-sided, as it is and corrected over the contrasts; in [0, 1], or None.
        seeds_needed: seeds that would detect the paper's difference at 80 % power, two-sided 5 %; or None.
        seeds_needed_low, seeds_needed_high: the same for the 95 % limits of the spread between seeds; or None.
        verdict: one sentence.
    """

    arm: str
    label: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    seeds_needed: int | None
    seeds_needed_low: int | None
    seeds_needed_high: int | None
    verdict: str


@dataclass(frozen=True)
class Table:
    """A group's table.

    Attributes:
        command: what goes on with the experiment.
        banks: a sentence for each arm of which it is known what its bank did at the end.
        diverged: runs whose loss was no longer a number, which do not count.
    """

    recipe: str
    epochs: int
    command: str
    arms: tuple[ArmRow, ...]
    contrasts: tuple[Contrast, ...]
    problems: tuple[str, ...]
    banks: tuple[str, ...]
    diverged: tuple[str, ...]


def parse_table(text: str, where: str, arms: dict[str, str]) -> Table:
    """A `table.json`.

    Args:
        where: the file from `results/` on, for messages.
        arms: the known ones.

    Raises:
        ResultsError: for a text that is no such table.
    """
    fields = parse_object(text, where, MAKE_TABLE)
    return Table(
        fields.text("recipe"), fields.whole("epochs", 1), fields.text("command"),
        tuple(_arm_row(part, arms) for part in fields.parts("arms")),
        tuple(_contrast(part, arms) for part in fields.parts("contrasts")),
        *(fields.texts(key) for key in ("problems", "banks", "diverged")),
    )  # fmt: skip


def _arm_row(fields: Fields, arms: dict[str, str]) -> ArmRow:
    n = fields.whole("n")
    spreads = {}
    for key in ("last", "best"):
        part = fields.part(key)
        spreads[key] = None
        if part is not None and part.values.get("mean") is not None:
            count = part.whole("n", 1, n) if "n" in part.values else n
            spreads[key] = Spread(count, part.number("mean", 0, 100), part.maybe("sd", 0, 100))
    return ArmRow(_known(fields, arms), fields.text("label"), fields.whole("parameters"), n, **spreads)


def _contrast(fields: Fields, arms: dict[str, str]) -> Contrast:
    n = fields.whole("n")
    points = {key: fields.maybe(key, -100, 100) for key in ("mean", "low", "high")}
    if n:
        fields.number("mean", -100, 100)
    if (points["low"] is None) != (points["high"] is None):
        raise ResultsError(f"{fields.where}: one of low and high is null; expected both or neither; {fields.remedy}")
    shares = {key: fields.maybe(key, 0, 1) for key in ("p", "p_holm")}
    keys = ("seeds_needed", "seeds_needed_low", "seeds_needed_high")
    needed = {key: None if fields.values.get(key) is None else fields.whole(key, 2) for key in keys}
    arm, label, verdict = _known(fields, arms), fields.text("label"), fields.text("verdict")
    return Contrast(arm, label, n, **points, **shares, **needed, verdict=verdict)


def _known(fields: Fields, arms: dict[str, str]) -> str:
    arm = fields.text("arm")
    if arm not in arms:
        raise ResultsError(f"{fields.where}: {arm!r} is no arm; expected one of {', '.join(arms)}; {fields.remedy}")
    return arm
