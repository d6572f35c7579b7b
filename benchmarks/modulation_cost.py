"""What modulation costs: ResNet-DMB over ResNet-S, forward and in training, in one run.

    python -m benchmarks.modulation_cost [--batches 512 1] [--training-batch 128] [--rounds 20] [--compile]

The forward pass is that of the page: eval mode, float32, colours innermost. The training step is one of several of
`train_epoch`, which share its preparation and bookkeeping as those of an epoch do. 1.00 would be free.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch

from abn.common.devices import compiled, describe_hardware
from abn.models.registry import ARCHITECTURES
from benchmarks.options import device_and_counts
from benchmarks.timing import interleaved, ratio
from benchmarks.training_speed import noise_batches, own_loop, own_network

NETWORKS = ("resnet-s", "resnet-dmb")


def forward(architecture: str, device: torch.device, batch: int, compile_network: bool) -> Callable[[], object]:
    """A pass of a network in eval mode."""
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture].build().to(device, memory_format=torch.channels_last).eval()
    network = compiled(model, device) if compile_network else model
    images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.no_grad():
            network(images)

    return run


def training_steps(
    architecture: str, device: torch.device, batch: int, compile_network: bool
) -> Callable[[], object]:
    """A few steps of training, their batches and bookkeeping included."""
    count = steps(device)
    return own_loop(*own_network(architecture, device, compile_network), noise_batches(batch, count, device))


def steps(device: torch.device) -> int:
    """Of training that are timed together."""
    return 4 if device.type == "cpu" else 32


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modulation_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="*", default=[512, 1], help="images of the forward passes")
    parser.add_argument("--training-batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False, help="also compiled")
    parser.add_argument("--threads", type=int, help="of the CPU; all its cores if left out")
    args = parser.parse_args(argv)
    device = device_and_counts(parser, args, "batches", "training_batch", "rounds", "threads")
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{describe_hardware(device)}, torch {torch.__version__}; n = {args.rounds} rounds, medians")
    print("| | images | | ResNet-S, ms | ResNet-DMB, ms | ResNet-DMB / ResNet-S |")
    print("|---|---|---|---|---|---|")
    kinds = [("forward", forward, batch, 1) for batch in args.batches]
    kinds += [("training step", training_steps, args.training_batch, steps(device))]
    for kind, make, batch, count in kinds:
        for compile_network in (False, True) if args.compile else (False,):
            torch.compiler.reset()  # past a number of networks it would go back to eager ones, with a warning alone
            seconds = interleaved(
                {name: make(name, device, batch, compile_network) for name in NETWORKS}, args.rounds, device
            )
            static, modulated = (seconds[name] for name in NETWORKS)
            times = " | ".join(f"{1000 * statistics.median(taken) / count:.1f}" for taken in (static, modulated))
            print(
                f"| {kind} | {batch} | {'compiled' if compile_network else 'eager'} | {times} | "
                f"{ratio(modulated, static):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
