import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from abn.checkpoints.store import load_checkpoint, save_checkpoint
from abn.experiment.arms import ARMS
from abn.experiment.audit import parse_audit
from abn.experiment.trained_run import is_run, load_run
from abn.training import run_state
from abn.training.epoch import make_optimizer
from abn.training.recipes import RECIPES
from abn.training.run import Run
from tests.command import run_abn
from tests.training.test_training import pictures

RECIPE = replace(RECIPES["strong"], epochs=2)


@pytest.fixture(scope="module")
def data():
    return pictures(train_images=20, test_images=10)


def store(folder, data, arm, *, epochs=2, **changed):
    """A run of an arm whose network was never trained, as `train` keeps it; answers with the network."""
    torch.manual_seed(0)
    model = ARMS[arm].build()
    settings = Run(arm, RECIPE, 3, 0, 1).settings() | {"data": data.fingerprint, "variant": ARMS[arm].described}
    folder.mkdir(parents=True)
    log = [{"epoch": epoch + 1} for epoch in range(epochs)]
    optimizer = make_optimizer(ARMS[arm].parameter_groups(model), RECIPE, torch.device("cpu"))
    run_state.store(folder, settings | changed, model, optimizer, log)
    return model.eval()


def test_a_finished_run_is_the_network_it_made(tmp_path, data):
    made = store(tmp_path / "awake-3", data, "awake")
    assert is_run(tmp_path / "awake-3") and not is_run(tmp_path) and not is_run("user/repo")
    model, name = load_run(tmp_path / "awake-3", data)
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(model(images), made(images))
    assert not model.training
    assert name == "strong-2-awake-3"
    info = model.info
    assert (info.architecture, info.num_biases, info.seed, info.epochs) == ("awake", 4, 3, 2)
    assert info.recipe["name"] == "strong"


def test_a_run_of_a_version_that_did_not_tell_its_data_is_taken(tmp_path, data):
    store(tmp_path / "run", data, "awake")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    del state["settings"]["data"], state["settings"]["variant"]
    torch.save(state, tmp_path / "run" / "state.pt")
    assert load_run(tmp_path / "run", data)[1] == "strong-2-awake-3"


def test_a_run_and_the_checkpoint_of_it_are_known_by_the_same_hash(tmp_path, data):
    model = store(tmp_path / "run", data, "resnet-dmb")
    saved = load_checkpoint(save_checkpoint(model, tmp_path / "checkpoint"))
    found, _ = load_run(tmp_path / "run", data)
    assert found.info.weights_sha256 == saved.info.weights_sha256


def test_what_is_no_finished_run_of_an_arm_on_this_data_is_refused(tmp_path, data):
    def refused(name, match, of=data):
        with pytest.raises(ValueError, match=match):
            load_run(tmp_path / name, of)

    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "state.pt").write_bytes(b"PK\x03\x04 cut short")
    refused("damaged", "state.pt is damaged or no state of a run; name a run's folder, such as")
    store(tmp_path / "early", data, "awake", epochs=1)
    refused("early", "early has 1 of 2 epochs; finish it")
    store(tmp_path / "other", data, "se", architecture="vgg")
    refused("other", "other is a run of vgg; expected one of resnet-s, ")
    store(tmp_path / "changed", data, "awake", variant="awake(temperature=2)")
    refused("changed", r"changed is of awake\(temperature=2\); this arm is awake\(temperature=0.1\), ")
    store(tmp_path / "whole", data, "awake")
    refused("whole", "whole was trained on other data; name that with --data", pictures(seed=1))


@pytest.mark.parametrize("arm", ["bank-only", "no-gates", "awake"])
def test_every_arm_with_a_bank_can_be_audited(tmp_path, data, arm, capsys):
    store(tmp_path / "run", data, arm)
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "cifar10.npz", **{name: getattr(data, name) for name in names})
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu", "--reestimate", "10"]
    run_abn("audit", tmp_path / "run", *options)
    result = json.loads((tmp_path / "out" / f"strong-2-{arm}-3.json").read_text(encoding="utf-8"))
    assert (result["checkpoint"], result["recipe"], result["seed"]) == (f"strong-2-{arm}-3", "strong", 3)
    assert len(result["blocks"]) == 6
    assert result["answers"][1]["answer"] in capsys.readouterr().out


def test_an_arm_without_a_bank_is_audited_but_for_the_bank(tmp_path, data, capsys):
    store(tmp_path / "run", data, "se")
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "cifar10.npz", **{name: getattr(data, name) for name in names})
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu", "--reestimate", "10"]
    run_abn("audit", tmp_path / "run", *options)
    found = parse_audit((tmp_path / "out" / "strong-2-se-3.json").read_bytes(), "se.json")
    assert [each.name for each in found.conditions] == ["neutral", "mean", "class_mean", "shuffled"]
    assert [each.question for each in found.answers] == ["Dynamic, or just a rescale?"]
    assert all(each.between_class + each.within_class > 0 for each in found.blocks)
    assert all(each.entropy is each.leads is each.bank_share is None for each in found.blocks)
    assert " | – | – | – | – |" in capsys.readouterr().out


def test_a_static_arm_has_nothing_to_audit(tmp_path, data):
    store(tmp_path / "run", data, "resnet-s")
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "cifar10.npz", **{name: getattr(data, name) for name in names})
    with pytest.raises(SystemExit, match="resnet-s is static: it has no modulation to audit"):
        run_abn("audit", tmp_path / "run", "--data", tmp_path, "--device", "cpu", "--reestimate", 10)
