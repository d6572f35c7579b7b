"""The experiment's runs: several arms, each over seeds; on disk a JSON object a line and epoch.

    results/<recipe>-<epochs>/<arm>-<seed>.jsonl

The one place that knows a line's format. A line that is broken or of another run is skipped and named; runs of two
recipes in one folder are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from abn.common.documents import STRICT, Text, Within
from abn.experiment.fields import ResultsError, read_results_document, shown
from abn.models import registry

ARM_LABELS = {name: arm.label for name, arm in registry.arms().items()}
PAPER = {"resnet-s": 91.31, "resnet-dmb": 91.68}  # %, best epoch on the test set, 15 epochs, one run each
PAPER_DIFFERENCE = 0.37  # points
PAPER_RECIPE = "paper"
PAPER_EPOCHS = 15


def is_as_the_paper(recipe: str, epochs: int) -> bool:
    """Whether runs were trained as the paper's were, and can be held against its figures."""
    return (recipe, epochs) == (PAPER_RECIPE, PAPER_EPOCHS)


_SKIPPED = "the line is skipped; remove it, or train the run again"
_RUN = re.compile(r"(?P<arm>.+)-(?P<seed>0|[1-9]\d{0,11})\.jsonl")


Share = Annotated[float, Within(0, 1)]
Accuracy = Annotated[float, Within(0, 100)]
Loss = Annotated[float, Within(0)]


@dataclass(frozen=True)
class BankUse:
    """What a finished network's bank did over the test images, means over the blocks.

    Attributes:
        entropy: of the gates, as a share of log K.
        choice: how much the gates differ between images.
        bank_share, bank_variation: the bank's share of the pre-activation, and of what varies in it.
        factor_sd: standard deviation of a factor over the images.
    """

    entropy: Share
    choice: Share
    bank_share: Share
    bank_variation: Share
    factor_sd: Share


BANK_FIELDS = tuple(BankUse.__annotations__)


@dataclass(frozen=True)
class _Line:
    """One line of a run's file; what has a default may be missing, as in lines of earlier versions."""

    __pydantic_config__ = STRICT

    arm: Text
    seed: Annotated[int, Within(0)]
    recipe: Text
    recipe_sha256: Text
    epochs: Annotated[int, Within(1)]
    holdout: Annotated[int, Within(0)]
    parameters: Annotated[int, Within(1)]
    epoch: Annotated[int, Within(1)]
    seconds: Annotated[float, Within(0)]
    device: Text
    torch: Text
    torchvision: Text = ""
    learning_rate: Annotated[float, Within(0)] | None = None
    train_accuracy: Accuracy | None = None
    train_loss: Loss | None = None
    test_accuracy: Accuracy | None = None
    test_loss: Loss | None = None
    holdout_accuracy: Accuracy | None = None
    holdout_loss: Loss | None = None
    workers: Annotated[int, Within(1)] | None = None
    precision: Text = ""
    variant: Text = ""
    data: Text = ""
    compiled: bool | None = None
    diverged: bool | None = None
    bank: BankUse | None = None

    def __post_init__(self) -> None:
        if self.epoch > self.epochs:
            raise ValueError(f"is of epoch {self.epoch}; expected a whole number from 1 to {self.epochs}")


@dataclass(frozen=True)
class RunLog:
    """One run: an arm trained from one seed.

    Attributes:
        recipe_sha256: of the recipe's settings, its first 12 hexadecimal digits.
        epochs: how many the run is to have.
        holdout: training images held out of it.
        records: a line's fields an epoch, one at least, by rising epoch; accuracies in percent.
    """

    arm: str
    seed: int
    recipe: str
    recipe_sha256: str
    epochs: int
    holdout: int
    parameters: int
    records: Sequence[dict[str, Any]]

    @property
    def finished(self) -> bool:
        """Whether the last epoch is there."""
        return self.records[-1]["epoch"] == self.epochs and self.diverged is None

    @property
    def last(self) -> float | None:
        """Test accuracy after the last epoch, in percent; None for a run that is not finished or was not tested."""
        return self.records[-1].get("test_accuracy") if self.finished else None

    @property
    def diverged(self) -> int | None:
        """The epoch in which its loss was no longer a number; None for a run to which that did not happen."""
        return self.records[-1]["epoch"] if self.records[-1].get("diverged") else None

    @property
    def best(self) -> float | None:
        """Test accuracy of the best epoch, in percent: chosen on the test set, so biased upwards.

        None unless the run is finished and was tested after every epoch.
        """
        _, accuracies = self.curve
        return max(accuracies) if self.finished and len(accuracies) == self.epochs else None

    @property
    def bank(self) -> dict[str, float] | None:
        """What the finished network's bank did over the test images, as `BANK_FIELDS`, means over the blocks.

        None for a run that is not finished, a network without gates, or a run of which it was not measured.
        """
        return self.records[-1].get("bank") if self.finished else None

    @property
    def curve(self) -> tuple[list[int], list[float]]:
        """The epochs after which the network was tested, and its test accuracies, in percent."""
        tested = [record for record in self.records if record.get("test_accuracy") is not None]
        return [record["epoch"] for record in tested], [record["test_accuracy"] for record in tested]


