"""The paper's table with controls: every arm on every seed, then the table and the contrasts of all runs there are.

    python -m benchmarks.reproduce --data DIR [--seeds 10] [--recipe paper] [--epochs 15] [--arms resnet-s,resnet-dmb]
    python -m benchmarks.reproduce --table        only the tables of what is in results/

A finished run is known by its file in `--out`, wherever it was trained, and is not trained again; a stopped one goes
on from its last finished epoch in `--runs` (weights and momenta, which are not committed). Start the command
several times on one machine and each process takes runs that no other has begun; on several machines, give each a
`--part`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision
from filelock import FileLock, Timeout
from tqdm import tqdm

from abn.data import MEAN, STD, Cifar10, DataError, load_cifar10, to_pixels
from abn.devices import DeviceError, choose_device
from abn.experiment import RunLog, group_name, read_runs, run_file
from abn.experiment_checks import ResultsError
from abn.experiment_folder import TABLE_FILE
from abn.files import replace_file
from abn.memory import DeviceMemoryError
from abn.options import require_at_least_one
from abn.recipes import RECIPES, Recipe
from abn.run_state import STATE_FILE
from abn.training import Run, TrainingError, train
from benchmarks.arms import ARMS, has_gates, in_order, parameters
from benchmarks.audit_conditions import Images
from benchmarks.bank_use import measure
from benchmarks.table import make_table, markdown

Trainer = Callable[[str, int, Callable[[list[dict]], None]], None]


@dataclass(frozen=True)
class Experiment:
    """What is to be trained, and where it is kept.

    Attributes:
        results: folder of this recipe's lines, to be committed.
        runs: folder of the states, to go on from.
        every: epochs between evaluations.
    """

    arms: list[str]
    seeds: int
    recipe: Recipe
    results: Path
    runs: Path
    every: int = 1

    def lines(self, arm: str, seed: int, parameters: int, log: list[dict]) -> str:
        """A run's log as its results file has it."""
        known = {
            "arm": arm,
            "seed": seed,
            "recipe": self.recipe.name,
            "recipe_sha256": self.recipe.sha256,
            "epochs": self.recipe.epochs,
            "holdout": 0,
            "parameters": parameters,
            "torchvision": torchvision.__version__,
            "variant": ARMS[arm].described,
        }
        return "".join(json.dumps({**known, **record}) + "\n" for record in log)

    def finished(self) -> dict[tuple[str, int], RunLog]:
        """The finished runs among the results.

        Raises:
            ResultsError: for results of another recipe than this one, or of an arm that was defined otherwise.
        """
        runs, _ = read_runs(self.results)  # `write_tables` tells of broken lines, once
        for run in runs:
            if run.recipe_sha256 != self.recipe.sha256:
                raise ResultsError(
                    f"{self.results.name}/ holds runs of recipe {run.recipe} ({run.recipe_sha256}); this one is "
                    f"{self.recipe.name} ({self.recipe.sha256}): mixed recipes in one table say nothing; "
                    "name another --out"
                )
            others = {record.get("variant") for record in run.records} - {None, ARMS[run.arm].described}
            if others:
                raise ResultsError(
                    f"{self.results.name}/{run_file(run.arm, run.seed)} is of {', '.join(map(str, others))}; this "
                    f"arm is {ARMS[run.arm].described} now: name another --out"
                )
        return {(run.arm, run.seed): run for run in runs if run.last is not None}


def go_through(experiment: Experiment, part: tuple[int, int], run_one: Trainer) -> tuple[int, int]:
    """Do every run of this part that is neither finished nor under way in another process.

    Args:
        part: (i, of): of the seeds, every `of`-th from the i-th (from 1) on, each with all its arms: what is compared
            is trained on one machine.

    Returns:
        How many runs were done here, and how many are under way elsewhere.
    """
    index, of = part
    jobs = [job for job in in_order(experiment.arms, experiment.seeds) if job[1] % of == index - 1]
    done, elsewhere = 0, 0
    epochs = experiment.recipe.epochs
    experiment.runs.mkdir(parents=True, exist_ok=True)
    experiment.results.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(jobs) * epochs, unit="epoch", desc="all runs", dynamic_ncols=True, smoothing=0) as bar:
        for arm, seed in jobs:
            try:
                with FileLock(experiment.runs / f"{arm}-{seed}.lock", timeout=0):
                    # Looked up under the lock: a process that has just let it go may have finished this run.
                    if (arm, seed) in experiment.finished():
                        bar.initial += epochs
                        bar.update(epochs)
                        continue
                    run_one(arm, seed, _follow(bar))
                    done += 1
            except Timeout:
                bar.total -= epochs
                bar.refresh()
                elsewhere += 1
    return done, elsewhere


def _follow(bar: tqdm) -> Callable[[list[dict]], None]:
    """Move the overall bar by a run's epochs; those that were there when it started took no time now."""
    start, first = bar.n, True

    def follow(log: list[dict]) -> None:
        nonlocal first
        if first:  # called before an epoch is trained
            bar.initial += len(log)
            first = False
        bar.update(start + len(log) - bar.n)

    return follow


