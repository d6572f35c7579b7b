import json

import numpy as np
import pytest

from abn.experiment import awaken
from tests.command import run_abn
from tests.training.test_training import pictures


def test_the_verdict_names_the_first_change_that_reaches_the_threshold():
    rows = [{"candidate": name, "bank_variation": share} for name, share in (("a", 0.049), ("b", 0.05), ("c", 0.9))]
    assert awaken.verdict(rows).endswith("varies between images: b.")
    assert awaken.verdict(rows[:1]).startswith("None of them makes the bank 5 %")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    data = pictures(24)
    arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    monkeypatch.setattr(awaken, "HOLDOUT", 8)
    two = ("standardised c", "standardised c, no weight decay on B, G, g")
    monkeypatch.setattr(awaken, "CANDIDATES", {name: awaken.CANDIDATES[name] for name in two})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_tries_every_candidate_and_keeps_what_it_found(folder, capsys, monkeypatch):
    arguments = ["--data", str(folder), "--epochs", "1", "--images", "16", "--device", "cpu"]
    run_abn("awaken", *arguments)
    printed = capsys.readouterr().out
    found = json.loads((folder / "results" / "awaken.json").read_text())
    assert [row["candidate"] for row in found["candidates"]] == list(awaken.CANDIDATES)
    assert (found["epochs"], found["images"], found["holdout"]) == (1, 16, 8)
    row = found["candidates"][0]
    assert f"| standardised c | {row['entropy']:.4f} |" in printed
    assert 0 < row["entropy"] < 1

    # Finished candidates are only measured: the network's weights come from the run's state.
    monkeypatch.setattr(awaken, "train", _only_restoring(awaken.train))
    run_abn("awaken", *arguments)
    assert json.loads((folder / "results" / "awaken.json").read_text())["candidates"] == found["candidates"]


def test_a_results_folder_that_cannot_be_written_is_told_before_anything_is_trained(folder, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setattr(awaken, "train", None)
    with pytest.raises(SystemExit, match="abn awaken: .*file cannot be written .*name another --out or --runs"):
        run_abn("awaken", "--data", folder, "--images", 16, "--device", "cpu", "--out", folder / "file")


def _only_restoring(train):
    def checked(run, data, out, device, **options):
        assert (out / "state.pt").exists()
        return train(run, data, out, device, **options)

    return checked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "'--epochs': Input should be greater than or equal to 1"),
        (["--images", "0"], "'--images': Input should be greater than or equal to 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run_abn("awaken", "--data", ".", *arguments)
    assert message in capsys.readouterr().err


def test_more_images_than_there_are_is_refused(folder):
    with pytest.raises(SystemExit) as caught:
        run_abn("awaken", "--data", folder, "--images", 17)
    assert caught.value.code == "abn awaken: --images is 17; expected at most 16"
