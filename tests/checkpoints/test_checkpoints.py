from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from abn.checkpoints.sources import HubSource, locate
from abn.checkpoints.store import (
    CheckpointError,
    load_checkpoint,
    load_official_state_dict,
    save_checkpoint,
)
from abn.common.data import CLASS_NAMES, MEAN, STD, Cifar10
from abn.common.files import replace_file
from abn.models import resnet
from abn.models.registry import ARCHITECTURES
from abn.training.checkpoint import save_trained
from abn.training.recipes import RECIPES
from abn.training.run import Run

THREE = ("cat", "dog", "owl")
BANK = "layer1.0.conv2_dmb.gate_dmb.biases"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A checkpoint of the modulated network with three classes and K = 2."""
    torch.manual_seed(0)
    model = resnet.resnet_dmb(num_classes=3, num_biases=2)
    return save_checkpoint(model, tmp_path_factory.mktemp("saved") / "checkpoint", class_names=THREE)


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


def reason(source, revision=None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(source, revision)
    assert caught.value.source == str(source)
    assert str(caught.value) == f"{source}: {caught.value.reason}"
    assert "\n" not in caught.value.reason
    return caught.value.reason


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))


def edit_weights(folder: Path, change) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


# Saving and loading.


def test_what_is_saved_is_loaded(tmp_path):
    torch.manual_seed(1)
    model = resnet.resnet_dmb().to(memory_format=torch.channels_last)
    model.bn1.num_batches_tracked += 5
    folder = save_checkpoint(
        model, tmp_path / "a" / "b", recipe={"name": "paper", "lr": 0.1}, seed=0, epochs=15, accuracy=91.5,
        evaluated_on="test", test_images=10_000, hardware="one CPU", torch_version="2", dataset="CIFAR-10",
    )  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = load_checkpoint(folder)
    assert not loaded.training
    assert loaded.architecture == "resnet-dmb"
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    info = loaded.info
    assert (info.architecture, info.num_biases, info.class_names) == ("resnet-dmb", 4, CLASS_NAMES)
    assert (info.mean, info.std) == (MEAN, STD)
    assert (info.seed, info.epochs, info.accuracy, info.test_images) == (0, 15, 91.5, 10_000)
    assert info.recipe == {"name": "paper", "lr": 0.1}
    assert (info.source, info.folder, info.commit, info.notice) == (str(folder), folder, None, None)


def test_other_classes_and_another_bank_load(saved):
    model = load_checkpoint(saved)
    assert (model.num_classes, model.num_biases) == (3, 2)
    assert model.info.class_names == THREE
    assert model.info.recipe is None
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_loading_leaves_the_global_random_generator_alone(saved):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_network_outlives_its_files(folder):
    model = load_checkpoint(folder)
    before = model.linear.weight.clone()
    (folder / "model.safetensors").write_bytes(b"")
    assert torch.equal(model.linear.weight, before)


def test_every_file_can_be_read_by_others(saved):
    modes = {path.stat().st_mode & 0o777 for path in saved.iterdir()}
    mask = os.umask(0)
    os.umask(mask)
    assert modes == {0o666 & ~mask}


def test_save_trained_takes_its_facts_from_the_log(tmp_path):
    run = Run("resnet-s", RECIPES["paper"], seed=7, holdout=0, evaluate_every=2)
    records = [
        {"epoch": 1, "device": "CPU", "torch": "2.1"},
        {"epoch": 2, "test_accuracy": 91.25, "device": "CPU", "torch": "2.1"},
        {"epoch": 3, "test_accuracy": 90.5, "device": "GPU", "torch": "2.1"},
    ]
    data = copies(train=50_000, test=10_000, inexact_train=77, inexact_test=20)
    folder = save_trained(resnet.resnet_s(), tmp_path / "checkpoint", run, records, data)
    assert [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] == records
    info = load_checkpoint(folder).info
    assert (info.seed, info.epochs, info.accuracy, info.evaluated_on, info.test_images) == (
        7, 3, 90.5, "test", 10_000,
    )  # fmt: skip
    assert (info.best_accuracy, info.best_epoch) == (91.25, 2)
    assert (info.hardware, info.torch_version) == ("CPU, then GPU", "2.1")
    assert info.recipe["name"] == "paper"
    assert info.recipe["weight_decay"] == 5e-4
    assert info.dataset_note == (
        "20 of the 10,000 test images and 77 of the 50,000 training images are JPEG re-compressions of the "
        "originals, so the accuracy can differ from the official data set's by at most 0.20 points."
    )
    card = (folder / "README.md").read_text()
    for fact in (
        "license: apache-2.0", "cifar10", "library_name", "| seed | 7 |", "| epochs | 3 |", "CPU, then GPU",
        "90.50 % on 10,000 test images", "91.25 % (epoch 2)", "JPEG", "0.20 points", "load_checkpoint", "paper",
    ):  # fmt: skip
        assert fact in card


def copies(train: int, test: int, inexact_train: int = 0, inexact_test: int = 0) -> Cifar10:
    """A data set of so many images, without a pixel."""
    splits = [(np.empty((n, 0, 0, 3), np.uint8), np.zeros(n, np.int64)) for n in (train, test)]
    return Cifar10(*splits[0], *splits[1], inexact_train, inexact_test)


@pytest.mark.parametrize(
    ("data", "holdout", "test_images", "points"),
    [
        (None, 0, 10_000, None),
        (copies(50, 7), 0, 7, None),
        (copies(50, 8, 3, 1), 0, 8, "12.50 points"),
        (copies(50, 8, 3, 1), 10, 10, "30.00 points"),
        (copies(50, 8, 3, 1), 2, 2, "100.00 points"),
        (copies(50, 8, 3, 0), 10, 10, "30.00 points"),
        (copies(50, 8, 3, 0), 0, 8, None),
        (None, 10, 10, None),
    ],
)
def test_save_trained_says_what_the_data_were(tmp_path, data, holdout, test_images, points):
    run = Run("resnet-s", RECIPES["paper"], seed=0, holdout=holdout, evaluate_every=1)
    split = "holdout" if holdout else "test"
    record = {"epoch": 1, f"{split}_accuracy": 50.0, "device": "CPU", "torch": "2.1"}
    arguments = [run, [record]] if data is None else [run, [record], data]
    info = load_checkpoint(save_trained(resnet.resnet_s(), tmp_path, *arguments)).info
    assert info.test_images == test_images
    card = (tmp_path / "README.md").read_text()
    if points is None:
        assert info.dataset_note == ""
        assert "JPEG" not in card
    else:
        inexact = f"{data.inexact_test} of the 8 test images and 3 of the 50 training images are JPEG"
        assert info.dataset_note.startswith(inexact)
        assert info.dataset_note.endswith(f"by at most {points}.")
        assert info.dataset_note in card


def test_save_trained_on_held_out_images(tmp_path):
    run = Run("resnet-s", RECIPES["paper"], seed=0, holdout=5000, evaluate_every=1)
    record = {"epoch": 1, "holdout_accuracy": 50.0, "device": "CPU", "torch": "2.1"}
    info = load_checkpoint(save_trained(resnet.resnet_s(), tmp_path, run, [record])).info
    assert (info.evaluated_on, info.test_images, info.best_accuracy) == ("holdout", 5000, None)
    assert "on 5,000 held-out training images" in (tmp_path / "README.md").read_text()


# Saving: whole or not at all.


class StopError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("killed_at", ["model.safetensors", "README.md", "config.json"])
def test_a_kill_leaves_nothing_that_loads_half_written(folder, monkeypatch, killed_at):
    def replace_or_die(path, write):
        if path.name == killed_at:
            raise StopError
        replace_file(path, write)

    monkeypatch.setattr("abn.checkpoints.store.replace_file", replace_or_die)
    with pytest.raises(StopError):
        save_checkpoint(resnet.resnet_s(3), folder, class_names=THREE)
    assert "no config.json" in reason(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [("README.md", "# My thesis\n"), ("config.json", '{"model_type": "bert"}'), ("config.json", "")],
)
def test_another_projects_files_are_not_replaced(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"a {name} of another project stands there; name a new folder"):
        save_checkpoint(resnet.resnet_s(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


def test_a_checkpoint_is_saved_over_one_whose_saving_was_killed(tmp_path):
    save_checkpoint(resnet.resnet_s(), tmp_path)
    (tmp_path / "config.json").unlink()
    save_checkpoint(resnet.resnet_s(), tmp_path)
    assert load_checkpoint(tmp_path).architecture == "resnet-s"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def die(scratch):
        scratch.write_text("ne")
        raise StopError

    with pytest.raises(StopError):
        replace_file(path, die)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    replace_file(path, lambda scratch: scratch.write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reference_and_a_log_stay_with_their_weights_only(folder):
    tied = [folder / name for name in ("reference.safetensors", "log.jsonl")]
    for path in tied:
        path.write_bytes(b"of these weights")
    model = load_checkpoint(folder)
    save_checkpoint(model, folder, class_names=THREE, seed=1)
    assert [path.read_bytes() for path in tied] == [b"of these weights"] * 2
    with torch.no_grad():
        model.linear.bias += 1
    save_checkpoint(model, folder, class_names=THREE)
    assert not any(path.exists() for path in tied)


def test_a_training_runs_own_log_stays(tmp_path):
    (tmp_path / "log.jsonl").write_text("of the run that is kept here")
    save_checkpoint(resnet.resnet_s(3), tmp_path, class_names=THREE)
    assert (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"class_names": ("a", "b")}, ["2 class names", "3 classes"]),
        ({"class_names": ("a", "b", "a")}, ["class_names", "different"]),
        ({"std": (0.1, 0.0, 0.1)}, ["std", "at least 0.000001"]),
        ({"accuracy": 120.0}, ["accuracy is 120.0", "0 to 100"]),
        ({"seed": -1}, ["seed is -1"]),
    ],
)
def test_nonsense_is_not_saved_and_what_stood_there_stays(folder, known, words):
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(resnet.resnet_s(3), folder, **{"class_names": THREE} | known)
    for word in words:
        assert word in str(caught.value)
    assert load_checkpoint(folder).architecture == "resnet-dmb"


def test_weights_that_diverged_are_not_saved(tmp_path):
    model = resnet.resnet_s(3)
    with torch.no_grad():
        model.linear.weight[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="NaN or infinity stands in linear.weight"):
        save_checkpoint(model, tmp_path / "x", class_names=THREE)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        save_checkpoint(resnet.resnet_s(3), tmp_path / "file" / "x", class_names=THREE)


# Where a checkpoint is.


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("user/repo", None, HubSource("user/repo", "main")),
        ("user/repo", "v1", HubSource("user/repo", "v1")),
        ("user/repo@v1", None, HubSource("user/repo", "v1")),
        ("user/repo@v1", "v1", HubSource("user/repo", "v1")),
        ("user/repo@refs/pr/3", None, HubSource("user/repo", "refs/pr/3")),
        ("u-1/a.b_c", None, HubSource("u-1/a.b_c", "main")),
        ("user/repo@feature@2", None, HubSource("user/repo", "feature@2")),
        (HubSource("user/repo", "v1"), "v1", HubSource("user/repo", "v1")),
        ("user/repo/", None, HubSource("user/repo", "main")),
        ("user/repo/", "v1", HubSource("user/repo", "v1")),
    ],
)
def test_hub_ids(source, revision, expected):
    assert locate(source, revision) == expected


@pytest.mark.parametrize("hub_only", [False, True])
@pytest.mark.parametrize(
    "host", ["https://huggingface.co", "http://huggingface.co", "https://hf.co", "huggingface.co", "hf.co",
             "https://www.huggingface.co", "https://HuggingFace.co", " https://user:secret@hf.co"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("path", "revision"),
    [
        ("user/repo", "main"),
        ("user/repo/", "main"),
        ("user/repo?library=true#readme", "main"),
        ("user/repo/tree/main", "main"),
        ("user/repo/tree/v1", "v1"),
        ("user/repo/tree/v1/folder", "v1"),
        ("user/repo/tree/", "main"),
        ("user/repo/tree/feature%2Fx", "feature/x"),
        ("user/repo/tree/refs%2Fpr%2F3", "refs/pr/3"),
        ("user/repo/blob/refs/pr/3/config.json", "refs/pr/3"),
        ("user/repo/blob/v1/model.safetensors", "v1"),
        ("user/repo/resolve/main/model.safetensors?download=true", "main"),
        ("user/repo/commit/" + "0" * 40, "0" * 40),
        ("user/repo/discussions/3", "main"),
        ("user/repo@v1", "v1"),
    ],
)
def test_addresses_on_the_hub(host, path, revision, hub_only):
    assert locate(f"{host}/{path}", hub_only=hub_only) == HubSource("user/repo", revision)


def test_addresses_of_huggingface_hubs_own_scheme():
    assert locate("hf://user/repo@v1") == locate("hf://models/user/repo@v1") == HubSource("user/repo", "v1")


@pytest.mark.parametrize(
    "endpoint", ["https://mirror.example:8443/hub", "https://me:secret@mirror.example:8443/hub/"]
)
def test_addresses_of_the_hub_that_is_set(monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    for address in (
        "https://mirror.example:8443/hub/user/repo/tree/v1",
        "mirror.example:8443/hub/user/repo/tree/v1",
        "https://huggingface.co/user/repo/tree/v1",
    ):
        assert locate(address) == HubSource("user/repo", "v1")
    assert "mirror.example is not the Hub" in reason("https://mirror.example/user/repo")


def test_an_endpoint_that_is_no_address_makes_no_other_address_unreadable(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://[::1")
    assert locate("hf.co/user/repo") == HubSource("user/repo", "main")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://github.com/user/repo", "github.com is not the Hub; expected user/repo"),
        ("https://huggingface.co.example/user/repo", "huggingface.co.example is not the Hub"),
        ("https://example/huggingface.co/user/repo", "example is not the Hub"),
        ("https:///user/repo", "this is not the Hub"),
        ("ftp://huggingface.co/user/repo", "addresses of ftp:// are not read"),
        ("file:///tmp/x", "addresses of file:// are not read"),
        ("https://huggingface.co", "names no model's repository (user/repo)"),
        ("https://huggingface.co/user", "names no model's repository (user/repo)"),
        ("https://huggingface.co/datasets/user/repo", "is of the Hub's datasets, not of a model"),
        ("hf.co/spaces/user/repo", "is of the Hub's spaces, not of a model"),
        ("https://huggingface.co:x/user/repo", "no well-formed address"),
        ("https://[::1/user/repo", "no well-formed address"),
        ("https://hf.co/us er/repo", "the Hub has no such names"),
        ("https://hf.co/user/../repo", "the Hub has no such names"),
        ("https://hf.co/user%2Frepo/x", "the Hub has no such names"),
        ("https://hf.co/user/repo/tree/a%20b", "can be no revision"),
    ],
)
@pytest.mark.parametrize("hub_only", [False, True])
def test_addresses_of_something_else(source, words, hub_only):
    with pytest.raises(CheckpointError) as caught:
        locate(source, hub_only=hub_only)
    assert words in caught.value.reason
    assert caught.value.source == source
    assert "folder" not in caught.value.reason


def test_an_address_with_two_revisions():
    assert "two revisions are named, v1 and v2" in reason("https://hf.co/user/repo/tree/v1", "v2")


def test_what_exists_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "user" / "repo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("user/repo") == Path("user/repo")
    assert locate("user") == Path("user")
    assert locate("user/repo/") == Path("user/repo")
    (tmp_path / "hf.co" / "user" / "repo").mkdir(parents=True)
    assert locate("hf.co/user/repo") == Path("hf.co/user/repo")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/user") == tmp_path / "user"


@pytest.mark.parametrize(
    ("source", "revision", "words"),
    [
        ("/no/such/folder", None, ["no such folder"]),
        ("./nothing", None, ["no such folder"]),
        ("~/nothing-there", None, ["no such folder"]),
        ("a/b/c", None, ["no such folder"]),
        ("nothing", None, ["no such folder", "user/repo"]),
        (Path("user/repo"), None, ["no such folder"]),
        ("/tmp", "v1", ["a folder has no revisions", "'v1'"]),
        ("user/repo@v1", "v2", ["two revisions", "v1 and v2"]),
        (HubSource("user/repo", "main"), "v2", ["two revisions", "main and v2"]),
        ("user/repo@../../x", None, ["can be no revision"]),
        ("user/repo", "a b", ["can be no revision"]),
        ("us er/repo", None, ["no such folder", "spelling"]),
        ("user/re--po", None, ["no such folder", "spelling"]),
        ("user/.repo", None, ["no such folder", "spelling"]),
        ("user/" + "x" * 300, None, ["no such folder", "spelling"]),
        ("x" * 5000, None, ["no such folder"]),
        ("nul\0/x", None, ["no such folder"]),
    ],
)
def test_sources_that_are_nowhere(source, revision, words):
    found = reason(source, revision)
    for word in words:
        assert word in found


def test_a_stranger_names_no_folder(tmp_path, monkeypatch):
    (tmp_path / "user" / "repo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate("user/repo@v1", hub_only=True) == HubSource("user/repo", "v1")
    for name in (
        "user",
        "./user/repo",
        str(tmp_path),
        "~/x",
        "../x",
        "user/repo/x",
        "C:\\x",
        "user/repo\0",
        "user-/x",
        "user./x",
    ):
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(name, public_only=True)
        assert "the Hub has no such names" in caught.value.reason
        assert "folder" not in caught.value.reason


def test_no_source_at_all():
    with pytest.raises(CheckpointError, match="no checkpoint is named"):
        load_checkpoint(" ")


def test_a_file_is_no_folder(saved):
    assert "this is a file" in reason(saved / "config.json")


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), "10"])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(CheckpointError, match="timeout is .*; expected a positive number of seconds"):
        load_checkpoint("user/repo", timeout=timeout)


@pytest.mark.parametrize("most", [0, -1, 1.5, None, 10**12])
def test_a_limit_that_is_none(most):
    with pytest.raises(CheckpointError, match="max_bytes is .*; expected a whole number from 1 to 50,000,000,000"):
        load_checkpoint("user/repo", max_bytes=most)


# Folders that are no checkpoints.


def test_an_empty_folder(tmp_path):
    assert "no config.json" in reason(tmp_path)
    assert "save_checkpoint" in reason(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"not json", b"\xff\xfe\x00", b"[" * 100_000, b'{"seed": 1e999999x}'])
def test_a_config_that_is_not_json(folder, text):
    (folder / "config.json").write_bytes(text)
    assert "config.json is not JSON" in reason(folder)


def test_a_config_that_is_no_object(folder):
    (folder / "config.json").write_text("[1, 2]")
    assert "config.json is [1, 2]; expected an object" in reason(folder)


def test_a_config_that_is_too_large(folder):
    (folder / "config.json").write_text(" " * 2_000_000)
    assert "more than 1,000,000 bytes" in reason(folder)


@pytest.mark.parametrize("name", ["architecture", "class_names", "mean", "std", "num_biases", "weights_sha256"])
def test_a_config_without_a_field_it_needs(folder, name):
    edit_config(folder, **{name: ...})
    assert f"config.json lacks {name}" in reason(folder)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("architecture", 5, "the name of an architecture"),
        ("class_names", [], "one or more different names"),
        ("class_names", "abc", "one or more different names"),
        ("class_names", ["a", "b", ""], "one or more different names"),
        ("class_names", ["a", "b", "b"], "one or more different names"),
        ("class_names", ["a", "b", 3], "one or more different names"),
        ("class_names", ["a", "b", "c\nd"], "each in one line"),
        ("class_names", ["a", "b", "c" * 1001], "at most 1,000 characters"),
        ("class_names", [str(number) for number in range(1001)], "different names, at most 1,000, each"),
        ("mean", [0.5, 0.5], "three numbers"),
        ("mean", [0.5, 0.5, float("nan")], "three numbers"),
        ("mean", [10**400, 0.5, 0.5], "three numbers"),
        ("std", [0.2, 0.0, 0.2], "three numbers of at least 0.000001"),
        ("std", [0.2, -0.2, 0.2], "three numbers of at least 0.000001"),
        ("std", [0.2, 1e-300, 0.2], "three numbers of at least 0.000001"),
        ("num_biases", 0, "from 1 to 10,000"),
        ("num_biases", True, "from 1 to 10,000"),
        ("num_biases", 2.0, "from 1 to 10,000"),
        ("num_biases", 10**9, "from 1 to 10,000"),  # nothing of that size is ever allocated
        ("weights_sha256", "abc", "64 hexadecimal digits"),
        ("recipe", "paper", "an object"),
        ("seed", -1, "at least 0"),
        ("epochs", 0, "at least 1"),
        ("accuracy", 101, "0 to 100"),
        ("accuracy", "91", "0 to 100"),
        ("evaluated_on", "train", '"test" or "holdout"'),
        ("hardware", 5, "text"),
    ],
)
def test_nonsense_in_a_config(folder, name, value, expected):
    edit_config(folder, **{name: value})
    found = reason(folder)
    assert f"config.json: {name} is " in found
    assert expected in found


def test_fields_of_later_versions_are_passed_over(folder):
    edit_config(folder, something_new=[1, 2])
    assert load_checkpoint(folder).info.class_names == THREE


def test_an_unknown_architecture(folder):
    edit_config(folder, architecture="resnet-se")
    found = reason(folder)
    assert "unknown architecture 'resnet-se'" in found
    assert "resnet-dmb, resnet-s" in found
    edit_config(folder, architecture="\x1b[2J" + "x" * 10_000)
    assert "unknown architecture 'x" not in reason(folder)
    assert len(reason(folder)) < 300


@pytest.mark.parametrize(("architecture", "num_biases"), [("resnet-s", 2), ("resnet-dmb", None)])
def test_bank_sizes_an_architecture_cannot_have(folder, architecture, num_biases):
    edit_config(folder, architecture=architecture, num_biases=num_biases)
    assert f"num_biases is {json.dumps(num_biases)}, which {architecture} cannot have" in reason(folder)


def test_class_names_that_do_not_fit_the_weights(folder):
    edit_config(folder, class_names=["a", "b"])
    found = reason(folder)
    assert "linear." in found
    assert "resnet-dmb with 2 classes and 2 bias vectors" in found


def test_a_bank_size_that_does_not_fit_the_weights(folder):
    edit_config(folder, num_biases=3)
    assert f"{BANK} has shape (64, 2); expected (64, 3)" in reason(folder)


def test_another_networks_weights(folder):
    edit_config(folder, architecture="resnet-s", num_biases=None)
    assert "the weights lack layer1.0.conv2.weight" in reason(folder)


def test_a_config_of_other_weights(folder):
    edit_weights(folder, lambda tensors: tensors["linear.bias"].add_(1))
    found = reason(folder)
    assert "config.json describes other weights" in found
    assert "same checkpoint" in found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("linear.bias"), ["lack linear.bias"]),
        (lambda t: t.update(extra=torch.zeros(2)), ["hold extra", "has not"]),
        (lambda t: t.update({BANK: torch.zeros(64, 5)}), [BANK, "(64, 5)", "(64, 2)"]),
        (lambda t: t["bn1.weight"].fill_(torch.nan), ["NaN", "bn1.weight"]),
        (lambda t: t["conv1.weight"][0].fill_(torch.inf), ["NaN or infinity", "conv1.weight"]),
        (lambda t: t["bn1.running_var"].fill_(-1), ["negative variances", "bn1.running_var"]),
        (lambda t: t.update({"linear.bias": torch.zeros(3, dtype=torch.int64)}), ["linear.bias", "int64"]),
        (lambda t: t.clear(), ["lack bn1.bias, bn1.running_mean", "and"]),
    ],
)
def test_weights_that_do_not_fit(folder, change, words):
    edit_weights(folder, change)
    found = reason(folder)
    for word in words:
        assert word in found


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 100, (50).to_bytes(8, "little") + b"{" * 50])
def test_what_is_no_safetensors_file(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors is no safetensors file, or is cut short" in reason(folder)


def test_a_truncated_safetensors_file(folder):
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1000)
    assert "cut short" in reason(folder)


def test_a_header_that_would_fill_the_memory_is_not_taken_apart(folder, monkeypatch):
    path = folder / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"a": "x" * 5_000_000})
    monkeypatch.setattr("abn.checkpoints.weights.load_file", None)
    said = reason(folder)
    assert "model.safetensors has a header of 5,000," in said and "expected at most 4,000,000: another file" in said


def test_a_git_lfs_pointer(folder):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 11\n"
    (folder / "model.safetensors").write_bytes(pointer)
    assert "Git LFS pointer" in reason(folder)
    assert "git lfs pull" in reason(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "there is no model.safetensors" in reason(folder)


def test_a_folder_in_the_place_of_a_file(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert "model.safetensors cannot be read" in reason(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "config.json cannot be read" in reason(folder)


class Trap:
    """Its pickle makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_never_opened(folder, tmp_path):
    sprung, weights = tmp_path / "sprung", folder / "model.safetensors"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        weights.write_bytes(pickle.dumps(Trap(sprung), protocol))
        assert "is a pickle under another name; a pickle can run any code" in reason(folder)
    for protocol in (0, 1):  # without a mark of their own
        weights.write_bytes(pickle.dumps(Trap(sprung), protocol))
        assert "no safetensors file" in reason(folder)
    torch.save({"trap": Trap(sprung)}, weights)
    assert "is a pickle under another name" in reason(folder)
    shutil.move(weights, folder / "pytorch_model.bin")
    assert "only pytorch_model.bin; a pickle can run any code" in reason(folder)
    assert not sprung.exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert sprung.exists()  # the trap works


