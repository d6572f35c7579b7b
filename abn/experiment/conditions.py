"""Under what a run was trained, in words: what is compared should differ in nothing but the arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from abn.experiment.runs import RunLog


def listed(runs: Sequence[RunLog]) -> list[dict]:
    """Under what the finished runs were trained: `condition` in words, with the `runs` of which it was so.

    A run that went on elsewhere stands under each of its conditions. The data are told where some runs had others;
    what earlier lines were trained on is not known.
    """
    found: dict[str, list[str]] = {}
    finished = [run for run in runs if run.last is not None]
    several = len({record["data"] for run in finished for record in run.records if "data" in record}) > 1
    for run in finished:
        for said in of_run(run, with_data=several):
            found.setdefault(said, []).append(f"{run.arm}-{run.seed}")
    return [{"condition": said, "runs": names} for said, names in found.items()]


def of_run(run: RunLog, *, with_data: bool = False) -> list[str]:
    """A run's conditions, in the order in which it had them."""
    return list(dict.fromkeys(_condition(record, with_data) for record in run.records))


def differ(first: RunLog, second: RunLog) -> bool:
    """Whether two runs were not trained under the same conditions."""
    told = all("data" in record for run in (first, second) for record in run.records)
    return set(of_run(first, with_data=told)) != set(of_run(second, with_data=told))


def _condition(record: Mapping, with_data: bool) -> str:
    device = record["device"].replace("CPU, 1 threads", "CPU, 1 thread")  # as earlier versions called it
    parts = [device, f"torch {record['torch']}"]
    if "precision" in record:
        parts.append(record["precision"])
    if record.get("compiled"):
        parts.append("compiled")
    if record.get("workers", 1) > 1:
        parts.append(f"{record['workers']} workers")
    if with_data and "data" in record:
        parts.append(f"data {record['data']}")
    return ", ".join(parts)
