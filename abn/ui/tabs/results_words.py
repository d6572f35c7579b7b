"""The Results tab's sentences and tables, computed from the results folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from abn.app.figures.style import signed
from abn.common.texts import escape, p_value, percentage
from abn.experiment.audit import Audit, Frozen
from abn.experiment.folder import Group, Results
from abn.experiment.numbers import interval
from abn.experiment.runs import ARM_LABELS, PAPER, PAPER_DIFFERENCE, PAPER_RECIPE, RunLog
from abn.experiment.table import Spread
from abn.ui import about

NOT_THERE = "–"
MOST_PROBLEMS = 10  # told one by one
ARM_COLUMNS = ["arm", "n", "last epoch (%)", "best epoch (%), biased: chosen on the test set", "parameters"]
CONTRAST_COLUMNS = [
    "contrast", "n", "difference (points)", "simultaneous 95 % interval", "p, corrected", "95 % interval, alone",
    "p, alone", f"seeds for {PAPER_DIFFERENCE:+.2f}",
]  # fmt: skip
RUN_COLUMNS = [
    "arm", "seed", "epochs done", "last epoch (%)", "best epoch (%), biased", "minutes", "device", "torch",
]  # fmt: skip
BLOCK_COLUMNS = [
    "block", "channels", "variance", "between", "entropy", "leads in (%)", "bank's share", "of variation",
]  # fmt: skip
CONDITION_COLUMNS = ["factors frozen", "as trained (%)", "costs (points)", "re-estimated (%)", "costs then (points)"]


def answer(results: Results) -> str:
    """Whether the paper's claim holds, as the first group's table has it."""
    if not results.groups:
        return about.RESULTS_NONE
    group = results.groups[0]
    contrast = group.contrast("resnet-s")
    if contrast is None:
        return about.RESULTS_NO_PAIR
    recipe = (
        "the paper's recipe"
        if group.recipe == PAPER_RECIPE
        else f"the recipe {escape(group.recipe)}, not the paper's"
    )
    return f"**{escape(contrast.verdict)}** That is by {recipe}, {group.epochs} epochs, n = {contrast.n}."


def claim() -> str:
    """What the paper reports."""
    return about.RESULTS_CLAIM.format(
        dmb=PAPER["resnet-dmb"], static=PAPER["resnet-s"], difference=f"{PAPER_DIFFERENCE:+.2f}"
    )


def arms(group: Group) -> list[list[str]]:
    """A row an arm, under `ARM_COLUMNS`: mean ± standard deviation over the seeds; the paper's own for its recipe."""
    rows = []
    for row in group.table.arms if group.table else ():
        best = _spread(row.best)
        if row.best is not None and row.best.n != row.n:
            best += f" (n = {row.best.n})"
        rows.append([row.label, str(row.n), _spread(row.last), best, f"{row.parameters:,}"])
    if group.as_the_paper:
        rows += [
            [f"the paper's {ARM_LABELS[arm]}", "1", NOT_THERE, f"{best:.2f}", NOT_THERE]
            for arm, best in PAPER.items()
        ]
    return rows


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return NOT_THERE
    return f"{spread.mean:.2f}" if spread.sd is None else f"{spread.mean:.2f} ± {spread.sd:.2f}"


def verdicts(group: Group) -> str:
    """A sentence a contrast, and one for all that no seed has finished."""
    if group.table is None:
        return ""
    said = [f"- **{escape(each.label)}:** {escape(each.verdict)}" for each in group.table.contrasts if each.n]
    missing = [ARM_LABELS[each.arm] for each in group.table.contrasts if not each.n]
    if missing:
        said.append(f"- No seed has both {ARM_LABELS['resnet-dmb']} and one of these yet: {', '.join(missing)}.")
    if group.table.diverged:
        runs = escape("; ".join(group.table.diverged))
        said.append(f"- **Diverged (the loss was no longer a number), so not counted:** {runs}.")
    return "\n".join(said)


def banks(group: Group) -> str:
    """A sentence for each arm of which it is known what its bank did at the end; empty where there is none."""
    if group.table is None or not group.table.banks:
        return ""
    return about.BANKS + "\n".join(f"- {escape(said)}" for said in group.table.banks)


def contrasts(group: Group) -> list[list[str]]:
    """A row a contrast, under `CONTRAST_COLUMNS`."""
    rows = []
    for each in group.table.contrasts if group.table else ():
        mean = NOT_THERE if each.mean is None else signed(each.mean, ".2f")
        cells = [
            cell
            for low, high, p in ((each.low, each.high, each.p_adjusted), (each.low_alone, each.high_alone, each.p))
            for cell in (
                NOT_THERE if low is None else interval(low, high), NOT_THERE if p is None else p_value(p)
            )
        ]  # fmt: skip
        needed = NOT_THERE if each.seeds_needed is None else str(each.seeds_needed)
        if each.seeds_needed_low is not None:
            needed += f" ({each.seeds_needed_low} to {each.seeds_needed_high})"
        rows.append([each.label, str(each.n), mean, *cells, needed])
    return rows


def _by_epoch(runs: Sequence[RunLog]) -> dict[str, dict[int, list[float]]]:
    """Label of an arm → epoch → its runs' accuracies after it; arms that were tested after more than one epoch."""
    found = {}
    for arm, label in ARM_LABELS.items():
        by_epoch: dict[int, list[float]] = {}
        for run in runs:
            if run.arm == arm:
                for epoch, accuracy in zip(*run.curve, strict=True):
                    by_epoch.setdefault(epoch, []).append(accuracy)
        if len(by_epoch) > 1:
            found[label] = by_epoch
    return found


