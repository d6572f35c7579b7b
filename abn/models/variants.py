"""ResNet-DMB with one part of its mechanism changed: the controls that tell which part makes a difference.

Each is a block that differs from ResNet-DMB's in one place. With ``m`` the pre-activation and ``f`` the factors:

    bank only   m = B α                     the paper's own idea alone, W = 0
    no gates    m = W c + b                 a static bias in the bank's place
    SE          f = sigmoid(W₂ relu(W₁ r + b₁) + b₂): squeeze-and-excitation (Hu et al. 2018); r is the convolution's
                                            output averaged over the pixels
    awake       α = softmax((G ĉ + g) / T)  ĉ is c standardised, so that the gates can tell images apart

A factor that is the same for every image needs no variant: the batch normalisation behind it absorbs it.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.fx
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from abn.models.layers import DynamicMultiBiasLinear, pooled, scaled, widened, without_autocast
from abn.models.modulation import Hook, Modulation, ask
from abn.models.resnet import BasicBlock, DMBBlock, ResNet

torch.fx.wrap("widened")
SQUEEZE_CHANNELS = {64: 36, 128: 68, 256: 132}
"""Channels → squeeze width of the SE variant, by which its parameters are nearest to ResNet-DMB's in number."""


class BankOnlyLinear(DynamicMultiBiasLinear):
    """``m = B α``: no linear term, and no weight for one."""

    def __init__(self, in_features: int, out_features: int, num_biases: int = 4) -> None:
        super().__init__(in_features, out_features, num_biases)
        self.weight = None

    def parts(self, c: Tensor) -> tuple[Tensor, Tensor]:
        return c.new_zeros(c.shape[0], self.biases.shape[0]), torch.softmax(self.gate_fc(c), dim=1)


class StaticBiasLinear(DynamicMultiBiasLinear):
    """``m = W c + b``: a bank of one vector, whose gate weight is 1 for every image, and no gates' parameters."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, num_biases=1)
        self.gate_fc = None

    def parts(self, c: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.linear(c, self.weight.to(c.dtype)), c.new_ones(c.shape[0], 1)


class AwakeLinear(DynamicMultiBiasLinear):
    """Gates that look at a standardised input.

    Args:
        standardise: give the gates ``ĉ``: every component of `c` minus its mean, over its standard deviation, both of
            the batch in training and running averages afterwards (`nn.BatchNorm1d` without parameters), or for an
            image alone.
        temperature: the gates' logits are divided by it.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_biases: int = 4,
        *,
        standardise: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(in_features, out_features, num_biases)
        self.standardise = nn.BatchNorm1d(in_features, affine=False) if standardise else nn.Identity()
        self.temperature = temperature

    def parts(self, c: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.gate_fc(self._standardised(c)) / self.temperature
        return nn.functional.linear(c, self.weight.to(c.dtype)), torch.softmax(logits, dim=1)

    def _standardised(self, c: Tensor) -> Tensor:
        norm = self.standardise
        if self.training and len(c) == 1 and isinstance(norm, nn.BatchNorm1d):  # one differs from nothing
            return nn.functional.batch_norm(c, norm.running_mean, norm.running_var, eps=norm.eps)
        if not isinstance(norm, nn.BatchNorm1d):
            return norm(c)
        return norm(c.to(norm.running_mean.dtype)).to(c.dtype)


class Excitation(SqueezeExcitation):
    """torchvision's squeeze-and-excitation that a hook is shown; its factors are float32 also under autocast."""

    def preactivation(self, response: Tensor) -> Tensor:
        """(N, C) mean outputs of the second convolution → (N, C) of whose sigmoid the factors are, in (0, 1)."""
        with without_autocast(response):
            hidden = self.activation(self.fc1(response[:, :, None, None].to(self.fc1.weight.dtype)))
            return self.fc2(hidden).flatten(1).to(response.dtype)

    def factors(self, response: Tensor) -> Tensor:
        """(N, C) mean outputs of the second convolution → (N, C) factors in (0, 1)."""
        return self.scale_activation(self.preactivation(response))

    def forward(self, z: Tensor, name: str = "", hook: Hook | None = None) -> Tensor:
        """(N, C, H, W) → (N, C, H, W), scaled."""
        response = self.avgpool(widened(z)).flatten(1)
        m = self.preactivation(response)
        factors = self.scale_activation(m)
        if hook is not None:
            factors = ask(hook, name, Modulation(factors, response, m)).factors
        return scaled(z, factors)


class SEBlock(BasicBlock):
    """A basic block with squeeze-and-excitation between its second convolution and bn2."""

    def add_second_convolution(self, channels: int) -> None:
        super().add_second_convolution(channels)
        self.excitation = Excitation(channels, SQUEEZE_CHANNELS[channels])

    def factors(self, h: Tensor, z: Tensor) -> Tensor:
        return self.excitation.factors(pooled(z))

    def modulation(self, h: Tensor, response: Tensor) -> Modulation:
        m = self.excitation.preactivation(response)
        return Modulation(self.excitation.scale_activation(m), response, m)

    def modulated(self, h: Tensor, name: str, hook: Hook | None) -> Tensor:
        return self.excitation(self.convolve(h), name, hook)

    def folded(self) -> tuple[nn.Module, ...]:
        return self.excitation, self.excitation.avgpool


class BankOnlyBlock(DMBBlock):
    """A modulated block without the linear term."""

    def add_second_convolution(self, channels: int) -> None:
        super().add_second_convolution(channels)
        self.conv2_dmb.gate_dmb = BankOnlyLinear(channels, channels, self.num_biases)


class NoGatesBlock(DMBBlock):
    """A modulated block with a static bias in the bank's place."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, channels, stride, num_biases=1)

    def add_second_convolution(self, channels: int) -> None:
        super().add_second_convolution(channels)
        self.conv2_dmb.gate_dmb = StaticBiasLinear(channels, channels)


class AwakeBlock(DMBBlock):
    """A modulated block whose gates are those of `AwakeLinear`."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        num_biases: int = 4,
        *,
        standardise: bool = True,
        temperature: float = 1.0,
    ) -> None:
        self.gates = {"standardise": standardise, "temperature": temperature}
        super().__init__(in_channels, channels, stride, num_biases)

    def add_second_convolution(self, channels: int) -> None:
        super().add_second_convolution(channels)
        self.conv2_dmb.gate_dmb = AwakeLinear(channels, channels, self.num_biases, **self.gates)


