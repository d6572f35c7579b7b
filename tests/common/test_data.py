import errno
import functools
import hashlib
import http.client
import http.server
import io
import os
import pickle
import sys
import tarfile
import threading
import types
import urllib.error
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from numpy.exceptions import VisibleDeprecationWarning
from torchvision.datasets import CIFAR10
from typer.main import get_command

from abn.cli.main import cli
from abn.common import data as module
from abn.common.data import CLASS_NAMES, MEAN, STD, DataError, load_cifar10, normalise, to_pixels


def arrays(**replaced):
    """Twelve training and ten test pictures, with some arrays replaced, or left out where None."""
    rng = np.random.default_rng(0)
    stored = {
        "x_train": rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(12) % 10,
        "x_test": rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(10),
    }
    return {name: array for name, array in (stored | replaced).items() if array is not None}


def store(folder, **replaced):
    np.savez(folder / "cifar10.npz", **arrays(**replaced))
    return folder


def refusal(folder, **options):
    with pytest.raises(DataError) as caught:
        load_cifar10(folder, **options)
    return str(caught.value)


@pytest.mark.parametrize("label_type", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_is_read_as_it_is(tmp_path, label_type, save):
    expected = arrays(y_train=(np.arange(12) % 10).astype(label_type))
    save(tmp_path / "cifar10.npz", **expected)
    for folder in (tmp_path, str(tmp_path)):
        data = load_cifar10(folder)
        for name, array in expected.items():
            assert np.array_equal(getattr(data, name), array)


def test_other_arrays_in_the_archive_do_no_harm(tmp_path):
    assert load_cifar10(store(tmp_path, note=np.array("made by hand"))).x_train.shape == (12, 32, 32, 3)


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_a_missing_array_is_named(tmp_path, name):
    message = refusal(store(tmp_path, **{name: None}))
    assert f"{tmp_path / 'cifar10.npz'} has no array ['{name}']" in message
    assert "`abn train` and `abn reproduce` fetch CIFAR-10 with --download" in message


def test_images_that_are_no_exact_copies_are_counted(tmp_path):
    exact = {"exact_train": np.arange(12) >= 3, "exact_test": np.arange(10) != 4}
    data = load_cifar10(store(tmp_path, **exact))
    assert (data.inexact_train, data.inexact_test) == (3, 1)
    assert data.x_train.shape == (12, 32, 32, 3)
    data = load_cifar10(store(tmp_path, exact_test=exact["exact_test"]))
    assert (data.inexact_train, data.inexact_test) == (0, 1)
    message = refusal(store(tmp_path, exact_train=np.ones(10, bool)))
    assert message.endswith("exact_train is bool (10,); expected bool (12,)")
    assert "exact_test is int64 (10,)" in refusal(store(tmp_path, exact_test=np.ones(10, np.int64)))


def whole_archive():
    buffer = io.BytesIO()
    np.savez(buffer, **arrays())
    return buffer.getvalue()


def damaged(start):
    """A compressed archive with 40 bytes of one member overwritten; pictures of one colour compress well."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays(x_train=np.zeros((400, 32, 32, 3), np.uint8)))
    content = bytearray(buffer.getvalue())
    content[start : start + 40] = b"\xff" * 40
    return bytes(content)


def npy():
    buffer = io.BytesIO()
    np.save(buffer, arrays()["x_train"])
    return buffer.getvalue()


def foreign_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", "not an array")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        whole_archive()[:-100],
        whole_archive()[:2000],
        damaged(120),
        damaged(400),
        npy(),
        foreign_zip(),
        pickle.dumps({"x_train": 1}),
    ],
    ids=["empty", "page", "end-cut", "start-alone", "damaged", "damaged-later", "npy", "zip", "pickle"],
)
def test_a_truncated_or_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "cifar10.npz").write_bytes(content)
    message = refusal(tmp_path)
    assert f"{tmp_path / 'cifar10.npz'} is truncated or is no NumPy archive" in message
    assert "remove it: `abn train` and `abn reproduce` fetch CIFAR-10 with --download" in message


def test_pickled_objects_are_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    np.savez(tmp_path / "cifar10.npz", **arrays(y_test=np.array([Trap()] * 10, dtype=object)))
    assert "is no NumPy archive" in refusal(tmp_path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        ({"x_train": np.zeros((12, 32, 32, 3), np.float32)}, "x_train is float32 (12, 32, 32, 3)"),
        ({"x_test": np.zeros((10, 3, 32, 32), np.uint8)}, "x_test is uint8 (10, 3, 32, 32)"),
        ({"x_test": np.zeros((10, 28, 28), np.uint8)}, "x_test is uint8 (10, 28, 28)"),
        ({"x_train": np.zeros((0, 32, 32, 3), np.uint8)}, "x_train is uint8 (0, 32, 32, 3)"),
    ],
)
def test_pictures_of_another_type_or_shape_are_refused(tmp_path, replaced, expected):
    message = refusal(store(tmp_path, **replaced))
    assert f"{expected}; expected uint8 (N, 32, 32, 3)" in message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.zeros(9, np.int64), "y_test is int64 (9,); expected 10 whole numbers"),
        (np.zeros((10, 1), np.int64), "y_test is int64 (10, 1); expected 10 whole numbers"),
        (np.zeros(10), "y_test is float64 (10,); expected 10 whole numbers"),
        (np.arange(1, 11), "y_test holds labels 1 to 10; expected 0 to 9"),
        (np.arange(10) - 1, "y_test holds labels -1 to 8; expected 0 to 9"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, expected):
    assert expected in refusal(store(tmp_path, y_test=labels))


def test_a_folder_without_the_data_set_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        message = refusal(folder)
        assert f"{folder} holds no cifar10.npz and no intact CIFAR-10" in message
        assert "name the folder that does with --data" in message
        assert "`abn train` and `abn reproduce` fetch CIFAR-10 with --download" in message


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """Permissions do not bind a superuser, so the system's refusal is played."""
    store(tmp_path)

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for owner, name in ((module.Path, "exists"), (np, "load")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refuse)
            message = refusal(tmp_path)
        assert message.startswith(f"{tmp_path / 'cifar10.npz'} is not open to this user (Permission denied)")
    (tmp_path / "cifar10.npz").unlink()
    fake_torchvision(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "batches.meta"))
    assert "batches.meta is not open to this user" in refusal(tmp_path)


