import io
import json
import multiprocessing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from filelock import FileLock
from tqdm import tqdm

from abn.experiment import train_runs as experiment_runs
from abn.experiment.arms import ARMS, in_order
from abn.experiment.fields import ResultsError
from abn.experiment.reproduce import Outcome, _follow, go_through, write_tables
from abn.experiment.runs import read_runs
from abn.experiment.train_runs import Experiment, trainer
from abn.models.resnet import resnet_dmb
from abn.models.variants import no_gates
from abn.training import run as training
from abn.training.recipes import RECIPES, Recipe
from abn.training.run import TrainingError, Variant
from abn.training.run_state import DivergedError
from tests.command import run_abn
from tests.training.test_training import pictures, tiny_network

RECIPE = Recipe("paper", epochs=2, schedule="cosine", batch_size=8)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """All arms are networks of a few hundred weights, in float32."""
    for arm in ARMS:
        monkeypatch.setitem(ARMS, arm, Variant(tiny_network))
    monkeypatch.setattr(training, "gains_by_bfloat16", lambda device: False)
    monkeypatch.setitem(RECIPES, "paper", RECIPE)


@pytest.fixture
def experiment(tmp_path):
    return Experiment(["resnet-s", "se"], 2, RECIPE, tmp_path / "results" / "paper-2", tmp_path / "runs")


