"""What stands in `checkpoints/` and in README, as a stranger finds it."""

from __future__ import annotations

import json
import re

import pytest
import torch

from abn.checkpoints import load_checkpoint
from abn.reference import load_reference
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


def test_readme_shows_the_page():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", (HOME / "README.md").read_text()):
        assert (HOME / picture).is_file(), picture
