"""What looking costs: `inspect` on both networks against their bare forward passes, in one run.

    python -m benchmarks.inspection [--device auto] [--batches 1 128] [--rounds 30]

Prints the ratio of medians for each batch size; 1.00 would be free.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from abn.common.devices import describe_hardware
from abn.interpret.inspection import inspect
from abn.models.resnet import resnet_dmb, resnet_s
from benchmarks.options import device_and_counts
from benchmarks.timing import interleaved, ratio


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspection", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 128])
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    device = device_and_counts(parser, args, "batches", "rounds")
    torch.manual_seed(0)
    models = {
        "ResNet-S": resnet_s().to(device).eval(),
        "ResNet-DMB": resnet_dmb().to(device).eval(),
    }
    print(f"{describe_hardware(device)}, torch {torch.__version__}, {args.rounds} rounds")
    print("| batch | network | bare forward, ms | inspect / bare forward |")
    print("|---|---|---|---|")
    for batch in args.batches:
        images = torch.randn(batch, 3, 32, 32, device=device)
        for name, model in models.items():

            def bare(model=model, images=images) -> None:
                with torch.no_grad():
                    model(images)

            def looked(model=model, images=images) -> None:
                inspect(model, images)

            seconds = interleaved({"bare": bare, "inspect": looked}, args.rounds, device)
            cost = ratio(seconds["inspect"], seconds["bare"])
            print(f"| {batch} | {name} | {1000 * statistics.median(seconds['bare']):.1f} | {cost:.3f} |", flush=True)


if __name__ == "__main__":
    main()
