"""What only a CUDA device can show; each test says by name that it is skipped where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from abn.common.data import Cifar10
from abn.common.memory import DeviceMemoryError
from abn.interpret.inspection import inspect
from abn.models.registry import ARCHITECTURES
from abn.training.recipes import RECIPES
from abn.training.run import Run, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def network(architecture: str) -> nn.Module:
    """With banks and gates that do something."""
    torch.manual_seed(0)
    model = ARCHITECTURES[architecture].build()
    for name, parameter in model.named_parameters():
        if "biases" in name or "gate_fc" in name:
            nn.init.normal_(parameter, std=0.5)
    return model.eval()


def pictures(count: int) -> Cifar10:
    """Of one colour each, that tells the class."""
    labels = np.arange(count) % 10
    colours = np.random.default_rng(0).integers(0, 256, (10, 3), dtype=np.uint8)
    images = np.ascontiguousarray(np.broadcast_to(colours[labels][:, None, None, :], (count, 32, 32, 3)))
    return Cifar10(images, labels, images[:20], labels[:20])


@pytest.fixture
def exact(monkeypatch):
    """Convolutions in float32 to the last bit, as a CPU computes them, and not rounded to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_inspection_has_the_numbers_of_the_cpu(exact, architecture):
    model = network(architecture)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    on_cpu = inspect(model, images)
    on_cuda = inspect(model.to(CUDA), images.to(CUDA))
    assert torch.allclose(on_cuda.logits.cpu(), on_cpu.logits, atol=1e-3, rtol=1e-3)
    for name, modulation in on_cpu.modulations.items():
        assert torch.allclose(on_cuda.modulations[name].factors.cpu(), modulation.factors, atol=1e-4), name


def test_a_batch_that_memory_does_not_hold_is_split_and_the_answer_is_the_same(exact):
    model = network("resnet-dmb").to(CUDA)
    images = torch.randn(4096, 3, 32, 32, device=CUDA)
    whole = inspect(model, images).logits
    torch.cuda.empty_cache()
    there = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction((there + 2**30) / total)
        with pytest.raises(torch.OutOfMemoryError):
            model(images)
        torch.cuda.empty_cache()
        assert torch.allclose(inspect(model, images).logits, whole, atol=1e-4)
        with pytest.raises(DeviceMemoryError, match="The memory of cuda"):
            inspect(model, torch.zeros(1, 3, 4096, 4096, device=CUDA))  # of which one does not fit
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_compiled_training_learns_as_eager_training_does_and_resumes(tmp_path):
    """Graphs of both batch sizes and both sizes of crops, over two runs in one process."""
    data = pictures(300)
    recipe = replace(RECIPES["quick"], epochs=4, lr=0.01)
    run = Run("resnet-dmb", recipe, 0, 20, 1)
    losses = {}
    for fast in (False, True):
        _, log = train(run, data, tmp_path / str(fast), CUDA, compile_network=fast, progress=False)
        losses[fast] = [record["train_loss"] for record in log]
    assert losses[True][0] == pytest.approx(losses[False][0], rel=0.1)  # later ones drift apart by rounding
    assert losses[True][-1] < losses[True][0]
    _, again = train(run, data, tmp_path / "True", CUDA, resume=True, compile_network=True, progress=False)
    assert [record["train_loss"] for record in again] == losses[True]
