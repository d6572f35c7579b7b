"""Data-parallel training: one process ("worker") a device, which torchrun starts and ends.

    torchrun --standalone --nproc_per_node 2 -m abn train --arch resnet-dmb --data DIR --out DIR

Every worker walks the same shuffled epoch and takes its own contiguous share of each batch, so the batch, the seed
and the schedule mean what they mean in one process. One thing differs: batch normalisation sees each share by
itself (there is no SyncBN), and rank 0's running statistics are the ones evaluated and kept.

Only rank 0 reads and writes the run's folder, which therefore need not be on a disk that all machines share. What
it reads, and every error a person can cause on any worker, is passed on to all, so that they stop together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from abn.common.data import DataError
from abn.common.devices import DeviceError, choose_device
from abn.training.run_state import TrainingError

T = TypeVar("T")
SPOKEN = "abn/first-has-said-why"
PATIENCE = timedelta(seconds=10)  # for rank 0 to say why the job ends


@dataclass(frozen=True)
class Workers:
    """This process among those that train one network together; as it stands, the only one.

    Attributes:
        rank: in [0, world_size).
        world_size: how many there are; with 1 no process group is needed, and nothing here costs anything.
    """

    rank: int = 0
    world_size: int = 1

    def share(self, start: int, stop: int) -> slice:
        """This worker's part of what lies from `start` to `stop`: contiguous; sizes differ by at most 1."""
        n = stop - start
        return slice(start + self.rank * n // self.world_size, start + (self.rank + 1) * n // self.world_size)

    def require_shares(self, num_images: int, batch_size: int) -> None:
        """Refuse batches that leave a worker without an image.

        Raises:
            TrainingError: if a batch of an epoch, which may be its last, has fewer images than there are workers.
        """
        smallest = num_images % batch_size or batch_size
        if smallest < self.world_size:
            raise TrainingError(
                f"{num_images} training images leave {smallest} for an epoch's smallest batch; expected one for each "
                f"of {self.world_size} workers: start fewer (--nproc_per_node), or change --holdout"
            )

    def gradient_weight(self, loss: Tensor, num_images: int, of: int) -> Tensor | None:
        """What to start this worker's backward pass with; None for 1.

        DistributedDataParallel averages gradients over the workers; so weighted, that is the gradient of the mean
        over all images of the batch.

        Args:
            loss: scalar, the mean over this worker's share.
            num_images: in this worker's share.
            of: in the whole batch.
        """
        weight = num_images * self.world_size / of
        return None if weight == 1 else torch.full_like(loss, weight)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the workers, the same on each; `values` stay as they are."""
        if self.world_size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def wrap(self, model: nn.Module) -> nn.Module:
        """The network to train: its backward pass averages gradients. All start from rank 0's weights."""
        if self.world_size == 1:
            return model
        network = DistributedDataParallel(model, gradient_as_bucket_view=True)
        # A broadcast a step that training mode does not need; torch 2.13 renamed the argument, not the attribute.
        network.broadcast_buffers = False
        return network

    def spread_statistics(self, model: nn.Module) -> None:
        """Give every worker the running statistics of rank 0."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def agree(self, work: Callable[[], T]) -> T:
        """Do what may fail on one worker, and fail on all of them if it does.

        Raises:
            DataError, DeviceError, TrainingError: the worker's own; TrainingError, with the message of the first
                that failed, on those that did not.
        """
        if self.world_size == 1:
            return work()
        value, problem = None, None
        try:
            value = work()
        except (DataError, DeviceError, TrainingError) as error:
            problem = error
        messages: list[str | None] = [None] * self.world_size
        dist.all_gather_object(messages, None if problem is None else str(problem))
        told = next(filter(None, messages), None)
        if told is not None:
            raise problem or TrainingError(told)
        return value

    def from_first(self, work: Callable[[], T]) -> T:
        """Let rank 0 alone do something, and give its result to all; it must be a small one that can be pickled.

        Raises:
            DataError, DeviceError, TrainingError: on all alike.
        """
        if self.world_size == 1:
            return work()
        box = [self.agree(work if self.rank == 0 else lambda: None)]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def choose_device(self, name: str) -> torch.device:
        """As `abn.common.devices.choose_device`; for several workers "auto" and "cuda" are a GPU of its own for each.

        Raises:
            DeviceError: for a device this machine does not have, or that workers cannot share.
        """
        if self.world_size == 1:
            return choose_device(name)
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = choose_device(name)
        if device.type == "cpu":
            return device
        if device != torch.device("cuda"):
            raise DeviceError(f"--device is {name} for {self.world_size} workers; expected auto, cuda or cpu")
        local_rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= gpus:
            raise DeviceError(
                f"{gpus} GPUs are too few for the workers on this machine; expected one for each: "
                f"start {gpus} there (--nproc_per_node {gpus}), or pass --device cpu"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        return device

    def describe(self, hardware: str) -> str:
        """The hardware of all of them, taken to be alike, e.g. "2 × NVIDIA H200"."""
        return hardware if self.world_size == 1 else f"{self.world_size} × {hardware}"


ALONE = Workers()


@contextmanager
def joined(program: str) -> Iterator[Workers]:
    """The workers torchrun started, in one process group while the context lasts; without it, this process alone.

    Rank 0 speaks for all: the others print nothing, and a `SystemExit` is told once. Where a worker is lost, the
    others stop with `SystemExit` as soon as a collective fails; torchrun ends those that are stuck in one.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield ALONE
        return
    store, rank, world_size = next(dist.rendezvous("env://"))
    # Objects travel by gloo on any device.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    try:
        with ExitStack() as stack:
            if rank > 0:
                silence = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(redirect_stdout(silence))
                stack.enter_context(redirect_stderr(silence))
            yield Workers(rank, world_size)
    except SystemExit as stop:
        # torchrun ends every worker as soon as it sees that one has failed: the first has to have spoken by then.
        if rank == 0:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr, flush=True)
            store.set(SPOKEN, "")
        else:
            with suppress(dist.DistError):
                store.wait([SPOKEN], PATIENCE)
        sys.exit(1 if isinstance(stop.code, str) else stop.code)
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        sys.exit(f"{program}: a worker is gone, see below; pass --resume to go on from the last finished epoch")
    finally:
        dist.destroy_process_group()


def _is_lost(error: RuntimeError) -> bool:
    """Whether a collective failed; gloo's errors are plain ones that name a file of its source."""
    return isinstance(error, dist.DistError) or "gloo/" in str(error)
