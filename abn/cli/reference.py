"""`abn reference`: what is usual for a checkpoint over a data set."""

from __future__ import annotations

import os

from abn.cli.errors import ends_in_a_sentence
from abn.cli.options import BatchSize, Checkpoint, Data, Device


def reference(checkpoint: Checkpoint, data: Data, device: Device = "auto", batch_size: BatchSize = None) -> None:
    """Measure a checkpoint's reference statistics.

    Over CIFAR-10's test images; they are written into its folder.
    """
    from abn.checkpoints.reference import add_reference

    with ends_in_a_sentence("abn reference", ValueError, stopped="nothing was written"):
        # CheckpointError, DataError and DeviceError are ValueErrors.
        if not os.path.isdir(checkpoint):  # Path's own raises for a name too long for any file
            raise ValueError(
                f"{checkpoint} is no folder here; name a checkpoint's local folder (one on the Hub has to be "
                "downloaded first, since the reference is written into it)"
            )
        num_images, path = add_reference(checkpoint, data, device, batch_size)
        print(f"reference over {num_images} images in {path}")
