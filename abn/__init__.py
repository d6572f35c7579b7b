"""Adaptive Bias Networks: layers, networks, and the means to look inside them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abn.attribution import attribute
    from abn.checkpoints import load_checkpoint, save_checkpoint
    from abn.inspection import inspect
    from abn.layers import DynamicModulatedConv2d, DynamicMultiBiasLinear, Modulation
    from abn.resnet import resnet_dmb, resnet_s

__version__ = "0.4.0"

# Looked up when first used, so that abn.training runs where captum and huggingface_hub are not installed.
_HOME = {
    "attribute": "abn.attribution",
    "load_checkpoint": "abn.checkpoints",
    "save_checkpoint": "abn.checkpoints",
    "inspect": "abn.inspection",
    "DynamicModulatedConv2d": "abn.layers",
    "DynamicMultiBiasLinear": "abn.layers",
    "Modulation": "abn.layers",
    "resnet_dmb": "abn.resnet",
    "resnet_s": "abn.resnet",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'abn' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
