"""Tools that know nothing of this project: PyTorch's hooks, torch.fx, Captum, pytorch-grad-cam; and precisions."""

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from captum.attr import LayerActivation, LayerGradCam

from abn.interpret import interventions
from abn.models.layers import DynamicModulatedConv2d
from abn.models.registry import ARCHITECTURES
from tests.conftest import awake

EVERY = list(ARCHITECTURES)


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("architecture", EVERY)
def test_every_submodule_is_called(architecture, training, images):
    model = awake(architecture).train(training)
    called = set()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    model(images)
    assert called == {name for name, _ in model.named_modules()}


@pytest.mark.parametrize("architecture", EVERY)
@pytest.mark.parametrize("part", ["layer2", "layer2.0", "layer2.0.bn2", "layer2.0.shortcut", "layer3.1.bn1"])
def test_a_module_with_a_hook_is_called_and_the_logits_stay(architecture, part, images):
    model = awake(architecture)
    with torch.no_grad():
        expected = model(images)
    seen = []
    handle = model.get_submodule(part).register_forward_hook(lambda module, given, output: seen.append(output))
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)
        handle.remove()
        assert torch.equal(model(images), expected)
    assert len(seen) == 1


@pytest.mark.parametrize("architecture", [name for name in EVERY if ARCHITECTURES[name].has_bank])
def test_a_hook_of_pytorchs_sees_what_acts_and_its_answer_acts(architecture, images):
    model = awake(architecture)
    recorded = {}

    def record(name, m):
        recorded[name] = m
        return m

    found = {}
    block = model.layer2[0]
    for name in ("conv2_dmb", "conv2_dmb.conv", "conv2_dmb.gate_dmb"):
        block.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: found.update({name: y}))
    with torch.no_grad():
        model(images, interventions.compose(interventions.scaled(3), record))
    seen = recorded["layer2.0"]
    torch.testing.assert_close(found["conv2_dmb.gate_dmb"], seen.preactivation)
    expected = seen.factors[:, :, None, None] * found["conv2_dmb.conv"]
    torch.testing.assert_close(found["conv2_dmb"], expected)  # three times as strong

    block.conv2_dmb.gate_dmb.register_forward_hook(lambda _, __, m: torch.zeros_like(m))
    with torch.no_grad():
        model(images, record)
    assert (recorded["layer2.0"].factors == 1).all()


def test_a_hook_on_every_module_of_the_process_is_noticed(images):
    model, calls = awake("resnet-dmb"), []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: calls.append(module))
    try:
        model(images)
    finally:
        handle.remove()
    assert {type(module) for module in calls} >= {DynamicModulatedConv2d} and model.layer1[0].bn2 in calls


@pytest.mark.parametrize("architecture", EVERY)
def test_torch_fx_traces_the_network(architecture, images):
    model = awake(architecture)
    traced = torch.fx.symbolic_trace(model)
    with torch.no_grad():
        torch.testing.assert_close(traced(images), model(images), rtol=1e-4, atol=1e-4)
    assert {"layer1_0_bn2", "layer3_1_bn2"} <= {node.name for node in traced.graph.nodes}


@pytest.mark.parametrize("part", ["layer3", "layer2.1", "layer3.1.bn2", "layer3.0.conv2_dmb"])
def test_captums_layer_methods(part, images):
    model = awake("resnet-dmb")
    layer = model.get_submodule(part)
    activation = LayerActivation(model, layer).attribute(images)
    kept = []
    with layer.register_forward_hook(lambda _, __, y: kept.append(y)), torch.no_grad():
        model(images)
    torch.testing.assert_close(activation, kept[0])
    map_ = LayerGradCam(model, layer).attribute(images, target=2)
    assert map_.shape == (2, 1, *kept[0].shape[2:]) and map_.abs().sum() > 0


@pytest.mark.parametrize("architecture", ["resnet-s", "resnet-dmb"])
def test_pytorch_grad_cam(architecture, images):
    tool = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = awake(architecture)
    with tool.GradCAM(model, target_layers=[model.layer3[-1]]) as cam:
        maps = cam(input_tensor=images, targets=[ClassifierOutputTarget(2)] * 2)
    assert maps.shape == (2, 32, 32)
    ours = LayerGradCam(model, model.layer3[-1]).attribute(images, target=2, relu_attributions=True).detach()
    ours = F.interpolate(ours, (32, 32), mode="bilinear")  # theirs are enlarged to the picture, and stretched to 0…1
    ours = ours - ours.amin(dim=(2, 3), keepdim=True)
    ours = ours / ours.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(torch.from_numpy(maps), ours[:, 0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("architecture", EVERY)
def test_a_network_in_half_precision_answers_as_in_full_with_factors_in_float32(architecture, precision, images):
    model, full = awake(architecture).to(precision), awake(architecture)
    with torch.no_grad():
        for name, value in model.state_dict().items():  # the same numbers, rounded
            full.state_dict()[name].copy_(value)
    shown = {}

    def record(into):
        return lambda name, m: into.setdefault(name, m)

    rounded = images.to(precision)
    expected = {}
    with torch.no_grad():
        logits = model(rounded, record(shown))
        reference = full(rounded.float(), record(expected))
    assert logits.dtype == precision
    torch.testing.assert_close(logits.float(), reference, rtol=0, atol=0.06 * reference.abs().max().item())
    for m in shown.values():
        assert {values.dtype for values in m.tensors.values()} == {torch.float32}
    # The first block's gates see nearly the same input, and their own arithmetic rounds nothing.
    first = shown["layer1.0"].factors, expected["layer1.0"].factors
    torch.testing.assert_close(*first, rtol=0, atol=0.01 if precision == torch.bfloat16 else 0.002)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_the_layer_alone_answers_in_its_convolutions_precision(precision):
    layer = DynamicModulatedConv2d(8, 8)
    torch.nn.init.normal_(layer.gate_dmb.biases)
    x = torch.randn(2, 8, 6, 6)
    half = DynamicModulatedConv2d(8, 8)
    half.load_state_dict(layer.state_dict())
    answer = half.to(precision)(x.to(precision))
    assert answer.dtype == precision and half.factors(x.to(precision)).dtype == torch.float32
    torch.testing.assert_close(answer.float(), layer(x), rtol=0.05, atol=0.05)


def test_under_autocast_the_layer_answers_as_a_convolution_does():
    layer, x = DynamicModulatedConv2d(8, 8), torch.randn(2, 8, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == layer.conv(x).dtype == torch.bfloat16
        assert layer.factors(x).dtype == torch.float32