def fake_torchvision(monkeypatch, error=None):
    """torchvision's class, without its files: what it was asked, and pictures or an error as the answer."""
    asked = []

    def cifar10(root, train, download):
        asked.append((root, train, download))
        if error is not None:
            raise error
        kept, size = arrays(), "train" if train else "test"
        return types.SimpleNamespace(data=kept[f"x_{size}"], targets=kept[f"y_{size}"].tolist())

    cifar10.tgz_md5 = "0" * 32
    monkeypatch.setattr("torchvision.datasets.CIFAR10", cifar10)
    return asked


def test_a_name_too_long_for_any_file_is_refused():
    with pytest.raises(DataError, match="cannot be read .*; name the data set's folder"):
        load_cifar10("x" * 300)


@pytest.mark.parametrize("download", [False, True])
def test_torchvisions_files_are_read_where_they_are_there(tmp_path, monkeypatch, download):
    """Also by whoever would fetch them: in a folder that cannot be written nothing is."""
    monkeypatch.setattr("abn.common.data.FileLock", None)
    asked = fake_torchvision(monkeypatch)
    data = load_cifar10(tmp_path, download)
    assert asked == [(str(tmp_path), True, False), (str(tmp_path), False, False)]
    for name, array in arrays().items():
        assert np.array_equal(getattr(data, name), array)
        assert getattr(data, name).dtype == array.dtype
    assert (data.inexact_train, data.inexact_test) == (0, 0)


