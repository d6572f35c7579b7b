import math
import re
import statistics
from dataclasses import replace

import numpy as np
import pytest

from abn.common.texts import p_value
from abn.experiment.contrasts import contrast, limits_of_sd, seeds_needed, summarise, verdict
from abn.experiment.make_table import make_table, markdown
from abn.experiment.runs import RunLog


def run(arm, seed, *accuracies, epochs=None):
    kept = {"device": "CPU", "torch": "2.14"}
    records = [{"epoch": epoch, "test_accuracy": value} | kept for epoch, value in enumerate(accuracies, start=1)]
    return RunLog(arm, seed, "paper", "abc", epochs or len(accuracies), 0, 100, records)


def pairs(*differences, base=90.0, arm="resnet-s"):
    """Two arms' runs of the paper's 15 epochs with these differences, seed by seed."""
    return [
        one
        for seed, difference in enumerate(differences)
        for one in (run("resnet-dmb", seed, *[base + seed + difference] * 15), run(arm, seed, *[base + seed] * 15))
    ]


def found(*differences):
    _, contrasts = summarise(pairs(*differences), ["resnet-s", "resnet-dmb"])
    return contrasts[0]


def test_a_paired_interval_is_students():
    # Differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653, so 2 ± 4.302653 / √3.
    got = contrast({0: 91.0, 1: 92.0, 2: 93.0}, {0: 90.0, 1: 90.0, 2: 90.0}, "se")
    assert got["label"] == "ResNet-DMB − SE"
    assert (got["n"], got["mean"]) == (3, 2.0)
    assert got["low"] == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert got["high"] == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    # t = 2√3 with two degrees of freedom: p = 1 - t/√(t² + 2).
    t = 2 * math.sqrt(3)
    assert got["p"] == pytest.approx(1 - t / math.sqrt(t * t + 2), abs=1e-9)


def test_only_seeds_that_both_have_are_compared():
    got = contrast({0: 91.0, 1: 92.0, 5: 99.0}, {1: 90.0, 5: 96.0, 7: 10.0}, "se")
    assert (got["n"], got["mean"]) == (2, 2.5)


def test_pairing_takes_the_seeds_spread_out():
    wide = contrast(
        {s: 80.0 + 5 * s + 0.3 + 0.01 * (s % 2) for s in range(6)}, {s: 80.0 + 5 * s for s in range(6)}, "se"
    )
    assert wide["high"] - wide["low"] < 0.02


@pytest.mark.parametrize(("subject", "other", "n"), [({}, {0: 90.0}, 0), ({0: 91.0}, {0: 90.0}, 1)])
def test_fewer_than_two_seeds_have_no_interval(subject, other, n):
    got = contrast(subject, other, "se")
    assert got["n"] == n
    assert got["mean"] == (1.0 if n else None)
    assert [got[key] for key in ("low", "high", "p", "p_adjusted", "seeds_needed", "seeds_needed_high")] == [None] * 6


def test_differences_that_are_all_alike_are_not_tested():
    got = found(0.1, 0.1, 0.1)  # their spread is rounding alone, and would be "significant"
    assert got["p"] is None and got["low"] is None
    assert "on each of 3 seeds alike" in got["verdict"]


def test_the_correction_is_over_all_contrasts_that_were_planned():
    runs = []
    for arm, differences in {"resnet-s": (1.0, 1.1, 1.2), "se": (0.1, 0.9, 0.5)}.items():
        runs += [run(arm, seed, 90.0 - d) for seed, d in enumerate(differences)]
    runs += [run("resnet-dmb", seed, 90.0) for seed in range(3)]
    _, contrasts = summarise(runs, ["resnet-s", "resnet-dmb", "no-gates", "se", "awake"])
    by_arm = {each["arm"]: each for each in contrasts}
    assert [each["planned"] for each in contrasts] == [4] * 4  # of which two cannot be tested yet
    assert by_arm["resnet-s"]["p_adjusted"] == pytest.approx(4 * by_arm["resnet-s"]["p"])
    assert by_arm["se"]["p_adjusted"] == pytest.approx(4 * by_arm["se"]["p"])
    assert by_arm["awake"]["p_adjusted"] is None
    # Mean 0.5, sd 0.4, three seeds: t(1 − 0.05/8, 2) = 8.860 for four intervals at once, 4.302653 for one alone.
    se = by_arm["se"]
    for low, high, t in (("low", "high", 8.860), ("low_alone", "high_alone", 4.302653)):
        assert (se[low], se[high]) == pytest.approx((0.5 - t * 0.4 / 3**0.5, 0.5 + t * 0.4 / 3**0.5), abs=1e-3)


