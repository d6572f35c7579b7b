import pytest
import torch
from torch import nn

from abn.interpret import interventions
from abn.interpret.inspection import inspect
from abn.models.modulation import Modulation
from abn.models.resnet import BasicBlock, ResNet, resnet_s
from tests.conftest import awake


@pytest.fixture(scope="module")
def model():
    return awake("resnet-dmb")


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def plain(model, images):
    return inspect(model, images)


class _Plain(BasicBlock):
    """A static block whose second convolution has a bias, as the modulated one's has."""

    def add_second_convolution(self, channels):
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)


def test_neutral_equals_the_network_with_plain_convolutions(model, images):
    network = ResNet(_Plain, "plain")
    weights = {
        name.replace("conv2_dmb.conv", "conv2"): value
        for name, value in model.state_dict().items()
        if "gate_dmb" not in name
    }
    network.load_state_dict(weights, strict=True)
    with torch.no_grad():
        expected = network.eval()(images)
    assert torch.equal(inspect(model, images, interventions.neutral()).logits, expected)


def test_neutral_in_one_block_leaves_the_others_factors_free(model, images, plain):
    seen = inspect(model, images, interventions.neutral(["layer2.0"]))
    assert torch.equal(seen.modulations["layer2.0"].factors, torch.ones(3, 128))
    assert torch.equal(seen.modulations["layer1.1"].factors, plain.modulations["layer1.1"].factors)
    assert not torch.equal(seen.modulations["layer2.1"].factors, plain.modulations["layer2.1"].factors)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda seen: interventions.scaled(1), id="scaled(1)"),
        pytest.param(lambda seen: interventions.scaled(1.0, ["layer3.1"]), id="scaled(1, one block)"),
        pytest.param(lambda seen: interventions.frozen(seen.modulations), id="frozen(own)"),
        pytest.param(lambda seen: interventions.frozen(seen.modulations, ["layer1.0"]), id="frozen(own, block)"),
        pytest.param(lambda seen: interventions.compose(), id="compose()"),
    ],
)
def test_changes_nothing_bit_for_bit(model, images, plain, make):
    assert torch.equal(inspect(model, images, make(plain)).logits, plain.logits)


def test_gates_with_the_networks_own_weights_change_nothing_beyond_rounding(model, images, plain):
    own = plain.modulations["layer2.1"].gate_weights
    seen = inspect(model, images, interventions.gates("layer2.1", own))
    torch.testing.assert_close(seen.logits, plain.logits)


def test_gates_take_the_same_equation(model, images, plain):
    seen = inspect(model, images, interventions.gates("layer2.1", [0, 1, 0, 0])).modulations["layer2.1"]
    expected = 1 + torch.tanh(seen.linear_term + model.layer2[1].conv2_dmb.gate_dmb.biases[:, 1])
    torch.testing.assert_close(seen.factors, expected)
    assert torch.equal(seen.linear_term, plain.modulations["layer2.1"].linear_term)


def test_scaled_is_one_plus_s_tanh(model, images, plain):
    m = plain.modulations["layer1.0"].preactivation
    seen = inspect(model, images, interventions.scaled(2.5, ["layer1.0"]))
    torch.testing.assert_close(seen.modulations["layer1.0"].factors, 1 + 2.5 * torch.tanh(m))
    assert torch.equal(
        inspect(model, images, interventions.scaled(0)).logits,
        inspect(model, images, interventions.neutral()).logits,
    )


def test_frozen_takes_one_pictures_factors_for_a_whole_batch(model, images, plain):
    one = inspect(model, images[:1]).modulations
    seen = inspect(model, images, interventions.frozen(one))
    for block, modulation in seen.modulations.items():
        assert torch.equal(modulation.factors, one[block].factors.expand(3, -1))
    torch.testing.assert_close(seen.logits[0], plain.logits[0])
    assert not torch.allclose(seen.logits[1], plain.logits[1])


def test_shuffled_permutes_factors_between_images_the_same_way_for_a_seed(model, images, plain):
    first = inspect(model, images, interventions.shuffled(7)).modulations["layer1.0"].factors
    again = inspect(model, images, interventions.shuffled(7, ["layer1.0"])).modulations["layer1.0"].factors
    assert torch.equal(first, again)
    own = plain.modulations["layer1.0"].factors
    assert sorted(first[:, 0].tolist()) == sorted(own[:, 0].tolist())
    for seed in range(20):  # nobody keeps its own
        factors = inspect(model, images, interventions.shuffled(seed)).modulations["layer1.0"].factors
        assert not (factors == own).all(dim=1).any()
    with pytest.raises(ValueError, match="no other image to take factors from among 1; give 2 at least"):
        inspect(model, images[:1], interventions.shuffled(7))
    orders = {
        tuple(inspect(model, images, interventions.shuffled(s)).modulations["layer1.0"].factors[:, 0].tolist())
        for s in range(8)
    }
    assert len(orders) > 1


def test_channel_sets_one_factor_and_no_other(model, images, plain):
    factors = inspect(model, images, interventions.channel("layer1.0", 5, 1.75)).modulations["layer1.0"].factors
    expected = plain.modulations["layer1.0"].factors.clone()
    expected[:, 5] = 1.75
    assert torch.equal(factors, expected)


def test_hooks_compose_left_to_right():
    shown = Modulation(torch.full((1, 2), 0.5), torch.zeros(1, 2))
    halve_then_set = interventions.compose(interventions.scaled(0.5), interventions.channel("a", 0, 3.0))
    set_then_halve = interventions.compose(interventions.channel("a", 0, 3.0), interventions.scaled(0.5))
    assert halve_then_set("a", shown).factors.tolist() == [[3.0, 0.75]]
    assert set_then_halve("a", shown).factors.tolist() == [[2.0, 0.75]]


