import math

import pytest
import torch
from torch import nn

from abn.models.layers import DynamicModulatedConv2d, DynamicMultiBiasLinear
from abn.models.modulation import BankModulation, factors_of

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
    assert isinstance(seen, BankModulation) and seen.neutral == 1
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


def test_derivatives_of_every_kind_pass_the_layer():
    """Forward mode against backward mode, and the two ways to a Hessian against each other, in float64."""
    layer = DynamicModulatedConv2d(2, 2).double()
    with torch.no_grad():
        layer.gate_dmb.biases.copy_(torch.linspace(-1, 1, 8).view(2, 4))
    x = torch.linspace(-1, 2, 18, dtype=torch.float64).view(1, 2, 3, 3)

    def total(x):
        return layer(x).pow(2).sum()

    direction = torch.linspace(1, -1, 18, dtype=torch.float64).view(1, 2, 3, 3)
    value, slope = torch.func.jvp(total, (x,), (direction,))
    torch.testing.assert_close(value, total(x))
    torch.testing.assert_close(slope, (torch.func.grad(total)(x) * direction).sum())
    by_backward = torch.autograd.functional.hessian(total, x)
    torch.testing.assert_close(torch.func.hessian(total)(x), by_backward)
    assert by_backward.abs().max() > 0.1