def test_a_verdict_and_the_interval_beside_it_never_contradict_each_other(monkeypatch):
    """The mistake that was mended: "not shown" beside +0.04 to +0.29. As read in the sentence, for any data."""
    # Slow, and no part of it.
    monkeypatch.setattr("abn.experiment.contrasts.seeds_needed", lambda sd: 2)
    monkeypatch.setattr("abn.experiment.contrasts.parameters", lambda arm: 1)
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(400):
        n, spread = int(rng.integers(2, 11)), rng.choice([0.01, 0.1, 0.5])
        differences = rng.normal(rng.choice([-2, -1, 0, 0.5, 1]) * spread, spread, n).round(2)
        if len(set(differences)) == 1:
            continue
        _, (got, *_) = summarise(
            pairs(*differences), ["resnet-s", "resnet-dmb", "bank-only", "no-gates", "se", "awake"]
        )
        low, high = re.search(r"95 % interval ([+−][\d.]+) to ([+−][\d.]+), p", got["verdict"]).groups()
        low, high = (float(end.replace("−", "-")) for end in (low, high))
        told = not got["verdict"].startswith("No difference from ResNet-S is shown")
        assert told == (low > 0 or high < 0) == (got["p_adjusted"] < 0.05), got["verdict"]
        better = got["verdict"].startswith("ResNet-DMB is better")
        assert not told or better == (low > 0)
        shown += told
    assert 50 < shown < 350  # both kinds were met


def test_simultaneous_intervals_hold_all_true_differences_at_once_in_95_percent_of_experiments():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(500):
        subject, *others = rng.normal(90, 0.2, (6, 2))
        found = [contrast(dict(enumerate(subject)), dict(enumerate(other)), "se", 5) for other in others]
        held += all(each["low"] < 0 < each["high"] for each in found)
    assert held >= 465  # of 475 expected at least, less two standard errors


def test_one_more_arm_takes_no_difference_back():
    arms = ["resnet-s", "resnet-dmb", "se", "awake"]
    runs = pairs(1.0, 1.1, 0.9, 1.0)
    _, before = summarise(runs, arms)
    more = [run("se", seed, *[91.0 + seed + noise] * 15) for seed, noise in enumerate((0.5, -0.5, 0.4, -0.3))]
    _, after = summarise([*runs, *more], arms)
    assert after[0]["p_adjusted"] == before[0]["p_adjusted"] == pytest.approx(3 * before[0]["p"])
    assert after[0]["verdict"] == before[0]["verdict"]
    assert ", p < 0.001, both corrected for 3 planned contrasts, n = 4; " in before[0]["verdict"]


def test_the_power_is_that_of_tables():
    # Cohen's d = 0.5: a paired t-test at two-sided 5 % needs 34 pairs for 80 % power.
    assert seeds_needed(0.37 / 0.5) == 34
    assert seeds_needed(0.37) == 10  # d = 1
    assert seeds_needed(0.001) == 2
    assert seeds_needed(3.7) == 787  # d = 0.1


def test_every_spread_has_its_number_of_seeds():
    # SciPy's noncentral t is NaN here and there where the effect is large.
    needed = [seeds_needed(sd / 1000) for sd in range(1, 1000)]
    assert needed == sorted(needed)
    assert (needed[0], needed[29], needed[34], needed[79]) == (2, 2, 3, 3)


def test_a_runs_figures_are_its_last_epochs_and_the_best_stands_beside_it():
    runs = [run("resnet-s", 0, 80.0, 93.0, 92.0), run("resnet-s", 1, 80.0, 91.0, 94.0)]
    rows, _ = summarise(runs, ["resnet-s"])
    assert rows[0]["n"] == 2
    assert rows[0]["last"]["mean"] == 93.0
    assert rows[0]["last"]["sd"] == pytest.approx(math.sqrt(2))
    assert rows[0]["best"] == {"n": 2, "mean": 93.5, "sd": pytest.approx(math.sqrt(0.5))}


def test_a_run_under_way_does_not_count():
    rows, contrasts = summarise(
        [run("resnet-s", 0, 99.0, epochs=2), run("resnet-s", 1, 90.0), run("resnet-dmb", 0, 91.0)],
        ["resnet-s", "resnet-dmb"],
    )
    assert [row["n"] for row in rows] == [1, 1]
    assert rows[0]["last"]["mean"] == 90.0
    assert contrasts[0]["n"] == 0


def test_an_arm_without_runs_is_listed_with_its_parameters():
    rows, _ = summarise([], ["se"])
    assert rows == [{"arm": "se", "label": "SE", "parameters": 2_958_242, "n": 0, "last": None, "best": None}]


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ((), "No seed has both ResNet-DMB and ResNet-S trained to the end, so nothing can be said."),
        ((-0.73,), "With one seed ResNet-DMB is 0.73 points lower, which does not tell a difference from chance."),
        ((0.001,), "With one seed ResNet-DMB is equal, which does not tell a difference from chance."),
    ],
)
def test_verdicts_of_few_seeds(differences, expected):
    assert found(*differences)["verdict"] == expected


