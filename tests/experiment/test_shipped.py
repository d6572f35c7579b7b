"""What stands in `checkpoints/` and in README, as a stranger finds it."""

from __future__ import annotations

import json
import re

import pytest
import torch
import yaml

from abn.checkpoints.store import load_checkpoint
from abn.common.texts import p_value
from abn.experiment import awaken
from abn.experiment.audit_report import answers
from abn.experiment.folder import TABLE_FILE
from abn.experiment.make_table import make_table, markdown
from abn.experiment.runs import read_runs
from abn.interpret.reference.file import load_reference
from tests.conftest import HOME

COUNTS = {"resnet-s": 2_777_674, "resnet-dmb": 2_957_794}


@pytest.mark.parametrize("name", COUNTS)
def test_a_shipped_checkpoint_is_whole(name):
    folder = HOME / "checkpoints" / name
    model = load_checkpoint(folder)
    assert model.architecture == name
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]
    info = model.info
    assert info.seed == 0
    assert info.test_images == 10_000
    assert info.hardware
    assert "20 of the 10,000 test images" in info.dataset_note
    reference = load_reference(folder, info.weights_sha256)
    assert reference.num_images == 10_000
    assert list(reference.blocks) == [block for block, _ in model.blocks()]


@pytest.mark.parametrize("name", COUNTS)
def test_card_readme_and_log_say_the_same_accuracy(name):
    folder = HOME / "checkpoints" / name
    config = json.loads((folder / "config.json").read_text())
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] == config["epochs"]
    assert last["test_accuracy"] == pytest.approx(config["accuracy"])
    said = f"{config['accuracy']:.2f}"
    assert said in (folder / "README.md").read_text()
    assert said in (HOME / "README.md").read_text()


def test_the_two_were_trained_alike():
    recipes = [json.loads((HOME / "checkpoints" / name / "config.json").read_text())["recipe"] for name in COUNTS]
    assert recipes[0] == recipes[1]


def test_the_readmes_library_example_runs(monkeypatch):
    readme = (HOME / "README.md").read_text()
    example = re.search(r"## As a library\n\n```python\n(.*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(HOME)
    names: dict = {}
    exec(example, names)
    assert names["maps"].values.shape == (8, 3, 32, 32)
    assert torch.equal(names["plain"].modulations["layer1.0"].factors, torch.ones(8, 64))


def test_the_front_matter_is_that_of_a_space():
    _, front, _ = (HOME / "README.md").read_text().split("---\n", 2)
    space = yaml.safe_load(front)
    assert (space["sdk"], space["license"]) == ("gradio", "apache-2.0")
    assert (HOME / space["app_file"]).is_file()
    assert len(space["short_description"]) <= 60  # more the Hub refuses
    wanted = re.search(r"^gradio>=([\d.]+),<([\d.]+)$", (HOME / "requirements.txt").read_text(), re.M)
    least, below, named = (tuple(map(int, v.split("."))) for v in (*wanted.groups(), space["sdk_version"]))
    assert least <= named < below
    assert re.fullmatch(r"3\.1[1-9]\.\d+", space["python_version"])  # ZeroGPU takes whole versions alone


def test_readme_shows_the_page():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", (HOME / "README.md").read_text()):
        assert (HOME / picture).is_file(), picture


GROUPS = sorted({path.parent for path in (HOME / "results").glob("*/*.jsonl")})
AUDITS = sorted((HOME / "results" / "audit").glob("*.json"))


@pytest.mark.parametrize("folder", GROUPS, ids=lambda folder: folder.name)
def test_the_table_on_the_page_and_in_the_documentation_is_that_of_the_runs(folder):
    runs, problems = read_runs(folder)
    assert problems == []
    table = make_table(runs, problems)
    assert json.loads((folder / TABLE_FILE).read_text()) == table
    assert markdown(table).strip() in (HOME / "docs" / "results.md").read_text()


def test_there_are_results():
    assert GROUPS


def test_readmes_verdict_has_the_tables_and_the_audits_figures():
    """It is written by hand: with another run it has to be read again."""
    readme = (HOME / "README.md").read_text()
    said = " ".join(re.search(r"\*\*Verdict\.\*\*(.*?)\n\n", readme, re.DOTALL)[1].split())
    for name in ("paper-15", "strong-20"):
        table = json.loads((HOME / "results" / name / TABLE_FILE).read_text())
        rows = {row["arm"]: row for row in table["arms"]}
        assert [rows[arm]["n"] for arm in COUNTS] == [3, 3], "three seeds of each"
        for arm in COUNTS:
            assert f"{rows[arm]['last']['mean']:.2f} %" in said
    found = next(each for each in table["contrasts"] if each["arm"] == "resnet-s")
    assert f"p = {p_value(found['p_adjusted'])} corrected" in said and found["p_adjusted"] > 0.05
    audit = json.loads((HOME / "results" / "audit" / "resnet-dmb.json").read_text())
    cost = {each["name"]: each["reestimated"]["difference"] for each in audit["conditions"]}
    assert f"freezing them costs {cost['mean']:.1f} points" in said
    assert abs(cost["no_bank"]) < 0.05
    awake = json.loads((HOME / "results" / "audit" / "strong-20-awake-0.json").read_text())
    removed = next(each for each in awake["conditions"] if each["name"] == "no_bank")["reestimated"]
    assert removed["low"] < 0 < removed["high"]
    assert f"removing it costs {removed['difference']:.2f} points" in said


def _accuracy_of(audited: str) -> float:
    """In percent, of a checkpoint or, as in strong-20-awake-0, of a run."""
    if audited in COUNTS:
        return json.loads((HOME / "checkpoints" / audited / "config.json").read_text())["accuracy"]
    group, arm, seed = re.fullmatch(r"(\w+-\d+)-(.+)-(\d+)", audited).groups()
    runs, _ = read_runs(HOME / "results" / group)
    return next(run.last for run in runs if (run.arm, run.seed) == (arm, int(seed)))


@pytest.mark.parametrize("path", AUDITS, ids=lambda path: path.stem)
def test_an_audits_answers_follow_from_its_figures_and_are_documented(path):
    found = json.loads(path.read_text())
    assert found["answers"] == answers(found["blocks"], found["conditions"])
    assert found["images"] == 10_000
    assert found["free"]["trained"]["accuracy"] == pytest.approx(_accuracy_of(path.stem))
    documented = (HOME / "docs" / "results.md").read_text()
    assert all(each["answer"] in documented for each in found["answers"])


def test_what_wakes_the_bank_is_documented_as_it_was_found():
    found = json.loads((HOME / "results" / "awaken.json").read_text())
    assert [row["candidate"] for row in found["candidates"]] == list(awaken.CANDIDATES)
    assert awaken.markdown(found) in (HOME / "docs" / "results.md").read_text()
