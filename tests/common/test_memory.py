"""A device whose memory runs out, simulated: a network that refuses more than so many images at once."""

from __future__ import annotations

from itertools import chain

import gradio as gr
import numpy as np
import pytest
import torch

from abn.app.inspector.inspector import Inspector
from abn.common.data import normalise, to_pixels
from abn.common.memory import DeviceMemoryError, in_parts_that_fit
from abn.interpret import interventions
from abn.interpret.attribution.attribute import METHODS, attribute
from abn.interpret.inspection import inspect
from abn.ui.edge import as_gradio_error
from tests.conftest import awake

CPU = torch.device("cpu")
MESSAGE = "CUDA out of memory. Tried to allocate 20.00 MiB (process 4711, /dev/nvidia0)"


def short_of_memory(model, most: int) -> list[int]:
    """Let a network refuse more than `most` images at once; returns the sizes that it is asked for from now on."""
    sizes, whole = [], model.stem

    def stem(images):
        sizes.append(len(images))
        if len(images) > most:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 20.00 MiB (process 4711, /dev/nvidia0)"
            )
        return whole(images)

    model.stem = stem
    return sizes


@pytest.fixture(scope="module")
def images(pictures):
    return normalise(to_pixels(pictures[:5])).double()


def network():
    return awake("resnet-dmb").double()


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("MPS backend out of memory (MPS allocated: 1 GB)", True),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 5 bytes", True),
        ("shapes cannot be multiplied", False),
    ],
)
def test_allocators_that_say_so_in_words_alone_are_understood(words, known):
    asked = []

    def run(start, size):
        asked.append(size)
        if size > 1:
            raise RuntimeError(words)
        return 0

    if known:
        assert in_parts_that_fit(run, 2, 2, CPU) == [0, 0]
        assert asked == [2, 1, 1]
    else:
        with pytest.raises(RuntimeError, match=words):
            in_parts_that_fit(run, 2, 2, CPU)


def test_parts_become_smaller_and_what_is_done_is_kept():
    asked = []

    def run(start, size):
        asked.append((start, size))
        if size > 3 and start:
            raise torch.OutOfMemoryError
        return list(range(20))[start : start + size]

    assert list(chain(*in_parts_that_fit(run, 20, 8, CPU))) == list(range(20))
    assert asked == [(0, 8), (8, 8), (8, 4), (8, 2), (10, 2), (12, 2), (14, 2), (16, 2), (18, 2)]


def test_no_part_is_smaller_than_the_smallest():
    asked = []

    def run(start, size):
        asked.append(size)
        raise torch.OutOfMemoryError

    with pytest.raises(DeviceMemoryError, match="cpu is full, even for 3 images at a time"):
        in_parts_that_fit(run, 10, 8, CPU, smallest=3)
    assert asked == [8, 4, 3]


def test_other_errors_are_not_swallowed():
    def run(start, size):
        raise RuntimeError("not about memory")

    with pytest.raises(RuntimeError, match="not about memory"):
        in_parts_that_fit(run, 4, 4, CPU)


def test_inspecting_in_parts_is_inspecting_the_whole(images):
    model = network()
    whole = inspect(model, images)
    sizes = short_of_memory(model, 2)
    parts = inspect(model, images)
    assert sizes == [5, 2, 2, 1]
    torch.testing.assert_close(parts.logits, whole.logits, rtol=1e-10, atol=1e-12)
    assert list(parts.modulations) == list(whole.modulations)
    for name, modulation in parts.modulations.items():
        for part in ("factors", "response", "linear_term", "gate_weights", "bias_bank"):
            torch.testing.assert_close(
                getattr(modulation, part), getattr(whole.modulations[name], part), rtol=1e-6, atol=1e-7
            )


@pytest.mark.parametrize("method", METHODS)
def test_attributing_in_parts_is_attributing_the_whole(images, method):
    options = {"integrated_gradients": {"steps": 6}, "smoothgrad": {"samples": 3}, "occlusion": {"stride": 8}}
    model = network()
    whole = attribute(model, images[:3], 3, method, **options.get(method, {}))
    sizes = short_of_memory(model, 2)
    parts = attribute(model, images[:3], 3, method, **options.get(method, {}))
    assert max(sizes) > 2
    assert sizes[-1] <= 2
    largest = whole.values.abs().max().item()
    torch.testing.assert_close(parts.values, whole.values, rtol=1e-6, atol=1e-6 * largest)
    assert parts.problems == whole.problems


def test_one_image_in_many_copies_is_split_too(images):
    model = network()
    whole = attribute(model, images[:1], 3, "smoothgrad", samples=6)
    sizes = short_of_memory(model, 1)
    alone = attribute(model, images[:1], 3, "smoothgrad", samples=6)
    assert sizes[-6:] == [1] * 6
    torch.testing.assert_close(alone.values, whole.values, rtol=1e-6, atol=1e-9)


def test_what_a_hook_is_asked_about_is_not_split(images):
    model = network()
    sizes = short_of_memory(model, 2)
    with pytest.raises(DeviceMemoryError, match="even for 5 images at a time"):
        inspect(model, images, hook=interventions.neutral())
    assert sizes == [5]
    with pytest.raises(DeviceMemoryError, match="even for 5 images at a time"):
        attribute(model, images, 3, "smoothgrad", interventions.neutral(), samples=2)
    assert min(sizes) == 5


def test_a_search_through_images_goes_on_in_smaller_parts(inspector, pictures, labels, monkeypatch):
    expected = inspector.find_disagreement(pictures, labels, np.random.default_rng(0))
    whole = inspector.baseline.model.stem

    def stem(images):
        if len(images) > 7:
            raise torch.OutOfMemoryError
        return whole(images)

    monkeypatch.setattr(inspector.baseline.model, "stem", stem)
    assert inspector.find_disagreement(pictures, labels, np.random.default_rng(0)).index == expected.index


@pytest.mark.parametrize("ask", ["inspect", "attribute"])
def test_a_visitor_reads_a_sentence_when_nothing_fits(inspector, pictures, monkeypatch, ask):
    def stem(images):
        raise torch.OutOfMemoryError(MESSAGE)

    for network in inspector.networks:
        monkeypatch.setattr(network.model, "stem", stem)
    arguments = {"inspect": (), "attribute": ("ship", None, "integrated_gradients", {"steps": 4})}[ask]
    with pytest.raises(gr.Error) as caught:
        as_gradio_error(getattr(Inspector, ask))(inspector, pictures[0], *arguments)
    assert "memory of cpu is full, even for one image at a time; try again" in caught.value.message
    assert "4711" not in caught.value.message


def test_networks_that_do_not_fit_are_refused_by_name(inspector, monkeypatch):
    def to(device):
        raise torch.OutOfMemoryError(MESSAGE)

    monkeypatch.setattr(inspector.baseline.model, "to", lambda device: None)
    monkeypatch.setattr(inspector.dmb.model, "to", to)
    with pytest.raises(DeviceMemoryError, match="memory of cuda is full, so ResNet-DMB does not fit") as caught:
        Inspector(inspector.baseline, inspector.dmb, torch.device("cuda"))
    assert "4711" not in str(caught.value)


def test_a_network_that_is_ready_is_not_touched_while_others_compute_with_it(inspector, monkeypatch):
    for name in ("to", "eval", "requires_grad_"):
        monkeypatch.setattr(inspector.dmb.model, name, None)
    assert Inspector(inspector.baseline, inspector.dmb, CPU).dmb.model is inspector.dmb.model
