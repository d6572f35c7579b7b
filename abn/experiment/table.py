"""A group's `table.json`, as `abn reproduce --table` computes it from the runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from abn.common.documents import STRICT, Expected, Text, Within
from abn.experiment.fields import read_results_document
from abn.experiment.runs import ARM_LABELS

MAKE_TABLE = "write it anew with `abn reproduce --table`"

Arm = Annotated[str, Expected(f"an arm: one of {', '.join(ARM_LABELS)}", lambda arm: arm in ARM_LABELS)]
Percent = Annotated[float, Within(0, 100)]
Points = Annotated[float, Within(-100, 100)]
Share = Annotated[float, Within(0, 1)]
Count = Annotated[int, Within(0)]
Seeds = Annotated[int, Within(2)]


@dataclass(frozen=True)
class Spread:
    """Test accuracies of some runs, in percent.

    Attributes:
        sd: standard deviation over the runs; None for a single one.
        n: of runs; None where it is the row's.
    """

    mean: Percent
    sd: Percent | None = None
    n: Annotated[int, Within(1)] | None = None


@dataclass(frozen=True)
class ArmRow:
    """One arm of the table.

    Attributes:
        n: finished runs.
        last: of the last epoch; None where no run is finished.
        best: of each run's best epoch on the test set, a biased figure; None where no run was evaluated after
            every epoch.
    """

    arm: Arm
    label: Text
    parameters: Count
    n: Count
    last: Spread | None = None
    best: Spread | None = None

    def __post_init__(self) -> None:
        for name in ("last", "best"):
            spread = getattr(self, name)
            if spread is not None and (spread.n or 1) > self.n:
                raise ValueError(f"has {self.n} runs and {name} is of {spread.n or 1}; expected no more than it has")
            if spread is not None:
                object.__setattr__(self, name, replace(spread, n=spread.n or self.n))


@dataclass(frozen=True)
class Contrast:
    """ResNet-DMB minus another arm, paired by seed, in points of last-epoch test accuracy.

    Attributes:
        arm: the other arm.
        n: seeds that finished both.
        mean: None where there is no such seed.
        low, high: simultaneous 95 % interval over the planned contrasts; None where n < 2.
        p_adjusted: two-sided, corrected over them; below 0.05 exactly where the interval does not hold 0; or None.
        low_alone, high_alone, p: 95 % interval and p-value of this contrast alone; or None.
        seeds_needed: seeds that would detect the paper's difference at 80 % power, two-sided 5 %; or None.
        seeds_needed_low, seeds_needed_high: the same for the 95 % limits of the spread between seeds; or None.
        verdict: one sentence.
    """

    arm: Arm
    label: Text
    n: Count
    verdict: Text
    mean: Points | None = None
    low: float | None = None
    high: float | None = None
    p_adjusted: Share | None = None
    low_alone: float | None = None
    high_alone: float | None = None
    p: Share | None = None
    seeds_needed: Seeds | None = None
    seeds_needed_low: Seeds | None = None
    seeds_needed_high: Seeds | None = None

    def __post_init__(self) -> None:
        if self.n and self.mean is None:
            raise ValueError(f"has n = {self.n} and no mean; expected one where n is not 0")
        for low, high in (("low", "high"), ("low_alone", "high_alone")):
            if (getattr(self, low) is None) != (getattr(self, high) is None):
                raise ValueError(f"has one of {low} and {high} alone; expected both or neither")


@dataclass(frozen=True)
class Table:
    """A group's table.

    Attributes:
        command: what goes on with the experiment.
        banks: a sentence for each arm of which it is known what its bank did at the end.
        diverged: runs whose loss was no longer a number, which do not count.
    """

    __pydantic_config__ = STRICT

    recipe: Text
    epochs: Annotated[int, Within(1)]
    command: Text
    arms: tuple[ArmRow, ...]
    contrasts: tuple[Contrast, ...]
    problems: tuple[str, ...] = ()
    banks: tuple[str, ...] = ()
    diverged: tuple[str, ...] = ()


def parse_table(content: bytes, where: str) -> Table:
    """A `table.json`.

    Args:
        where: the file from `results/` on, for messages.

    Raises:
        ResultsError: for what is no such table.
    """
    return read_results_document(Table, content, where, MAKE_TABLE)