@pytest.mark.parametrize(
    ("differences", "start", "end"),
    [
        (
            (1.0, 1.1, 0.9, 1.0),
            "ResNet-DMB is better than ResNet-S: +1.00 points, 95 % interval +0.87 to +1.13",
            "; the paper's +0.37, of one run's best epochs, is outside the interval.",
        ),
        (
            (0.3, 0.4, 0.35, 0.4),
            "ResNet-DMB is better than ResNet-S: +0.36 points",
            "+0.37, of one run's best epochs, is not ruled out.",
        ),
        (
            (-1.0, -1.1, -0.9, -1.0),
            "ResNet-DMB is worse than ResNet-S: −1.00 points",
            "+0.37, of one run's best epochs, is outside the interval.",
        ),
        (
            (0.5, -0.4, 0.1, 0.2),
            "No difference from ResNet-S is shown (+0.10 points",
            "+0.37, of one run's best epochs, is not ruled out.",
        ),
        (
            (0.05, -0.06, 0.02, 0.0),
            "No difference from ResNet-S is shown (+0.00 points",
            "+0.37, of one run's best epochs, is outside the interval.",
        ),
    ],
)
def test_verdicts_follow_the_numbers(differences, start, end):
    said = found(*differences)["verdict"]
    assert said.startswith(start)
    assert said.endswith(end)


def test_a_difference_that_holds_alone_is_not_shown_among_five():
    differences = (0.11, 0.22, 0.16)
    alone = found(*differences)
    assert alone["verdict"].startswith(
        "ResNet-DMB is better than ResNet-S: +0.16 points, 95 % interval +0.03 to +0.30, p = 0.036, n = 3"
    )
    _, (got, *_) = summarise(pairs(*differences), ["resnet-s", "resnet-dmb", "bank-only", "no-gates", "se", "awake"])
    assert (got["low_alone"], got["high_alone"], got["p"]) == (alone["low"], alone["high"], alone["p"])
    assert got["verdict"].startswith(
        "No difference from ResNet-S is shown (+0.16 points, 95 % interval −0.15 to +0.48, p = 0.18, "
        "both corrected for 5 planned contrasts, n = 3)"
    )


def test_pairs_that_were_not_trained_alike_are_told():
    runs = pairs(1.0, 1.2, 0.7)
    runs[-1].records[-1]["device"] = "GPU"
    _, (got,) = summarise(runs, ["resnet-s", "resnet-dmb"])
    assert got["verdict"].endswith(" In 1 of 3 pairs the two runs were not trained under the same conditions.")
    assert "conditions" not in found(1.0, 1.2, 0.7)["verdict"]
    _, (got,) = summarise(runs[-2:], ["resnet-s", "resnet-dmb"])
    assert got["verdict"].endswith("from chance. The two runs were not trained under the same conditions.")


def test_the_papers_difference_stands_against_its_own_contrast_alone():
    got = found(0.5, -0.4, 0.1, 0.2)
    assert "the paper's +0.37, of one run's best epochs, is not ruled out" in verdict(got, as_the_paper=True)
    assert "0.37" not in verdict(got | {"arm": "se"}, as_the_paper=True)
    assert "0.37" not in verdict(got, as_the_paper=False)
    runs = pairs(0.5, -0.4, 0.1, 0.2)
    for other in ({"recipe": "quick"}, {"epochs": 14}):
        changed = [replace(one, **other, records=one.records[: other.get("epochs", 15)]) for one in runs]
        _, contrasts = summarise(changed, ["resnet-s", "resnet-dmb"])
        assert contrasts[0]["n"] == 4
        assert "0.37" not in contrasts[0]["verdict"]


def test_the_seeds_needed_are_said_with_what_the_spread_may_be():
    assert found(0.5, -0.4)["seeds_needed"] is None
    got = found(0.5, -0.4, 0.1, 0.2, 0.0)
    sd = statistics.stdev([0.5, -0.4, 0.1, 0.2, 0.0])
    assert got["seeds_needed"] == seeds_needed(sd) > 2
    # chi-squared quantiles of four degrees of freedom: 11.143 and 0.4844
    assert limits_of_sd(1.0, 5) == pytest.approx(((4 / 11.143287) ** 0.5, (4 / 0.4844186) ** 0.5), abs=1e-6)
    low, high = (seeds_needed(limit) for limit in limits_of_sd(sd, 5))
    assert (got["seeds_needed_low"], got["seeds_needed_high"]) == (low, high)
    assert low < got["seeds_needed"] < high


