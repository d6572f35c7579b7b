"""The effect of replacing each factor by itself: exact on a network set by hand, brute force on the real ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from abn.interpret import interventions
from abn.interpret.inspection import inspect
from abn.interpret.necessity import Necessity, necessity
from abn.models.modulation import Modulation, ask, factors_of
from abn.models.resnet import resnet_s
from tests.conftest import awake


class Two(nn.Module):
    """Two blocks of two channels on pictures of 1 × 1: ``y = (1 + x) x``, then ``z = (1 + y' / 8) y``, y' swapped."""

    num_classes = 2

    def blocks(self):
        yield from (("a", 2), ("b", 2))

    def forward(self, images, hook=None):
        x = images.flatten(1)
        y = self._shown("a", 1 + x, hook) * x
        return self._shown("b", 1 + y.flip(1) / 8, hook) * y

    @staticmethod
    def _shown(name, factors, hook):
        return factors if hook is None else ask(hook, name, Modulation(factors)).factors


IMAGE = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)  # y = (2, 6), z = (3.5, 7.5)


def reference(**means):
    blocks = {
        name: SimpleNamespace(factors=SimpleNamespace(mean=np.array(mean, dtype=np.float32)))
        for name, mean in means.items()
    }
    return SimpleNamespace(blocks=blocks)


@pytest.mark.parametrize(
    ("target", "value", "effects", "joint"),
    [
        (0, 3.5, {"a": [-1.75, -1.0], "b": [-1.5, 0.0]}, -2.5),
        (1, 7.5, {"a": [-0.75, -5.0], "b": [0.0, -1.5]}, -5.5),
        ((0, 1), -4.0, {"a": [-1.0, 4.0], "b": [-1.5, 1.5]}, 3.0),
    ],
)
def test_each_effect_in_numbers(target, value, effects, joint):
    found = necessity(Two().eval(), IMAGE, target, "neutral")
    assert found.target.item() == value and found.joint.item() == joint
    assert {name: each.tolist() for name, each in found.effects.items()} == effects
    assert found.vectors == {}
    assert found.sum_of_effects.item() == sum(map(sum, effects.values()))


def test_means_stand_in_for_the_factors():
    found = necessity(Two().eval(), IMAGE, 0, "mean", reference(a=[1.5, 3.0], b=[1.75, 0.5]))
    # f_a = (1.5, 3): y = (1.5, 6), z_0 = 1.75 · 1.5; the other means of a and b_0 are the factors themselves
    assert found.effects["a"].tolist() == [1.75 * 1.5 - 3.5, 0.0]
    assert found.effects["b"].tolist() == [0.0, 0.0]


def test_blocks_behind_the_change_may_be_kept_as_they_were():
    found = necessity(Two().eval(), IMAGE, 1, "neutral", frozen_downstream=True)
    assert found.effects["a"].tolist() == [0.0, 1.25 * 2 - 7.5]


def test_ranking_and_the_few_that_carry_most():
    effects = {"a": torch.tensor([-4.0, 0.0]), "b": torch.tensor([1.0, 3.0])}
    found = Necessity(torch.tensor(0.0), effects, {}, torch.tensor(0.0))
    assert found.ranking() == [("a", 0, -4.0), ("b", 1, 3.0), ("b", 0, 1.0), ("a", 1, 0.0)]
    assert [found.carrying(share) for share in (0.4, 0.5, 0.8, 0.875, 0.9, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert Necessity(torch.tensor(0.0), {"a": torch.zeros(3)}, {}, torch.tensor(0.0)).carrying() == 0


@pytest.fixture(scope="module")
def seen():
    """A ResNet-DMB, a picture, and all 920 variants of it."""
    model = awake("resnet-dmb").requires_grad_(False)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return model, image, necessity(model, image, (3, 5), "neutral")


def test_a_real_networks_effects_are_those_of_whole_passes(seen):
    model, image, found = seen
    assert {name: len(effects) for name, effects in found.effects.items()} == dict(model.blocks())
    assert all(len(vectors) == 4 for vectors in found.vectors.values()) and len(found.vectors) == 6
    for name, channels in model.blocks():
        for index in (0, channels // 3, channels - 1):
            logits = inspect(model, image, interventions.channel(name, index, 1.0)).logits[0]
            assert found.effects[name][index].item() == pytest.approx(
                (logits[3] - logits[5] - found.target).item(), abs=2e-4
            )
    everything = inspect(model, image, interventions.neutral()).logits[0]
    assert found.joint.item() == pytest.approx((everything[3] - everything[5] - found.target).item(), abs=2e-4)


def test_a_bias_vectors_effect_is_that_of_its_term_taken_away(seen):
    model, image, found = seen
    for name in ("layer1.0", "layer3.1"):
        for k in range(4):

            def without(block, m, name=name, k=k):
                if block != name:
                    return m
                weights = m.gate_weights.clone()
                weights[:, k] = 0  # the others keep theirs
                return m.with_gates(weights)

            logits = inspect(model, image, without).logits[0]
            expected = (logits[3] - logits[5] - found.target).item()
            assert found.vectors[name][k].item() == pytest.approx(expected, abs=2e-4)


def test_with_what_follows_frozen_as_a_hook_would(seen):
    model, image, _ = seen
    own = inspect(model, image).modulations
    found = necessity(model, image, 3, "neutral", frozen_downstream=True)
    for name, index in (("layer1.0", 5), ("layer2.1", 7)):
        hook = interventions.compose(interventions.frozen(own), interventions.channel(name, index, 1.0))
        expected = inspect(model, image, hook).logits[0, 3] - found.target
        assert found.effects[name][index].item() == pytest.approx(expected.item(), abs=2e-4)


def test_any_batch_size_gives_the_same(seen):
    model, image, found = seen
    again = necessity(model, image, (3, 5), "neutral", batch_size=100)
    for name, effects in found.effects.items():
        torch.testing.assert_close(again.effects[name], effects, atol=2e-4, rtol=0)


def test_progress_counts_the_variants_and_ends_the_work():
    told = []
    necessity(Two().eval(), IMAGE, 0, "neutral", batch_size=1, progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]

    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        necessity(Two().eval(), IMAGE, 0, "neutral", progress=stop)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: necessity(Two().eval(), IMAGE.expand(2, -1, -1, -1), 0, "neutral"),
            "there are 2 images; expected one",
        ),
        (lambda: necessity(Two(), IMAGE, 0, "neutral"), "training mode"),
        (lambda: necessity(Two().eval(), IMAGE, 0), "no reference is given"),
        (lambda: necessity(Two().eval(), IMAGE, 0, "mean", reference(a=[1, 1])), "the reference has no factors of b"),
        (lambda: necessity(Two().eval(), IMAGE, 0, "median"), "to is 'median'; expected 'mean' or 'neutral'"),
        (lambda: necessity(Two().eval(), IMAGE, 7, "neutral"), "the classes 0 to 1"),
        (lambda: necessity(resnet_s().eval(), torch.zeros(1, 3, 32, 32), 0, "neutral"), "nothing to replace"),
    ],
)
def test_what_cannot_be_done_is_said(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_the_terms_are_the_banks(seen):
    model, image, _ = seen
    m = inspect(model, image).modulations["layer2.0"]
    torch.testing.assert_close(factors_of(m.linear_term + m.bias_terms.sum(-1)), m.factors)
