"""The table of one recipe: as `table.json`, which the page shows, and as Markdown, which README shows."""

from __future__ import annotations

from collections.abc import Mapping

from abn.common.texts import p_value
from abn.experiment import conditions
from abn.experiment.audit_report import COLLAPSED, IDLE
from abn.experiment.bank_use import sentences
from abn.experiment.contrasts import SUBJECT, summarise
from abn.experiment.numbers import interval, signed
from abn.experiment.runs import ARM_LABELS, PAPER, PAPER_EPOCHS, RunLog, is_as_the_paper

SEEDS = 10
"""Runs an arm that the experiment aims at."""


def make_table(runs: list[RunLog], problems: list[str]) -> dict:
    """Everything the table says, from the runs of one recipe.

    Args:
        runs: of one recipe and number of epochs, one at least.
        problems: lines that were skipped, each named.
    """
    recipe, epochs = runs[0].recipe, runs[0].epochs
    rows, contrasts = summarise(runs, list(ARM_LABELS))
    command = f"abn reproduce --data DIR --recipe {recipe} --epochs {epochs} --seeds {SEEDS}"
    finished = [run for run in runs if run.last is not None]
    if finished and all(run.records[-1].get("compiled") for run in finished):
        command += " --compile"
    return {
        "recipe": recipe,
        "epochs": epochs,
        "command": command,
        "arms": rows,
        "contrasts": contrasts,
        "conditions": conditions.listed(runs),
        "banks": sentences(runs),
        "diverged": [
            f"{ARM_LABELS[run.arm]}, seed {run.seed} (epoch {run.diverged})" for run in runs if run.diverged
        ],
        "problems": problems,
    }


def markdown(table: Mapping) -> str:
    """The arms, the contrasts with their verdicts, and the command that goes on."""
    paper = is_as_the_paper(table["recipe"], table["epochs"])
    lines = [
        f"**Recipe `{table['recipe']}`, {table['epochs']} epochs**, test accuracy in percent, mean ± standard "
        "deviation over seeds:",
        "",
        "| arm | parameters | n | last epoch | best epoch (biased: chosen on the test set) |"
        + (f" the paper, best of {PAPER_EPOCHS} epochs |" if paper else ""),
        "|---|---|---|---|---|" + ("---|" if paper else ""),
    ]
    for row in table["arms"]:
        if not row["n"]:
            continue
        best = row["best"]
        best_cell = _spread(best) + (f" (n = {best['n']})" if best and best["n"] != row["n"] else "")
        line = f"| {row['label']} | {row['parameters']:,} | {row['n']} | {_spread(row['last'])} | {best_cell} |"
        lines.append(line + (f" {PAPER.get(row['arm'], '–')} |" if paper else ""))
    lines += [
        "",
        f"| contrast | n | points | simultaneous 95 % interval, all {len(table['contrasts'])} contrasts "
        "| p, corrected | 95 % interval, this one alone | p, alone | seeds needed for +0.37 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in table["contrasts"]:
        if not found["n"]:
            continue
        cells = ["–"] * 4
        if found["p"] is not None:
            together, alone = (interval(found[f"low{which}"], found[f"high{which}"]) for which in ("", "_alone"))
            cells = [together, p_value(found["p_adjusted"]), alone, p_value(found["p"])]
        needed = "–"
        if found["seeds_needed"] is not None:
            needed = f"{found['seeds_needed']} ({found['seeds_needed_low']} to {found['seeds_needed_high']})"
        points = signed(found["mean"])
        lines.append(f"| {found['label']} | {found['n']} | {points} | {' | '.join(cells)} | {needed} |")
    lines += ["", *(f"- {found['label']}: {found['verdict']}" for found in table["contrasts"] if found["n"])]
    if table["diverged"]:
        lines.append(f"- Diverged (the loss was no longer a number), so not counted: {'; '.join(table['diverged'])}.")
    missing = [ARM_LABELS[found["arm"]] for found in table["contrasts"] if not found["n"]]
    if missing:
        lines.append(f"- No seed has both {ARM_LABELS[SUBJECT]} and one of these yet: {', '.join(missing)}.")
    if table["banks"]:
        limits = (
            f"idle: under {100 * IDLE:.0f} % of what varies in the pre-activations between images; "
            f"uniform: at least {COLLAPSED:g} log K"
        )
        lines += ["", f"The banks after the last epoch, over the test images ({limits}):", ""]
        lines += [f"- {said}" for said in table["banks"]]
    lines += ["", *_trained_on(table["conditions"]), f"To go on: `{table['command']}`", ""]
    return "\n".join(lines)


def _trained_on(found: list[Mapping]) -> list[str]:
    if not found:
        return []
    if len(found) == 1:
        return [f"All trained on: {found[0]['condition']}.", ""]
    listed = [f"- {each['condition']}: {', '.join(each['runs'])}" for each in found]
    return ["Not all were trained under the same conditions, which may differ by more than the arms do:", *listed, ""]


def _spread(value: Mapping | None) -> str:
    if value is None:
        return "–"
    return f"{value['mean']:.2f}" + ("" if value["sd"] is None else f" ± {value['sd']:.2f}")
