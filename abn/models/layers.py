"""Dynamic multi-bias modulation: the equation, and the layer.

The mechanism of "Beyond Static Bias" (Z. M. Tahir). With ``x`` the input of a convolution and
``c = mean_{h,w} x``:

    α = softmax(G c + g)            gate weights    (N, K)
    m = W c + B α                   pre-activation  (N, C_out)
    f = 1 + tanh(m)                 factors         (N, C_out), in (0, 2); 1 changes nothing
    y = f ⊙ Conv(x)

``B`` (C_out, K) is the bias bank. Axes: N images, C channels, K bias vectors, H × W pixels.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from abn.models.modulation import BankModulation, Hook, ask, factors_of, preactivation

torch.fx.wrap("preactivation")  # a step of its own in a traced network: it looks at devices


def require_positive(**sizes: int) -> None:
    """Raise ValueError that names the first size that is not a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} is {size!r}; expected a whole number of at least 1")


class PromotedLinear(nn.Linear):
    """A linear layer that computes in its input's precision: a gate of a bfloat16 network sees float32."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.weight.to(x.dtype), bias)


class DynamicMultiBiasLinear(nn.Module):
    """A linear layer whose bias is mixed, for every input, from a bank of K vectors.

    Attributes:
        weight: (C_out, C_in) ``W``, initialised as `nn.Linear` does (Kaiming uniform, a = √5).
        biases: (C_out, K) ``B``, zero at the start.
        gate_fc: linear layer ``G, g`` with K outputs.
    """

    def __init__(self, in_features: int, out_features: int, num_biases: int = 4) -> None:
        """
        Raises:
            ValueError: for a size below 1.
        """
        super().__init__()
        require_positive(in_features=in_features, out_features=out_features, num_biases=num_biases)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.biases = nn.Parameter(torch.zeros(out_features, num_biases))
        self.gate_fc = PromotedLinear(in_features, num_biases)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    @property
    def num_biases(self) -> int:
        """K, the number of vectors in the bank."""
        return self.biases.shape[1]

    def parts(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C_in) → the linear term ``W c`` (N, C_out) and the gate weights ``α`` (N, K)."""
        return nn.functional.linear(c, self.weight.to(c.dtype)), torch.softmax(self.gate_fc(c), dim=1)

    def forward(self, c: Tensor, keep: list[Tensor] | None = None) -> Tensor:
        """(N, C_in) → (N, C_out): ``W c + B α``.

        Args:
            keep: is given the linear term and the gate weights.
        """
        parts = self.parts(c)
        if keep is not None:
            keep.extend(parts)
        return preactivation(*parts, self.biases)


class _PixelSum(torch.autograd.Function):
    """(N, C, H, W) → (N, C), the sum over the pixels in `dtype`.

    PyTorch's own writes the gradient out for every pixel, and not in channels_last, where `dtype` is not that of `x`;
    this one's is a view of (N, C) numbers.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.sum(dim=(2, 3), dtype=dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, torch.dtype], output: Tensor) -> None:
        ctx.shape, ctx.dtype, ctx.sum_dtype = inputs[0].shape, inputs[0].dtype, inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.to(ctx.dtype)[:, :, None, None].expand(ctx.shape), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent.sum(dim=(2, 3), dtype=ctx.sum_dtype)


def pixel_sum(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) → (N, C), the sum over the pixels in `dtype`; its gradient is not written out for every pixel."""
    if torch.compiler.is_compiling():  # fuses PyTorch's own, and does not trace functions that have a `jvp`
        return x.sum(dim=(2, 3), dtype=dtype)
    return _PixelSum.apply(x, dtype)


@torch.fx.wrap
def widened(x: Tensor) -> Tensor:
    """The same in float32 or wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.fx.wrap
def pooled(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C), the mean over the pixels, in float32 or wider."""
    return pixel_sum(x, torch.promote_types(x.dtype, torch.float32)) / (x.shape[2] * x.shape[3])


def scaled(z: Tensor, factors: Tensor) -> Tensor:
    """``f ⊙ z``: (N, C, H, W) and (N, C) → (N, C, H, W), in the precision of `z`."""
    # Promoted first: a product of two precisions takes eager PyTorch several times as long on a CPU.
    return (z.to(factors.dtype) * factors[:, :, None, None]).to(z.dtype)


def without_autocast(x: Tensor) -> AbstractContextManager:
    """The precision of the tensors themselves. A network that torch.fx traces follows autocast."""
    return nullcontext() if isinstance(x, torch.fx.Proxy) else torch.autocast(x.device.type, enabled=False)


class DynamicModulatedConv2d(nn.Module):
    """A convolution whose output channels are rescaled for every image: ``f ⊙ Conv(x)``.

    Works alone, as a layer in any network. Where nobody watches it, `abn.models.resnet` uses its two halves apart,
    and folds the factors into the normalisation behind.

    Attributes:
        conv: the convolution, with a bias of its own.
        gate_dmb: the `DynamicMultiBiasLinear` that computes the pre-activation from the pooled input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        num_biases: int = 4,
    ) -> None:
        """
        Raises:
            ValueError: for a size below 1.
        """
        super().__init__()
        require_positive(in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=stride)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
        self.gate_dmb = DynamicMultiBiasLinear(in_channels, out_channels, num_biases)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C_in, H, W) → linear term (N, C_out) and gate weights (N, K), both float32.

        Autocast is off here: the factors of a trained network vary by about 0.01 between images,
        and bfloat16 steps by 0.008 above 1.
        """
        with without_autocast(x):
            return self.gate_dmb.parts(pooled(x))

    def factors(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) → (N, C_out) factors in (0, 2), float32 also under autocast."""
        return factors_of(preactivation(*self.parts(x), self.gate_dmb.biases))

    def modulation(self, x: Tensor, response: Tensor) -> BankModulation:
        """The factors and their parts, for a hook; `response` (N, C_out) is the caller's to measure."""
        return BankModulation.of(response, *self.parts(x), self.gate_dmb.biases)

    def forward(self, x: Tensor, name: str = "", hook: Hook | None = None) -> Tensor:
        """(N, C_in, H, W) → (N, C_out, H', W'), in the precision of the convolution; both submodules are called.

        Args:
            name: of the block, for the hook.
            hook: is shown the modulation, and answers with the one to use.
        """
        z, parts = self.conv(x), []
        with without_autocast(x):
            m = self.gate_dmb(pooled(x), parts)
            factors = factors_of(m)
        if hook is not None:
            bank = self.gate_dmb.biases.to(m.dtype, copy=True)
            shown = BankModulation(factors, pooled(z), m, linear_term=parts[0], gate_weights=parts[1], bias_bank=bank)
            factors = ask(hook, name, shown).factors
        return scaled(z, factors)
