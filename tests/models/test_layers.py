import math

import pytest
import torch
from torch import nn

from abn.models.layers import DynamicModulatedConv2d, DynamicMultiBiasLinear, Modulation, factors_of, preactivation

LN3 = math.log(3)


def hand_set_linear():
    """C_in = C_out = K = 2, with gates whose softmax is a fraction: c = (1, 0) → (3/4, 1/4)."""
    layer = DynamicMultiBiasLinear(2, 2, num_biases=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, 1.0], [-1.0, 2.0]]))
        layer.biases.copy_(torch.tensor([[4.0, 8.0], [-2.0, 0.0]]))
        layer.gate_fc.weight.copy_(torch.tensor([[LN3, 0.0], [0.0, math.log(7)]]))
        layer.gate_fc.bias.zero_()
    return layer


INPUTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
GATES = torch.tensor([[3 / 4, 1 / 4], [1 / 8, 7 / 8], [1 / 2, 1 / 2]])
LINEAR = torch.tensor([[0.5, -1.0], [1.0, 2.0], [0.0, 0.0]])
# B α: (4·3/4 + 8·1/4, -2·3/4), (4·1/8 + 8·7/8, -2·1/8), (6, -1)
PREACTIVATION = LINEAR + torch.tensor([[5.0, -1.5], [7.5, -0.25], [6.0, -1.0]])


def test_linear_term_and_gate_weights_have_their_exact_values():
    linear_term, gate_weights = hand_set_linear().parts(INPUTS)
    assert torch.equal(linear_term, LINEAR)
    torch.testing.assert_close(gate_weights, GATES, rtol=1e-6, atol=0)


def test_the_layer_adds_the_mixed_bias_to_the_linear_term():
    torch.testing.assert_close(hand_set_linear()(INPUTS), PREACTIVATION, rtol=1e-6, atol=1e-6)


def test_the_gates_bias_counts():
    layer = hand_set_linear()
    with torch.no_grad():
        layer.gate_fc.bias.copy_(torch.tensor([0.0, LN3]))
    _, gate_weights = layer.parts(INPUTS[2:])
    torch.testing.assert_close(gate_weights, torch.tensor([[1 / 4, 3 / 4]]), rtol=1e-6, atol=0)


def test_one_bias_vector_is_an_ordinary_bias():
    layer = DynamicMultiBiasLinear(3, 5, num_biases=1)
    nn.init.normal_(layer.biases)
    plain = nn.Linear(3, 5)
    with torch.no_grad():
        plain.weight.copy_(layer.weight)
        plain.bias.copy_(layer.biases[:, 0])
    c = torch.randn(4, 3)
    torch.testing.assert_close(layer(c), plain(c))


def test_a_fresh_layer_has_a_zero_bank_and_the_weights_of_a_linear_layer():
    torch.manual_seed(0)
    layer = DynamicMultiBiasLinear(64, 128)
    assert layer.num_biases == 4
    assert torch.equal(layer.biases, torch.zeros(128, 4))
    bound = 1 / math.sqrt(64)  # Kaiming uniform with a = √5: gain √(1/3), bound gain · √(3 / fan-in)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.99 * bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    torch.manual_seed(0)
    again = DynamicMultiBiasLinear(64, 128)
    assert torch.equal(layer.weight, again.weight)


@pytest.mark.parametrize("name", ["in_features", "out_features", "num_biases"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True, "4", None])
def test_sizes_of_the_linear_layer_are_checked(name, value):
    sizes = {"in_features": 2, "out_features": 2, "num_biases": 2, name: value}
    with pytest.raises(ValueError, match=f"^{name} is {value!r}; expected a whole number of at least 1$"):
        DynamicMultiBiasLinear(**sizes)


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "kernel_size", "stride", "num_biases"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_of_the_convolution_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name} is {value}; expected a whole number of at least 1$"):
        DynamicModulatedConv2d(**{"in_channels": 2, "out_channels": 2, name: value})


def hand_set_convolution():
    """1 × 1, so the pixels stay apart: Conv(x) = (x_0 + 1, x_0 - x_1)."""
    layer = DynamicModulatedConv2d(2, 2, kernel_size=1, padding=0, num_biases=2)
    layer.gate_dmb = hand_set_linear()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]])[:, :, None, None])
        layer.conv.bias.copy_(torch.tensor([1.0, 0.0]))
    return layer