def trainer(experiment: Experiment, data: Cifar10, device_name: str, compile_network: bool) -> Trainer:
    """What trains one run and keeps its results file up to date after every epoch."""
    device = choose_device(device_name)
    tested = Images(to_pixels(data.x_test), torch.from_numpy(data.y_test).long(), MEAN, STD)

    def run_one(arm: str, seed: int, follow: Callable[[list[dict]], None]) -> None:
        variant = ARMS[arm]
        count, gates = parameters(arm), has_gates(arm)
        path = experiment.results / run_file(arm, seed)

        def write(log: list[dict]) -> None:
            text = experiment.lines(arm, seed, count, log)
            replace_file(path, lambda temporary: temporary.write_text(text))

        def keep(log: list[dict]) -> None:
            follow(log)
            # A run whose bank is still to be measured lacks its last line, so it is not finished.
            there = log[:-1] if gates and len(log) == experiment.recipe.epochs else log
            if there:
                write(there)

        folder = experiment.runs / f"{arm}-{seed}"
        if path.exists() and not (folder / STATE_FILE).exists():
            print(
                f"benchmarks.reproduce: {path.name} is of a run that was not finished, and its state is not in "
                f"{folder}: it begins anew; to go on with it, stop this and bring that folder here",
                file=sys.stderr,
            )
        try:
            model, log = train(
                Run(arm, experiment.recipe, seed, 0, experiment.every), data, folder, device, variant=variant,
                resume=True, compile_network=compile_network, after_epoch=keep,
            )  # fmt: skip
        except TrainingError as error:
            remedy = "mend that and the same command goes on; or remove that run's folder, or name another --runs"
            raise TrainingError(f"{arm}, seed {seed}: {error.fault}", remedy) from error
        if gates:
            write([*log[:-1], log[-1] | {"bank": measure(model, tested)}])

    return run_one


def write_tables(out: Path) -> list[Path]:
    """Compute `table.json` of every recipe in the results folder anew, and print each as Markdown.

    Raises:
        ResultsError: where a folder holds runs of two recipes, or of two networks under one arm; the other folders'
            tables are written.
    """
    written, refused = [], []
    for folder in sorted({path.parent for path in out.glob("*/*.jsonl")}):
        try:
            runs, problems = read_runs(folder)
        except ResultsError as error:
            refused.append(str(error))
            continue
        if problems:
            print(
                f"benchmarks.reproduce: {folder.name}: {len(problems)} lines or files were skipped or stand twice, "
                "and do not count:", *problems, sep="\n  ", file=sys.stderr,
            )  # fmt: skip
        if not runs:
            continue
        table = make_table(runs, problems)
        replace_file(
            folder / TABLE_FILE, lambda path, table=table: path.write_text(json.dumps(table, indent=1) + "\n")
        )
        written.append(folder / TABLE_FILE)
        print(markdown(table))
    if refused:
        raise ResultsError("\n".join(refused))
    return written


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing; compute the tables of what is there")
    parser.add_argument("--data", type=Path, help="folder with cifar10.npz or torchvision's CIFAR-10")
    parser.add_argument("--download", action="store_true", help="fetch CIFAR-10 into --data if it is not there")
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"any of {','.join(ARMS)}")
    parser.add_argument("--recipe", default="paper", choices=sorted(RECIPES))
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number")
    parser.add_argument("--evaluate-every", type=int, default=1, metavar="N", help="epochs between evaluations")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results, to be committed")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs' states")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="do every N-th seed, on the I-th of N machines")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks; needs a C++ compiler")
    args = parser.parse_args(argv)
    args.arms = [arm.strip() for arm in args.arms.split(",") if arm.strip()]
    unknown = [arm for arm in args.arms if arm not in ARMS]
    if unknown or not args.arms:
        parser.error(f"--arms names {', '.join(unknown) or 'none'}; there are {', '.join(ARMS)}")
    require_at_least_one(parser, args, "seeds", "epochs", "evaluate_every")
    index, _, of = args.part.partition("/")
    if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
        parser.error(f"--part is {args.part}; expected I/N with I from 1 to N, such as 1/3")
    args.part = int(index), int(of)
    if not args.table and args.data is None:
        parser.error("--data names the folder with CIFAR-10; only --table does without")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    try:
        if not args.table:
            recipe = RECIPES[args.recipe]
            recipe = replace(recipe, epochs=args.epochs or recipe.epochs)
            group = group_name(recipe.name, recipe.epochs)
            experiment = Experiment(
                args.arms, args.seeds, recipe, args.out / group, args.runs / group, args.evaluate_every
            )
            experiment.finished()  # refuses a foreign folder before an hour is spent
            data = load_cifar10(args.data, args.download)
            done, elsewhere = go_through(experiment, args.part, trainer(experiment, data, args.device, args.compile))
            print(f"{done} runs done here, {elsewhere} under way in other processes", file=sys.stderr)
        if not write_tables(args.out):
            raise ResultsError(f"{args.out.name}/ holds no runs; train some: leave out --table and name --data")
    except (DataError, DeviceError, DeviceMemoryError, ResultsError, TrainingError) as error:
        sys.exit(f"benchmarks.reproduce: {error}")
    except OSError as error:
        sys.exit(
            f"benchmarks.reproduce: {error.filename} cannot be written ({error.strerror}); mend that, or name "
            "another --out or --runs"
        )
    except KeyboardInterrupt:
        sys.exit("benchmarks.reproduce: stopped; the same command goes on from the last finished epoch")


if __name__ == "__main__":
    main()
