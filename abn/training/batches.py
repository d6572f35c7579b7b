"""The data set on the training device, and the augmented batches made of it there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pad

from abn.common.data import MEAN, STD, Cifar10, DataError, normalise, to_pixels
from abn.training.workers import ALONE, Workers

AT_ONCE = 16
"""Batches that a GPU is asked to make in one go: the host then starts a sixteenth as many kernels for them. A CPU
makes one at a time, which its caches hold."""
HOLDOUT_SEED = 2024  # the same images are held out whatever the run's own seed


@dataclass(frozen=True)
class Augmentation:
    """How a training image is cropped and flipped; the defaults are the paper's.

    Attributes:
        padding: pixels added on each side before the crop.
        padding_mode: what they hold: "constant" for zeros, "reflect" for the mirrored image.
        alternate_flips: flip an image in every other epoch, starting at random, instead of at random in each
            (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds"): two epochs then show every image both ways.
        early_size: height and width in pixels of the crops in the early epochs; None for the image's own.
        early_epochs: how many epochs are early.
        cutout: side in pixels of a square anywhere in the image that is set to the data set's mean (DeVries & Taylor
            2017, "Improved Regularization of Convolutional Neural Networks with Cutout"); in an early crop it is
            smaller by as much as the crop. Its centre is a pixel of the image, and what lies outside is cut off.
    """

    padding: int = 4
    padding_mode: str = "constant"
    alternate_flips: bool = False
    early_size: int | None = None
    early_epochs: int = 0
    cutout: int = 0


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

    A random crop after padding and a horizontal flip with probability 1/2; one gather a batch makes both. The
    last, smaller batch is kept. Of several workers each makes its own share of every batch.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        workers: Workers = ALONE,
        at_once: int | None = None,
    ) -> None:
        """
        Args:
            at_once: how many batches are made in one go, which changes none of them; None for what suits the device.
        """
        self.at_once = at_once or (1 if split.labels.device.type == "cpu" else AT_ONCE)
        self.labels, self.batch_size, self.seed, self.workers = split.labels, batch_size, seed, workers
        self.augmentation = augmentation or Augmentation()
        self.size = split.pixels.shape[-1]
        padded = pad(split.pixels, [self.augmentation.padding], padding_mode=self.augmentation.padding_mode)
        self.padded = padded.permute(0, 2, 3, 1).contiguous()  # (N, H, W, 3): the gather's result is channels_last
        # Copied to the device once: a copy from the host makes it wait for what it was asked before.
        self.mean, self.std = (torch.tensor(values, device=split.labels.device) for values in (MEAN, STD))

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def length(self, batch: int) -> int:
        """How many images a batch (0-based) of an epoch has, over all workers."""
        return min(self.batch_size, len(self.labels) - batch * self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, H, W) normalised images and (B,) labels, this worker's; the same for the same seed and epoch."""
        generator = self._generator(epoch)
        n, device = len(self.labels), self.labels.device
        size = self._size(epoch)
        order = torch.randperm(n, generator=generator).to(device)
        offsets = torch.randint(0, self.padded.shape[1] - size + 1, (n, 2), generator=generator).to(device)
        flips = self._flips(epoch, order, generator)
        line = torch.arange(size, device=device)
        cutout = round(self.augmentation.cutout * size / self.size)
        if cutout:
            corners = (torch.randint(0, size, (n, 2), generator=generator) - cutout // 2).to(device)
        shares = [self._share(start) for start in range(0, n, self.batch_size)]
        everything = torch.arange(n, device=device)
        for first in range(0, len(shares), self.at_once):
            several = shares[first : first + self.at_once]
            chosen = torch.cat([everything[share] for share in several])
            index, (dy, dx), flip = order[chosen], offsets[chosen].unbind(1), flips[chosen]
            rows = dy[:, None] + line
            columns = dx[:, None] + torch.where(flip[:, None], line.flip(0), line)
            crops = self.padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
            images = normalise(crops.permute(0, 3, 1, 2), self.mean, self.std)
            if cutout:
                past = line - corners[chosen][:, :, None]  # (B, 2, size) pixels from the square's top and left edge
                rows, columns = ((past >= 0) & (past < cutout)).unbind(1)
                images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
            sizes = [share.stop - share.start for share in several]
            yield from zip(images.split(sizes), self.labels[index].split(sizes), strict=True)

    def _share(self, start: int) -> slice:
        """This worker's part of the batch that begins with the epoch's image `start`."""
        return self.workers.share(start, min(start + self.batch_size, len(self.labels)))

    def _generator(self, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)

    def _size(self, epoch: int) -> int:
        early = epoch < self.augmentation.early_epochs
        return self.augmentation.early_size or self.size if early else self.size

    def _flips(self, epoch: int, order: Tensor, generator: torch.Generator) -> Tensor:
        """(N,) bool, in the epoch's order."""
        if not self.augmentation.alternate_flips:
            return torch.randint(0, 2, (len(order),), generator=generator).bool().to(order.device)
        first = torch.randint(0, 2, (len(order),), generator=self._generator(0)).bool().to(order.device)
        return first[order] ^ bool(epoch % 2)
