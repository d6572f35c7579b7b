"""The arms of the experiment: what is trained on every seed, alike but for one part of the mechanism."""

from __future__ import annotations

from functools import partial

from abn.models import variants
from abn.models.resnet import resnet_dmb, resnet_s
from abn.training.run import Variant

ARMS: dict[str, Variant] = {
    "resnet-s": Variant(resnet_s),
    "resnet-dmb": Variant(resnet_dmb),
    "bank-only": Variant(variants.bank_only),
    "no-gates": Variant(variants.no_gates),
    "se": Variant(variants.se),
    # The smallest change that `awaken` tried under which the bank is used after a hundred steps.
    "awake": Variant(
        partial(variants.awake, temperature=0.1), partial(variants.gate_parameters_apart, lr_scale=10.0)
    ),
}
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
