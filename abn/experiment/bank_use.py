"""How much a network makes of its bank: measured over images, and told of the runs of an experiment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from abn.common.devices import images_at_once
from abn.experiment.audit_conditions import Images, record
from abn.experiment.audit_report import IDLE, gates_do
from abn.experiment.audit_statistics import bank_share, bank_variation, choice, entropy
from abn.experiment.numbers import percentages
from abn.experiment.runs import ARM_LABELS, BANK_FIELDS, RunLog
from abn.models.modulation import BankModulation
from abn.models.resnet import ResNet

DIGITS = 6


def use_of_bank(m: BankModulation) -> dict[str, float]:
    """Of one block, entropy of the gates, the bank's share of the pre-activation, and its share of what varies."""
    gates, linear_term = m.gate_weights.numpy(), m.linear_term.numpy()
    bias_term = gates.astype(float) @ m.bias_bank.numpy().T.astype(float)
    return {
        "entropy": entropy(gates),
        "bank_share": bank_share(linear_term, bias_term),
        "bank_variation": bank_variation(linear_term, bias_term),
    }


def measure(model: ResNet, images: Images) -> dict[str, float]:
    """`abn.experiment.runs.BANK_FIELDS` over images, each a mean over the blocks.

    Args:
        model: modulated, in eval mode.
        images: that it was not trained on.
    """
    recorded, _ = record(model, images, images_at_once(next(model.parameters()).device), tqdm(disable=True))
    blocks = []
    for m in recorded.values():
        use = use_of_bank(m)
        gates, factors = m.gate_weights.numpy(), m.factors.numpy().astype(float)
        use["choice"] = choice(gates.mean(axis=0, dtype=float), use["entropy"])
        use["factor_sd"] = factors.var(axis=0).mean() ** 0.5
        blocks.append(use)
    return {name: round(float(np.mean([block[name] for block in blocks])), DIGITS) for name in BANK_FIELDS}


def sentences(runs: Sequence[RunLog]) -> list[str]:
    """What the finished runs' banks did over the test images, one sentence an arm, from the arms that have gates.

    A run of which it was not measured does not count.
    """
    said = []
    for arm, label in ARM_LABELS.items():
        found = [run.bank for run in runs if run.arm == arm and run.bank is not None]
        if not found:
            continue
        varying, entropies, spreads = (
            [bank[key] for bank in found] for key in ("bank_variation", "entropy", "factor_sd")
        )
        gates = _counted([gates_do(bank["entropy"], bank["choice"]) for bank in found])
        if all(bank["bank_share"] == 1 for bank in found):
            bank = "is all there is"
        else:
            state = _counted(["is idle" if share < IDLE else "is used" for share in varying])
            bank = f"{state}, with {percentages(varying)} of what varies in the pre-activations between images"
        said.append(
            f"{label}, n = {len(found)}: the bank {bank}; the gates {gates}, with a mean entropy of "
            f"{_numbers(entropies)} log K; factors differ between images by {_numbers(spreads)} (standard deviation)."
        )
    return said


def _counted(states: Sequence[str]) -> str:
    """What the runs do, and where they differ how many of them do which."""
    if len(set(states)) == 1:
        return states[0]
    return " and ".join(f"{state} in {states.count(state)} of {len(states)} runs" for state in dict.fromkeys(states))


def _numbers(values: Sequence[float]) -> str:
    low, high = (f"{value:.4f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