def group_name(recipe: str, epochs: int) -> str:
    """The folder of a group's runs."""
    return f"{recipe}-{epochs}"


def run_file(arm: str, seed: int) -> str:
    """The file of a run's lines, in its group's folder."""
    return f"{arm}-{seed}.jsonl"


def read_runs(folder: Path) -> tuple[list[RunLog], list[str]]:
    """All runs of a group's folder, by arm and seed, and a sentence for each line or file that was skipped.

    A folder that is not there holds no runs.

    Raises:
        ResultsError: "mixed recipes in one table", for lines of two recipes or numbers of epochs; "mixed networks in
            one arm", for lines of an arm that was defined otherwise.
    """
    runs, problems = [], []
    first: tuple[str, tuple] | None = None
    networks: dict[tuple[str, str], str | int] = {}
    for path in sorted(folder.glob("*.jsonl")):
        where = f"{shown(folder.name)}/{shown(path.name)}"
        named = _RUN.fullmatch(path.name)
        if named is None or named["arm"] not in ARM_LABELS:
            problems.append(
                f"{where}: no run's name, so the file is skipped; expected ARM-SEED.jsonl with one of "
                f"{', '.join(ARM_LABELS)}; rename or remove it"
            )
            continue
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            problems.append(f"{where} cannot be read ({error.strerror}); look at the file and its permissions")
            continue
        records: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(lines, start=1):
            place = f"{where}, line {number}"
            try:
                record = _parse_line(line, place, named["arm"], int(named["seed"]))
            except ResultsError as error:
                problems.append(str(error))
                continue
            kind = tuple(record[key] for key in ("recipe", "recipe_sha256", "epochs", "holdout"))
            first = first or (place, kind)
            for key in ("variant", "parameters"):
                value = record.get(key)
                known = networks.setdefault((named["arm"], key), value) if value is not None else None
                if known != value:  # earlier lines do not tell the variant
                    raise ResultsError(
                        f"mixed networks in one arm: {place} is of {_network(key, value)}, an earlier line of "
                        f"{_network(key, known)}; expected one: move the other runs to a folder of their own"
                    )
            if kind != first[1]:
                raise ResultsError(
                    f"mixed recipes in one table: {_in_words(*first)}, and {_in_words(place, kind)}; expected one "
                    "recipe in a folder: move the other runs to a folder of their own"
                )
            if record["epoch"] in records:
                problems.append(f"{place}: epoch {record['epoch']} stands there again; the later line counts")
            records[record["epoch"]] = record
        if records:
            in_order = tuple(records[epoch] for epoch in sorted(records))
            last = in_order[-1]
            runs.append(RunLog(last["arm"], last["seed"], *first[1], last["parameters"], in_order))
    order = list(ARM_LABELS)
    return sorted(runs, key=lambda run: (order.index(run.arm), run.seed)), problems


def _parse_line(content: bytes, where: str, arm: str, seed: int) -> dict[str, Any]:
    """The fields that the line has."""
    line = read_results_document(_Line, content, where, _SKIPPED)
    if (line.arm, line.seed) != (arm, seed):
        found = run_file(line.arm, line.seed)
        raise ResultsError(f"{where}: a line of {found!r}; expected one of {run_file(arm, seed)!r}; {_SKIPPED}")
    return {name: value for name, value in asdict(line).items() if value is not None and value != ""}


def _network(key: str, value: str | int) -> str:
    return f"{value:,} parameters" if key == "parameters" else str(value)


def _in_words(place: str, kind: tuple) -> str:
    recipe, sha256, epochs, holdout = kind
    return f"{place} is of {recipe} ({sha256}), {epochs} epochs, {holdout} images held out"
