"""What the runs say: each arm's mean, and ResNet-DMB minus every other arm, paired by seed.

An arm's figure is the test accuracy of the last epoch. The best epoch stands beside it because the paper quotes it:
it is chosen by the test set, so biased upwards. SciPy makes the t-intervals, statsmodels the power.

The contrasts were planned together, ResNet-DMB against each other arm, m of them. Intervals and p-values are
corrected by Bonferroni's method for all m from the first run on: an interval is the t-interval at level 1 − 0.05/m,
so that all m hold the true differences at once in at least 95 % of experiments, and a p-value is m times the
uncorrected one. A test by that p-value and a look whether 0 lies in that interval are the same test. Holm's step-
down p-values reject more, but the simultaneous regions that belong to them (Strassburger and Bretz 2008, Guilbaud
2008) end at 0 for most contrasts that are rejected and tell nothing of their size; a t-interval beside Holm's p can
contradict it.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping

from scipy import stats
from statsmodels.stats.power import TTestPower

from abn.common.texts import LEVEL, p_value
from abn.experiment.arms import parameters
from abn.experiment.conditions import differ
from abn.experiment.numbers import interval, signed
from abn.experiment.runs import ARM_LABELS, PAPER_DIFFERENCE, RunLog, is_as_the_paper

SUBJECT = "resnet-dmb"
POWER = 0.8
MOST_PAIRS = 10_000_000
ENOUGH_FOR_A_SPREAD = 3
"""Of three differences the standard deviation's 95 % limits are half of it and six times it; of two 0.4 and 32."""


def summarise(runs: list[RunLog], arms: list[str]) -> tuple[list[dict], list[dict]]:
    """The rows of the table and the contrasts, as `results/…/table.json` holds them.

    Args:
        runs: of one recipe; those that are not finished, or were never tested, do not count.
        arms: which to list, also where no run of them is finished.
    """
    finished = {arm: {run.seed: run for run in runs if run.arm == arm and run.last is not None} for arm in arms}
    rows = [_row(arm, list(finished[arm].values())) for arm in arms]
    last = {arm: {seed: run.last for seed, run in by_seed.items()} for arm, by_seed in finished.items()}
    others = [arm for arm in arms if arm != SUBJECT] if SUBJECT in arms else []
    as_the_paper = bool(runs) and is_as_the_paper(runs[0].recipe, runs[0].epochs)
    contrasts = []
    for arm in others:
        found = contrast(last[SUBJECT], last[arm], arm, planned=len(others))
        both = finished[SUBJECT].keys() & finished[arm].keys()
        found["mixed"] = sum(differ(finished[SUBJECT][seed], finished[arm][seed]) for seed in both)
        found["verdict"] = verdict(found, as_the_paper=as_the_paper)
        contrasts.append(found)
    return rows, contrasts


def _row(arm: str, runs: list[RunLog]) -> dict:
    best = [run.best for run in runs if run.best is not None]
    return {
        "arm": arm,
        "label": ARM_LABELS[arm],
        "parameters": runs[0].parameters if runs else parameters(arm),
        "n": len(runs),
        "last": _mean_and_sd([run.last for run in runs]),
        "best": _mean_and_sd(best),
    }


def _mean_and_sd(values: list[float]) -> dict | None:
    if not values:
        return None
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "mean": statistics.fmean(values), "sd": sd}