def test_whoever_goes_on_does_so_under_the_same_conditions():
    compiled = [run("resnet-s", seed, 90.0) for seed in range(2)]
    for one in compiled:
        one.records[-1]["compiled"] = True
    assert make_table(compiled, [])["command"].endswith("--seeds 10 --compile")
    assert make_table([*compiled, run("resnet-dmb", 0, 90.0)], [])["command"].endswith("--seeds 10")


def test_one_condition_has_one_name():
    older, newer = run("resnet-s", 0, 90.0), run("resnet-s", 1, 90.0)
    older.records[0]["device"], newer.records[0]["device"] = "CPU, 1 threads (AMD EPYC)", "CPU, 1 thread (AMD EPYC)"
    (condition,) = make_table([older, newer], [])["conditions"]
    assert condition == {"condition": "CPU, 1 thread (AMD EPYC), torch 2.14", "runs": ["resnet-s-0", "resnet-s-1"]}


def test_the_table_says_what_its_runs_were_trained_on():
    def trained(arm, seed, **known):
        record = {"epoch": 1, "test_accuracy": 90.0, "device": "CPU", "torch": "2.14", **known}
        return RunLog(arm, seed, "paper", "abc", 1, 0, 100, [record])

    alike = [trained(arm, seed) for seed in (0, 1) for arm in ("resnet-s", "resnet-dmb")]
    assert "All trained on: CPU, torch 2.14.\n" in markdown(make_table(alike, []))
    other = trained("se", 1, device="GPU", precision="bfloat16", compiled=True, workers=2)
    text = markdown(make_table([*alike, other], []))
    assert "Not all were trained under the same conditions" in text
    assert "- CPU, torch 2.14: resnet-s-0, resnet-dmb-0, resnet-s-1, resnet-dmb-1\n" in text
    assert "- GPU, torch 2.14, bfloat16, compiled, 2 workers: se-1\n" in text


def test_runs_on_other_images_are_told_where_both_are_known():
    runs = pairs(1.0, 1.2)
    _, (got,) = summarise(runs, ["resnet-s", "resnet-dmb"])
    assert got["mixed"] == 0
    for one, data in zip(runs, ("aaa", "aaa", "bbb", "aaa"), strict=True):
        for record in one.records:
            record["data"] = data
    _, (got,) = summarise(runs, ["resnet-s", "resnet-dmb"])
    assert got["mixed"] == 1
    text = markdown(make_table(runs, []))
    assert "- CPU, torch 2.14, data bbb: resnet-dmb-1\n" in text and "data aaa: " in text
    for record in runs[2].records:  # of a version that did not tell
        del record["data"]
    _, (got,) = summarise(runs, ["resnet-s", "resnet-dmb"])
    assert got["mixed"] == 0
    assert "All trained on: CPU, torch 2.14.\n" in markdown(make_table(runs, []))


def test_the_table_as_a_person_reads_it():
    table = make_table([*pairs(1.0, 1.2), run("se", 0, *[89.0] * 15)], ["paper-1/se-4.jsonl, line 2: broken"])
    text = markdown(table)
    assert "| ResNet-S | 100 | 2 | 90.50 ± 0.71 | 90.50 ± 0.71 | 91.31 |" in text
    assert "| SE | 100 | 1 | 89.00 | 89.00 | – |" in text
    assert "| Awake |" not in text  # no run of it is finished
    assert "| ResNet-DMB − ResNet-S | 2 | +1.10 | −5.27 to +7.47 | 0.29 | −0.17 to +2.37 | 0.058 | – |" in text
    assert "| ResNet-DMB − SE | 1 | +2.00 | – | – | – | – | – |" in text
    assert "yet: Bank only, No gates, Awake." in text
    assert "`abn reproduce --data DIR --recipe paper --epochs 15 --seeds 10`" in text
    assert table["problems"] == ["paper-1/se-4.jsonl, line 2: broken"]
    assert table["banks"] == [] and "The banks" not in text


def test_the_table_tells_of_banks_where_they_were_measured():
    awake = run("awake", 0, 90.0)
    awake.records[-1]["bank"] = {
        "entropy": 0.5,
        "choice": 0.1,
        "bank_share": 0.2,
        "bank_variation": 0.25,
        "factor_sd": 0.1,
    }
    text = markdown(make_table([awake], []))
    assert "uniform: at least 0.99 log K):\n\n- Awake, n = 1: the bank is used, with 25.0 %" in text


@pytest.mark.parametrize(
    ("p", "text"),
    [(4e-4, "< 0.001"), (0.03, "0.03"), (0.0496, "0.0496"), (0.04999, "0.04999"), (0.0504, "0.05"), (1.0, "1")],
)
def test_a_p_value_reads_as_lying_on_its_side_of_the_level(p, text):
    assert p_value(p) == text