def bank_only(num_classes: int = 10, num_biases: int = 4) -> ResNet:
    """ResNet-DMB with ``m = B α``."""
    return ResNet(partial(BankOnlyBlock, num_biases=num_biases), "bank-only", num_classes)


def no_gates(num_classes: int = 10) -> ResNet:
    """ResNet-DMB with ``m = W c + b``."""
    return ResNet(NoGatesBlock, "no-gates", num_classes)


def se(num_classes: int = 10) -> ResNet:
    """ResNet-S with squeeze-and-excitation after the convolutions that ResNet-DMB modulates.

    2,958,242 parameters with ten classes.
    """
    return ResNet(SEBlock, "se", num_classes)


def awake(
    num_classes: int = 10, num_biases: int = 4, *, standardise: bool = True, temperature: float = 1.0
) -> ResNet:
    """ResNet-DMB whose gates see a standardised input, see `AwakeLinear`.

    Raises:
        ValueError: for a temperature that is not a positive finite number.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature!r}; expected a positive number")
    options = {"standardise": standardise, "temperature": temperature}
    return ResNet(partial(AwakeBlock, num_biases=num_biases, **options), "awake", num_classes, options)


def gate_parameters_apart(model: ResNet, **options: float) -> list[dict]:
    """Two groups for an optimiser: all else, and banks and gates (``B``, ``G``, ``g``) with `options` of their own.

    Args:
        options: `weight_decay`, or `lr_scale`, a multiple of the recipe's learning rate.
    """
    names = ("gate_dmb.biases", "gate_fc.weight", "gate_fc.bias")
    gates, others = [], []
    for name, parameter in model.named_parameters():
        (gates if name.endswith(names) else others).append(parameter)
    return [{"params": others}, {"params": gates, **options}]