def curve_table(runs: Sequence[RunLog]) -> tuple[list[list[str]], list[str]]:
    """A row an epoch with each arm's mean accuracy after it, and the headings."""
    arms = _by_epoch(runs)
    epochs = sorted({epoch for by_epoch in arms.values() for epoch in by_epoch})
    rows = [
        [str(epoch), *(f"{np.mean(of[epoch]):.2f}" if epoch in of else NOT_THERE for of in arms.values())]
        for epoch in epochs
    ]
    return rows, ["epoch", *(f"{label} (%)" for label in arms)]


def curves(runs: Sequence[RunLog]) -> str:
    """Each arm's mean accuracy after the first and the last tested epoch."""
    said = []
    for label, by_epoch in _by_epoch(runs).items():
        parts = [
            f"{np.mean(by_epoch[epoch]):.2f} % after epoch {epoch} (n = {len(by_epoch[epoch])})"
            for epoch in (min(by_epoch), max(by_epoch))
        ]
        said.append(f"- {label}: {' to '.join(parts)}")
    return "\n".join(said) or about.RESULTS_NO_CURVES


def runs(every: Iterable[RunLog]) -> list[list]:
    """A row a run, under `RUN_COLUMNS`."""
    rows = []
    for run in every:
        accuracies = (NOT_THERE if accuracy is None else f"{accuracy:.2f}" for accuracy in (run.last, run.best))
        latest, seconds = run.records[-1], sum(record["seconds"] for record in run.records)
        done = f"{latest['epoch']} of {run.epochs}" if run.diverged is None else f"diverged in epoch {run.diverged}"
        where = latest["device"], latest["torch"]
        rows.append([ARM_LABELS[run.arm], run.seed, done, *accuracies, f"{seconds / 60:.1f}", *where])
    return rows


def going_on(group: Group) -> str:
    """The command that goes on with the experiment, and what was wrong with its files."""
    said = problems(group.problems)
    if group.table is not None:
        said = f"To go on, here or on another machine:\n{_block(group.table.command)}\n{said}"
    return said


def problems(found: Sequence[str]) -> str:
    """What was wrong with files, counted; empty where nothing was."""
    if not found:
        return ""
    lines = [f"- {escape(problem)}" for problem in found[:MOST_PROBLEMS]]
    if len(found) > MOST_PROBLEMS:
        lines.append(f"- and {len(found) - MOST_PROBLEMS} more")
    return f"**{len(found)} problem{'s' * (len(found) > 1)} with the files:**\n\n" + "\n".join(lines)


def _block(command: str) -> str:
    """A command as a block of code, which no text of a file can leave; of no language: its colours lack contrast."""
    return "\n```\n" + " ".join(command.replace("`", "'").split()) + "\n```\n"


def audited(audit: Audit) -> str:
    """An audit's answers, and of what they are."""
    said = [f"**{escape(each.question)}** {escape(each.answer)}" for each in audit.answers]
    known = [
        *([f"recipe {escape(audit.recipe)}"] if audit.recipe is not None else []),
        *([f"{audit.epochs} epochs"] if audit.epochs is not None else []),
        *([f"seed {audit.seed}"] if audit.seed is not None else []),
    ]
    trained = f" ({', '.join(known)})" if known else ""
    said.append(
        f"Over {audit.images:,} images: {escape(audit.checkpoint)}{trained}, {audit.free.accuracy:.2f} % with "
        f"nothing frozen; on {escape(audit.device)}, torch {escape(audit.torch)}."
    )
    if audit.free.reestimated is not None:
        again = audit.free.reestimated
        said.append(
            f"Re-estimating bn2 costs {signed(again.difference, '.2f')} points ({interval(again.low, again.high)}) "
            "by itself; each frozen condition is held against the free network with bn2 treated alike."
        )
    return "\n\n".join(said)


def blocks(audit: Audit) -> list[list[str]]:
    """A row a block, under `BLOCK_COLUMNS`."""
    return [
        [
            block.name, str(block.channels), f"{block.between_class + block.within_class:.3g}",
            _percent(block.between_share), NOT_THERE if block.entropy is None else f"{block.entropy:.4f}",
            " / ".join(f"{100 * share:.0f}" for share in block.leads or ()) or NOT_THERE,
            *map(_percent, (block.bank_share, block.bank_variation)),
        ]
        for block in audit.blocks
    ]  # fmt: skip


def conditions(audit: Audit) -> list[list[str]]:
    """A row a condition, under `CONDITION_COLUMNS`; first the free network."""
    again = NOT_THERE if audit.free.reestimated is None else f"{audit.free.reestimated.accuracy:.2f}"
    free = ["nothing frozen", f"{audit.free.accuracy:.2f}", NOT_THERE, again, NOT_THERE]
    return [free] + [[each.label, *_frozen(each.trained), *_frozen(each.reestimated)] for each in audit.conditions]


def _frozen(frozen: Frozen | None) -> tuple[str, str]:
    if frozen is None:
        return NOT_THERE, NOT_THERE
    difference = f"{signed(frozen.difference, '.2f')} ({interval(frozen.low, frozen.high)})"
    return f"{frozen.accuracy:.2f}", difference


def _percent(share: float | None) -> str:
    return NOT_THERE if share is None else percentage(share)
