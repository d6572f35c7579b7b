"""The language model: causal, cached generation, hooks, and its start."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from abn.interpret import interventions
from abn.interpret.inspection import recorder
from abn.models.transformer import FeedForward, LanguageModel, LanguageSizes
from tests.models.test_feedback import OPTIONS, moved, name_of

SIZES = LanguageSizes(vocabulary=11, context=16, layers=2, width=16, heads=2)


def model(options: dict | None = None, seed: int = 0, **sizes) -> LanguageModel:
    """A small model; with `options` one with feedback that does something."""
    torch.manual_seed(seed)
    chosen = FeedForward() if options is None else FeedForward("feedback", options=options)
    found = LanguageModel(replace(SIZES, feed_forward=chosen, **sizes)).eval()
    for block in found.layers if options is not None else ():
        moved(block.ffn)
    return found


TOKENS = torch.tensor([[1, 5, 3, 0, 10, 2, 7, 7], [2, 2, 4, 9, 1, 0, 3, 6]])


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_a_model_with_feedback_starts_as_the_plain_one(options):
    torch.manual_seed(0)
    plain = LanguageModel(SIZES)
    torch.manual_seed(0)
    ours = LanguageModel(replace(SIZES, feed_forward=FeedForward("feedback", options=options)))
    assert torch.equal(plain(TOKENS), ours(TOKENS))


@pytest.mark.parametrize("options", [None, *OPTIONS[:4]], ids=str)
def test_no_token_sees_a_later_one(options):
    ours = model(options)
    changed = TOKENS.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    before, after = ours(TOKENS), ours(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_its_first_answers_are_nearly_uniform():
    loss = F.cross_entropy(model()(TOKENS).flatten(0, 1), TOKENS.flatten())
    assert loss.item() == pytest.approx(math.log(11), abs=0.05)


@pytest.mark.parametrize("options", [None, *OPTIONS[:4]], ids=str)
@pytest.mark.parametrize("extra", [{}, {"qk_norm": True, "layer_scale": 0.1}], ids=["plain", "normed"])
def test_a_continuation_with_a_cache_is_the_one_without(options, extra):
    ours = model(options, **extra)
    found = ours.continuation(TOKENS[:1], 12, temperature=0)  # 8 tokens and 12 more pass the context of 16
    seen = TOKENS[:1]
    for _ in range(12):
        seen = torch.cat([seen, ours(seen[:, -16:])[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
    assert torch.equal(found, seen[:, 8:])


def test_the_same_seed_draws_the_same_and_another_another():
    ours = model()
    draws = [ours.continuation(TOKENS[:1], 40, seed=seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("options", OPTIONS[:7], ids=name_of)
def test_interventions_on_tokens(options):
    ours = model(options)
    seen: dict = {}
    free = ours(TOKENS, recorder(seen))
    assert list(seen) == ["layers.0", "layers.1"] == [name for name, _ in ours.blocks()]
    assert torch.equal(ours(TOKENS), free)
    assert torch.equal(ours(TOKENS, interventions.frozen(seen)), free)
    assert torch.equal(ours(TOKENS, interventions.scaled(1.0)), free)
    torch.manual_seed(0)
    plain = LanguageModel(SIZES)
    neutral = ours(TOKENS, interventions.neutral())
    assert torch.equal(neutral, plain(TOKENS))
    assert torch.equal(ours(TOKENS, interventions.scaled(0.0)), neutral)
    assert not torch.equal(free, neutral)
    of_others = ours(TOKENS, interventions.shuffled(0))
    assert torch.equal(of_others, free) == (not options.get("dynamic", True))  # what is static is every token's own


def test_a_hook_for_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"no block layers.9; it has layers.0, layers.1"):
        model({})(TOKENS, interventions.neutral(["layers.9"]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: replace(SIZES, heads=3), "width is 16, which 3 heads do not divide"),
        (lambda: replace(SIZES, layers=0), "layers is 0; expected a whole number"),
        (
            lambda: LanguageModel(replace(SIZES, feed_forward=FeedForward("relu"))),
            "is 'relu'; expected feedback, gelu",
        ),
        (
            lambda: LanguageModel(replace(SIZES, feed_forward=FeedForward("gelu", options={"r": 2}))),
            "takes no options",
        ),
        (lambda: model()(torch.zeros(1, 17, dtype=torch.long)), "17 tokens; this model looks at 16 at most"),
        (lambda: model().continuation(TOKENS[:1, :0], 1), "no token to go on from"),
        (lambda: model().continuation(TOKENS[:1], 1, temperature=-1), "temperature is -1"),
    ],
)
def test_what_cannot_be_is_said(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_swiglu_has_the_plain_layers_parameters_nearly():
    counts = [
        sum(p.numel() for p in LanguageModel(LanguageSizes(81, feed_forward=FeedForward(kind))).parameters())
        for kind in ("gelu", "swiglu", "normed")
    ]
    assert counts[1] == pytest.approx(counts[0], rel=0.01) and counts[2] == pytest.approx(counts[0], rel=0.01)
