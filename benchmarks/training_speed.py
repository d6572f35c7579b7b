"""How near training comes to the hardware: the project's own loop, its limit, and an ordinary script, in one run.

    python -m benchmarks.training_speed [--arch resnet-dmb] [--steps 4] [--rounds 5] [--compile] [--threads 2]

In a round all take turns: an epoch of `--steps` batches by `train_epoch`, augmentation and bookkeeping
included; forward, loss and backward of the same network on one batch that is ready; the loop of
`benchmarks.official_loop`; and products of square matrices, of which the fastest is the device's peak: measured
here, with these threads, and not the data sheet's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from abn.common.devices import describe_hardware, gains_by_bfloat16, keep_freed_memory
from abn.models.registry import ARCHITECTURES
from abn.training.batches import Batches, Split
from abn.training.epoch import Judged, make_optimizer, to_train, train_epoch
from abn.training.recipes import RECIPES
from benchmarks.official_loop import AHEAD, OfficialLoop
from benchmarks.options import device_and_counts
from benchmarks.peak import count_operations, products
from benchmarks.timing import interleaved, ratio

RECIPE = RECIPES["paper"]


@dataclass(frozen=True)
class Speed:
    """Medians over the rounds.

    Attributes:
        own, limit, official: images per second.
        over_limit, over_official: ratios of images per second, of the two in the same round.
        operations: of one step, forward and back.
        peak: operations per second of the fastest product of matrices, whose rows are `rows`.
        share: of the peak, that the own loop reaches.
    """

    own: float
    limit: float
    official: float
    over_limit: float
    over_official: float
    operations: int
    peak: float
    rows: int
    share: float


def own_network(architecture: str, device: torch.device, compile_network: bool) -> tuple[nn.Module, nn.Module]:
    """The model as `train` makes it, and what it trains: the same with its loss, compiled if told so."""
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture].build().to(device, memory_format=torch.channels_last).train()
    return model, to_train(model, RECIPE, device, compile_network=compile_network)


def own_loop(model: nn.Module, judged: nn.Module, batches: Batches) -> Callable[[], object]:
    """An epoch of the project's own training."""
    optimizer = make_optimizer([{"params": list(model.parameters())}], RECIPE, batches.labels.device)
    precision = {"bfloat16": gains_by_bfloat16(batches.labels.device)}
    return lambda: train_epoch(judged, optimizer, RECIPE, batches, 0, tqdm(disable=True), **precision)


def forward_and_back(model: nn.Module, judged: nn.Module, images: Tensor, labels: Tensor) -> None:
    """What no loop can leave out, in the precision of `train_epoch`."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=gains_by_bfloat16(images.device)):
        loss, _ = judged(images, labels)
    loss.backward()
    model.zero_grad(set_to_none=True)


def noise_batches(batch: int, steps: int, device: torch.device) -> Batches:
    """An epoch of `steps` batches, made on the device as those of CIFAR-10 are."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch * steps, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (batch * steps,), generator=generator)
    return Batches(Split(pixels.to(device), labels.to(device)), batch, seed=0)


def measure(
    architecture: str, device: torch.device, *, batch: int, steps: int, rounds: int, compile_network: bool
) -> Speed:
    """Time all of them; the first round, in which workers start and networks are compiled, does not count."""
    model, judged = own_network(architecture, device, compile_network)
    batches = noise_batches(batch, steps, device)
    images, labels = next(batches.epoch(0))
    operations = count_operations(lambda: forward_and_back(model, Judged(model, 0.0), images, labels))

    def limit() -> None:
        for _ in range(steps):
            forward_and_back(model, judged, images, labels)

    official = OfficialLoop(ARCHITECTURES[architecture].build(), device, batch, (rounds + 1) * (AHEAD + steps))
    matrices = products(device, torch.bfloat16 if gains_by_bfloat16(device) else torch.float32)
    candidates = {
        "own": own_loop(model, judged, batches),
        "limit": limit,
        "ahead": lambda: official.run(AHEAD),
        "official": lambda: official.run(steps),
        **{f"matrices of {rows}": run for rows, (run, _) in matrices.items()},
    }
    seconds = interleaved(candidates, rounds, device)
    own, limit_, official_ = (seconds[name] for name in ("own", "limit", "official"))
    speeds = {rows: work / min(seconds[f"matrices of {rows}"]) for rows, (_, work) in matrices.items()}
    rows, peak = max(speeds.items(), key=lambda item: item[1])
    per_second = [batch * steps / statistics.median(taken) for taken in (own, limit_, official_)]
    return Speed(
        *per_second, over_limit=ratio(limit_, own), over_official=ratio(official_, own), operations=operations,
        peak=peak, rows=rows, share=operations * steps / statistics.median(own) / peak,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--arch", default="resnet-dmb", choices=sorted(ARCHITECTURES))
    parser.add_argument("--batch", type=int, default=RECIPE.batch_size, help="images a step")
    parser.add_argument("--steps", type=int, default=4, help="of each loop in a round; 100 or more on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False, help="torch.compile")
    parser.add_argument("--threads", type=int, help="of the CPU; all its cores if left out")
    args = parser.parse_args(argv)
    device = device_and_counts(parser, args, "batch", "steps", "rounds", "threads")
    if args.threads:
        torch.set_num_threads(args.threads)
    speed = measure(
        args.arch, device, batch=args.batch, steps=args.steps, rounds=args.rounds, compile_network=args.compile
    )
    precision = "bfloat16" if gains_by_bfloat16(device) else "float32"
    how = f"{precision}, {'compiled' if args.compile else 'eager'}"
    print(
        f"{describe_hardware(device)}, torch {torch.__version__}; {args.arch}, {args.batch} images a step, "
        f"{how}; n = {args.rounds} rounds of {args.steps} steps, medians"
    )
    print("| | images/s | own loop over it |")
    print("|---|---|---|")
    print(f"| own loop | {speed.own:.1f} | 1 |")
    print(f"| forward and backward alone | {speed.limit:.1f} | {speed.over_limit:.3f} |")
    print(f"| ordinary script | {speed.official:.1f} | {speed.over_official:.2f} |")
    print(
        f"\n{speed.operations / 1e9:.1f} GFLOP a step; {100 * speed.share:.1f} % of the {speed.peak / 1e9:.0f} "
        f"GFLOP/s of the fastest {precision} product of square matrices (of {speed.rows} rows), measured in this run"
    )


if __name__ == "__main__":
    main()
