"""One epoch of training: the network with its loss, the optimiser, and the loop over the batches.

Between two looks at the loss the host asks a GPU for work and never waits for an answer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from abn.common.devices import compiled
from abn.training.batches import Batches
from abn.training.recipes import Recipe
from abn.training.run_state import DivergedError
from abn.training.workers import ALONE, Workers

LOOK_EVERY = {True: 20, False: 100}
"""On a CPU, and elsewhere: steps between two looks at the loss, at each of which a GPU waits for the host."""


def make_optimizer(parameter_groups: list[dict], recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    """The recipe's optimiser, which updates all weights in one kernel where the device has it."""
    return torch.optim.SGD(
        parameter_groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov, fused=device.type != "mps",
    )  # fmt: skip


class Judged(nn.Module):
    """A network with its loss and what is counted of it, in one module: compiled, all of it is in the same graphs."""

    def __init__(self, network: nn.Module, label_smoothing: float) -> None:
        super().__init__()
        self.network, self.label_smoothing = network, label_smoothing

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss in nats and, without a gradient, (2,): the losses' sum and the number of right answers."""
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        correct = (logits.detach().argmax(1) == labels).sum()
        return loss, torch.stack([loss.detach() * len(labels), correct.to(loss.dtype)])


def to_train(
    model: nn.Module, recipe: Recipe, device: torch.device, workers: Workers = ALONE, *, compile_network: bool = False
) -> nn.Module:
    """What `train_epoch` takes: the network with its loss, compiled if told so, over all workers."""
    if compile_network:
        torch.compiler.reset()  # or the variants of earlier runs use up what one process may compile
    network = workers.wrap(model)
    if compile_network and workers.world_size > 1:
        # Around DistributedDataParallel, which Dynamo then splits so that gradients travel during the backward pass.
        return Judged(compiled(network, device), recipe.label_smoothing)
    judged = Judged(network, recipe.label_smoothing)
    return compiled(judged, device) if compile_network else judged


def train_epoch(
    judged: nn.Module,
    optimizer: torch.optim.SGD,
    recipe: Recipe,
    batches: Batches,
    epoch: int,
    bar: tqdm,
    *,
    bfloat16: bool,
) -> dict:
    """Train on every batch of an epoch, and count the batches on `bar`.

    Args:
        judged: as `to_train` makes it.
        bfloat16: whether convolutions and matrix products are computed in it.

    Returns:
        Epoch (from 1), last learning rate, mean loss in nats and accuracy in percent while training.

    Raises:
        DivergedError: when the loss or a weight is no longer a number.
    """
    judged.train()
    device, workers = batches.labels.device, batches.workers
    look_every = LOOK_EVERY[device.type == "cpu"]
    sums = torch.zeros(2, device=device)  # of losses and right answers; float32 counts to 16 million
    seen = 0
    for batch, (images, labels) in enumerate(batches.epoch(epoch)):
        rate = recipe.learning_rate(epoch, batch, len(batches))
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss, added = judged(images, labels)
        loss.backward(workers.gradient_weight(loss, len(labels), batches.length(batch)))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # Sums stay on the device: asking for their values would make the host wait for every step.
        sums += added
        seen += batches.length(batch)
        bar.update()
        if batch % look_every == 0 or batch == len(batches) - 1:
            loss_sum, correct = workers.sum(sums).tolist()
            mean_loss, accuracy = loss_sum / seen, 100 * correct / seen
            if not math.isfinite(mean_loss):
                raise _diverged(mean_loss, epoch, batch, rate)
            bar.set_postfix(loss=f"{mean_loss:.3f}", acc=f"{accuracy:.1f}%", refresh=False)
    # The last step comes after the last loss: what it did to the weights has to be looked at itself.
    norm = torch.stack([parameter.detach().float().norm() for parameter in judged.parameters()]).sum()
    if not math.isfinite(workers.sum(norm).item()):
        raise _diverged(math.nan, epoch, batch, rate)
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        "train_loss": round(mean_loss, 6),
        "train_accuracy": round(accuracy, 4),
    }


def _diverged(loss: float, epoch: int, batch: int, rate: float) -> DivergedError:
    return DivergedError(
        f"the loss is {loss} in epoch {epoch + 1}, batch {batch + 1} (learning rate {rate:.3g}); the last finished "
        "epoch is kept",
        "look for broken images, or start anew with a lower --lr and another --out",
    )
