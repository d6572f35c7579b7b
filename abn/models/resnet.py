"""ResNet-S and ResNet-DMB, the two networks of "Beyond Static Bias" for 32 × 32 pictures.

A 3×3 stem, three stages of two basic blocks with 64, 128 and 256 channels, global average pooling
and a linear head. In ResNet-DMB the second convolution of every block is modulated
(`abn.models.layers.DynamicModulatedConv2d`); in ResNet-S it is a plain one. The state-dict names are those
of the official implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as everywhere  # where PyTorch keeps the hooks of all modules

from abn.models.layers import DynamicModulatedConv2d, pooled, require_positive, scaled
from abn.models.modulation import Hook, Modulation, StaticModulation, Stop, ask, require_blocks


def _hooked(module: nn.Module) -> bool:
    """Whether PyTorch's own hooks wait for the module to be called."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or everywhere._global_forward_hooks
        or everywhere._global_forward_pre_hooks
        or everywhere._global_backward_hooks
        or everywhere._global_backward_pre_hooks
    )


class BasicBlock(nn.Module):
    """conv1 → bn1 → ReLU → conv2 → bn2, plus a shortcut, then ReLU. Static: every factor is 1.

    In eval mode bn2 is one multiplication and one addition a channel, and the factors fold into the multiplication,
    so that modulating costs no pass over the activations. As PyTorch's transformer layers do, a block leaves this
    path and calls every submodule where somebody would notice: in training, where one of them has a hook of
    PyTorch's, and while torch.fx traces.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, channels=channels, stride=stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.add_second_convolution(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    @property
    def channels(self) -> int:
        """C, the number of output channels, so of factors."""
        return self.bn2.num_features

    num_biases: int | None = None
    """K of the block's bias bank; None where it has none."""

    def add_second_convolution(self, channels: int) -> None:
        """Register the second convolution; what other channel modulators override."""
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def convolve(self, h: Tensor) -> Tensor:
        """The second convolution without its factors: (N, C, H, W) → (N, C, H, W)."""
        return self.conv2(h)

    def factors(self, h: Tensor, z: Tensor) -> Tensor | None:
        """(N, C) factors for input `h` and output `z` of the second convolution; None means 1 throughout."""
        return None

    def modulation(self, h: Tensor, response: Tensor) -> Modulation:
        """What a hook is shown, for input `h` and mean output `response` (N, C) of the second convolution."""
        return StaticModulation.of(response)

    def forward(self, x: Tensor, name: str = "", hook: Hook | None = None) -> Tensor:
        """(N, C_in, H, W) → (N, C, H / stride, W / stride)."""
        hook = None if isinstance(hook, torch.fx.Proxy) else hook  # torch.fx's stand-in for an argument not given
        h = F.relu(self.bn1(self.conv1(x)))
        if self._calls_bn2(h) or any(map(_hooked, self.folded())):
            return self.finish(self.modulated(h, name, hook), None, self.shortcut(x))
        z = self.convolve(h)
        factors = self.factors(h, z) if hook is None else ask(hook, name, self._shown(h, z)).factors
        return self.finish(z, factors, self.shortcut(x))

    def modulated(self, h: Tensor, name: str, hook: Hook | None) -> Tensor:
        """The second convolution with its factors in force, by modules that are called."""
        z = self.convolve(h)
        factors = self.factors(h, z) if hook is None else ask(hook, name, self._shown(h, z)).factors
        return z if factors is None else scaled(z, factors)

    def folded(self) -> tuple[nn.Module, ...]:
        """The modules besides bn2 that the folded path computes without calling them."""
        return ()

    def _calls_bn2(self, x: Tensor) -> bool:
        norm = self.bn2
        return norm.training or type(norm) is not nn.BatchNorm2d or isinstance(x, torch.fx.Proxy) or _hooked(norm)

    def stop(self, x: Tensor, name: str) -> Stop:
        """The block's pass up to its second convolution; `finish(*stop.state)` with factors between goes on."""
        h = F.relu(self.bn1(self.conv1(x)))
        z = self.convolve(h)
        return Stop(name, self._shown(h, z), (z, self.shortcut(x)))

    def _shown(self, h: Tensor, z: Tensor) -> Modulation:
        return self.modulation(h, pooled(z))

    def finish(self, z: Tensor, factors: Tensor | None, shortcut: Tensor) -> Tensor:
        """Scale by the factors, bn2, add the shortcut, ReLU."""
        bn = self.bn2
        if self._calls_bn2(z):
            return F.relu(bn(z if factors is None else scaled(z, factors)) + shortcut)
        precision = torch.promote_types(bn.running_var.dtype, torch.float32)
        scale = bn.weight.to(precision) * torch.rsqrt(bn.running_var.to(precision) + bn.eps)
        shift = bn.bias.to(precision) - bn.running_mean.to(precision) * scale
        scale = scale[None] if factors is None else scale * factors
        normalised = torch.addcmul(shift[:, None, None], z, scale[:, :, None, None])
        return F.relu(normalised.to(z.dtype) + shortcut)


