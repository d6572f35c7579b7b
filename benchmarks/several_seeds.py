"""Several seeds on one device at once: what processes that train side by side gain over one after the other.

    python -m benchmarks.several_seeds [--arch resnet-dmb] [--at-once 1 2 4] [--steps 200] [--rounds 5] [--compile]

Each process trains a network of its own by `train_epoch`. In a round every number of processes has its
turn, all of them beginning together; a turn ends when its last process is done.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from torch import multiprocessing

from abn.common.devices import describe_hardware
from abn.models.registry import ARCHITECTURES
from benchmarks.options import device_and_counts
from benchmarks.timing import interleaved, ratio
from benchmarks.training_speed import RECIPE, noise_batches, own_loop, own_network


def train_when_told(told: Connection, architecture: str, device: str, batch: int, steps: int, fast: bool) -> None:
    """A process: make a network, warm up, and train `steps` batches each time something is sent; then answer."""
    place = torch.device(device)
    run = own_loop(*own_network(architecture, place, fast), noise_batches(batch, steps, place))
    run()
    told.send("ready")
    while told.recv():
        run()  # asks for the last loss at its end, so the device is done when it returns
        told.send("done")


def measure(
    architecture: str, device: str, at_once: list[int], *, batch: int, steps: int, rounds: int, fast: bool
) -> dict[int, list[float]]:
    """Seconds of every round for each number of processes at once."""
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for _ in range(max(at_once)):
        mine, theirs = context.Pipe()
        arguments = theirs, architecture, device, batch, steps, fast
        processes.append(context.Process(target=train_when_told, args=arguments, daemon=True))
        processes[-1].start()
        theirs.close()  # so that a process that ends early is noticed
        ends.append(mine)
    for end in ends:
        end.recv()

    def turn(count: int) -> Callable[[], None]:
        def run() -> None:
            for end in ends[:count]:
                end.send(True)
            for end in ends[:count]:
                end.recv()

        return run

    seconds = interleaved({str(count): turn(count) for count in at_once}, rounds)
    for end, process in zip(ends, processes, strict=True):
        end.send(False)
        process.join()
    return {count: seconds[str(count)] for count in at_once}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several_seeds", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--arch", default="resnet-dmb", choices=sorted(ARCHITECTURES))
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4], help="numbers of processes")
    parser.add_argument("--batch", type=int, default=RECIPE.batch_size, help="images a step")
    parser.add_argument("--steps", type=int, default=200, help="of each process in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False, help="torch.compile")
    args = parser.parse_args(argv)
    device = device_and_counts(parser, args, "at_once", "batch", "steps", "rounds")
    try:
        seconds = measure(
            args.arch, str(device), sorted({1, *args.at_once}), batch=args.batch, steps=args.steps,
            rounds=args.rounds, fast=args.compile,
        )  # fmt: skip
    except EOFError:
        sys.exit(
            "benchmarks.several_seeds: one of the processes has ended, and what it says stands above; if memory was "
            "short, give --at-once fewer, or a smaller --batch"
        )
    print(
        f"{describe_hardware(device)}, torch {torch.__version__}; {args.arch}, {args.batch} images a step, "
        f"{'compiled' if args.compile else 'eager'}; n = {args.rounds} rounds of {args.steps} steps, medians"
    )
    print("| seeds at once | images/s, all together | over one after the other |")
    print("|---|---|---|")
    for count, taken in seconds.items():
        images = count * args.steps * args.batch / statistics.median(taken)
        print(f"| {count} | {images:.0f} | {count * ratio(seconds[1], taken):.2f} |")


if __name__ == "__main__":
    main()