def test_of_several_processes_one_downloads_at_a_time(tmp_path, monkeypatch):
    asked = fake_torchvision(monkeypatch)
    made = sys.modules["torchvision.datasets"].CIFAR10
    held = []

    def cifar10(*args, **options):
        if not options["download"]:
            raise RuntimeError("Dataset not found or corrupted.")
        try:
            FileLock(tmp_path / "data" / ".download.lock", timeout=0, is_singleton=False).acquire()
        except Timeout:
            held.append(True)
        return made(*args, **options)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", cifar10)
    load_cifar10(tmp_path / "data", download=True)
    assert held == [True, True]
    assert asked == [(str(tmp_path / "data"), train, True) for train in (True, False)]
    FileLock(tmp_path / "data" / ".download.lock", timeout=0).acquire().lock.release()


def test_an_archive_comes_before_torchvisions_files(tmp_path, monkeypatch):
    asked = fake_torchvision(monkeypatch)
    load_cifar10(store(tmp_path), download=True)
    assert asked == []


def test_a_download_that_fails_says_why(tmp_path, monkeypatch):
    fake_torchvision(monkeypatch, urllib.error.URLError("connection refused"))
    message = refusal(tmp_path, download=True)
    assert f"could not be stored in or fetched to {tmp_path}" in message
    assert "connection refused" in message


