from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from abn.checkpoints import convert
from abn.checkpoints.convert import convert_checkpoint
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.store import load_checkpoint, save_checkpoint
from abn.cli.convert import read_class_names
from abn.common.data import CLASS_NAMES, MEAN, STD
from abn.models.resnet import ResNet, resnet_dmb, resnet_s
from tests.conftest import HOME, awake

SEVEN = tuple("abcdefg")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> ResNet:
    """A small number of classes and of bias vectors, so that nothing is taken for granted."""
    torch.manual_seed(0)
    model = resnet_dmb(num_classes=7, num_biases=3).eval()
    for name, parameter in model.named_parameters():
        if "biases" in name or "gate_fc" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    torch.save(network.state_dict(), path)
    return path


def answers(model: ResNet, images: torch.Tensor) -> torch.Tensor:
    """Logits by weights that lie in memory as those of a loaded checkpoint do, which rounds alike."""
    return copy.deepcopy(model).to(memory_format=torch.channels_last)(images)


def reason(file: Path, folder: Path, **options) -> str:
    """Why a file is not converted; nothing is left then."""
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(file, folder, **options)
    assert "\n" not in str(caught.value)
    assert len(caught.value.reason) < 300
    assert not folder.exists()
    return caught.value.reason


@pytest.mark.parametrize(
    ("options", "said"), [({"std": (0.0, 0.0, 0.0)}, "std"), ({"mean": (float("nan"), 0.5, 0.5)}, "mean")]
)
def test_wrong_colours_are_not_the_weights_fault(options, said, tmp_path):
    torch.save(awake("resnet-s").state_dict(), tmp_path / "best.pth")
    assert f"{said} is [" in reason(tmp_path / "best.pth", tmp_path / "checkpoint", **options)


@pytest.mark.parametrize("architecture", ["resnet-s", "resnet-dmb"])
def test_a_converted_checkpoint_answers_as_the_network_did(architecture, images, tmp_path):
    model = awake(architecture)
    torch.save(model.state_dict(), tmp_path / "best.pth")
    loaded = load_checkpoint(convert_checkpoint(tmp_path / "best.pth", tmp_path / "checkpoint"))
    assert torch.equal(loaded(images), answers(model, images))
    info = loaded.info
    assert (info.architecture, info.class_names, info.num_biases) == (architecture, CLASS_NAMES, model.num_biases)
    assert (info.mean, info.std) == (MEAN, STD)
    assert (info.accuracy, info.dataset, info.recipe) == (None, None, None)  # a file of weights does not say


def test_other_sizes_names_and_normalisation(network, weights, images, tmp_path):
    means = {"mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)}
    loaded = load_checkpoint(convert_checkpoint(weights, tmp_path / "checkpoint", class_names=SEVEN, **means))
    assert (loaded.num_classes, loaded.num_biases) == (7, 3)
    assert torch.equal(loaded(images), answers(network, images))
    assert (loaded.info.class_names, loaded.info.mean, loaded.info.std) == (SEVEN, *means.values())


def prefixed(prefix: str, state: dict) -> dict:
    return OrderedDict((f"{prefix}{name}", tensor) for name, tensor in state.items())


def data_parallel(state: dict) -> dict:
    return prefixed("module.", state)


def averaged(state: dict) -> dict:
    """As torch.optim.swa_utils.AveragedModel names them."""
    return {"n_averaged": torch.tensor(5)} | data_parallel(state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 15},
        lambda state: {"model": state, "optimizer": {"state": {}}},
        lambda state: {"net": data_parallel(state), "acc": 91.5, "epoch": 3},
        lambda state: {"model_state_dict": state},
        data_parallel,
        lambda state: {"state_dict": data_parallel(state), "best_acc1": torch.tensor(91.5)},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"model._orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"net.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.model.net.module.{name}": each for name, each in state.items()}},
        lambda state: data_parallel(state) | {"n_averaged": torch.tensor(5)},
        lambda state: {"model": {f"net.{name}": x for name, x in averaged(state).items()}, "optimizer": {}},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
        lambda state: {name: tensor.double() for name, tensor in state.items() if tensor.is_floating_point()},
    ],
)
def test_wrapped_state_dicts(network, images, tmp_path, wrap):
    torch.save(wrap(network.state_dict()), tmp_path / "best.pt")
    folder = convert_checkpoint(tmp_path / "best.pt", tmp_path / "checkpoint", class_names=SEVEN)
    assert torch.equal(load_checkpoint(folder)(images), answers(network, images))


