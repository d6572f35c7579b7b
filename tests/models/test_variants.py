import pytest
import torch
from torch import nn

from abn.experiment.arms import ARMS
from abn.interpret.inspection import inspect
from abn.interpret.interventions import neutral
from abn.models import variants
from abn.models.layers import DynamicMultiBiasLinear
from abn.models.modulation import BankModulation
from abn.models.resnet import resnet_dmb, resnet_s
from abn.models.variants import AwakeLinear, BankOnlyLinear, SEBlock, StaticBiasLinear, gate_parameters_apart

C = torch.tensor([[1.0, 2.0], [0.5, -1.0]])


def set_gate(layer):
    with torch.no_grad():
        layer.gate_fc.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        layer.gate_fc.bias.copy_(torch.tensor([0.0, 0.5]))
        layer.biases.copy_(torch.tensor([[1.0, -1.0], [0.0, 2.0], [0.5, 0.5]]))
    return layer


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (variants.bank_only, 2_785_762),  # ResNet-DMB without W: 2·(64² + 128² + 256²) fewer
        (variants.no_gates, 2_951_498),  # ResNet-DMB with C in place of C·4 + C·4 + 4 numbers a block
        (variants.se, 2_958_242),
        (variants.awake, 2_957_794),  # standardising learns nothing
    ],
)
def test_every_variant_learns_all_its_parameters(build, parameters):
    model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    torch.manual_seed(0)
    for module in model.modules():  # at the start a bank is zero, and gives its gates no gradient
        if isinstance(module, DynamicMultiBiasLinear):
            nn.init.normal_(module.biases)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    unmoved = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().any()]
    assert unmoved == []


def test_the_parameter_counts_are_as_far_from_the_papers_as_the_parts_left_out():
    def gate(c):
        return c * c + 4 * c + 4 * c + 4

    paper = sum(parameter.numel() for parameter in resnet_dmb().parameters())
    channels = (64, 64, 128, 128, 256, 256)
    assert paper - 2_785_762 == sum(c * c for c in channels)
    assert paper - 2_951_498 == sum(gate(c) - (c * c + c) for c in channels)


def test_the_bank_alone_is_the_bank_mixed_by_the_gates():
    layer = set_gate(BankOnlyLinear(2, 3, 2))
    alpha = torch.softmax(C + torch.tensor([0.0, 0.5]), dim=1)
    torch.testing.assert_close(layer(C), alpha @ layer.biases.t())
    assert torch.equal(layer.parts(C)[0], torch.zeros(2, 3))
    assert "weight" not in dict(layer.named_parameters())


def test_without_gates_a_static_bias_is_added_to_the_linear_term():
    layer = StaticBiasLinear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        layer.biases.copy_(torch.tensor([[0.1], [0.2], [0.3]]))
    expected = torch.tensor([[1.1, 2.2, 3.3], [0.6, -0.8, -0.2]])
    torch.testing.assert_close(layer(C), expected)
    assert set(dict(layer.named_parameters())) == {"weight", "biases"}


def test_without_the_standardisation_and_at_temperature_1_the_awake_layer_is_the_papers():
    torch.manual_seed(0)
    paper = DynamicMultiBiasLinear(5, 7, 3)
    nn.init.normal_(paper.biases)
    same = AwakeLinear(5, 7, 3, standardise=False)
    same.load_state_dict(paper.state_dict())
    c = torch.randn(4, 5)
    assert torch.equal(same(c), paper(c))


def test_the_temperature_divides_the_gates_logits():
    layer = set_gate(AwakeLinear(2, 3, 2, standardise=False, temperature=0.5))
    torch.testing.assert_close(layer.parts(C)[1], torch.softmax(2 * (C + torch.tensor([0.0, 0.5])), dim=1))


