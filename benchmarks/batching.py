"""What computing several visitors' pictures together would gain, and what it would cost in waiting.

    python -m benchmarks.batching [--device auto] [--batches 2 4 8] [--rounds 15] [--window 10]

Measures both networks' `inspect` of N pictures in one pass against N passes one by one, in the same round. A queue
that gathers requests for `--window` milliseconds makes each wait half of that on average, and answers none before
the whole batch is done. With N requests that arrive at once, one by one they wait for (N + 1) / 2 passes on average.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from abn.checkpoints.network import BASELINE, DMB, load_network
from abn.common.devices import describe_hardware
from abn.interpret.inspection import inspect
from benchmarks.options import device_and_counts
from benchmarks.timing import interleaved, ratio


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--window", type=float, default=10, help="milliseconds for which requests are gathered")
    args = parser.parse_args()
    device = device_and_counts(parser, args, "batches", "rounds")
    models = [load_network(None, folder).model.to(device).requires_grad_(False).eval() for folder in (BASELINE, DMB)]
    print(f"{describe_hardware(device)}, torch {torch.__version__}, {args.rounds} rounds")
    print(
        "| pictures | one, ms | one by one / together | mean answer one by one, ms | "
        f"mean answer gathered for {args.window:g} ms, ms |"
    )
    print("|---|---|---|---|---|")
    for count in args.batches:
        images = torch.randn(count, 3, 32, 32, device=device)

        def together(images=images) -> None:
            for model in models:
                inspect(model, images).logits.cpu()

        def one_by_one(images=images) -> None:
            for image in images:
                for model in models:
                    inspect(model, image[None]).logits.cpu()

        seconds = interleaved({"together": together, "one by one": one_by_one}, args.rounds, device)
        batch, apart = (1000 * statistics.median(seconds[name]) for name in ("together", "one by one"))
        gain = ratio(seconds["one by one"], seconds["together"])
        alone = apart / count
        print(
            f"| {count} | {alone:.1f} | {gain:.2f} | {alone * (count + 1) / 2:.1f} | {args.window / 2 + batch:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
