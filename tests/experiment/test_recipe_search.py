"""The search for the `strong` recipe: which images judge it, what it keeps, and what is chosen."""

import json
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from abn.experiment import recipe_search
from abn.training.recipes import RECIPES
from tests.command import run_abn
from tests.conftest import HOME
from tests.training.test_training import pictures


@pytest.fixture
def folder(tmp_path, monkeypatch):
    data = pictures(24)
    arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    monkeypatch.setattr(recipe_search, "HOLDOUT", 8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ARGUMENTS = ["--epochs", "1", "--device", "cpu", "--data"]


def test_every_candidate_is_judged_on_held_out_images_and_kept(folder, capsys):
    run_abn("recipe-search", *ARGUMENTS, folder)
    printed = capsys.readouterr().out
    found = json.loads((folder / "results" / "recipe_search.json").read_text())
    assert (found["images"], found["holdout"], found["epochs"]) == (16, 8, 1)
    assert [row["candidate"] for row in found["candidates"]] == list(recipe_search.CANDIDATES)
    for row in found["candidates"]:
        assert row["holdout_accuracy"] in {100 * right / 8 for right in range(9)}
        assert row["recipe"]["epochs"] == 1
    assert f"Chosen: {recipe_search.best(found['candidates'])['candidate']}." in printed


def test_what_another_process_trains_is_left_to_it_and_the_last_one_writes(folder, capsys):
    recipe = replace(next(iter(recipe_search.CANDIDATES.values())), epochs=1)
    runs = folder / "runs" / "recipe_search"
    runs.mkdir(parents=True)
    with FileLock(runs / f"resnet-s-0-{recipe.sha256}.lock"):
        run_abn("recipe-search", *ARGUMENTS, folder)
    assert "other processes are still training" in capsys.readouterr().err
    assert list((folder / "results").iterdir()) == []
    assert len([path for path in runs.iterdir() if path.is_dir()]) == len(recipe_search.CANDIDATES) - 1
    run_abn("recipe-search", *ARGUMENTS, folder)
    assert (folder / "results" / "recipe_search.json").exists()


def test_of_equal_ones_the_first_is_best():
    rows = [{"candidate": name, "holdout_accuracy": accuracy} for name, accuracy in (("a", 1), ("b", 2), ("c", 2))]
    assert recipe_search.best(rows)["candidate"] == "b"


def test_a_results_folder_that_cannot_be_written_is_told_before_anything_is_trained(folder, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setattr(recipe_search, "train", None)
    with pytest.raises(
        SystemExit, match="abn recipe-search: .*file cannot be written .*name another --out or --runs"
    ):
        run_abn("recipe-search", *ARGUMENTS, folder, "--out", folder / "file")


def test_data_that_is_not_there_is_named(folder):
    with pytest.raises(SystemExit, match="abn recipe-search: "):
        run_abn("recipe-search", *ARGUMENTS, folder / "nowhere")


def test_the_strong_recipe_is_what_the_search_chose_and_the_documentation_shows_it():
    found = json.loads((HOME / "results" / recipe_search.FILE).read_text())
    rows = found["candidates"]
    assert [row["candidate"] for row in rows] == list(recipe_search.CANDIDATES)
    assert recipe_search.best(rows)["recipe_sha256"] == RECIPES["strong"].sha256
    for row, candidate in zip(rows, recipe_search.CANDIDATES.values(), strict=True):
        assert row["recipe_sha256"] == replace(candidate, epochs=found["epochs"]).sha256
    assert recipe_search.markdown(found) in (HOME / "docs" / "training.md").read_text()
