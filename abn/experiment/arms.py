"""The arms of the experiment: what is trained on every seed, alike but for one part of the mechanism."""

from __future__ import annotations

from abn.models import registry
from abn.training.run import Variant

ARMS: dict[str, Variant] = {name: Variant(arm.build, arm.parameter_groups) for name, arm in registry.arms().items()}
"""Name in files and on the command line → network, in the order in which they are trained: the paper's two first."""

FIRST = ("resnet-s", "resnet-dmb")


def parameters(arm: str) -> int:
    """How many numbers an arm learns."""
    return sum(parameter.numel() for parameter in ARMS[arm].build().parameters())


def has_gates(arm: str) -> bool:
    """Whether an arm's networks choose among the vectors of a bank."""
    return (getattr(ARMS[arm].build(), "num_biases", None) or 1) > 1


def in_order(arms: list[str], seeds: int) -> list[tuple[str, int]]:
    """(arm, seed) of every run: the paper's two networks on every seed, then the controls on every seed."""
    halves = [arm for arm in ARMS if arm in FIRST], [arm for arm in ARMS if arm not in FIRST]
    return [(arm, seed) for half in halves for seed in range(seeds) for arm in half if arm in arms]
