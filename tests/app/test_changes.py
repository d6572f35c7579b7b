"""A change in plain values is the hook it says, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from abn.app.inspector.changes import Change
from abn.interpret import interventions
from abn.interpret.inspection import inspect
from tests.conftest import awake


@pytest.fixture(scope="module")
def model():
    return awake("resnet-dmb")


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_no_change_changes_nothing(model, images):
    free = inspect(model, images)
    seen = inspect(model, images, Change().hook(model))
    assert torch.equal(seen.logits, free.logits)
    for name, modulation in free.modulations.items():
        assert torch.equal(seen.modulations[name].factors, modulation.factors)


@pytest.mark.parametrize(
    ("change", "hook"),
    [
        (Change(strength=0), interventions.neutral()),
        (Change("layer2.0", strength=0), interventions.neutral(["layer2.0"])),
        (Change(strength=2.5), interventions.scaled(2.5)),
        *(
            (Change("layer1.0", "one vector", vector=k), interventions.gates("layer1.0", torch.eye(4)[k]))
            for k in range(4)
        ),
        (Change("layer3.1", gates="uniform"), interventions.gates("layer3.1", [0.25] * 4)),
        (Change("layer2.1", channel=3, factor=0), interventions.channel("layer2.1", 3, 0)),
        (
            Change("layer2.0", "one vector", 1.5, 0, 7, 2),
            interventions.compose(
                interventions.gates("layer2.0", [1, 0, 0, 0]),
                interventions.scaled(1.5, ["layer2.0"]),
                interventions.channel("layer2.0", 7, 2),
            ),
        ),
    ],
)
def test_a_change_is_the_hook_it_says(model, images, change, hook):
    expected, seen = inspect(model, images, hook), inspect(model, images, change.hook(model))
    for name, modulation in expected.modulations.items():
        torch.testing.assert_close(seen.modulations[name].factors, modulation.factors)
    torch.testing.assert_close(seen.logits, expected.logits)
    assert not torch.allclose(seen.logits, inspect(model, images).logits)


def test_without_the_bank_only_the_linear_term_is_left(model, images):
    for block in (None, "layer1.1"):
        seen = inspect(model, images, Change(block, "no bank").hook(model)).modulations
        for name, modulation in seen.items():
            bank = 0 if block in (None, name) else modulation.gate_weights @ modulation.bias_bank.t()
            torch.testing.assert_close(modulation.factors, 1 + torch.tanh(modulation.linear_term + bank))


ONE_CHANNEL = "to change one channel, name its block, such as layer2.0, the channel, and its factor"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("layer4.0"), "this network has no block layer4.0; it has layer1.0"),
        (Change(gates="vector 4"), "the gates cannot be 'vector 4'; choose one of own, uniform, no bank, one vector"),
        (Change(gates=None), "the gates cannot be None"),
        (Change(gates=[]), "the gates cannot be []"),
        (Change(gates="one vector"), "vector is none and the gates are 'one vector'; a vector is named with"),
        (Change(vector=2), "vector is 2 and the gates are 'own'; a vector is named with"),
        (Change(gates="one vector", vector=4), "vector is 4; expected a whole number from 0 to 3"),
        (Change(strength=-0.5), "strength is -0.5; expected a number from 0 to 4"),
        (Change(strength=float("nan")), "strength is nan"),
        (Change(strength=None), "strength is None"),
        (Change(channel=3, factor=1), f"block none, channel 3, factor 1: {ONE_CHANNEL}"),
        (Change("layer1.0", channel=3), f"block layer1.0, channel 3, factor none: {ONE_CHANNEL}"),
        (Change("layer1.0", factor=0), f"block layer1.0, channel none, factor 0: {ONE_CHANNEL}"),
        (Change("layer1.0", channel=0, factor=2.5), "factor is 2.5; expected a number from 0 to 2"),
        (Change("layer1.0", channel=64, factor=0), "channel is 64; expected a whole number from 0 to 63"),
        (Change("layer1.0", channel=-1, factor=0), "channel is -1; expected a whole number from 0 to 63"),
        (Change("layer1.0", channel=2.5, factor=0), "channel is 2.5; expected a whole number from 0 to 63"),
        (Change("layer1.0", channel=True, factor=0), "channel is True; expected a whole number from 0 to 63"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_before_the_network_runs(model, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        change.hook(model)


def test_numbers_may_be_numpys(model):
    change = Change("layer1.0", "one vector", np.float32(1), np.int64(0), np.int64(63), np.float64(0))
    assert change.hook(model).blocks == {"layer1.0"}


def test_a_static_network_has_nothing_to_change():
    with pytest.raises(ValueError, match="this network is static: it has no gates or factors to change"):
        Change().hook(awake("resnet-s"))


def test_the_picture_is_looked_at_before_and_after(inspector, pictures):
    found = inspector.intervene(pictures[0], Change("layer2.0", strength=0))
    assert np.array_equal(found.before.probabilities, inspector.inspect(pictures[0]).dmb.probabilities)
    assert np.array_equal(found.after.block("layer2.0").factors, np.ones(128, np.float32))
    assert np.array_equal(found.after.block("layer1.1").factors, found.before.block("layer1.1").factors)
    assert not np.array_equal(found.after.block("layer2.1").factors, found.before.block("layer2.1").factors)
    p, q = found.before.probabilities.astype(float), found.after.probabilities.astype(float)
    assert 0 < found.total_variation <= 1
    assert found.total_variation == pytest.approx(
        np.maximum(p - q, 0).sum(), abs=1e-6
    )  # what left some classes for others
    assert inspector.intervene(pictures[0], Change()).total_variation == 0
    # Nothing of it is kept.
    assert np.array_equal(inspector.inspect(pictures[0]).dmb.probabilities, found.before.probabilities)