# Channel means (1, 0): the first input of the linear layer.
PICTURE = torch.tensor([[[[0.0, 2.0]], [[4.0, -4.0]]]])


def test_the_convolution_pools_its_input_and_scales_its_output():
    layer = hand_set_convolution()
    m = PREACTIVATION[0]
    factors = 1 + torch.tanh(m)
    torch.testing.assert_close(layer.factors(PICTURE), factors[None], rtol=1e-6, atol=1e-7)
    response = torch.tensor([[[1.0, 3.0]], [[-4.0, 6.0]]])
    torch.testing.assert_close(layer(PICTURE)[0], factors[:, None, None] * response, rtol=1e-6, atol=1e-6)
    assert factors[1].item() == pytest.approx(1 - math.tanh(2.5))


def test_a_pictures_factors_do_not_depend_on_the_batch_around_it():
    layer = hand_set_convolution()
    batch = torch.cat([PICTURE, -PICTURE, 3 * PICTURE])
    assert not torch.equal(layer.factors(batch)[0], layer.factors(batch)[1])
    torch.testing.assert_close(layer(batch)[:1], layer(PICTURE), rtol=1e-6, atol=1e-6)


def test_a_modulation_shows_the_factors_and_every_part():
    layer = hand_set_convolution()
    response = torch.tensor([[2.0, 1.0]])
    seen = layer.modulation(PICTURE, response)
    assert seen.has_parts
    assert seen.response is response
    assert torch.equal(seen.factors, layer.factors(PICTURE))
    assert torch.equal(seen.linear_term, LINEAR[:1])
    torch.testing.assert_close(seen.gate_weights, GATES[:1], rtol=1e-6, atol=0)
    assert torch.equal(seen.bias_bank, layer.gate_dmb.biases)


def test_the_convolutions_stride_kernel_and_padding_are_its_own():
    layer = DynamicModulatedConv2d(3, 8, kernel_size=5, stride=2, padding=2)
    assert layer(torch.randn(2, 3, 9, 7)).shape == (2, 8, 5, 4)


def test_factors_lie_between_0_and_2_and_1_changes_nothing():
    assert factors_of(torch.tensor([0.0])).item() == 1
    factors = factors_of(torch.tensor([-3.0, 3.0]))
    torch.testing.assert_close(factors, torch.tensor([1 - math.tanh(3), 1 + math.tanh(3)]))
    assert factors_of(torch.tensor([-100.0, 100.0])).tolist() == [0, 2]