def pickled(pixels, labels):
    """As the data set's own files are: NumPy of 2009 wrote numbers where it writes booleans today."""
    content = pickle.dumps({"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1), "labels": labels}, 0)
    assert b"I00\nI01\n" in content
    return content.replace(b"I00\nI01\n", b"I0\nI1\n")


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def small_cifar10(monkeypatch):
    """torchvision's own class with a data set of 22 pictures, whose archive a server on this machine has."""
    kept = arrays()
    files = {
        f"{split}_batch": pickled(kept[f"x_{split}"], kept[f"y_{split}"].tolist()) for split in ("train", "test")
    }
    files["batches.meta"] = pickle.dumps({"label_names": list(CLASS_NAMES)})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    whole = archive.getvalue()
    served = types.SimpleNamespace(whole=whole, send=len(whole))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(whole[: served.send])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name, value in {
            "url": f"http://127.0.0.1:{server.server_port}/{module.DOWNLOAD}",
            "tgz_md5": md5(whole),
            "train_list": [["train_batch", md5(files["train_batch"])]],
            "test_list": [["test_batch", md5(files["test_batch"])]],
            "meta": CIFAR10.meta | {"md5": md5(files["batches.meta"])},
        }.items():
            monkeypatch.setattr(CIFAR10, name, value)
        yield served
        server.shutdown()


def test_a_download_that_is_cut_short_is_removed_and_had_whole_the_next_time(tmp_path, small_cifar10):
    small_cifar10.send = len(small_cifar10.whole) // 2
    message = refusal(tmp_path, download=True)
    assert f"the download of CIFAR-10 to {tmp_path} is incomplete or damaged" in message
    assert f"({small_cifar10.send:,} bytes arrived and were removed); try again" in message
    assert not (tmp_path / module.DOWNLOAD).exists()
    assert "no intact CIFAR-10; name" in refusal(tmp_path)
    small_cifar10.send = len(small_cifar10.whole)
    for download in (True, False):
        data = load_cifar10(tmp_path, download)
        for name, array in arrays().items():
            assert np.array_equal(getattr(data, name), array)


def test_a_download_that_was_killed_is_not_taken_for_whole(tmp_path, small_cifar10):
    (tmp_path / module.DOWNLOAD).write_bytes(small_cifar10.whole[:1000])
    assert f"no intact CIFAR-10 (the download in {module.DOWNLOAD} is incomplete)" in refusal(tmp_path)
    data = load_cifar10(tmp_path, download=True)
    assert np.array_equal(data.x_train, arrays()["x_train"])


def test_a_whole_download_that_cannot_be_unpacked_is_kept(tmp_path, monkeypatch, small_cifar10):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    assert "No space left on device; look at network and disk" in refusal(tmp_path, download=True)
    assert (tmp_path / module.DOWNLOAD).read_bytes() == small_cifar10.whole


def test_a_connection_that_breaks_leaves_nothing(tmp_path, monkeypatch, small_cifar10):
    def broken(url, path):
        path.write_bytes(b"x")
        raise http.client.IncompleteRead(b"x", 10)

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", lambda url, path: broken(url, Path(path)))
    assert "(1 bytes arrived and were removed); try again" in refusal(tmp_path, download=True)
    assert not (tmp_path / module.DOWNLOAD).exists()


AGE = (
    "dtype(): align should be passed as Python or NumPy boolean but got `align=0`. "
    "Did you mean to pass a tuple to create a subarray type? (Deprecated NumPy 2.4)"
)


def test_only_what_numpy_says_of_the_data_sets_age_is_silenced(tmp_path, monkeypatch, small_cifar10):
    """NumPy 2.4.0 to 2.4.4 warn when such files are opened; that is played for the other versions."""
    load_cifar10(tmp_path, download=True)
    loads = pickle.load

    def warn(words, *args, **options):
        warnings.warn(words, VisibleDeprecationWarning, stacklevel=1)
        return loads(*args, **options)

    monkeypatch.setattr("torchvision.datasets.cifar.pickle.load", functools.partial(warn, AGE))
    with pytest.warns(VisibleDeprecationWarning, match="align should be passed"):
        CIFAR10(str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_cifar10(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.pickle.load", functools.partial(warn, "another matter"))
    with pytest.warns(VisibleDeprecationWarning, match="another matter"):
        load_cifar10(tmp_path)


def test_class_names_are_cifar10s_in_its_order():
    assert CLASS_NAMES == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert (MEAN, STD) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def test_normalisation_has_its_exact_values():
    pixels = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    pixels[0, :, 0, 1] = 255
    black = torch.tensor([-0.4914 / 0.2023, -0.4822 / 0.1994, -0.4465 / 0.2010])
    white = torch.tensor([0.5086 / 0.2023, 0.5178 / 0.1994, 0.5535 / 0.2010])
    expected = torch.stack([black, white], dim=1)[:, None, :]
    torch.testing.assert_close(normalise(pixels)[0], expected)
    assert normalise(pixels).dtype == torch.float32


def test_floating_pictures_are_taken_from_0_to_1():
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    torch.testing.assert_close(normalise(pixels.float() / 255), normalise(pixels))
    torch.testing.assert_close(normalise(pixels.double() / 255), normalise(pixels))


def test_normalisation_takes_a_checkpoints_own_mean_and_width():
    pixels = torch.tensor([51, 102, 153], dtype=torch.uint8).view(1, 3, 1, 1)
    seen = normalise(pixels, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    torch.testing.assert_close(seen.flatten(), torch.tensor([0.2, 0.8, 2.4]))


def test_normalisation_leaves_its_input_alone():
    pixels = torch.full((1, 3, 2, 2), 0.5)
    normalise(pixels)
    assert torch.equal(pixels, torch.full((1, 3, 2, 2), 0.5))


def test_pictures_become_tensors_with_their_colours_first():
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    pixels = to_pixels(images)
    assert pixels.shape == (2, 3, 3, 4)
    assert pixels.dtype == torch.uint8
    assert pixels[1, 2, 0, 3].item() == images[1, 0, 3, 2]
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert module.IMAGE_SIZE == 32


def test_the_commands_that_the_remedy_names_take_the_option():
    """`abn app` reads the data as well, and fetches none."""
    commands = get_command(cli).commands
    takes = {name for name, command in commands.items() if any("--download" in each.opts for each in command.params)}
    assert takes == {"train", "reproduce"}
