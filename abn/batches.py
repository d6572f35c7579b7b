"""The data set on the training device, and the augmented batches made of it there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from abn.data import Cifar10, DataError, normalise, to_pixels

HOLDOUT_SEED = 2024  # the same images are held out whatever the run's own seed
CROP_PADDING = 4  # pixels of zeros on each side


@dataclass(frozen=True)
class Split:
    """uint8 pixels (N, 3, 32, 32) and labels (N,), on the training device."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def split_data(data: Cifar10, holdout: int, device: torch.device) -> tuple[Split, Split]:
    """The images to train on and those to evaluate on.

    Args:
        holdout: how many training images to set aside and evaluate on; with 0, all are trained on
            and the test images are evaluated on.

    Raises:
        DataError: if fewer than one image would be left to train on.
    """
    if not 0 <= holdout < len(data.x_train):
        raise DataError(f"--holdout is {holdout}; expected 0 to {len(data.x_train) - 1}")
    pixels, labels = to_pixels(data.x_train), torch.from_numpy(data.y_train).long()
    if holdout == 0:
        test = Split(to_pixels(data.x_test).to(device), torch.from_numpy(data.y_test).long().to(device))
        return Split(pixels.to(device), labels.to(device)), test
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(HOLDOUT_SEED))
    kept, held = order[holdout:], order[:holdout]
    return tuple(Split(pixels[i].to(device), labels[i].to(device)) for i in (kept, held))


class Batches:
    """Shuffled, cropped and flipped batches of one training split.

    Random crop of 32 × 32 after 4 pixels of zero padding, horizontal flip with probability 1/2; one
    gather a batch makes both. The last, smaller batch is kept.
    """

    def __init__(self, split: Split, batch_size: int, seed: int) -> None:
        self.labels, self.batch_size, self.seed = split.labels, batch_size, seed
        self.size = split.pixels.shape[-1]
        padded = F.pad(split.pixels, [CROP_PADDING] * 4)
        self.padded = padded.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3): the gather's result is channels_last

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, 32, 32) normalised images and (B,) labels; the same for the same seed and epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        n, device = len(self.labels), self.labels.device
        order = torch.randperm(n, generator=generator).to(device)
        offsets = torch.randint(0, 2 * CROP_PADDING + 1, (n, 2), generator=generator).to(device)
        flips = torch.randint(0, 2, (n,), generator=generator).bool().to(device)
        line = torch.arange(self.size, device=device)
        for start in range(0, n, self.batch_size):
            chosen = slice(start, start + self.batch_size)
            index, (dy, dx), flip = order[chosen], offsets[chosen].unbind(1), flips[chosen]
            rows = dy[:, None] + line
            columns = dx[:, None] + torch.where(flip[:, None], line.flip(0), line)
            crops = self.padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield normalise(crops.permute(0, 3, 1, 2)), self.labels[index]
