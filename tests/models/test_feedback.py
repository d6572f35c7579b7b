"""The feed-forward layer with feedback: its equations in exact numbers, its start, and its gates' entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from abn.models.feedback import FFN, VARIANTS, FeedbackFFN, FeedbackModulation, statistics

OPTIONS = [
    *({"variant": variant} for variant in VARIANTS),
    {"gates": False}, {"shifts": False}, {"dynamic": False}, {"of_another_text": True},
]  # fmt: skip


def name_of(options: dict) -> str:
    return " ".join(f"{key}={value}" for key, value in options.items())


def pair(seed: int = 0, **options) -> tuple[FFN, FeedbackFFN]:
    """A plain layer and one with feedback, built from the same seed."""
    torch.manual_seed(seed)
    plain = FFN(16, 64)
    torch.manual_seed(seed)
    return plain, FeedbackFFN(16, 64, **options)


def moved(layer: FeedbackFFN, seed: int = 1) -> FeedbackFFN:
    """The layer with corrections that do something, as after training."""
    torch.manual_seed(seed)
    for correction in (layer.gate, layer.shift):
        for parameter in () if correction is None else correction.parameters():
            nn.init.normal_(parameter, std=0.5)
    return layer


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_it_starts_as_the_plain_layer_bit_for_bit(options):
    plain, layer = pair(**options)
    x = torch.randn(3, 5, 16)
    assert torch.equal(layer(x), plain(x))
    after = torch.rand(())  # the feedback unit took no random number of the network's
    torch.manual_seed(0)
    FFN(16, 64)
    torch.randn(3, 5, 16)
    assert torch.equal(torch.rand(()), after)


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_every_parameter_of_the_corrections_is_reached_by_a_gradient(options):
    layer = moved(pair(**options)[1])
    layer(torch.randn(2, 5, 16)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def tiny(variant: str, **options) -> FeedbackFFN:
    """d = 1, F = 2, r = 1, with weights set by hand."""
    layer = FeedbackFFN(1, 2, 1, variant, groups=2, **options).double()
    values = {
        "fc1.weight": [[1.0], [-1.0]], "fc1.bias": [0.5, 0.25], "fc2.weight": [[2.0, -3.0]], "fc2.bias": [0.125],
        "feedback.weight": [[0.5, -1.0]] if variant != "v4" else [[0.5, -1.0, 0.25, 2.0]], "feedback.bias": [0.2],
        "gate.weight": [[0.3], [-0.6]], "gate.bias": [0.1, 0.0],
        "shift.weight": [[0.7], [0.4]] if variant != "v2" else [[0.7]],
        "shift.bias": [-0.2, 0.3] if variant != "v2" else [-0.2],
    }  # fmt: skip
    layer.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
    return layer


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_equations_in_numbers(variant):
    """x = 1.5, everything computed here in plain Python."""
    h = [1.5 + 0.5, -1.5 + 0.25]
    a = [gelu(h[0]), gelu(h[1])]
    reads = 0.5 * a[0] - 1.0 * a[1] + 0.2
    if variant == "v4":
        mean, rms = sum(h) / 2, math.sqrt((h[0] ** 2 + h[1] ** 2) / 2)
        mean_a, rms_a = sum(a) / 2, math.sqrt((a[0] ** 2 + a[1] ** 2) / 2)
        reads = 0.5 * mean - rms + 0.25 * mean_a + 2 * rms_a + 0.2
    u = gelu(reads)
    given = [0.3 * u + 0.1, -0.6 * u]
    g = [1 + math.tanh(each) for each in given]
    if variant == "v3":
        exps = [math.exp(each) for each in given]
        g = [2 * each / sum(exps) for each in exps]
    if variant == "v2":
        y = 2 * g[0] * a[0] - 3 * g[1] * a[1] + 0.125 + 0.7 * u - 0.2
    else:
        before = [gelu(h[0] + 0.7 * u - 0.2), gelu(h[1] + 0.4 * u + 0.3)]
        y = 2 * g[0] * before[0] - 3 * g[1] * before[1] + 0.125
    found = tiny(variant)(torch.tensor([[[1.5]]], dtype=torch.float64))
    assert found.item() == pytest.approx(y, abs=1e-12)


def seen_by_a_hook(layer: FeedbackFFN, x: Tensor) -> FeedbackModulation:
    kept = []
    layer(x, "ffn", lambda name, shown: kept.append((name, shown)) or shown)
    (name, shown), = kept  # fmt: skip
    assert name == "ffn"
    return shown


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_a_hook_that_answers_with_what_it_is_shown_changes_nothing(options):
    layer = moved(pair(**options)[1])
    x = torch.randn(3, 5, 16)
    assert torch.equal(layer(x, "ffn", lambda _, shown: shown), layer(x))
    shown = seen_by_a_hook(layer, x)
    assert shown.factors.shape == (3, 5, 64)
    assert torch.equal(layer(x, "ffn", lambda _, own: own.with_shift(shown.shift.clone())), layer(x))


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_neutral_gates_and_no_shift_are_the_plain_layer(options):
    plain, _ = pair(**options)
    layer = moved(pair(**options)[1])
    x = torch.randn(3, 5, 16)

    def nothing(_: str, shown: FeedbackModulation) -> FeedbackModulation:
        changes = {part: torch.full_like(getattr(shown, part), value) for part, value in shown.in_force.items()}
        return shown.with_factors(changes["factors"]).with_shift(changes["shift"])

    assert not torch.equal(layer(x), plain(x))
    assert torch.equal(layer(x, "ffn", nothing), plain(x))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_token_is_treated_by_itself(variant):
    layer = moved(FeedbackFFN(16, 64, variant=variant))
    x = torch.randn(1, 6, 16)
    changed = x.clone()
    changed[0, 3] += 1
    differs = (layer(x) != layer(changed)).any(dim=-1)[0]
    assert differs.tolist() == [False, False, False, True, False, False]


def test_the_control_takes_the_feedback_of_the_next_text():
    layer, own = (moved(pair(of_another_text=another)[1]) for another in (True, False))
    x = torch.randn(3, 5, 16)
    assert torch.equal(seen_by_a_hook(layer, x).factors, seen_by_a_hook(own, x).factors.roll(1, dims=0))
    with pytest.raises(ValueError, match="the batch has one; give two at least"):
        layer(x[:1])


def test_a_static_layer_does_to_every_token_the_same():
    shown = seen_by_a_hook(moved(FeedbackFFN(16, 64, dynamic=False)), torch.randn(3, 5, 16))
    assert shown.feedback is None
    assert shown.gate_variance == 0 and (shown.shift == shown.shift[0, 0]).all()
    assert shown.factors[0, 0].std() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_gate_entropy_at_the_start(variant):
    shown = seen_by_a_hook(FeedbackFFN(16, 64, variant=variant, groups=4), torch.randn(3, 5, 16))
    expected = math.log(4) if variant == "v3" else math.log(2)
    assert shown.gate_entropy.item() == pytest.approx(expected, rel=1e-6)
    assert shown.gate_variance == 0


def test_gate_entropy_in_numbers():
    gates = torch.tensor([[[0.5, 1.0], [1.5, 2.0]]])
    shown = FeedbackModulation(gates, shift=torch.zeros_like(gates))
    quarter = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert shown.gate_entropy.item() == pytest.approx((quarter + math.log(2) + quarter + 0) / 4)
    assert shown.gate_variance.item() == pytest.approx(0.25)
    grouped = torch.tensor([[[1.5, 1.5, 0.5, 0.5]]])  # K = 2 groups of two units, s = (0.75, 0.25)
    shown = FeedbackModulation(grouped, preactivation=torch.zeros(1, 1, 2), shift=torch.zeros(1), grouped=True)
    assert shown.gate_entropy.item() == pytest.approx(quarter)


def test_statistics_are_means_and_root_mean_squares():
    h, a = torch.tensor([[[3.0, -1.0]]]), torch.tensor([[[2.0, 0.0]]])
    assert statistics(h, a).tolist() == [[[1.0, pytest.approx(5**0.5), 1.0, pytest.approx(2**0.5)]]]


def test_feedback_adds_a_tenth_of_the_layers_parameters():
    def count(layer: nn.Module) -> int:
        return sum(parameter.numel() for parameter in layer.parameters())

    assert count(FeedbackFFN(128, 512)) / count(FFN(128, 512)) == pytest.approx(1.10, abs=0.01)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variant": "v5"}, "variant is 'v5'; expected one of v1, v2, v3, v4"),
        ({"variant": "v3", "groups": 7}, "groups is 7, which does not divide the 64 units"),
        ({"gates": False, "shifts": False}, "use a plain feed-forward layer"),
        ({"r": 0}, "r is 0; expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_built_is_said(options, said):
    with pytest.raises(ValueError, match=said):
        FeedbackFFN(16, 64, **options)
