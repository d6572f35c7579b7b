"""The paper's table with controls: every arm on every seed, then the table and the contrasts of all runs there are.

    abn reproduce --data DIR [--seeds 10] [--recipe paper] [--epochs 15]
    abn reproduce --table        only the tables of what is in results/

A finished run is known by its file in `--out`, wherever it was trained, and is not trained again; a stopped one goes
on from its last finished epoch in `--runs` (weights and momenta, which are not committed). Start the command
several times with the same `--runs` and each process takes runs that no other has begun; on several machines, give
each a `--part`. A run that diverges is told in the table and not begun again; the others go on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from abn.common.data import DataError, load_cifar10
from abn.common.devices import DeviceError
from abn.common.files import replace_file, require_writable
from abn.common.memory import DeviceMemoryError
from abn.common.options import require_at_least_one
from abn.experiment.arms import ARMS, in_order
from abn.experiment.fields import ResultsError
from abn.experiment.folder import TABLE_FILE
from abn.experiment.make_table import make_table, markdown
from abn.experiment.runs import group_name, read_runs
from abn.experiment.train_runs import Experiment, Trainer, trainer
from abn.training.recipes import RECIPES
from abn.training.run import TrainingError
from abn.training.run_state import DivergedError


@dataclass
class Outcome:
    """What one process did.

    Attributes:
        done: runs that it finished.
        elsewhere: runs under way in other processes.
        diverged: of runs that diverged here, which and why.
    """

    done: int = 0
    elsewhere: int = 0
    diverged: list[str] = field(default_factory=list)


def go_through(experiment: Experiment, part: tuple[int, int], run_one: Trainer) -> Outcome:
    """Do every run of this part that is neither finished nor under way in another process.

    Args:
        part: (i, of): of the seeds, every `of`-th from the i-th (from 1) on, each with all its arms: what is compared
            is trained on one machine.

    Raises:
        OSError: where results or runs cannot be written.
        TrainingError: for a run that cannot start or go on; those that diverge do not end it.
    """
    index, of = part
    jobs = [job for job in in_order(experiment.arms, experiment.seeds) if job[1] % of == index - 1]
    outcome = Outcome()
    epochs = experiment.recipe.epochs
    require_writable(experiment.runs)
    require_writable(experiment.results)
    with tqdm(total=len(jobs) * epochs, unit="epoch", desc="all runs", dynamic_ncols=True, smoothing=0) as bar:
        for arm, seed in jobs:
            try:
                with FileLock(experiment.runs / f"{arm}-{seed}.lock", timeout=0):
                    # Looked up under the lock: a process that has just let it go may have finished this run.
                    if (arm, seed) in experiment.ended():
                        bar.initial += epochs
                        bar.update(epochs)
                        continue
                    before = bar.n
                    run_one(arm, seed, _follow(bar))
                    outcome.done += 1
            except DivergedError as error:
                bar.total -= epochs - (bar.n - before)
                outcome.diverged.append(str(error))
            except Timeout:
                bar.total -= epochs
                outcome.elsewhere += 1
            bar.refresh()
    return outcome


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
                f"reproduce: {folder.name}: {len(problems)} lines or files were skipped or stand twice, "
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
    parser = argparse.ArgumentParser(prog="abn reproduce", description=__doc__.splitlines()[0])
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
            experiment.ended()  # refuses a foreign folder before an hour is spent
            data = load_cifar10(args.data, args.download)
            outcome = go_through(experiment, args.part, trainer(experiment, data, args.device, args.compile))
            print(f"{outcome.done} runs done here, {outcome.elsewhere} under way in other processes", file=sys.stderr)
        if not write_tables(args.out):
            raise ResultsError(f"{args.out.name}/ holds no runs; train some: leave out --table and name --data")
        if not args.table and outcome.diverged:
            said = "\n  ".join(outcome.diverged)
            sys.exit(f"abn.experiment.reproduce: runs that diverged, and do not count:\n  {said}")
    except (DataError, DeviceError, DeviceMemoryError, ResultsError, TrainingError) as error:
        sys.exit(f"abn.experiment.reproduce: {error}")
    except OSError as error:
        sys.exit(
            f"reproduce: {error.filename or args.out} cannot be written ({error.strerror}); mend that, "
            "or name another --out or --runs"
        )
    except KeyboardInterrupt:
        sys.exit("abn.experiment.reproduce: stopped; the same command goes on from the last finished epoch")


if __name__ == "__main__":
    main()
