"""Adaptive Bias Networks: layers, networks, and the means to look inside them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abn.checkpoints.store import load_checkpoint, save_checkpoint
    from abn.interpret import interventions
    from abn.interpret.attribution.attribute import attribute
    from abn.interpret.inspection import inspect
    from abn.models.layers import DynamicModulatedConv2d, DynamicMultiBiasLinear
    from abn.models.modulation import BankModulation, Modulation
    from abn.models.resnet import resnet_dmb, resnet_s

__version__ = "0.5.0"

# Looked up when first used, so that abn.training.run runs where captum and huggingface_hub are not installed.
_HOME = {
    "attribute": "abn.interpret.attribution.attribute",
    "load_checkpoint": "abn.checkpoints.store",
    "save_checkpoint": "abn.checkpoints.store",
    "inspect": "abn.interpret.inspection",
    "interventions": "abn.interpret.interventions",
    "DynamicModulatedConv2d": "abn.models.layers",
    "DynamicMultiBiasLinear": "abn.models.layers",
    "BankModulation": "abn.models.modulation",
    "Modulation": "abn.models.modulation",
    "resnet_dmb": "abn.models.resnet",
    "resnet_s": "abn.models.resnet",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'abn' has no attribute {name!r}")
    home = import_module(_HOME[name])
    return home if name == "interventions" else getattr(home, name)  # which is a module
