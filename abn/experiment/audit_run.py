"""The audit itself: every pass it needs, in an order that can be broken off, and the figures they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from tqdm import tqdm

from abn.experiment import audit_conditions
from abn.experiment.audit_conditions import Condition, Images, Recorded
from abn.experiment.audit_report import answers
from abn.experiment.audit_statistics import leads, paired_difference, variance_split
from abn.experiment.audit_store import Store
from abn.experiment.bank_use import use_of_bank
from abn.models.modulation import BankModulation, Modulation
from abn.models.registry import ARCHITECTURES
from abn.models.resnet import ResNet


def audit(model: ResNet, test: Images, train: Images, store: Store, batch: int = 100, progress: bool = False) -> dict:
    """Measure a modulated network.

    Args:
        model: in eval mode; left as it is.
        test: the images on which all is measured.
        train: the images on which bn2 is re-estimated, of classes that are among `test`'s.
        store: what an earlier run with the same settings left is taken from it.

    Returns:
        "answers", "blocks", "conditions" and "free", as they stand in the results.

    Raises:
        ValueError: for a static network, or classes of `train` that are missing in `test`.
    """
    require_modulated(model)
    absent = sorted(set(train.labels.tolist()) - set(test.labels.tolist()))
    if absent:
        listed = ", ".join(map(str, absent))
        raise ValueError(f"there is no test image of class {listed}, so it has no mean factors; take more images")
    with tqdm(unit="image", disable=not progress) as bar:
        recorded = _recorded(model, test, store, batch, bar)
        found = {}
        tried = audit_conditions.conditions(recorded, test.labels)
        bar.total = bar.n + sum(_passes(condition, store, test, train) for condition in tried)
        for condition in tried:
            bar.set_description(condition.name)
            found[condition.name] = _correct(model, condition, test, train, store, batch, bar)
    blocks = [_block(name, m, test) for name, m in recorded.items()]
    measured = [_measured(condition, found) for condition in tried]
    free, compared = measured[0], measured[1:]
    return {
        "answers": answers(blocks, compared),
        "blocks": blocks,
        "free": {"accuracy": free["trained"]["accuracy"], **free},
        "conditions": compared,
    }


def require_modulated(model: ResNet) -> None:
    """Raise ValueError for a network that has nothing to audit."""
    if model.architecture in ARCHITECTURES and not ARCHITECTURES[model.architecture].modulated:
        raise ValueError(
            f"{model.architecture} is static: it has no modulation to audit; name a checkpoint that has one, "
            "such as checkpoints/resnet-dmb"
        )


def _recorded(model: ResNet, test: Images, store: Store, batch: int, bar: tqdm) -> Recorded:
    recorded = store.recorded()
    if recorded is None or store.answers("free-trained") is None:
        bar.set_description("free")
        bar.total = len(test)
        recorded, correct = audit_conditions.record(model, test, batch, bar)
        store.keep_recorded(recorded)
        store.keep_answers("free-trained", correct)
    return recorded


def _passes(condition: Condition, store: Store, test: Images, train: Images) -> int:
    """Images that are still to pass through the network."""
    needed = {"trained": len(test), "reestimated": len(train) + len(test)}
    return sum(count for key, count in needed.items() if store.answers(f"{condition.name}-{key}") is None)


def _correct(
    model: ResNet, condition: Condition, test: Images, train: Images, store: Store, batch: int, bar: tqdm
) -> dict[str, np.ndarray]:
    """(N,) bool for bn2 as trained and for bn2 re-estimated."""
    found = {}
    for key in ("trained", "reestimated"):
        name = f"{condition.name}-{key}"
        found[key] = store.answers(name)
        if found[key] is None:
            network = model if key == "trained" else audit_conditions.adapted(model, train, condition, batch, bar)
            found[key] = audit_conditions.correct(network, test, condition, batch, bar)
            store.keep_answers(name, found[key])
    return found


def _block(name: str, m: Modulation, test: Images) -> dict[str, Any]:
    """What one block's modulation does, as the results have it.

    "between_class", "within_class" and "relative_sd" are means over the channels, "sd" is the root of the first two's
    sum, "gates" the mean gate weights. A block without a bank has nothing of gates and bank.
    """
    labels = test.labels.numpy()
    split = variance_split(m.factors.numpy(), labels)
    between, within = split.between.mean(), split.within.mean()
    variance = between + within
    return {
        "name": name,
        "channels": len(split.mean),
        "sd": float(variance**0.5),
        "between_class": float(between),
        "within_class": float(within),
        "relative_sd": float(split.relative_sd.mean()),
        "within_share": float(within / variance) if variance > 0 else 0.0,
        **(_of_bank(m) if isinstance(m, BankModulation) else {}),
        "channel_mean": _rounded(split.mean),
        "channel_between_class": _rounded(split.between),
        "channel_within_class": _rounded(split.within),
    }


def _of_bank(m: BankModulation) -> dict[str, Any]:
    gates = m.gate_weights.numpy()
    return {
        "gates": [float(weight) for weight in gates.mean(axis=0, dtype=float)],
        "leads": [float(share) for share in leads(gates)],
        **use_of_bank(m),
    }


def _rounded(values: np.ndarray) -> list[float]:
    """To six digits: a channel's variance has no more, and the file stays small."""
    return [float(f"{value:.6g}") for value in values]


def _measured(condition: Condition, found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Accuracies in percent, and the free network's minus these, with bn2 treated alike.

    The free network is held against itself as trained: what re-estimation alone does to it.
    """
    free, own = found["free"], found[condition.name]
    result: dict[str, Any] = {"name": condition.name, "label": condition.label}
    for key, correct in own.items():
        reference = free["trained"] if condition.name == "free" else free[key]
        result[key] = {"accuracy": 100 * float(correct.mean()), **asdict(paired_difference(reference, correct))}
    return result
