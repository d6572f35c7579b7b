"""The paper's table with controls: every arm on every seed, then the table and the contrasts of all runs there are.

A finished run is known by its file in `--out`, wherever it was trained, and is not trained again; a stopped one goes
on from its last finished epoch in `--runs` (weights and momenta, which are not committed). Start the command
several times with the same `--runs` and each process takes runs that no other has begun; on several machines, give
each a `--part`. A run that diverges is told in the table and not begun again; the others go on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from abn.common.data import load_cifar10
from abn.common.devices import require_compiler
from abn.common.files import replace_file, require_writable
from abn.experiment.arms import in_order
from abn.experiment.fields import ResultsError
from abn.experiment.folder import TABLE_FILE
from abn.experiment.make_table import make_table, markdown
from abn.experiment.runs import read_runs
from abn.experiment.train_runs import Experiment, Trainer, trainer
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
                f"abn reproduce: {folder.name}: {len(problems)} lines or files were skipped or stand twice, "
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


def train_missing(
    experiment: Experiment, data_folder: Path, *, part: tuple[int, int] = (1, 1), download: bool = False,
    device_name: str = "auto", compile_networks: bool = False,
) -> Outcome:  # fmt: skip
    """Train the experiment's runs that are neither finished nor under way elsewhere; see `go_through`.

    Raises:
        ResultsError: for results of another recipe, or of another network under one arm.
        DataError, DeviceError: for data or a device that cannot be had.
        OSError, TrainingError: as `go_through` raises them.
    """
    experiment.ended()  # refuses a foreign folder before an hour is spent
    if compile_networks:
        require_compiler()
    data = load_cifar10(data_folder, download)
    return go_through(experiment, part, trainer(experiment, data, device_name, compile_networks))
