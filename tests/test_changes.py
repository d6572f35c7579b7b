"""A change in plain values is the probe it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abn import interventions
from abn.changes import Change, gate_choices
from abn.inspection import inspect
from tests.conftest import awake


@pytest.fixture(scope="module")
def model():
    return awake("resnet-dmb")


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_no_change_changes_nothing(model, images):
    free = inspect(model, images)
    seen = inspect(model, images, Change().probe(model))
    assert torch.equal(seen.logits, free.logits)
    for name, modulation in free.modulations.items():
        assert torch.equal(seen.modulations[name].factors, modulation.factors)


@pytest.mark.parametrize(
    ("change", "probe"),
    [
        (Change(strength=0), interventions.neutral()),
        (Change("layer2.0", strength=0), interventions.neutral(["layer2.0"])),
        (Change(strength=2.5), interventions.scaled(2.5)),
        (Change("layer1.0", gates="vector 2"), interventions.gates("layer1.0", [0, 0, 1, 0])),
        (Change("layer3.1", gates="uniform"), interventions.gates("layer3.1", [0.25] * 4)),
        (Change("layer2.1", channel=3, factor=0), interventions.channel("layer2.1", 3, 0)),
        (
            Change("layer2.0", "vector 0", 1.5, 7, 2),
            interventions.compose(
                interventions.gates("layer2.0", [1, 0, 0, 0]),
                interventions.scaled(1.5, ["layer2.0"]),
                interventions.channel("layer2.0", 7, 2),
            ),
        ),
    ],
)
def test_a_change_is_the_probe_it_says(model, images, change, probe):
    expected, seen = inspect(model, images, probe), inspect(model, images, change.probe(model))
    for name, modulation in expected.modulations.items():
        torch.testing.assert_close(seen.modulations[name].factors, modulation.factors)
    torch.testing.assert_close(seen.logits, expected.logits)
    assert not torch.allclose(seen.logits, inspect(model, images).logits)


def test_without_the_bank_only_the_linear_term_is_left(model, images):
    for block in (None, "layer1.1"):
        seen = inspect(model, images, Change(block, "removed").probe(model)).modulations
        for name, modulation in seen.items():
            bank = 0 if block in (None, name) else modulation.gate_weights @ modulation.bias_bank.t()
            torch.testing.assert_close(modulation.factors, 1 + torch.tanh(modulation.linear_term + bank))


def test_every_bias_vector_can_be_chosen_alone(model):
    assert list(gate_choices(3)) == ["own", "uniform", "removed", "vector 0", "vector 1", "vector 2"]
    for gates in gate_choices(4):
        Change(gates=gates).probe(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("layer4.0"), "this network has no block layer4.0; it has layer1.0"),
        (Change(gates="vector 4"), "the gates cannot be 'vector 4'; choose one of own, uniform"),
        (Change(gates=None), "the gates cannot be None"),
        (Change(strength=-0.5), "strength is -0.5; expected a number from 0 to 4"),
        (Change(strength=float("nan")), "strength is nan"),
        (Change(strength=None), "strength is None"),
        (Change("layer1.0", channel=0, factor=2.5), "factor is 2.5; expected a number from 0 to 2"),
        (Change(channel=3), "channel 3 is of no block yet; name the block, such as layer2.0"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_before_the_network_runs(model, change, message):
    with pytest.raises(ValueError, match=message):
        change.probe(model)


def test_a_channel_the_block_does_not_have_is_refused(model, images):
    with pytest.raises(ValueError, match="layer1.0 has no channel 64; it has channels 0 to 63"):
        inspect(model, images, Change("layer1.0", channel=64).probe(model))


def test_the_picture_is_looked_at_before_and_after(inspector, pictures):
    found = inspector.intervene(pictures[0], Change("layer2.0", strength=0))
    assert np.array_equal(found.before.probabilities, inspector.inspect(pictures[0]).dmb.probabilities)
    assert np.array_equal(found.after.block("layer2.0").factors, np.ones(128, np.float32))
    assert np.array_equal(found.after.block("layer1.1").factors, found.before.block("layer1.1").factors)
    assert not np.array_equal(found.after.block("layer2.1").factors, found.before.block("layer2.1").factors)
    p, q = found.before.probabilities.astype(float), found.after.probabilities.astype(float)
    assert 0 < found.moved <= 1
    assert found.moved == pytest.approx(np.maximum(p - q, 0).sum(), abs=1e-6)  # what left some classes for others
    assert inspector.intervene(pictures[0], Change()).moved == 0
    # Nothing of it is kept.
    assert np.array_equal(inspector.inspect(pictures[0]).dmb.probabilities, found.before.probabilities)