class DMBBlock(BasicBlock):
    """A basic block whose second convolution is modulated from a bank of `num_biases` vectors."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, num_biases: int = 4) -> None:
        self.num_biases = num_biases
        super().__init__(in_channels, channels, stride)

    def add_second_convolution(self, channels: int) -> None:
        self.conv2_dmb = DynamicModulatedConv2d(channels, channels, num_biases=self.num_biases)

    def convolve(self, h: Tensor) -> Tensor:
        return self.conv2_dmb.conv(h)

    def modulated(self, h: Tensor, name: str, hook: Hook | None) -> Tensor:
        return self.conv2_dmb(h, name, hook)

    def folded(self) -> tuple[nn.Module, ...]:
        return self.conv2_dmb, self.conv2_dmb.gate_dmb

    def factors(self, h: Tensor, z: Tensor) -> Tensor:
        return self.conv2_dmb.factors(h)

    def modulation(self, h: Tensor, response: Tensor) -> Modulation:
        return self.conv2_dmb.modulation(h, response)


class Stage(nn.Sequential):
    """Blocks one after the other, which are given the hook and their names."""

    def forward(self, x: Tensor, name: str = "", hook: Hook | None = None) -> Tensor:
        """(N, C_in, H, W) → (N, C, H / stride, W / stride); a block is called "name.index"."""
        hook = None if isinstance(hook, torch.fx.Proxy) else hook
        for index, block in self.named_children():
            x = block(x, f"{name}.{index}", hook)
        return x


class ResNet(nn.Module):
    """A list of named blocks between a stem and a head.

    A caller may walk `named_blocks()` itself, to start or stop in the middle.
    """

    info: Any
    """The `abn.checkpoints.info.CheckpointInfo` of a loaded network, absent from a fresh one; `Any`, since models
    may not import checkpoints."""

    def __init__(
        self,
        make_block: Callable[[int, int, int], BasicBlock],
        architecture: str,
        num_classes: int = 10,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            make_block: called with (input channels, channels, stride) for each of the six blocks.
            architecture: the name under which `abn.models.registry` builds it anew, e.g. "resnet-s".
            options: what else the builder was given that a checkpoint has to say.

        Raises:
            ValueError: for fewer than one class.
        """
        super().__init__()
        require_positive(num_classes=num_classes)
        self.architecture = architecture
        self.options = dict(options or {})
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = Stage(make_block(64, 64, 1), make_block(64, 64, 1))
        self.layer2 = Stage(make_block(64, 128, 2), make_block(128, 128, 1))
        self.layer3 = Stage(make_block(128, 256, 2), make_block(256, 256, 1))
        self.linear = nn.Linear(256, num_classes)

    @property
    def num_classes(self) -> int:
        return self.linear.out_features

    @property
    def num_biases(self) -> int | None:
        """K of the bias banks, or None for a network without any."""
        return next(block.num_biases for _, block in self.named_blocks())

    def blocks(self) -> Iterator[tuple[str, int]]:
        """("layer1.0", 64) …: name and number of channels, in the order of computation."""
        for name, block in self.named_blocks():
            yield name, block.channels

    def named_blocks(self) -> Iterator[tuple[str, BasicBlock]]:
        """("layer1.0", block) … in the order of computation."""
        for stage_name in self.stages():
            for index, block in enumerate(getattr(self, stage_name)):
                yield f"{stage_name}.{index}", block

    def stages(self) -> tuple[str, ...]:
        """Names of the stages, from fine to coarse."""
        return ("layer1", "layer2", "layer3")

    def stem(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 64, H, W)."""
        return F.relu(self.bn1(self.conv1(images)))

    def head(self, features: Tensor) -> Tensor:
        """(N, 256, h, w) → logits (N, num_classes)."""
        return self.linear(features.mean(dim=(2, 3)))

    def forward(self, images: Tensor, hook: Hook | None = None) -> Tensor:
        """Normalised images (N, 3, 32, 32) → logits (N, num_classes).

        Args:
            hook: is shown each block's `Modulation`, and answers with the one to use. A hook that
                raises leaves the network as it was: nothing is stored on it.

        Raises:
            ValueError: for a hook that names blocks (`hook.blocks`) this network does not have.
        """
        hook = None if isinstance(hook, torch.fx.Proxy) else hook
        if hook is not None:
            require_blocks(hook, dict(self.blocks()))
        x = self.stem(images)
        for name in self.stages():
            x = getattr(self, name)(x, name, hook)
        return self.head(x)

    def stops(self, images: Tensor) -> Iterator[Stop]:
        x = self.stem(images)
        for name, block in self.named_blocks():
            stop = block.stop(x, name)
            yield stop
            z, shortcut = stop.state
            x = block.finish(z, stop.modulation.factors, shortcut)

    def resume(self, stop: Stop, factors: Tensor, hook: Hook | None = None) -> Tensor:
        blocks = iter(self.named_blocks())
        z, shortcut = stop.state
        x = next(block for name, block in blocks if name == stop.name).finish(z, factors, shortcut)
        for name, block in blocks:
            x = block(x, name, hook)
        return self.head(x)


def resnet_s(num_classes: int = 10) -> ResNet:
    """The static network: 2,777,674 parameters with ten classes."""
    return ResNet(BasicBlock, "resnet-s", num_classes)


def resnet_dmb(num_classes: int = 10, num_biases: int = 4) -> ResNet:
    """The modulated network: 2,957,794 parameters with ten classes and K = 4.

    Raises:
        ValueError: for fewer than one class or bias vector.
    """

    def block(in_channels: int, channels: int, stride: int) -> DMBBlock:
        return DMBBlock(in_channels, channels, stride, num_biases)

    return ResNet(block, "resnet-dmb", num_classes)