def test_the_state_of_an_averaged_model(network, images, tmp_path):
    torch.save(torch.optim.swa_utils.AveragedModel(network).state_dict(), tmp_path / "ema.pt")
    folder = convert_checkpoint(tmp_path / "ema.pt", tmp_path / "checkpoint", class_names=SEVEN)
    assert torch.equal(load_checkpoint(folder)(images), answers(network, images))


@pytest.mark.parametrize(
    "beside",
    [
        {"best_acc": np.float64(91.5), "epoch": np.int64(3), "done": np.bool_(True)},
        {"args": Namespace(lr=0.1, data=Path("data"), milestones=[5, 10], seed=None, best=np.float32(1))},
        {"losses": np.array([1.5, 2.5]), "numpy_rng": np.random.RandomState(0).get_state()},
        {"log": [PurePosixPath("a"), PureWindowsPath("b")]},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_scripts_keep_beside_the_weights(network, images, tmp_path, beside, zipped):
    content = {"model": network.state_dict()} | beside
    torch.save(content, tmp_path / "best.pt", _use_new_zipfile_serialization=zipped)
    before = set(torch.serialization.get_safe_globals())
    folder = convert_checkpoint(tmp_path / "best.pt", tmp_path / "checkpoint", class_names=SEVEN)
    assert torch.equal(load_checkpoint(folder)(images), answers(network, images))
    assert set(torch.serialization.get_safe_globals()) == before  # allowed there alone


def test_names_of_numpy_before_version_2(network, images, tmp_path):
    content = pickle.dumps({"model": 1, "best_acc": np.float64(91.5)}, protocol=2)
    torch.save({"model": network.state_dict(), "best_acc": np.float64(91.5)}, tmp_path / "new.pt")
    assert b"numpy._core.multiarray" in content
    with zipfile.ZipFile(tmp_path / "new.pt") as new, zipfile.ZipFile(tmp_path / "old.pt", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    folder = convert_checkpoint(tmp_path / "old.pt", tmp_path / "checkpoint", class_names=SEVEN)
    assert torch.equal(load_checkpoint(folder)(images), answers(network, images))


def test_objects_beside_the_weights_are_not_made(tmp_path):
    torch.save({"args": Namespace(lr=0.1), "best": np.float64(1)}, tmp_path / "best.pt")
    content = convert._unpickled(tmp_path / "best.pt", "best.pt")
    assert {type(value) for value in content.values()} == {convert.Inert}
    assert all(vars(value) == {} for value in content.values())


@pytest.mark.parametrize(
    ("hold", "entries"),
    [
        (lambda a, b: {"model": a, "model_ema": b, "epoch": 3}, ("model", "model_ema")),
        (lambda a, b: {"state_dict": a, "state_dict_ema": averaged(b)}, ("state_dict", "state_dict_ema")),
        (lambda a, b: {"net": a, "weights": b}, ("net", "weights")),
        (lambda a, b: prefixed("net.", a) | prefixed("ema.module.", b), ("net", "ema")),
        (lambda a, b: {"state_dict": prefixed("model.", a) | prefixed("model_ema.", b)}, ("model", "model_ema")),
    ],
)
def test_of_several_networks_in_a_file_one_has_to_be_named(network, images, tmp_path, hold, entries):
    other = copy.deepcopy(network)
    torch.nn.init.zeros_(other.linear.weight)
    file = tmp_path / "last.pt"
    torch.save(hold(network.state_dict(), other.state_dict()), file)
    found = reason(file, tmp_path / "x", class_names=SEVEN)
    assert f"several entries hold weights; name one with --entry: {', '.join(sorted(entries))}" in found
    for entry, model in zip(entries, (network, other), strict=True):
        folder = convert_checkpoint(file, tmp_path / entry, entry=entry, class_names=SEVEN)
        assert torch.equal(load_checkpoint(folder)(images), answers(model, images))
    found = reason(file, tmp_path / "x", entry="epoch", class_names=SEVEN)
    assert f"no entry 'epoch' holds a network's weights; name one that does: {', '.join(sorted(entries))}" in found


def test_an_entry_that_is_unusual_has_to_be_named_too(network, images, tmp_path):
    torch.save({"epoch": 3, "model_ema": network.state_dict()}, tmp_path / "ema.pt")
    assert "name it with --entry model_ema" in reason(tmp_path / "ema.pt", tmp_path / "x", class_names=SEVEN)
    folder = convert_checkpoint(tmp_path / "ema.pt", tmp_path / "y", entry="model_ema", class_names=SEVEN)
    assert torch.equal(load_checkpoint(folder)(images), answers(network, images))


def test_an_entry_of_bare_weights(weights, tmp_path):
    found = reason(weights, tmp_path / "x", entry="model\n", class_names=SEVEN)
    assert found == "no entry 'model?' holds a network's weights; leave it out"


def test_files_from_before_2020_and_of_safetensors(network, images, tmp_path):
    torch.save(network.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(data_parallel(network.state_dict()), tmp_path / "new.safetensors")
    for file in ("old.pt", "new.safetensors"):
        folder = convert_checkpoint(tmp_path / file, tmp_path / file.partition(".")[0], class_names=SEVEN)
        assert torch.equal(load_checkpoint(folder)(images), answers(network, images))


@pytest.mark.parametrize("num_biases", [10, 16])
def test_a_header_whose_length_starts_as_a_pickle_does(num_biases, images, tmp_path):
    """Two-digit shapes make ResNet-DMB's header that long."""
    model = resnet_dmb(num_biases=num_biases).eval()
    checkpoint = save_checkpoint(model, tmp_path / "saved")
    file = checkpoint / "model.safetensors"
    assert file.read_bytes()[0] == 0x80
    assert torch.equal(load_checkpoint(checkpoint)(images), answers(model, images))
    folder = convert_checkpoint(file, tmp_path / "converted")
    assert torch.equal(load_checkpoint(folder)(images), answers(model, images))


class Trap:
    """Its pickle makes a folder when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_needs_code_is_not_opened(network, tmp_path):
    sprung, file = tmp_path / "sprung", tmp_path / "best.pt"
    for content in ({"net": network.state_dict(), "trap": Trap(sprung)}, Trap(sprung)):
        torch.save(content, file)
        found = reason(file, tmp_path / "x")
        assert "opening this would run code (posix.mkdir)" in found
        assert "torch.save(model.state_dict(), …)" in found
    torch.save(torch.nn.Linear(2, 2), file)
    assert "run code (torch.nn.modules.linear.Linear)" in reason(file, tmp_path / "x")
    file.write_bytes(pickle.dumps(Trap(sprung)))
    reason(file, tmp_path / "x")
    assert not sprung.exists()
    pickle.loads(file.read_bytes())
    assert sprung.exists()  # the trap works


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0002, 0.01, 0.5, 0.999])
def test_a_truncated_file(network, tmp_path, zipped, share):
    file = tmp_path / "best.pt"
    torch.save(network.state_dict(), file, _use_new_zipfile_serialization=zipped)
    os.truncate(file, int(file.stat().st_size * share))
    assert "damaged or cut short; copy or download it again" in reason(file, tmp_path / "x", class_names=SEVEN)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_changed_file_never_ends_in_another_error(tmp_path, zipped):
    """Small, so that most changes hit what is not numbers."""
    file = tmp_path / "best.pt"
    torch.save({"linear.weight": torch.zeros(3, 2)}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    random = torch.Generator().manual_seed(0)
    places = torch.randint(len(whole), (300,), generator=random).tolist()
    for place, value in zip(places, torch.randint(256, (300,), generator=random).tolist(), strict=True):
        file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        reason(file, tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no file of torch.save or safetensors, or is damaged or cut short"),
        (b"hello, world", "no file of torch.save or safetensors, or is damaged or cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path, content, words):
    (tmp_path / "best.pt").write_bytes(content)
    assert words in reason(tmp_path / "best.pt", tmp_path / "x")


def test_files_that_are_not_there(tmp_path):
    assert "no such file" in reason(tmp_path / "nothing.pt", tmp_path / "x")
    assert "cannot be read (Is a directory)" in reason(tmp_path, tmp_path / "x")


def changed(state: dict, **entries: object) -> dict:
    state = state | {name.replace("__", "."): entry for name, entry in entries.items()}
    return {name: entry for name, entry in state.items() if entry is not None}


BANK = "layer1.0.conv2_dmb.gate_dmb.biases"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: [1, 2], ["this holds a list; expected a state dict"]),
        (
            lambda s: {},
            ["no weights are in this, nor under state_dict, model_state_dict, model, net; there is nothing"],
        ),
        (lambda s: {"epoch": 3, "weights": s}, ["no weights are in this", "there is 'epoch', 'weights'"]),
        (lambda s: {"net": {}}, ["neither network", "there is nothing"]),
        (lambda s: {"fc.weight": torch.zeros(2, 2)}, ["neither network", "resnet-s", "resnet-dmb", "fc.weight"]),
        (lambda s: changed(s, linear__weight=None), ["lack linear.weight"]),
        (lambda s: changed(s, linear__weight=torch.zeros(7)), ["linear.weight has shape (7,); expected a matrix"]),
        (lambda s: changed(s, linear__weight=torch.zeros(0, 256)), ["linear.weight has shape (0, 256)"]),
        (lambda s: changed(s, linear__weight="?"), ["linear.weight is a str; expected a matrix"]),
        (lambda s: changed(s, linear__bias=None), ["lack linear.bias"]),
        (lambda s: changed(s, linear__bias=torch.zeros(6)), ["linear.bias has shape (6,); expected (7,)"]),
        (lambda s: changed(s, extra=torch.zeros(1)), ["hold extra", "7 classes and 3 bias vectors has not"]),
        (lambda s: s | {BANK: torch.zeros(64, 5)}, ["has shape", "5 bias vectors"]),
        (lambda s: s | {BANK: torch.zeros(64)}, [f"{BANK} has shape (64,); expected a matrix"]),
        (lambda s: {name: entry for name, entry in s.items() if name != BANK}, [f"lack {BANK}"]),
        (lambda s: changed(s, linear__bias=torch.full((7,), torch.nan)), ["NaN or infinity stands in linear.bias"]),
        (lambda s: changed(s, linear__bias=torch.zeros(7, dtype=torch.int8)), ["linear.bias holds torch.int8"]),
        (
            lambda s: changed(s, linear__bias=torch.full((7,), 1e300, dtype=torch.float64)),
            ["NaN or infinity stands in linear.bias"],
        ),
        (lambda s: changed(s, linear__weight=torch.full((7, 256), 3e38)), ["answers to plain pictures are NaN"]),
        (lambda s: changed(s, linear__bias=torch.zeros(7).to_sparse()), ["linear.bias holds a sparse tensor"]),
        (lambda s: changed(s, linear__bias=torch.zeros(7, device="meta")), ["linear.bias holds no values"]),
        (lambda s: s | {"a\nb" * 100: torch.zeros(1)}, ["hold a?ba?b", "which resnet-dmb"]),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_weights_that_do_not_fit(network, tmp_path, change, words):
    torch.save(change(network.state_dict()), tmp_path / "best.pt")
    found = reason(tmp_path / "best.pt", tmp_path / "x", class_names=SEVEN)
    for word in words:
        assert word in found


def test_another_architecture_than_the_names(weights, tmp_path):
    found = reason(weights, tmp_path / "x", architecture="resnet-s", class_names=SEVEN)
    assert "lack layer1.0.conv2.weight" in found
    assert "resnet-s with 7 classes" in found
    torch.save(resnet_s(7).state_dict(), tmp_path / "static.pt")
    found = reason(tmp_path / "static.pt", tmp_path / "x", architecture="resnet-dmb", class_names=SEVEN)
    assert f"lack {BANK}" in found
    assert "unknown architecture 'vgg'" in reason(weights, tmp_path / "x", architecture="vgg")


def test_class_names_that_are_missing_too_few_or_alike(weights, tmp_path):
    assert "7 classes apart, which have no names here; give them (--class-names)" in reason(weights, tmp_path / "x")
    found = reason(weights, tmp_path / "x", class_names=("a", "b"))
    assert "2 class names are given, and the weights tell 7 classes apart" in found
    assert "class_names" in reason(weights, tmp_path / "x", class_names=("a",) * 7)


def test_a_checkpoint_is_not_written_over(weights, tmp_path):
    folder = convert_checkpoint(weights, tmp_path / "checkpoint", class_names=SEVEN)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match="stands there already; name another folder"):
        convert_checkpoint(weights, folder, class_names=SEVEN)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("names", [["README.md"], ["model.safetensors", "README.md"], ["reference.safetensors"]])
def test_a_projects_own_files_are_not_written_over(weights, tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    words = f"{' and '.join(names)} stands? there already; name a new folder"
    with pytest.raises(CheckpointError, match=words):
        convert_checkpoint(weights, tmp_path, class_names=SEVEN)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_a_folder_that_no_file_system_takes(weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"could not be written \(File name too long\)"):
        convert_checkpoint(weights, tmp_path / ("x" * 300), class_names=SEVEN)


# The command.


def test_names_from_the_command_line_or_a_file(tmp_path):
    assert read_class_names("cat, dog,owl") == ["cat", "dog", "owl"]
    (tmp_path / "names.txt").write_text("sea lion\n\nzebra, striped\n", encoding="utf-8")
    assert read_class_names(str(tmp_path / "names.txt")) == ["sea lion", "zebra, striped"]
    long = [f"a class with a long name, or number {number}".replace(",", "") for number in range(100)]
    assert read_class_names(",".join(long)) == long
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(CheckpointError, match="expected a text file, one name a line"):
        read_class_names(str(tmp_path / "picture"))


@pytest.mark.process
def test_the_command(weights, tmp_path):
    command = [sys.executable, "-m", "abn", "convert", str(weights), str(tmp_path / "x")]

    def run(*more: str) -> subprocess.CompletedProcess:
        return subprocess.run([*command, *more], cwd=HOME, capture_output=True, text=True, timeout=240)

    failed = run()
    assert failed.returncode == 1
    assert "holds a network's weights; leave it out" in run("--entry", "model_ema").stderr
    assert failed.stderr.startswith(f"abn convert: {weights}: these weights tell 7 classes apart")
    assert failed.stderr.count("\n") == 1
    done = run("--class-names", ",".join(SEVEN), "--mean", "0.5", "0.5", "0.5")
    assert done.stdout == f"resnet-dmb, 7 classes (a, b, c, d, e, f, g), K = 3 in {tmp_path / 'x'}\n"
    assert done.stderr == ""
    assert load_checkpoint(tmp_path / "x").info.mean == (0.5, 0.5, 0.5)