# Official state dicts.


@pytest.fixture(params=["resnet-s", "resnet-dmb"])
def network(request) -> resnet.ResNet:
    torch.manual_seed(5)
    return ARCHITECTURES[request.param].build(num_classes=3)


def test_an_official_state_dict_loads(network):
    official = {name: torch.full_like(tensor, 2) for name, tensor in network.state_dict().items()}
    load_official_state_dict(network, official)
    assert all((tensor == 2).all() for tensor in network.state_dict().values())


def test_names_from_data_parallel_and_without_batch_counts(network):
    official = {
        f"module.{name}": torch.full_like(tensor, 2)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    load_official_state_dict(network, official)
    state = network.state_dict()
    assert (state["layer3.1.bn2.running_var"] == 2).all()
    assert state["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("layer3.1.bn2.weight"), ["lack layer3.1.bn2.weight"]),
        (lambda d: d.update({"fc.weight": torch.zeros(2)}), ["hold fc.weight"]),
        (lambda d: d.update({"linear.weight": torch.zeros(10, 256)}), ["linear.weight", "(10, 256)", "(3, 256)"]),
        (lambda d: d.update({"linear.bias": torch.full((3,), torch.nan)}), ["NaN", "linear.bias"]),
        (lambda d: d.update({"linear.bias": [1, 2, 3]}), ["linear.bias is a list"]),
        (lambda d: d.update({"module.conv1.weight": d.pop("conv1.weight")}), ["lack conv1.weight"]),
        (lambda d: d.clear(), ["lack bn1.bias, bn1.running_mean, bn1.running_var and"]),
    ],
)
def test_a_state_dict_that_does_not_fit_leaves_the_network_as_it_was(network, change, words):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    official = {name: torch.full_like(tensor, 2) for name, tensor in before.items()}
    change(official)
    with pytest.raises(CheckpointError) as caught:
        load_official_state_dict(network, official)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.source == "state dict"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
