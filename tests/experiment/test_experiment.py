"""abn.experiment.runs and its kin: what a results folder says, and what is told of a file that cannot be used."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from abn.experiment.audit import Answer
from abn.experiment.fields import ResultsError
from abn.experiment.folder import Results, read_results
from abn.experiment.runs import ARM_LABELS, read_runs
from tests.results_files import VERDICT, audit, line, table, write_json, write_results, write_run


def append(path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


# --- runs -------------------------------------------------------------------------------------------------


def test_runs_come_by_arm_and_seed_with_their_figures(tmp_path):
    folder = write_results(tmp_path) / "paper-3"
    runs, problems = read_runs(folder)
    assert problems == []
    assert [(run.arm, run.seed) for run in runs] == [
        ("resnet-s", 0), ("resnet-s", 1), ("resnet-dmb", 0), ("resnet-dmb", 1), ("resnet-dmb", 2), ("se", 0),
    ]  # fmt: skip
    unfinished, se = runs[4], runs[5]
    assert (se.finished, se.last, se.best, se.parameters) == (True, 92.0, 92.5, 2_958_242)
    assert (se.recipe, se.recipe_sha256, se.epochs, se.holdout) == ("paper", "0123456789ab", 3, 0)
    assert (unfinished.finished, unfinished.last, unfinished.best) == (False, None, None)
    assert unfinished.curve == ([1, 2], [50.0, 69.0])


def test_seeds_are_in_the_order_of_numbers(tmp_path):
    for seed in (10, 2, 0):
        write_run(tmp_path, "se", seed, (1.0, 2.0, 3.0))
    assert [run.seed for run in read_runs(tmp_path)[0]] == [0, 2, 10]


def test_a_run_that_was_tested_at_its_end_alone_has_no_best_epoch(tmp_path):
    write_run(tmp_path, "resnet-s", 0, (None, None, 91.0))
    (run,), _ = read_runs(tmp_path)
    assert (run.finished, run.last, run.best, run.curve) == (True, 91.0, None, ([3], [91.0]))


def test_a_finished_run_that_was_never_tested_has_no_accuracy(tmp_path):
    write_run(tmp_path, "resnet-s", 0, (None, None, None), holdout=5000, holdout_accuracy=90.0)
    (run,), _ = read_runs(tmp_path)
    assert (run.finished, run.last, run.best) == (True, None, None)


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path):
    assert read_runs(tmp_path / "none") == ([], [])


def test_what_a_kill_leaves_is_skipped_and_named(tmp_path):
    path = write_run(tmp_path / "paper-3", "resnet-s", 3, (50.0, 70.0))
    append(path, json.dumps(line(seed=3, epoch=3))[:40])
    (run,), problems = read_runs(tmp_path / "paper-3")
    assert [record["epoch"] for record in run.records] == [1, 2]
    (problem,) = problems
    assert problem.startswith("paper-3/resnet-s-3.jsonl, line 3 is not JSON (")
    assert "; the line is skipped; remove it, or train the run again" in problem
    assert str(tmp_path) not in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "line 2 is [1]; expected an object"),
        ("", "is not JSON (EOF"),
        (b"\xff{}", "is not JSON"),
        ("[" * 100_000, "is not JSON (recursion limit"),
        (line(epoch=4), "is of epoch 4; expected a whole number from 1 to 3"),
        (line(epoch=True), "epoch is true; expected a whole number"),
        (line(epoch=2.0), "epoch is 2.0"),
        (line(epochs=0), "epochs is 0; expected a whole number of at least 1"),
        (line(test_accuracy=float("nan")), "test_accuracy is NaN; expected a number from 0 to 100"),
        (line(test_accuracy=100.5), "test_accuracy is 100.5"),
        (line(test_loss=10**400), "test_loss is a number of too many digits; expected a number of at least 0"),
        (line(bank=0.5), "bank is 0.5; expected an object"),
        (
            line(bank={"entropy": 2, "choice": 0, "bank_share": 0, "bank_variation": 0, "factor_sd": 0}),
            "bank.entropy is 2; expected a number from 0 to 1",
        ),
        (line(recipe=...), "line 2 lacks recipe; the line is skipped"),
        (line(seconds="long"), 'seconds is "long"; expected a number of at least 0'),
        (line(workers="2"), 'workers is "2"; expected a whole number of at least 1'),
        (line(precision=None), "precision is null; expected a text that is not empty"),
        (line(variant=[1]), "variant is [1]; expected a text"),
        (line(data=7), "data is 7; expected a text"),
        (line(compiled="yes"), 'compiled is "yes"; expected true or false'),
        (line(diverged=1), "diverged is 1; expected true or false"),
        (line(arm="resnet-dmb"), "a line of 'resnet-dmb-0.jsonl'; expected one of 'resnet-s-0.jsonl'"),
        (line(seed=1), "a line of 'resnet-s-1.jsonl'"),
    ],
)
def test_a_broken_or_foreign_line_is_named_and_the_others_count(tmp_path, text, said):
    path = write_run(tmp_path, "resnet-s", 0, (50.0,))
    append(path, json.dumps(text) if isinstance(text, dict) else text)
    append(path, "\n" + json.dumps(line(epoch=2, test_accuracy=71.0)) + "\n")
    (run,), problems = read_runs(tmp_path)
    assert run.curve == ([1, 2], [50.0, 71.0])
    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path.name}/resnet-s-0.jsonl, line 2") and said in problems[0]
    assert len(problems[0]) < 300


def test_an_epoch_that_was_trained_again_counts_as_it_was_last(tmp_path):
    path = write_run(tmp_path, "resnet-s", 0, (50.0, 70.0))
    append(path, json.dumps(line(epoch=2, test_accuracy=72.0)) + "\n")
    (run,), problems = read_runs(tmp_path)
    assert run.curve == ([1, 2], [50.0, 72.0])
    assert "line 3: epoch 2 stands there again; the later line counts" in problems[0]


def test_networks_of_different_sizes_are_not_one_arm(tmp_path):
    write_run(tmp_path / "g", "se", 0, (50.0,))
    write_run(tmp_path / "g", "se", 1, (50.0,), parameters=2_958_243)
    with pytest.raises(ResultsError, match="mixed networks in one arm: g/se-1.jsonl, line 1 is of 2,958,243 param"):
        read_runs(tmp_path / "g")


def test_a_run_that_diverged_has_no_accuracy(tmp_path):
    path = write_run(tmp_path, "resnet-s", 0, (50.0, 70.0))
    append(path, json.dumps(line(epoch=3, test_accuracy=..., train_loss=..., diverged=True)) + "\n")
    (run,), problems = read_runs(tmp_path)
    assert problems == []
    assert (run.diverged, run.finished, run.last, run.best, run.curve[0]) == (3, False, None, None, [1, 2])


@pytest.mark.parametrize("name", ["resnet-x-0.jsonl", "resnet-s.jsonl", "resnet-s-01.jsonl", "notes.jsonl"])
def test_a_file_of_another_name_is_skipped_and_named(tmp_path, name):
    write_run(tmp_path, "resnet-s", 1, (50.0,))
    (tmp_path / name).write_text(json.dumps(line()) + "\n")
    runs, problems = read_runs(tmp_path)
    assert [run.seed for run in runs] == [1]
    assert len(problems) == 1 and f"{name}: no run's name" in problems[0] and "bank-only" in problems[0]


@pytest.mark.parametrize(
    "changed", [{"recipe": "strong"}, {"recipe_sha256": "ba9876543210"}, {"epochs": 50}, {"holdout": 5000}]
)
def test_runs_of_two_recipes_are_refused(tmp_path, changed):
    write_run(tmp_path / "g", "resnet-dmb", 0, (50.0,))
    write_run(tmp_path / "g", "resnet-s", 7, (50.0,), **changed)
    with pytest.raises(ResultsError, match="mixed recipes in one table") as caught:
        read_runs(tmp_path / "g")
    assert "g/resnet-dmb-0.jsonl, line 1 is of paper (0123456789ab), 3 epochs" in str(caught.value)
    assert "g/resnet-s-7.jsonl, line 1 is of" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.process
def test_the_reader_needs_neither_torch_nor_gradio_nor_plotly():
    code = (
        "import sys, abn.experiment.folder; "
        "print([m for m in ('torch', 'gradio', 'plotly', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- a whole folder ---------------------------------------------------------------------------------------


def test_a_whole_folder(tmp_path):
    results = read_results(write_results(tmp_path))
    assert results.problems == ()
    (group,) = results.groups
    assert (group.recipe, group.epochs, len(group.runs), group.problems) == ("paper", 3, 6, ())
    dmb, se, awake = group.table.arms[1:]
    assert (dmb.n, dmb.last.mean, dmb.last.sd) == (2, 90.7, 0.2828)
    assert (se.last.sd, se.best.mean, se.best.n) == (None, 92.5, 1)
    assert (awake.n, awake.last, awake.best) == (0, None, None)
    first = group.contrast("resnet-s")
    assert (first.mean, first.low, first.high, first.seeds_needed, first.verdict) == (0.2, -3.6, 4.0, 13, VERDICT)
    assert group.contrast("awake") is None and group.contrast("bank-only") is None
    (found,) = results.audits
    assert found.answers[1] == Answer("Does the bank matter?", "The bank is idle.")
    assert [block.between_share for block in found.blocks] == [pytest.approx(0.75), None]
    assert found.conditions[0].reestimated.difference == 1.25
    assert found.conditions[1].reestimated is None


def test_no_folder_no_results(tmp_path):
    assert read_results(tmp_path / "results") == Results()


def test_the_papers_recipe_comes_first_then_more_seeds(tmp_path):
    made = ("paper", 1, 9), ("strong", 10, 9), ("strong", 20, 10), ("paper", 50, 2), ("paper", 15, 5)
    for recipe, epochs, n in made:
        contrasts = table()["contrasts"]
        contrasts[0]["n"] = n
        write_json(
            tmp_path / f"{recipe}-{epochs}" / "table.json", table(recipe=recipe, epochs=epochs, contrasts=contrasts)
        )
    groups = read_results(tmp_path).groups
    assert [(g.recipe, g.epochs) for g in groups] == [
        ("paper", 15), ("strong", 20), ("paper", 1), ("strong", 10), ("paper", 50)
    ]  # fmt: skip


def test_mixed_recipes_spoil_their_own_group_alone(tmp_path):
    write_results(tmp_path)
    write_run(tmp_path / "strong-3", "resnet-s", 0, (50.0,), recipe="strong")
    write_run(tmp_path / "strong-3", "resnet-s", 1, (50.0,))
    good, bad = read_results(tmp_path).groups
    assert good.table is not None and good.problems == ()
    assert bad.runs == () and bad.table is None
    assert len(bad.problems) == 1 and "mixed recipes in one table" in bad.problems[0]


def test_runs_in_another_groups_folder_are_refused(tmp_path):
    write_run(tmp_path / "strong-10", "resnet-s", 0, (50.0,))
    (group,) = read_results(tmp_path).groups
    assert group.runs == ()
    assert "rename the folder to paper-3" in group.problems[0]


def test_runs_without_a_table_are_still_read(tmp_path):
    (write_results(tmp_path) / "paper-3" / "table.json").unlink()
    (group,) = read_results(tmp_path).groups
    assert len(group.runs) == 6 and group.table is None
    assert group.problems == ("paper-3/table.json is not there; write it anew with `abn reproduce --table`",)


def test_a_table_older_than_the_runs_says_so(tmp_path):
    write_run(write_results(tmp_path) / "paper-3", "resnet-dmb", 2, (50.0, 69.0, 91.0))
    (group,) = read_results(tmp_path).groups
    assert group.table is not None
    assert len(group.problems) == 1
    assert "counts 2 finished runs of ResNet-DMB and its folder has 3" in group.problems[0]


def test_a_table_of_other_accuracies_says_so(tmp_path):
    write_run(write_results(tmp_path) / "paper-3", "resnet-s", 1, (52.0, 71.0, 94.0))
    (group,) = read_results(tmp_path).groups
    assert len(group.problems) == 1
    assert "has a mean of 90.50 for ResNet-S, whose runs have one of 92.00, so" in group.problems[0]


def test_the_tables_own_problems_are_told_once(tmp_path):
    write_results(tmp_path)
    path = tmp_path / "paper-3" / "se-0.jsonl"
    append(path, "{")
    (problem,) = read_results(tmp_path).groups[0].problems
    write_json(tmp_path / "paper-3" / "table.json", table(problems=[problem, "another"]))
    assert read_results(tmp_path).groups[0].problems == (problem, "another")


def test_names_that_are_no_text_are_told_in_text(tmp_path):
    """As what a ZIP file of another system leaves: a page that shows such a name could not be sent."""
    write_results(tmp_path)
    try:
        (tmp_path / os.fsdecode(b"gr\xfcn-3")).mkdir()
        for name in (os.fsdecode(b"paper-3/\xfc.jsonl"), os.fsdecode(b"audit/\xfc.json")):
            (tmp_path / name).write_text("{}")
    except OSError:
        pytest.skip("this file system takes no names but text")
    results = read_results(tmp_path)
    (group,) = results.groups
    problems = [*results.problems, *group.problems]
    assert [problem.encode() for problem in problems]  # as a page sends them
    assert sum("\N{REPLACEMENT CHARACTER}" in problem for problem in problems) == 3
    assert len(results.audits) == 1


def test_a_text_that_cannot_be_sent_to_a_page_is_none(tmp_path):
    values = json.dumps(audit()).replace("The bank is idle.", "half of a pair: \\ud83d")
    (write_results(tmp_path) / "audit" / "resnet-dmb.json").write_text(values)
    write_json(tmp_path / "paper-3" / "table.json", table(banks=["a", 7]))
    results = read_results(tmp_path)
    assert results.audits == () and "is not JSON (unexpected end of hex escape" in results.problems[0]
    assert results.problems[0].encode()
    assert "banks[1] is 7; expected a text" in results.groups[0].problems[0]


def test_folders_that_cannot_be_looked_into_are_told(tmp_path, monkeypatch):
    write_results(tmp_path)
    iterdir, exists = Path.iterdir, os.path.exists

    def closed(path):
        if path.name == "audit":
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(path)

    def unknown(path):
        if os.path.basename(path) == "manifest.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    monkeypatch.setattr(os.path, "exists", unknown)
    results = read_results(tmp_path)
    assert results.groups == () and results.audits == ()
    assert results.problems == (
        "paper-3 cannot be read (Permission denied); look at its permissions",
        "audit cannot be read (Permission denied); look at its permissions",
    )


def test_a_second_audit_of_one_checkpoint_is_told(tmp_path):
    write_results(tmp_path)
    write_json(tmp_path / "audit" / "old-resnet-dmb.json", audit(images=5))
    results = read_results(tmp_path)
    assert [each.images for each in results.audits] == [10_000]
    assert results.problems == (
        "audit/old-resnet-dmb.json is one more audit of 'resnet-dmb', so it is skipped; remove one, or give the "
        "other's checkpoint another name",
    )


def without(values: dict, key: str) -> dict:
    return {name: value for name, value in values.items() if name != key}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "paper-3/table.json is []; expected an object"),
        (without(table(), "command"), "paper-3/table.json lacks command;"),
        (table(arms={}), "arms is {}; expected a list"),
        (table(arms=[{"arm": "vgg"}]), 'arms[0].arm is "vgg"; expected an arm: one of resnet-s, '),
        (table(arms=[{"arm": "vgg", "n": 0}]), 'arms[0].arm is "vgg"; expected an arm: one of resnet-s, '),
        (
            table(arms=[{"arm": "se", "label": "SE", "parameters": 1, "n": 1, "last": {"mean": "a"}}]),
            'arms[0].last.mean is "a"; expected a number from 0 to 100',
        ),
        (table(contrasts=[{**table()["contrasts"][0], "low": None}]), "contrasts[0] has one of low and high alone"),
        (table(contrasts=[{**table()["contrasts"][0], "mean": None}]), "contrasts[0] has n = 2 and no mean"),
        (table(contrasts=[{**table()["contrasts"][0], "p": 1.5}]), "p is 1.5; expected a number from 0 to 1"),
        (table(recipe="strong"), "is the table of strong, 3 epochs; expected that of paper, 3 epochs"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_and_the_runs_stay(tmp_path, values, said):
    write_json(write_results(tmp_path) / "paper-3" / "table.json", values)
    (group,) = read_results(tmp_path).groups
    assert group.table is None and len(group.runs) == 6
    assert said in group.problems[0]
    assert group.problems[0].endswith("write it anew with `abn reproduce --table`")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (audit(free={}), "audit/resnet-dmb.json: free lacks accuracy"),
        (
            audit(blocks=[{"name": "a", "channels": 0}]),
            "blocks[0].channels is 0; expected a whole number of at least 1",
        ),
        (audit(conditions=[{"name": "a", "label": "b"}]), "conditions[0] lacks trained;"),
        (audit(images=None), "images is null"),
    ],
)
def test_an_audit_that_cannot_be_used_is_told(tmp_path, values, said):
    write_json(write_results(tmp_path) / "audit" / "resnet-dmb.json", values)
    results = read_results(tmp_path)
    assert results.audits == () and len(results.groups) == 1
    assert said in results.problems[0] and "abn audit" in results.problems[0]


def test_a_folder_of_another_name_is_told(tmp_path):
    (tmp_path / "old").mkdir()
    assert "old: no group's name; expected RECIPE-EPOCHS" in read_results(tmp_path).problems[0]


def test_every_arm_has_a_label_and_a_colour_of_its_own():
    from abn.app.figures import ARM_STYLES

    assert list(ARM_STYLES) == list(ARM_LABELS)
    assert len({colour for colour, _ in ARM_STYLES.values()}) == len({s for _, s in ARM_STYLES.values()}) == 6
