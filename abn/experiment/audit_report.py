"""The audit in words and Markdown, computed from its figures, so that they change when those do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from abn.common.texts import percentage
from abn.experiment.audit_statistics import choice
from abn.experiment.numbers import percentages, signed
from abn.interpret.reference.statistics import RESOLUTION

NOT_THERE = "–"
COLLAPSED = 0.99
"""Gates whose mean entropy is this share of log K or more count as uniform: with K = 4, weights of 0.25 ± 0.04.
Others that differ between images by less than 1 − this share of log K count as the same for every image."""
IDLE = 0.05
"""A bank with a smaller share of what varies between images counts as idle."""

UNIFORM, CONSTANT, CHOOSE = "are uniform", "are the same for every image", "choose"

DYNAMIC, BANK = "Dynamic, or just a rescale?", "Does the bank matter?"
Results = Mapping[str, Any]


def answers(blocks: Sequence[Results], conditions: Sequence[Results]) -> list[dict[str, str]]:
    """Both questions, each with one sentence; that of the bank only where there is one.

    Args:
        blocks: as in the results; `conditions` likewise, without the free network.
    """
    by_name = {condition["name"]: condition for condition in conditions}
    found = [{"question": DYNAMIC, "answer": dynamic_or_rescale(blocks, by_name["mean"])}]
    if "no_bank" in by_name:
        answer = bank_matters(blocks, by_name["no_bank"], by_name["mean_bank"])
        found.append({"question": BANK, "answer": answer})
    return found


def dynamic_or_rescale(blocks: Sequence[Results], at_mean: Results) -> str:
    """Whether it matters that factors differ between images.

    The verdict is that of bn2 re-estimated, which absorbs a factor that is the same for every image.
    """
    if max(block["sd"] for block in blocks) < RESOLUTION:
        return "Just a rescale: every factor is the same for every image, and bn2 absorbs that."
    verdict = _verdict(
        at_mean["reestimated"], "Dynamic", "Just a rescale, as far as accuracy shows", "A rescale would do better"
    )
    within = percentages([block["within_share"] for block in blocks])
    return (
        f"{verdict}: freezing every factor at its mean costs {_points(at_mean['reestimated'])} once bn2 is "
        f"re-estimated and {_points(at_mean['trained'])} before; of a block's variance of factors {within} lies "
        "within classes."
    )


def bank_matters(blocks: Sequence[Results], removed: Results, at_mean: Results) -> str:
    """Whether it matters that there is a bank, and how gates and bank are used; judged with bn2 re-estimated."""
    if max(block["bank_share"] for block in blocks) == 0:
        return "No: the bank is zero in every block."
    verdict = _verdict(removed["reestimated"], "Yes", "No, as far as accuracy shows", "It does harm")
    return (
        f"{verdict}: removing the bank costs {_points(removed['reestimated'])} once bn2 is re-estimated and "
        f"{_points(removed['trained'])} before; giving every image the mean of its terms costs "
        f"{_points(at_mean['reestimated'])} once it is; {_gates(blocks)}, and {_bank(blocks)}."
    )


def _gates(blocks: Sequence[Results]) -> str:
    if len(blocks[0]["leads"]) == 1:
        return "one vector leaves the gates nothing to choose"
    entropies = [block["entropy"] for block in blocks]
    lowest, highest = math.floor(1e4 * min(entropies)) / 1e4, math.ceil(1e4 * max(entropies)) / 1e4
    states = [gates_do(block["entropy"], choice(block["gates"], block["entropy"])) for block in blocks]
    uniform, constant = states.count(UNIFORM), states.count(CONSTANT)
    said = [f"have collapsed to uniform in {_where(uniform, blocks)}"] if uniform else []
    if constant:
        said.append(f"are the same for every image in {_where(constant, blocks)}")
    if not said:  # the highest entropy is the nearest to not choosing
        return f"the gates choose in every block (mean entropy at most {highest:.4f} log K)"
    known = f"at least {lowest:.4f}" if uniform == len(blocks) else f"{lowest:.4f} to {highest:.4f}"
    return f"the gates {' and '.join(said)} (mean entropy {known} log K)"


def gates_do(mean_entropy: float, chosen: float) -> str:
    """`UNIFORM`, `CONSTANT` or `CHOOSE`.

    Args:
        chosen: as `abn.experiment.audit_statistics.choice` has it.
    """
    if mean_entropy >= COLLAPSED:
        return UNIFORM
    return CHOOSE if chosen >= 1 - COLLAPSED else CONSTANT


def _bank(blocks: Sequence[Results]) -> str:
    shares, varying = ([block[key] for block in blocks] for key in ("bank_share", "bank_variation"))
    idle = sum(share < IDLE for share in varying)
    return (
        f"the bank makes {percentages(shares)} of the pre-activation's terms and {percentages(varying)} of what "
        f"varies in them between images, so it is idle in {_where(idle, blocks)}"
    )


def _where(count: int, blocks: Sequence[Results]) -> str:
    if count == 0:
        return "no block"
    return "every block" if count == len(blocks) else f"{count} of {len(blocks)} blocks"


def _verdict(difference: Results, positive: str, undecided: str, negative: str) -> str:
    if difference["low"] > 0:
        return positive
    return negative if difference["high"] < 0 else undecided


def _points(difference: Results) -> str:
    points, low, high = (signed(difference[key]) for key in ("difference", "low", "high"))
    return f"{points} points (95 % interval {low} to {high})"


def tables(result: Results) -> str:
    """The whole audit as Markdown."""
    lines = [f"**{each['question']}** {each['answer']}\n" for each in result["answers"]]
    lines += [
        f"{result['checkpoint']}, {result['images']:,} test images; bn2 re-estimated on "
        f"{result['reestimation_images']:,} training images under each condition; {result['device']}, "
        f"torch {result['torch']}\n",
        "| block | factors' sd | between classes | within | entropy / log K | vectors lead | "
        "bank's share of m | of its variation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for block in result["blocks"]:
        leads = " · ".join(percentage(share) for share in block.get("leads", ())) or NOT_THERE
        entropy = f"{block['entropy']:.4f}" if "entropy" in block else NOT_THERE
        bank = [percentage(block[key]) if key in block else NOT_THERE for key in ("bank_share", "bank_variation")]
        lines.append(
            f"| {block['name']} | {block['sd']:.4f} | {percentage(1 - block['within_share'])} | "
            f"{percentage(block['within_share'])} | {entropy} | {leads} | {' | '.join(bank)} |"
        )
    free = result["free"]
    lines += [
        "\n| condition | accuracy, bn2 as trained | free minus this | accuracy, bn2 re-estimated | free minus this |",
        "|---|---|---|---|---|",
        f"| {free['label']} | {free['trained']['accuracy']:.2f} % | | {free['reestimated']['accuracy']:.2f} % | |",
    ]
    for condition in result["conditions"]:
        cells = (
            f"{condition[key]['accuracy']:.2f} % | {_points(condition[key])}" for key in ("trained", "reestimated")
        )
        lines.append(f"| {condition['label']} | {' | '.join(cells)} |")
    lines.append(f"\nFree as trained minus free re-estimated: {_points(free['reestimated'])}.")
    return "\n".join(lines)
