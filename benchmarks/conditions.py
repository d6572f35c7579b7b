"""Under what a run was trained, in words: what is compared should differ in nothing but the arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from abn.experiment import RunLog


def listed(runs: Sequence[RunLog]) -> list[dict]:
    """Under what the finished runs were trained: `condition` in words, with the `runs` of which it was so.

    A run that went on elsewhere stands under each of its conditions.
    """
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.last is not None:
            for said in of_run(run):
                found.setdefault(said, []).append(f"{run.arm}-{run.seed}")
    return [{"condition": said, "runs": names} for said, names in found.items()]


def of_run(run: RunLog) -> list[str]:
    """A run's conditions, in the order in which it had them."""
    return list(dict.fromkeys(map(_condition, run.records)))


def differ(first: RunLog, second: RunLog) -> bool:
    """Whether two runs were not trained under the same conditions."""
    return set(of_run(first)) != set(of_run(second))


def _condition(record: Mapping) -> str:
    device = record["device"].replace("CPU, 1 threads", "CPU, 1 thread")  # as earlier versions called it
    parts = [device, f"torch {record['torch']}"]
    if "precision" in record:
        parts.append(record["precision"])
    if record.get("compiled"):
        parts.append("compiled")
    if record.get("workers", 1) > 1:
        parts.append(f"{record['workers']} workers")
    return ", ".join(parts)
