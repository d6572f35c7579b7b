"""A results folder: groups of runs with their tables, and audits.

results/<recipe>-<epochs>/<arm>-<seed>.jsonl    see abn.experiment.runs
results/<recipe>-<epochs>/table.json            see abn.experiment.table
results/audit/<checkpoint>.json                 see abn.experiment.audit
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from abn.experiment.audit import Audit, parse_audit
from abn.experiment.fields import ResultsError, shown
from abn.experiment.runs import ARM_LABELS, RunLog, group_name, is_as_the_paper, read_runs
from abn.experiment.table import MAKE_TABLE, Contrast, Table, parse_table

TABLE_FILE, AUDIT_FOLDER = "table.json", "audit"
_GROUP = re.compile(r"(?P<recipe>.+)-(?P<epochs>[1-9]\d{0,5})")


@dataclass(frozen=True)
class Group:
    """The runs that one table compares: one recipe, one number of epochs.

    Attributes:
        table: None where it cannot be had; `problems` say why.
        problems: a sentence each.
    """

    recipe: str
    epochs: int
    runs: tuple[RunLog, ...]
    table: Table | None
    problems: tuple[str, ...]

    @property
    def as_the_paper(self) -> bool:
        """Whether its runs can be held against the paper's figures."""
        return is_as_the_paper(self.recipe, self.epochs)

    def contrast(self, arm: str) -> Contrast | None:
        """ResNet-DMB minus `arm`; None where no seed finished both."""
        found = [each for each in self.table.contrasts if each.arm == arm and each.n] if self.table else []
        return found[0] if found else None


@dataclass(frozen=True)
class Results:
    """A results folder.

    Attributes:
        groups: first those with a seed that finished both of the paper's networks; of them the paper's recipe, then
            those with more such seeds.
        audits: checkpoints named after an arm in the arms' order, then the others.
    """

    groups: tuple[Group, ...] = ()
    audits: tuple[Audit, ...] = ()
    problems: tuple[str, ...] = ()


def read_results(folder: Path) -> Results:
    """Everything in a results folder; what cannot be used is told in `problems`, not raised."""
    groups, problems = [], []
    for path in _listed(folder, problems):
        if path.name == AUDIT_FOLDER or path.name.startswith("."):
            continue
        try:
            if not path.is_dir() or os.path.exists(path / "manifest.json"):
                continue  # a picture's bundle, see abn.app.export
            named = _GROUP.fullmatch(path.name)
            if named is None or shown(path.name) != path.name:
                problems.append(
                    f"{shown(path.name)}: no group's name; expected RECIPE-EPOCHS, as strong-40; rename or remove it"
                )
                continue
            groups.append(_read_group(path, named["recipe"], int(named["epochs"])))
        except OSError as error:
            problems.append(_cannot_be_read(shown(path.name), error))
    read: list[tuple[str, str, Audit]] = []
    for path in _listed(folder / AUDIT_FOLDER, problems):
        where = f"{AUDIT_FOLDER}/{shown(path.name)}"
        if path.suffix != ".json" or path.name.startswith("."):
            continue
        try:
            read.append((path.stem, where, parse_audit(_read(path), where)))
        except ResultsError as error:
            problems.append(str(error))
    audits: dict[str, Audit] = {}
    # Of several of one checkpoint the file that is named after it counts.
    for _, where, audit in sorted(read, key=lambda each: (each[0] != each[2].checkpoint, each[0])):
        if audits.setdefault(audit.checkpoint, audit) is not audit:
            problems.append(
                f"{where} is one more audit of {audit.checkpoint!r}, so it is skipped; remove one, or give the "
                "other's checkpoint another name"
            )
    return Results(
        tuple(sorted(groups, key=_precedence)), tuple(sorted(audits.values(), key=_place)), tuple(problems)
    )


def _listed(folder: Path, problems: list[str]) -> list[Path]:
    """What is in a folder; nothing where there is none, or where it cannot be read, which is told."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        problems.append(_cannot_be_read(shown(folder.name), error))
        return []


def _cannot_be_read(where: str, error: OSError) -> str:
    return f"{where} cannot be read ({error.strerror}); look at its permissions"


def _place(audit: Audit) -> tuple[int, str]:
    arms = list(ARM_LABELS)
    return arms.index(audit.checkpoint) if audit.checkpoint in arms else len(arms), audit.checkpoint


def _precedence(group: Group) -> tuple:
    contrast = group.contrast("resnet-s")
    seeds = contrast.n if contrast else 0
    return not seeds, not group.as_the_paper, -seeds, group.recipe, group.epochs


def _read_group(folder: Path, recipe: str, epochs: int) -> Group:
    table = None
    try:
        runs, problems = read_runs(folder)
        for run in runs:
            if (run.recipe, run.epochs) != (recipe, epochs):
                raise ResultsError(
                    f"{folder.name}: its runs are of {run.recipe}, {run.epochs} epochs; expected those of {recipe}, "
                    f"{epochs} epochs; rename the folder to {group_name(run.recipe, run.epochs)}"
                )
    except ResultsError as error:
        return Group(recipe, epochs, (), None, (str(error),))
    try:
        table = _read_table(folder / TABLE_FILE, recipe, epochs)
        problems += [*_older_than(table, runs, f"{folder.name}/{TABLE_FILE}"), *table.problems]
    except ResultsError as error:
        problems.append(str(error))
    return Group(recipe, epochs, tuple(runs), table, tuple(dict.fromkeys(problems)))


def _read_table(path: Path, recipe: str, epochs: int) -> Table:
    where = f"{path.parent.name}/{path.name}"
    if not os.path.exists(path):  # Path's own raises for a folder that cannot be looked into
        raise ResultsError(f"{where} is not there; {MAKE_TABLE}")
    table = parse_table(_read(path), where)
    if (table.recipe, table.epochs) != (recipe, epochs):
        raise ResultsError(
            f"{where} is the table of {table.recipe}, {table.epochs} epochs; expected that of {recipe}, {epochs} "
            f"epochs; {MAKE_TABLE}"
        )
    return table


def _older_than(table: Table, runs: Sequence[RunLog], where: str) -> list[str]:
    """What says that a table was computed from other runs than these."""
    last: dict[str, list[float]] = {row.arm: [] for row in table.arms}
    for run in runs:
        if run.last is not None and run.arm in last:
            last[run.arm].append(run.last)
    problems = []
    for row in table.arms:
        found = last[row.arm]
        if row.n != len(found):
            what = f"counts {row.n} finished runs of {row.label} and its folder has {len(found)}"
        elif found and row.last is not None and abs(fmean(found) - row.last.mean) > 1e-6:
            what = f"has a mean of {row.last.mean:.2f} for {row.label}, whose runs have one of {fmean(found):.2f}"
        else:
            continue
        problems.append(f"{where} {what}, so it was computed from other runs; {MAKE_TABLE}")
    return problems


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(_cannot_be_read(f"{path.parent.name}/{shown(path.name)}", error)) from error
