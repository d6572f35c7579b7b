"""Accuracy and loss of a network over a whole split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from abn.common.data import normalise
from abn.common.devices import images_at_once
from abn.training.batches import Split
from abn.training.workers import ALONE, Workers


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, workers: Workers = ALONE) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy in nats, in eval mode and float32, without autocast.

    Workers with the same network each look at their share of the images, and all return the same.
    On CUDA the convolutions round their inputs to TF32 where PyTorch's setting allows it, as it does by default.
    """
    was_training = model.training
    model.eval()
    correct, loss = 0, 0.0
    share = workers.share(0, len(split))
    batch = images_at_once(split.labels.device)
    for start in range(share.start, share.stop, batch):
        chosen = slice(start, min(start + batch, share.stop))
        labels = split.labels[chosen]
        logits = model(normalise(split.pixels[chosen]))
        correct += (logits.argmax(1) == labels).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
    model.train(was_training)
    correct, loss = workers.sum(torch.tensor([correct, loss], dtype=torch.float64)).tolist()
    return 100 * correct / len(split), loss / len(split)
