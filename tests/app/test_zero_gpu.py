"""On ZeroGPU: attribution in a process forked for it, by a stand-in for the package `spaces` that really forks."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from abn.app.export import export_of
from abn.app.inspector.visitors import Pairs
from abn.cli import launching
from tests.command import run_abn
from tests.conftest import HOME

CPU = torch.device("cpu")


class Spaces:
    """`spaces.GPU` as on ZeroGPU: every call in a forked process, pickled both ways, errors by their type alone."""

    def __init__(self) -> None:
        self.durations, self.processes, self.sent = [], [], []

    def GPU(self, *, duration):  # noqa: N802  (its name there)
        self.durations.append(duration)
        return lambda function: lambda *arguments: self._call(function, arguments)

    def _call(self, function, arguments):
        self.sent.append(arguments)
        context = multiprocessing.get_context("fork")
        there, back = context.SimpleQueue(), context.SimpleQueue()

        def work():
            try:
                answer = function(*there.get())
            except Exception as error:
                back.put((os.getpid(), None, type(error).__name__))
            else:
                back.put((os.getpid(), answer, None))

        process = context.Process(target=work, daemon=True)
        process.start()
        there.put(arguments)
        # A fork of a process with threads may hang on what one of them held.
        assert back._reader.poll(120), "the worker does not answer"
        number, answer, error = back.get()
        process.join()
        self.processes.append(number)
        if error is not None:
            raise RuntimeError(f"ZeroGPU worker error: {error}")
        return answer


@pytest.fixture
def spaces(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("a process that has used CUDA cannot be forked, as the stand-in for ZeroGPU forks it")
    fake = Spaces()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", fake)
    monkeypatch.delitem(sys.modules, "abn.app.inspector.zero_gpu", raising=False)
    return fake


@pytest.fixture
def zero_gpu(spaces):
    return importlib.import_module("abn.app.inspector.zero_gpu")


@pytest.fixture
def borrowing(zero_gpu, inspector):
    return zero_gpu.BorrowingInspector(*inspector.networks, CPU)


@pytest.mark.parametrize(
    ("method", "options"), [("saliency", {}), ("integrated_gradients", {"steps": 3}), ("grad_cam", {})]
)
def test_the_maps_are_those_of_an_inspector_and_come_from_another_process(
    borrowing, spaces, inspector, pictures, method, options
):
    told = []
    found = borrowing.attribute(pictures[0], "dog", "cat", method, options, told.append)
    expected = inspector.attribute(pictures[0], "dog", "cat", method, options)
    for one, other in zip(found.maps, expected.maps, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.as_dict() == expected.as_dict()
    assert found.dmb.options == expected.dmb.options
    assert told == [0, 1]
    assert len(spaces.processes) == 1 and os.getpid() not in spaces.processes
    assert [type(each) for each in spaces.sent[0]] == [bytes]
    assert spaces.durations == [20]


def test_errors_keep_their_type_and_their_words(borrowing, spaces, pictures):
    with pytest.raises(
        ValueError, match="stride is 8, more than the window's 4 pixels"
    ):  # found where it is computed
        borrowing.attribute(pictures[0], "dog", None, "occlusion", {"window": 4, "stride": 8})
    assert len(spaces.processes) == 1


def test_what_is_refused_borrows_nothing(borrowing, spaces, pictures):
    with pytest.raises(ValueError, match="there is no class 'dragon'; there are airplane"):
        borrowing.attribute(pictures[0], "dragon", None, "saliency", {})
    with pytest.raises(ValueError, match="steps"):
        borrowing.attribute(pictures[0], "dog", None, "integrated_gradients", {"steps": 0})
    with pytest.raises(ValueError, match="dog"):
        borrowing.attribute(pictures[0], "dog", "dog", "saliency", {})
    assert spaces.processes == []


def test_memory_that_runs_out_there_is_told_here(zero_gpu, borrowing, pictures, monkeypatch):
    def full(*_):
        raise zero_gpu.DeviceMemoryError("The memory of cuda is full.")

    monkeypatch.setattr(zero_gpu.Inspector, "attribute_many", full)
    with pytest.raises(zero_gpu.DeviceMemoryError, match="The memory of cuda is full."):
        borrowing.attribute(pictures[0], "dog", None, "saliency", {})


def test_looking_at_a_picture_borrows_nothing(borrowing, spaces, inspector, pictures):
    np.testing.assert_array_equal(
        borrowing.inspect(pictures[0]).dmb.probabilities, inspector.inspect(pictures[0]).dmb.probabilities
    )
    assert spaces.processes == []


def test_nothing_is_borrowed_before_somebody_asks(borrowing):
    assert all(method.slow for method in borrowing.methods.values())


def test_visitors_networks_borrow_too(zero_gpu, borrowing, checkpoints):
    pairs = Pairs(borrowing, folders=True)
    chosen = pairs.inspector(pairs.choose("", str(checkpoints / "resnet-dmb")))
    assert type(chosen) is zero_gpu.BorrowingInspector


def test_files_say_where_the_maps_were_computed(borrowing, pictures):
    hardware = export_of(borrowing, borrowing.inspect(pictures[0])).manifest.hardware
    assert hardware.startswith("CPU, ")
    assert hardware.endswith("; attribution on a GPU lent by ZeroGPU")


def test_the_app_borrows_there(zero_gpu, checkpoints, monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr(launching, "zero_gpu", zero_gpu)
    monkeypatch.setattr(launching, "BASELINE", checkpoints / "resnet-s")
    monkeypatch.setattr(launching, "DMB", checkpoints / "resnet-dmb")
    monkeypatch.setattr(launching, "use_own_folder", lambda: tmp_path)
    monkeypatch.setattr(launching, "build_page", lambda pairs, *_: pairs.own)
    monkeypatch.setattr(launching, "serve", lambda own, *_, **__: served.append(own))
    run_abn("app", "--device", "auto")
    assert type(served[0]) is zero_gpu.BorrowingInspector
    assert served[0].device == CPU


@pytest.mark.parametrize(("value", "lent"), [("true", True), ("1", True), ("false", False), ("", False)])
def test_zero_gpu_is_known_by_its_variable(zero_gpu, monkeypatch, value, lent):
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert zero_gpu.is_lent() is lent


@pytest.mark.process
def test_elsewhere_its_package_is_not_asked_for():
    code = "import sys; sys.modules['spaces'] = None; import abn.app.inspector.zero_gpu"
    environment = {name: value for name, value in os.environ.items() if name != "SPACES_ZERO_GPU"}
    subprocess.run([sys.executable, "-c", code], cwd=HOME, env=environment, check=True)