def test_factors_stay_float32_under_autocast():
    torch.manual_seed(0)
    layer = DynamicModulatedConv2d(16, 16)
    nn.init.normal_(layer.gate_dmb.biases)
    x = torch.randn(2, 16, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        z = layer.conv(x)
        assert z.dtype == torch.bfloat16  # autocast is on
        seen = layer.modulation(x, z.mean(dim=(2, 3), dtype=torch.float32))
        again = seen.with_gates(seen.gate_weights)
    for tensor in (seen.factors, seen.linear_term, seen.gate_weights, again.factors):
        assert tensor.dtype == torch.float32
    assert torch.equal(seen.factors, layer.factors(x))
    assert torch.equal(again.factors, seen.factors)


def test_a_bfloat16_input_is_pooled_in_float32():
    torch.manual_seed(0)
    layer = DynamicModulatedConv2d(4, 4)
    x = torch.rand(1, 4, 32, 32).bfloat16()
    assert torch.equal(layer.factors(x), layer.factors(x.float()))


def test_the_gradient_of_the_pooled_input_is_a_view_in_the_inputs_precision():
    layer = DynamicModulatedConv2d(4, 4)
    x = torch.rand(2, 4, 8, 8).bfloat16().requires_grad_()
    gradient = torch.autograd.grad(layer.factors(x)[:, 1].sum(), x)[0]
    assert gradient.untyped_storage().nbytes() == 2 * 4 * 2  # N × C numbers of two bytes, for all the pixels
    wide = x.detach().float().requires_grad_()
    m = layer.gate_dmb(wide.mean(dim=(2, 3)))
    expected = torch.autograd.grad(factors_of(m)[:, 1].sum(), wide)[0]
    torch.testing.assert_close(gradient, expected.bfloat16(), rtol=2**-7, atol=0)


def test_double_precision_is_kept():
    layer = DynamicModulatedConv2d(2, 2).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    assert layer.factors(x).dtype == torch.float64
    assert layer(x).dtype == torch.float64


@pytest.fixture
def modulation():
    """Two images, two channels, K = 2; every number a short binary fraction, so sums are exact."""
    gates, bank = torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([[4.0, 8.0], [-2.0, 0.5]])
    linear = torch.tensor([[0.5, -1.0], [1.0, 2.0]])
    factors = factors_of(preactivation(linear, gates, bank))
    return Modulation(factors, torch.zeros(2, 2), linear, gates, bank)


def test_preactivation_splits_exactly_into_signed_parts(modulation):
    expected = torch.tensor([[[3.0, 2.0], [-1.5, 0.125]], [[2.0, 4.0], [-1.0, 0.25]]])  # (N, C, K)
    assert torch.equal(modulation.bias_terms, expected)
    total = modulation.linear_term + modulation.bias_terms.sum(dim=2)
    assert torch.equal(total, torch.tensor([[5.5, -2.375], [7.0, 1.25]]))
    assert torch.equal(modulation.preactivation, total)
    assert torch.equal(modulation.factors, 1 + torch.tanh(total))


def test_with_gates_computes_the_same_equation_anew(modulation):
    changed = modulation.with_gates(torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
    expected = torch.tensor([[0.5 + 1 + 6, -1 - 0.5 + 0.375], [1.0 + 4, 2.0 - 2]])
    assert torch.equal(changed.preactivation, expected)
    assert torch.equal(changed.factors, 1 + torch.tanh(expected))
    assert torch.equal(changed.linear_term, modulation.linear_term)
    assert torch.equal(changed.response, modulation.response)
    assert torch.equal(modulation.gate_weights, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))  # the old one stays


def test_a_gate_weight_of_0_removes_its_vector(modulation):
    gates = modulation.gate_weights * torch.tensor([1.0, 0.0])
    changed = modulation.with_gates(gates)
    assert torch.equal(changed.bias_terms[:, :, 1], torch.zeros(2, 2))
    assert torch.equal(changed.preactivation, torch.tensor([[3.5, -2.5], [3.0, 1.0]]))
    none = modulation.with_gates(torch.zeros(1, 2))
    assert torch.equal(none.factors, 1 + torch.tanh(modulation.linear_term))


def test_one_row_of_gate_weights_serves_every_image(modulation):
    row = torch.tensor([[0.25, 0.75]])
    assert torch.equal(modulation.with_gates(row).gate_weights, row.expand(2, 2))
    assert torch.equal(modulation.with_gates(row).factors, modulation.with_gates(row.expand(2, 2)).factors)


def test_own_gate_weights_change_nothing(modulation):
    assert torch.equal(modulation.with_gates(modulation.gate_weights).factors, modulation.factors)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (3, 2), (1, 1), (2, 2, 1)])
def test_gate_weights_of_another_shape_are_refused(modulation, shape):
    with pytest.raises(ValueError, match=r"this block takes \(2, 2\) or \(1, 2\)"):
        modulation.with_gates(torch.ones(shape))


def test_with_factors_keeps_the_parts(modulation):
    changed = modulation.with_factors(torch.ones(2, 2))
    assert torch.equal(changed.factors, torch.ones(2, 2))
    assert torch.equal(changed.preactivation, modulation.preactivation)


def test_a_modulation_cannot_be_changed_in_place(modulation):
    with pytest.raises(AttributeError):
        modulation.factors = torch.zeros(2, 2)


def test_a_static_block_has_no_parts_to_ask_for():
    static = Modulation(torch.ones(2, 3), torch.zeros(2, 3))
    assert not static.has_parts
    for ask in (
        lambda: static.bias_terms,
        lambda: static.preactivation,
        lambda: static.with_gates(torch.ones(1, 4)),
    ):
        with pytest.raises(ValueError, match="this block is static: it has no linear term, gate weights or bias"):
            ask()
    assert torch.equal(static.with_factors(torch.zeros(2, 3)).factors, torch.zeros(2, 3))


def test_gradients_reach_every_parameter_and_the_input():
    layer = hand_set_convolution()
    x = PICTURE.clone().requires_grad_()
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert x.grad.abs().sum() > 0


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    layer = DynamicModulatedConv2d(2, 3, num_biases=2).double()
    nn.init.normal_(layer.gate_dmb.biases)
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
