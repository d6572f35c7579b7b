"""A network of one modulated block that reads its answer off the factors, and the pictures it is meant for."""

from __future__ import annotations

import torch
from torch import nn

from abn.experiment.audit_conditions import Images
from abn.models.resnet import DMBBlock


class Tiny(nn.Module):
    """One block with identity convolutions: logits of two classes from 1 × 1 pictures, ``ReLU(2 f x + x)``.

    Pictures are (1, 0.8, 0) of class 1 and (0.8, 1, 0) of class 0, which only a factor of channel 1 that is larger
    for the former gets right.
    """

    architecture, num_biases = "tiny", 2

    def __init__(self):
        super().__init__()
        self.block = DMBBlock(3, 3, num_biases=2)
        layer = self.block.conv2_dmb
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        for conv in (self.block.conv1, layer.conv):
            conv.weight.data[:, :, 1, 1] = torch.eye(3)
        self.block.bn1.weight.data.fill_(1)
        self.block.bn2.weight.data.fill_(2)
        self.passes = 0
        self.eval()

    def blocks(self):
        yield "only", self.block.channels

    def stem(self, images):
        return images

    def named_blocks(self):
        yield "only", self.block

    def forward(self, images, hook=None):
        self.passes += 1
        out = self.block(images, "only", hook).mean(dim=(2, 3))
        return torch.stack([out[:, 0] + 0.01, 1.2 * out[:, 1]], dim=1)

    @classmethod
    def by_linear_term(cls):
        """``m_1 = 5 (x_0 - x_1)``: 1 for class 1, -1 for class 0; the bank is zero."""
        model = cls()
        model.block.conv2_dmb.gate_dmb.weight.data[1] = torch.tensor([5.0, -5, 0])
        return model

    @classmethod
    def by_bank(cls):
        """The same ``m_1``, of a vector for each class, that the gates choose (almost) entirely."""
        model = cls()
        layer = model.block.conv2_dmb.gate_dmb
        layer.biases.data[1] = torch.tensor([1.0, -1])
        layer.gate_fc.weight.data[:] = torch.tensor([[100.0, -100, 0], [-100, 100, 0]])
        return model

    @classmethod
    def by_constant(cls):
        """Factors that are the same for every picture."""
        model = cls()
        model.block.conv2_dmb.gate_dmb.biases.data[:] = torch.tensor([[0.3, 0.3], [-0.7, -0.7], [0.1, 0.1]])
        return model


def tiny_pictures(count: int) -> Images:
    """The two pictures in turn, class 1 first."""
    pixels = torch.tensor([[255, 204, 0], [204, 255, 0]], dtype=torch.uint8)[torch.arange(count) % 2, :, None, None]
    return Images(pixels, 1 - torch.arange(count) % 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