@pytest.fixture
def folder(tmp_path):
    data = pictures()
    np.savez(
        tmp_path / "cifar10.npz", **{name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    )
    return tmp_path


def go(experiment, part=(1, 1), **changed):
    outcome = go_through(replace(experiment, **changed), part, trainer(experiment, pictures(), "cpu", False))
    assert outcome.diverged == []
    return outcome.done, outcome.elsewhere


def results(experiment):
    return {path.name: path.read_text() for path in sorted(experiment.results.glob("*.jsonl"))}


def test_the_papers_networks_come_first_on_every_seed():
    order = in_order(list(ARMS), 2)
    assert order[:4] == [("resnet-s", 0), ("resnet-dmb", 0), ("resnet-s", 1), ("resnet-dmb", 1)]
    assert order[4:8] == [(arm, 0) for arm in ("bank-only", "no-gates", "se", "awake")]
    assert len(set(order)) == 12
    assert in_order(["se", "resnet-s"], 1) == [("resnet-s", 0), ("se", 0)]


def test_every_arm_is_trained_on_every_seed_and_leaves_a_line_an_epoch(experiment):
    assert go(experiment) == (4, 0)
    runs, problems = read_runs(experiment.results)
    assert problems == []
    assert [(run.arm, run.seed, run.finished) for run in runs] == [
        ("resnet-s", 0, True), ("resnet-s", 1, True), ("se", 0, True), ("se", 1, True)
    ]  # fmt: skip
    record = runs[0].records[0]
    assert record["recipe_sha256"] == RECIPE.sha256 and record["parameters"] == 170
    assert {"test_accuracy", "test_loss", "train_loss", "seconds", "device", "torch", "torchvision"} <= set(record)


def test_the_same_seed_has_the_same_batches_whatever_the_arm(experiment):
    go(experiment)
    lines = [json.loads(text.splitlines()[0]) for text in results(experiment).values()]
    # One network under two names: the loss is the same if, and only if, weights and batches are.
    losses = {(line["arm"], line["seed"]): line["train_loss"] for line in lines}
    assert losses["resnet-s", 0] == losses["se", 0] != losses["resnet-s", 1]


def test_a_finished_run_is_not_trained_again_wherever_it_was_trained(experiment, tmp_path):
    go(experiment)
    before = results(experiment)
    elsewhere = replace(experiment, runs=tmp_path / "another machine")
    called = []
    assert go_through(elsewhere, (1, 1), lambda *job: called.append(job)) == Outcome()
    assert called == []
    (experiment.results / "se-1.jsonl").unlink()
    assert go_through(elsewhere, (1, 1), lambda arm, seed, follow: called.append((arm, seed))) == Outcome(1)
    assert called == [("se", 1)]
    assert results(experiment) == {name: text for name, text in before.items() if name != "se-1.jsonl"}


def test_a_run_that_was_stopped_goes_on_and_ends_as_an_undisturbed_one(experiment, tmp_path, monkeypatch):
    undisturbed = replace(experiment, results=tmp_path / "a" / "paper-2", runs=tmp_path / "b")
    go_through(undisturbed, (1, 1), trainer(undisturbed, pictures(), "cpu", False))

    class StoppedError(Exception):
        pass

    evaluate, calls = training.evaluate, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 2:  # in the second epoch of the first run
            raise StoppedError
        return evaluate(*arguments)

    monkeypatch.setattr(training, "evaluate", stopping)
    with pytest.raises(StoppedError):
        go(experiment)
    assert len((experiment.results / "resnet-s-0.jsonl").read_text().splitlines()) == 1
    monkeypatch.setattr(training, "evaluate", evaluate)
    go(experiment)

    def without_time(texts):
        return {
            name: [{**json.loads(line), "seconds": 0} for line in text.splitlines()] for name, text in texts.items()
        }

    assert without_time(results(experiment)) == without_time(results(undisturbed))


@pytest.fixture
def with_gates(experiment, monkeypatch):
    for arm, build in (("resnet-dmb", resnet_dmb), ("no-gates", no_gates)):
        monkeypatch.setitem(ARMS, arm, Variant(build))
    return replace(experiment, arms=["resnet-dmb", "no-gates"], seeds=1, recipe=replace(RECIPE, epochs=1))


def test_what_the_bank_did_stands_in_the_last_line(with_gates):
    assert go(with_gates) == (2, 0)
    runs = {run.arm: run for run in read_runs(with_gates.results)[0]}
    bank = runs["resnet-dmb"].bank
    assert 0 < bank["bank_variation"] < 1 and 0.9 < bank["entropy"] <= 1
    assert runs["no-gates"].bank is None  # one vector leaves nothing to choose


def test_a_run_whose_bank_was_not_measured_yet_is_not_finished(with_gates, monkeypatch):
    class StoppedError(Exception):
        pass

    def stop(model, images):
        raise StoppedError

    real = replace(with_gates, arms=["resnet-dmb"])
    measure = experiment_runs.measure
    monkeypatch.setattr(experiment_runs, "measure", stop)
    with pytest.raises(StoppedError):
        go(real)
    assert real.ended() == {}
    monkeypatch.setattr(experiment_runs, "measure", measure)
    monkeypatch.setattr(training, "train_epoch", None)  # trained it is
    assert go(real) == (1, 0)
    assert real.ended()["resnet-dmb", 0].bank is not None


def test_lines_of_an_arm_that_was_defined_otherwise_are_refused(experiment, monkeypatch):
    go(experiment)
    assert read_runs(experiment.results)[0][0].records[0]["variant"] == "tiny_network"
    first, path = (experiment.results / f"se-{seed}.jsonl" for seed in (0, 1))
    path.write_text(path.read_text().replace('"tiny_network"', '"tiny_network(temperature=0.1)"'))
    first.unlink()
    with pytest.raises(ResultsError, match=r"se-1.jsonl is of tiny_network\(temperature=0.1\); this arm is tiny_net"):
        experiment.ended()
    # A line of an earlier version, which tells nothing, is no licence for two others.
    untold = [{k: v for k, v in json.loads(line).items() if k != "variant"} for line in path.read_text().splitlines()]
    first.write_text("".join(json.dumps(line | {"seed": 0}) + "\n" for line in untold))
    path.with_name("se-2.jsonl").write_text(
        path.read_text().replace('"seed": 1', '"seed": 2').replace("temperature=0.1", "temperature=0.5")
    )
    with pytest.raises(
        ResultsError, match=r"mixed networks in one arm: .*se-2.jsonl, line 1 is of tiny_network\(temp"
    ):
        read_runs(experiment.results)


def tiny_network_of(channels):
    return tiny_network()


def test_a_state_of_an_arm_that_was_defined_otherwise_is_refused(experiment, monkeypatch):
    one = replace(experiment, arms=["se"], seeds=1)
    go(one)
    (one.results / "se-0.jsonl").unlink()
    monkeypatch.setitem(ARMS, "se", Variant(partial(tiny_network_of, 4)))
    assert ARMS["se"].described == "tiny_network_of(4)"
    with pytest.raises(TrainingError, match="variant"):
        go(one)


def test_the_bar_counts_what_is_trained_now_alone():
    bar = tqdm(total=6, disable=False, file=io.StringIO())
    for resumed in (1, 2):
        follow = _follow(bar)
        for done in range(resumed, 4):
            follow([{}] * done)
    assert (bar.n, bar.initial) == (6, 3)  # three of the six epochs were there before


def test_a_spoilt_folder_does_not_keep_the_others_from_their_tables(experiment, tmp_path):
    go(experiment)
    spoilt = tmp_path / "results" / "a-2"
    spoilt.mkdir()
    for name, recipe in (("se-0", "one"), ("se-1", "another")):
        line = experiment.lines("se", int(name[-1]), 1, [LINE | {"epoch": 1}])
        (spoilt / f"{name}.jsonl").write_text(line.replace('"paper"', f'"{recipe}"'))
    with pytest.raises(ResultsError, match="mixed recipes in one table: a-2/se-0"):
        write_tables(tmp_path / "results")
    assert (experiment.results / "table.json").exists()


def test_parts_share_the_runs_without_overlap(experiment):
    taken, parts = [], []
    for part in ((1, 3), (2, 3), (3, 3)):
        go_through(replace(experiment, seeds=4), part, lambda arm, seed, follow: taken.append((arm, seed)))
        parts.append({seed for _, seed in taken} - set().union(*parts))
    assert sorted(taken) == sorted(in_order(["resnet-s", "se"], 4))
    assert parts == [{0, 3}, {1}, {2}]  # a seed's arms, which are compared, stay on one machine


def _train_in_another_process(experiment, queue):
    done = []

    def run_one(arm, seed, follow):
        done.append((arm, seed))
        lines = experiment.lines(arm, seed, 1, [LINE | {"epoch": epoch} for epoch in (1, 2)])
        (experiment.results / f"{arm}-{seed}.jsonl").write_text(lines)

    go_through(experiment, (1, 1), run_one)
    queue.put(done)


LINE = {"seconds": 1.0, "device": "CPU", "torch": "2", "test_accuracy": 50.0, "test_loss": 1.0}


def test_processes_at_once_never_do_the_same_run(experiment):
    many = replace(experiment, seeds=20)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_train_in_another_process, args=(many, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    done = [job for _ in processes for job in queue.get(timeout=60)]
    for process in processes:
        process.join(60)
    assert sorted(done) == sorted(in_order(["resnet-s", "se"], 20))


def test_a_run_that_another_process_has_begun_is_left_to_it(experiment):
    experiment.runs.mkdir(parents=True)
    with FileLock(experiment.runs / "se-0.lock"):
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=lambda: queue.put(go(experiment)))
        process.start()
        assert queue.get(timeout=60) == (3, 1)
        process.join(60)
    assert "se-0.jsonl" not in results(experiment)


def test_the_table_is_computed_of_all_that_is_there(experiment, tmp_path, capsys):
    go(experiment)
    (experiment.results / "se-1.jsonl").write_text("{broken\n")
    [path] = write_tables(tmp_path / "results")
    table = json.loads(path.read_text())
    assert [row["n"] for row in table["arms"]] == [2, 0, 0, 0, 1, 0]
    assert len(table["problems"]) == 1 and "se-1.jsonl, line 1" in table["problems"][0]
    captured = capsys.readouterr()
    assert "| ResNet-S | 170 | 2 |" in captured.out
    assert "paper-2: 1 lines or files were skipped or stand twice, and do not count:\n  paper-2/se-1" in captured.err


def test_what_stops_a_run_is_told_with_this_commands_remedy(experiment, monkeypatch):
    go(experiment, seeds=1)
    (experiment.results / "se-0.jsonl").unlink()
    (experiment.runs / "se-0" / "state.pt").write_bytes(b"cut short")
    with pytest.raises(TrainingError) as caught:
        go(experiment, seeds=1)
    said = str(caught.value)
    assert said.startswith("se, seed 0: ") and "state.pt is damaged or no state of a run" in said
    assert said.endswith("; or remove that run's folder, or name another --runs")
    assert "--resume" not in said and "--out" not in said


def test_lines_without_a_state_are_not_lost_unsaid(experiment, tmp_path, capsys):
    experiment.results.mkdir(parents=True)
    (experiment.results / "se-0.jsonl").write_text(experiment.lines("se", 0, 1, [LINE | {"epoch": 1}]))
    go(experiment, arms=["se"], seeds=1)
    assert (
        "se-0.jsonl has lines up to epoch 1 of a run that was not finished, and its state in"
        in capsys.readouterr().err
    )
    assert len(results(experiment)["se-0.jsonl"].splitlines()) == 2


def test_an_older_state_does_not_replace_later_lines_unsaid(experiment, capsys, monkeypatch):
    one = replace(experiment, arms=["se"], seeds=1, recipe=replace(RECIPE, epochs=3))
    train_epoch = training.train_epoch
    seen = []

    def train_one(judged, optimizer, recipe, batches, epoch, *rest, **options):
        if epoch == 1:
            seen.append((one.results / "se-0.jsonl").read_text())
            raise KeyboardInterrupt
        return train_epoch(judged, optimizer, recipe, batches, epoch, *rest, **options)

    monkeypatch.setattr(training, "train_epoch", train_one)
    with pytest.raises(KeyboardInterrupt):
        go(one)
    first = json.loads(seen[0])
    assert first["data"] == pictures().fingerprint
    later = "".join(json.dumps(first | {"epoch": epoch}) + "\n" for epoch in (1, 2))  # from another machine
    (one.results / "se-0.jsonl").write_text(later)
    with pytest.raises(KeyboardInterrupt):
        go(one)
    assert seen[1] == later  # while there is time to stop it
    said = capsys.readouterr().err
    assert "se-0.jsonl has lines up to epoch 2 of a run that was not finished, and its state in" in said
    assert "se-0 is that of epoch 1: it goes on from there, and the later lines are replaced" in said


def test_a_run_that_diverges_does_not_keep_the_others_from_being_trained(experiment, monkeypatch, capsys):
    """Its file tells it, so that it counts nowhere and is not begun again, and the table says so."""
    train_epoch = training.train_epoch
    trained = []

    def train_one(judged, optimizer, recipe, batches, epoch, *rest, **options):
        trained.append(epoch)
        if len(trained) == 2:  # of the first run
            with torch.no_grad():
                next(judged.parameters()).fill_(torch.nan)
        return train_epoch(judged, optimizer, recipe, batches, epoch, *rest, **options)

    monkeypatch.setattr(training, "train_epoch", train_one)
    train_all = trainer(experiment, pictures(), "cpu", False)
    outcome = go_through(experiment, (1, 1), train_all)
    assert (outcome.done, outcome.elsewhere) == (3, 0)
    (said,) = outcome.diverged
    assert said.startswith("resnet-s, seed 0: the loss is nan in epoch 2, batch 1 ")
    assert said.endswith("to try it again, remove resnet-s-0.jsonl and that run's folder")
    runs, problems = read_runs(experiment.results)
    assert problems == []
    assert [run.diverged for run in runs] == [2, None, None, None]
    assert (runs[0].finished, runs[0].last, runs[0].best, runs[0].curve[0]) == (False, None, None, [1])
    trained.clear()
    assert go_through(experiment, (1, 1), train_all) == Outcome() and trained == []
    write_tables(experiment.results.parent)
    text = capsys.readouterr().out
    assert "| ResNet-S | 170 | 1 |" in text
    assert "- Diverged (the loss was no longer a number), so not counted: ResNet-S, seed 0 (epoch 2).\n" in text


def test_the_command_ends_with_what_diverged(folder, monkeypatch):
    def fail(*args, after_epoch, **options):
        after_epoch([])
        raise DivergedError("the loss is nan in epoch 1")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(experiment_runs, "train", fail)
    said = message_of("--data", str(folder), "--seeds", "1", "--arms", "se,awake")
    assert said == (
        "abn reproduce: runs that diverged, and do not count:\n"
        "  se, seed 0: the loss is nan in epoch 1; to try it again, remove se-0.jsonl and that run's folder\n"
        "  awake, seed 0: the loss is nan in epoch 1; to try it again, remove awake-0.jsonl and that run's folder"
    )


def test_a_results_folder_that_cannot_be_made_is_named(folder):
    (folder / "file").touch()
    with pytest.raises(SystemExit, match="cannot be written .*--out or --runs"):
        run_abn("reproduce", "--data", folder, "--seeds", 1, "--device", "cpu", "--out", folder / "file")


def test_the_command_trains_and_prints_the_table(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    run_abn("reproduce", "--data", folder, "--seeds", 1, "--arms", "resnet-s,resnet-dmb", "--device", "cpu")
    captured = capsys.readouterr()
    assert "2 runs done here" in captured.err
    assert "With one seed ResNet-DMB is equal" in captured.out
    assert (folder / "results" / "paper-2" / "table.json").exists()
    run_abn("reproduce", "--table")
    assert capsys.readouterr().out == captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--arms", "resnet-s,vgg"],
            "'--arms': 'vgg' is not one of resnet-s, resnet-dmb, bank-only, no-gates, se, awake",
        ),
        (["--arms", ""], "'--arms': '' is not one of resnet-s, resnet-dmb"),
        (["--seeds", "0"], "'--seeds': Input should be greater than or equal to 1"),
        (["--epochs", "-1"], "'--epochs': Input should be greater than or equal to 1"),
        (["--part", "3/2"], "'--part': 3/2 is not I/N with I from 1 to N, such as 1/3"),
        (["--part", "0/2"], "'--part': 0/2 is not I/N"),
        ([], "'--data': name the folder with CIFAR-10; only --table does without"),
    ],
)
def test_bad_arguments_are_named(arguments, message, capsys):
    data = ["--data", "."] if arguments else []
    with pytest.raises(SystemExit) as caught:
        run_abn("reproduce", *arguments, *data)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def message_of(*arguments):
    with pytest.raises(SystemExit) as caught:
        run_abn("reproduce", *arguments)
    return caught.value.code


def test_two_recipes_never_stand_in_one_table(experiment, folder, monkeypatch):
    monkeypatch.chdir(folder)
    go(experiment, results=folder / "results" / "paper-2")
    monkeypatch.setitem(RECIPES, "paper", replace(RECIPE, lr=0.5))
    said = message_of("--data", str(folder), "--seeds", "1")
    assert "paper-2/ holds runs of recipe paper" in said and "mixed recipes in one table" in said
    path = folder / "results" / "paper-2" / "se-0.jsonl"
    path.write_text(path.read_text().replace(RECIPE.sha256, "0" * 12))
    assert "mixed recipes in one table" in message_of("--table")


def test_without_results_or_data_it_says_what_to_do(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert message_of("--table") == (
        "abn reproduce: results/ holds no runs; train some: leave out --table and name --data"
    )
    assert "holds no cifar10.npz" in message_of("--data", str(folder / "nowhere"))


def test_training_that_fails_is_a_message(folder, monkeypatch):
    def fail(*args, **options):
        raise TrainingError("the disk is full")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(experiment_runs, "train", fail)
    assert message_of("--data", str(folder)).startswith(
        "abn reproduce: resnet-s, seed 0: the disk is full; mend that and the same command goes on"
    )