def test_a_static_network_takes_factors_too(images):
    torch.manual_seed(0)
    model = resnet_s().eval()
    before = inspect(model, images)
    assert torch.equal(inspect(model, images, interventions.neutral()).logits, before.logits)
    changed = inspect(model, images, interventions.channel("layer3.1", 0, 5.0))
    assert not torch.equal(changed.logits, before.logits)


THERE = "layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda seen: interventions.neutral(["layer4.0"]), f"no block layer4.0; it has {THERE}"),
        (lambda seen: interventions.channel("conv1", 0, 1.0), f"no block conv1; it has {THERE}"),
        (
            lambda seen: interventions.compose(interventions.scaled(2), interventions.gates("x", [1, 0, 0, 0])),
            "no block x",
        ),
        (lambda seen: interventions.channel("layer1.0", 64, 1.0), "no channel 64; it has channels 0 to 63"),
        (lambda seen: interventions.channel("layer1.0", -1, 1.0), "no channel -1"),
        (
            lambda seen: interventions.channel("layer1.0", 1, float("nan")),
            "factor is nan; expected a finite number",
        ),
        (lambda seen: interventions.scaled(float("inf")), "strength is inf"),
        (lambda seen: interventions.gates("layer1.0", [0.5, 0.5, 0.5, 0]), "sum to 1.5; expected 1"),
        (
            lambda seen: interventions.gates("layer1.0", [0.5, 0.5]),
            r"shape \(1, 2\); this block takes \(3, 4\)",
        ),
        (lambda seen: interventions.gates("layer1.0", "x"), "layer1.0 are 'x'; expected K numbers that sum to 1"),
        (lambda seen: interventions.gates("layer1.0", None), "are None; expected K numbers"),
        (lambda seen: interventions.gates("layer1.0", [0.5, "a"]), r"are \[0.5, 'a'\]; expected K numbers"),
        (lambda seen: interventions.gates("layer1.0", [[1, 0], [1]]), r"are \[\[1, 0\], \[1\]\]; expected K numbers"),
        (lambda seen: interventions.gates("layer1.0", [10**400, 0]), "expected K numbers"),
        (lambda seen: interventions.gates("layer1.0", []), r"shape \(1, 0\); expected \(K,\)"),
        (lambda seen: interventions.gates("layer1.0", torch.zeros(0, 4)), r"shape \(0, 4\); expected"),
        (lambda seen: interventions.gates("layer1.0", [float("nan"), 1, 0, 0]), "hold nan; expected finite"),
        (
            lambda seen: interventions.frozen(seen, ["layer9.0"]),
            f"no recorded modulation for layer9.0.*{THERE}",
        ),
        (lambda seen: interventions.shuffled(-1), "seed is -1"),
        (lambda seen: interventions.neutral("layer1.0"), "expected a list of names"),
    ],
)
def test_nonsense_is_refused_with_what_there_is(model, images, plain, make, message):
    with pytest.raises(ValueError, match=message):
        inspect(model, images, make(plain.modulations))


def test_frozen_refuses_another_batch_and_nan(model, images, plain):
    with pytest.raises(ValueError, match=r"shape \(3, 64\); expected \(2, 64\) or \(1, 64\)"):
        inspect(model, images[:2], interventions.frozen(plain.modulations))
    broken = {"layer1.0": Modulation(torch.full((1, 64), float("nan")), torch.zeros(1, 64))}
    with pytest.raises(ValueError, match="recorded factors of layer1.0 hold (inf|nan); expected finite numbers"):
        interventions.frozen(broken)


def test_gates_of_a_static_block_are_refused(images):
    with pytest.raises(ValueError, match=r"layer1\.0 has no bank of biases, so no gates to change"):
        inspect(resnet_s().eval(), images, interventions.gates("layer1.0", [1, 0, 0, 0]))


def test_inspection_refuses_a_network_in_training_mode(images):
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        inspect(resnet_s(), images)


@pytest.mark.parametrize("part", ["layer2.1.bn2", "layer1.0.bn1", "linear"])
def test_inspection_refuses_a_network_of_which_one_part_is_in_training_mode(images, part):
    model = resnet_s().eval()
    module = model.get_submodule(part).train()
    with pytest.raises(ValueError, match=f"the network's {part} is in training mode, .*; call model.eval"):
        inspect(model, images)
    module.eval()
    inspect(model, images)


def test_a_callers_autocast_does_not_alter_an_inspection(model, images, plain):
    with torch.autocast("cpu", torch.bfloat16):
        seen = inspect(model, images)
    assert torch.equal(seen.logits, plain.logits)
    for name, m in seen.modulations.items():
        assert torch.equal(m.factors, plain.modulations[name].factors)


def test_what_was_recorded_does_not_change_with_the_network_and_converts_to_numpy(images):
    model = awake("resnet-dmb")
    seen = inspect(model, images).modulations
    copies = {name: {term: values.clone() for term, values in m.tensors.items()} for name, m in seen.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3)
    for name, m in seen.items():
        assert set(m.tensors) == {
            "factors", "response", "preactivation", "linear_term", "gate_weights", "bias_bank",
        }  # fmt: skip
        for term, values in m.tensors.items():
            assert (values.numpy() == copies[name][term].numpy()).all()


def test_what_a_hook_answers_is_recorded_outside_its_graph(model, images):
    weight = torch.tensor(0.5, requires_grad=True)

    def hook(_, m):
        with torch.enable_grad():
            return m.with_factors(m.factors * weight)

    seen = inspect(model, images, hook)
    assert not seen.logits.requires_grad
    assert not any(values.requires_grad for m in seen.modulations.values() for values in m.tensors.values())