def test_awake_gates_see_how_far_an_image_is_from_the_mean_and_the_linear_term_does_not():
    layer = set_gate(AwakeLinear(2, 3, 2))
    linear_term, alpha = layer.train().parts(C)
    torch.testing.assert_close(linear_term, C @ layer.weight.t())
    # Two images: each component is 1 and -1 standard deviations from the batch's mean.
    logits = torch.tensor([[1.0, 1.5], [-1.0, -0.5]])
    torch.testing.assert_close(alpha, torch.softmax(logits, dim=1), atol=1e-4, rtol=0)
    layer.eval()
    layer.standardise.running_mean.zero_()
    layer.standardise.running_var.fill_(4.0)
    torch.testing.assert_close(
        layer.parts(C)[1], torch.softmax(C / 2 + torch.tensor([0.0, 0.5]), dim=1), atol=1e-5, rtol=0
    )


def test_an_image_alone_is_standardised_by_the_running_averages_in_training_too():
    layer = set_gate(AwakeLinear(2, 3, 2)).train()
    layer.standardise.running_mean.fill_(0.5)
    layer.standardise.running_var.fill_(4.0)
    alone = layer.parts(C[:1])
    assert (layer.standardise.running_mean == 0.5).all()
    expected = layer.eval().parts(C[:1])
    for got, wanted in zip(alone, expected, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("training", [True, False])
def test_se_scales_by_torchvisions_own_layer(training):
    torch.manual_seed(0)
    block = SEBlock(64, 64).train(training)
    h = torch.randn(3, 64, 8, 8)
    z = block.convolve(h)
    scaled = z * block.factors(h, z)[:, :, None, None]
    torch.testing.assert_close(scaled, block.excitation(z))
    shown = block.modulation(h, z.mean(dim=(2, 3)))
    torch.testing.assert_close(shown.factors, block.factors(h, z))
    assert shown.varies and not isinstance(shown, BankModulation)
    torch.testing.assert_close(shown.factors, torch.sigmoid(shown.preactivation))


@pytest.mark.parametrize("build", [variants.bank_only, variants.no_gates, variants.se, variants.awake])
def test_a_variant_is_looked_at_as_any_network(build):
    torch.manual_seed(1)
    model = build().eval()
    images = torch.randn(2, 3, 32, 32)
    seen = inspect(model, images)
    torch.testing.assert_close(seen.logits, model(images).detach())
    assert [m.factors.shape[1] for m in seen.modulations.values()] == [64, 64, 128, 128, 256, 256]
    plain = resnet_s().eval()
    own = {name.replace("conv2_dmb.conv.", "conv2."): value for name, value in model.state_dict().items()}
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    with torch.no_grad():
        for _, block in model.named_blocks():
            if hasattr(block, "conv2_dmb"):
                block.conv2_dmb.conv.bias.zero_()
    # All factors 1 is the plain network.
    torch.testing.assert_close(inspect(model, images, neutral()).logits, plain(images).detach(), rtol=1e-4, atol=1e-5)


def test_the_awake_arm_is_what_was_found_to_wake_the_bank():
    arm = ARMS["awake"]
    assert arm.described == "awake(temperature=0.1), gate_parameters_apart(lr_scale=10.0)"
    model = arm.build()
    gates = [block.conv2_dmb.gate_dmb for _, block in model.named_blocks()]
    assert all(gate.temperature == 0.1 and isinstance(gate.standardise, nn.BatchNorm1d) for gate in gates)
    others, apart = arm.parameter_groups(model)
    assert apart["lr_scale"] == 10.0 and "lr_scale" not in others
    assert all(ARMS[name].described == name.replace("-", "_") for name in ARMS if name != "awake")


def test_the_gates_parameters_make_a_group_of_their_own():
    model = resnet_dmb()
    others, gates = gate_parameters_apart(model, weight_decay=0.0)
    assert gates["weight_decay"] == 0.0 and "weight_decay" not in others
    assert len(gates["params"]) == 6 * 3
    assert sum(p.numel() for p in gates["params"]) == sum(8 * c + 4 for c in (64, 64, 128, 128, 256, 256))
    everything = {id(p) for p in model.parameters()}
    assert {id(p) for p in others["params"]} | {id(p) for p in gates["params"]} == everything