def contrast(subject: Mapping[int, float], other: Mapping[int, float], arm: str, planned: int = 1) -> dict:
    """ResNet-DMB minus another arm over the seeds that both have.

    Args:
        subject: seed → accuracy in percent; `other` likewise.
        planned: contrasts that are corrected for, this one among them.

    Returns:
        `n`, `mean`; the simultaneous 95 % interval `low` to `high` (a t-interval at level 1 − 0.05 / `planned`) and
        `p_adjusted`, which is below 0.05 exactly where that interval does not hold 0; for this contrast alone the
        95 % t-interval `low_alone` to `high_alone` and `p` of the two-sided paired t-test (all None with fewer than
        two seeds, or where every seed has the same difference); and with `ENOUGH_FOR_A_SPREAD` seeds `seeds_needed`
        to detect the paper's difference, were it there and the spread between seeds the one seen; `seeds_needed_low`
        and `seeds_needed_high` are the same for the 95 % limits of that spread.
    """
    seeds = sorted(set(subject) & set(other))
    differences = [subject[seed] - other[seed] for seed in seeds]
    found = {
        "arm": arm,
        "label": f"{ARM_LABELS[SUBJECT]} − {ARM_LABELS[arm]}",
        "n": len(seeds),
        "mean": statistics.fmean(differences) if seeds else None,
        "low": None,
        "high": None,
        "p_adjusted": None,
        "low_alone": None,
        "high_alone": None,
        "p": None,
        "planned": planned,
        "seeds_needed": None,
        "seeds_needed_low": None,
        "seeds_needed_high": None,
    }
    # Differences of rounded accuracies that are all alike still have a spread of some 1e-14.
    if len(seeds) > 1 and statistics.stdev(differences) > 1e-9:
        test = stats.ttest_1samp(differences, 0.0)
        for suffix, level in (("", LEVEL / planned), ("_alone", LEVEL)):
            ends = test.confidence_interval(1 - level)
            found |= {f"low{suffix}": float(ends.low), f"high{suffix}": float(ends.high)}
        found |= {"p": float(test.pvalue), "p_adjusted": min(1.0, planned * float(test.pvalue))}
        if len(seeds) >= ENOUGH_FOR_A_SPREAD:
            sd = statistics.stdev(differences)
            found["seeds_needed"] = seeds_needed(sd)
            for key, limit in zip(
                ("seeds_needed_low", "seeds_needed_high"), limits_of_sd(sd, len(seeds)), strict=True
            ):
                found[key] = seeds_needed(limit)
    return found


def limits_of_sd(sd: float, n: int) -> tuple[float, float]:
    """95 % limits of the standard deviation of a normal distribution, n values of which had this one."""
    low, high = (math.sqrt((n - 1) / stats.chi2.ppf(q, n - 1)) for q in (1 - LEVEL / 2, LEVEL / 2))
    return sd * low, sd * high


def seeds_needed(sd: float) -> int:
    """Pairs of runs that detect the paper's difference at 80 % power, two-sided 5 %, with this spread."""
    effect = PAPER_DIFFERENCE / sd

    def power(pairs: int) -> float:
        # The upper tail alone: the lower one finds the opposite, and is NaN in SciPy where the effect is large.
        return TTestPower().power(effect, pairs, LEVEL / 2, alternative="larger")

    return bisect_left(range(MOST_PAIRS), POWER, lo=2, key=power)  # two are the fewest that a t-test takes


def verdict(found: Mapping, *, as_the_paper: bool) -> str:
    """One plain sentence for a contrast, from its numbers alone.

    Args:
        as_the_paper: whether the runs can be held against the paper's difference.
    """
    subject, other = ARM_LABELS[SUBJECT], ARM_LABELS[found["arm"]]
    n, mean = found["n"], found["mean"]
    if n == 0:
        return f"No seed has both {subject} and {other} trained to the end, so nothing can be said."
    side = "equal" if round(abs(mean), 2) == 0 else f"{abs(mean):.2f} points {'higher' if mean > 0 else 'lower'}"
    mixed = ""
    if found["mixed"]:
        where = "The" if n == 1 else f"In {found['mixed']} of {n} pairs the"
        mixed = f" {where} two runs were not trained under the same conditions."
    if n == 1:
        return f"With one seed {subject} is {side}, which does not tell a difference from chance.{mixed}"
    if found["p"] is None:
        return f"{subject} is {side} on each of {n} seeds alike, a spread too small to test.{mixed}"
    measured = f"{signed(mean)} points, 95 % interval {interval(found['low'], found['high'])}"
    chance = _p(found["p_adjusted"])
    if found["planned"] > 1:
        chance += f", both corrected for {found['planned']} planned contrasts"
    paper = _against_the_paper(found) if found["arm"] == "resnet-s" and as_the_paper else ""
    if found["low"] > 0 or found["high"] < 0:
        better = "better" if mean > 0 else "worse"
        return f"{subject} is {better} than {other}: {measured}, {chance}, n = {n}{paper}.{mixed}"
    return f"No difference from {other} is shown ({measured}, {chance}, n = {n}){paper}.{mixed}"


def _p(p: float) -> str:
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _against_the_paper(found: Mapping) -> str:
    if found["low"] <= PAPER_DIFFERENCE <= found["high"]:
        return f"; the paper's {signed(PAPER_DIFFERENCE)}, of one run's best epochs, is not ruled out"
    return f"; the paper's {signed(PAPER_DIFFERENCE)}, of one run's best epochs, is outside the interval"
