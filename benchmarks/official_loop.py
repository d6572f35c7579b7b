"""What an ordinary CIFAR-10 script does, in our own writing: the loop that training speed is compared with.

PIL transforms in two worker processes, float32, eager PyTorch, an update a batch, and the loss asked for at every
step. The pictures are noise: what a step costs does not depend on what they show.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from abn.common.data import MEAN, STD

WORKERS = 2
AHEAD = 2 * WORKERS
"""Batches that the workers hold ready, as `DataLoader` has it by default: two each."""
DIFFERENT = 2048  # pictures in memory; the data set repeats them


class NoisePictures(Dataset):
    """As torchvision's CIFAR10: arrays in memory, a PIL picture and a label at a time."""

    def __init__(self, length: int) -> None:
        random = np.random.default_rng(0)
        self.length = length
        self.data = random.integers(0, 256, (min(length, DIFFERENT), 32, 32, 3), dtype=np.uint8)
        self.targets = random.integers(0, 10, len(self.data)).tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        index %= len(self.data)
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


class OfficialLoop:
    """The loop, stopped and gone on with as a benchmark needs it.

    The workers live as long as the loop, and start in its first step. They load ahead while nobody asks, so a
    measurement must first let `AHEAD` steps pass: what was loaded in a pause is then used up at the loop's own pace.
    """

    def __init__(self, model: nn.Module, device: torch.device, batch_size: int, steps: int) -> None:
        """
        Args:
            steps: how many there will be in all.
        """
        self.model = model.to(device).train()
        self.device = device
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        self.loader = DataLoader(
            NoisePictures(batch_size * steps), batch_size, shuffle=True, num_workers=WORKERS,
            pin_memory=device.type == "cuda",
        )  # fmt: skip
        self.batches: Iterator[tuple[Tensor, Tensor]] | None = None

    def run(self, steps: int) -> float:
        """Train on the next batches; the mean of their losses."""
        if self.batches is None:
            self.batches = iter(self.loader)
        total = 0.0
        for _ in range(steps):
            images, labels = next(self.batches)
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / steps
