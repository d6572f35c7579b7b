"""The experiment's results: whether the paper's claim holds, and what a trained modulation does.

All of it is read once, when the app starts, and nothing here follows a picture. The first group and checkpoint come
with the page; another is sent when it is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gradio as gr
import numpy as np
import plotly.graph_objects as go
from gradio.components import Component

from abn.app import figures
from abn.experiment.audit import Audit, Frozen
from abn.experiment.folder import Group, Results
from abn.experiment.runs import ARM_LABELS, PAPER, PAPER_DIFFERENCE, RunLog, group_name
from abn.ui import about
from abn.ui.events import HIDDEN
from abn.ui.tabs import results_words as words

Item = TypeVar("Item", Group, Audit)
SETTINGS = ("results", "audit")
"""Names in a link of what is chosen here; none of it follows a picture."""


def build(results: Results) -> dict[str, Component]:
    """Add the tab's components.

    Returns:
        The settings by the name they have in a link.
    """
    gr.Markdown(f"## Does the paper's claim hold?\n{words.answer(results)}", elem_id="results-answer")
    gr.Markdown(words.problems(results.problems), visible=bool(results.problems), elem_classes="notice")
    if not results.groups and not results.audits:
        return {}
    settings = {}
    if results.groups:
        gr.Markdown(words.claim() + about.RESULTS, elem_classes="aside")
        groups = {group_name(group.recipe, group.epochs): group for group in results.groups}
        names = [(f"{group.recipe}, {group.epochs} epochs", name) for name, group in groups.items()]
        settings["results"] = _chooser(groups, names, _show_group, "Recipe", "results-group")
    gr.Markdown(about.AUDIT if results.audits else about.AUDIT_NONE, elem_id="audit-about")
    if results.audits:
        audits = {audit.checkpoint: audit for audit in results.audits}
        names = [(name, name) for name in audits]
        settings["audit"] = _chooser(audits, names, _show_audit, "Checkpoint", "audit-checkpoint")
    return settings


def _chooser(
    items: Mapping[str, Item],
    names: list[tuple[str, str]],
    show: Callable[[Item], list[Component]],
    label: str,
    elem_id: str,
) -> gr.Radio:
    """Which of several things is shown, out of sight where there is but one; below it the first one's components.

    Args:
        names: (as shown, as in `items`).
        show: a thing → its components, of the same kinds for each; made in an event, they are updates.
    """
    first = next(iter(items))
    choice = gr.Radio(names, value=first, label=label, visible=len(items) > 1, elem_id=elem_id)
    shown = show(items[first])
    if len(items) > 1:
        choice.change(lambda chosen: show(items[chosen]), choice, shown, trigger_mode="always_last", **HIDDEN)
    return choice


def _show_group(group: Group) -> list[Component]:
    runs = _arm_runs(group.runs)
    contrasts = [each for each in group.table.contrasts if each.mean is not None] if group.table else []
    paper = PAPER if group.as_the_paper else {}
    reported = [PAPER_DIFFERENCE if paper and each.arm == "resnet-s" else None for each in contrasts]
    columns = ([getattr(each, field) for each in contrasts] for field in ("label", "n", "mean", "low", "high"))
    finished = [arm for arm in runs if arm.last or arm.arm in paper]
    return [
        gr.Markdown(about.ARMS if group.table else about.RESULTS_NO_TABLE, elem_id="results-about"),
        _table(words.arms(group), words.ARM_COLUMNS, "Test accuracy, mean ± sd over the seeds", "results-arms"),
        _plot(figures.seed_points(finished, paper), any(arm.last for arm in runs), "results-points"),
        gr.Markdown(words.verdicts(group), elem_id="results-verdicts"),
        _table(words.contrasts(group), words.CONTRAST_COLUMNS, "Paired by seed", "results-contrasts-table"),
        _plot(figures.contrast_intervals(*columns, reported), bool(contrasts), "results-contrasts"),
        gr.Markdown(words.banks(group), visible=bool(words.banks(group)), elem_id="results-banks"),
        gr.Markdown(about.CURVES + words.curves(group.runs), elem_id="results-curves-text"),
        _plot(
            figures.learning_curves(runs), any(len(run.curve[0]) > 1 for run in group.runs), "results-curves"
        ),
        _table(*words.curve_table(group.runs), "Mean over the seeds after each epoch", "results-curves-table"),
        _table(words.runs(group.runs), words.RUN_COLUMNS, "Every run", "results-runs"),
        gr.Markdown(words.going_on(group), elem_id="results-going-on"),
    ]  # fmt: skip


def _show_audit(audit: Audit) -> list[Component]:
    names = [block.name for block in audit.blocks]
    parts = ([getattr(block, field) for block in audit.blocks] for field in ("between_class", "within_class"))
    conditions = (
        np.array([_row(getattr(each, field)) for each in audit.conditions]).reshape(-1, 4)
        for field in ("trained", "reestimated")
    )
    labels = [each.label for each in audit.conditions]
    return [
        gr.Markdown(words.audited(audit), elem_id="audit-answers"),
        _plot(figures.variance_parts(names, *parts), bool(names), "audit-variance"),
        _table(words.blocks(audit), words.BLOCK_COLUMNS, about.AUDIT_BLOCKS, "audit-blocks"),
        _plot(figures.frozen_conditions(labels, *conditions), bool(labels), "audit-conditions"),
        _table(
            words.conditions(audit), words.CONDITION_COLUMNS, about.AUDIT_CONDITIONS, "audit-conditions-table",
            wrap=True, max_height=600, column_widths=["225px", "110px", "222px", "120px", "222px"],
        ),
    ]  # fmt: skip


def _plot(figure: go.Figure, visible: bool, name: str) -> gr.Plot:
    return gr.Plot(figure, show_label=False, visible=visible, elem_id=name)


def _table(rows: list[list], headers: list[str], label: str, name: str, **options: Any) -> gr.Dataframe:
    options = {"max_height": 400, "interactive": False, "visible": bool(rows)} | options
    return gr.Dataframe(rows, headers=headers, label=label, elem_id=name, **options)


def _arm_runs(runs: tuple[RunLog, ...]) -> list[figures.ArmRuns]:
    """The runs as the figures want them, arm by arm."""
    arms = []
    for arm, label in ARM_LABELS.items():
        own = [run for run in runs if run.arm == arm]
        last = {run.seed: run.last for run in own if run.last is not None}
        arms.append(figures.ArmRuns(arm, label, last, {run.seed: run.curve for run in own if run.curve[0]}))
    return arms


def _row(frozen: Frozen | None) -> list[float]:
    if frozen is None:
        return [np.nan] * 4
    return [frozen.accuracy, frozen.difference, frozen.low, frozen.high]
