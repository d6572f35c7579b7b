import threading
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abn.models.layers import DynamicModulatedConv2d
from abn.models.modulation import Modulation, StaticModulation
from abn.models.resnet import BasicBlock, DMBBlock, ResNet, resnet_dmb, resnet_s

BLOCKS = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]
CHANNELS = dict(zip(BLOCKS, (64, 64, 128, 128, 256, 256), strict=True))


def awaken(model):
    """Give banks, gates and batch statistics the values a trained network might have."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "biases" in name or "gate_fc" in name:
            nn.init.normal_(parameter, std=0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def static():
    torch.manual_seed(1)
    return awaken(resnet_s())


@pytest.fixture(scope="module")
def modulated():
    torch.manual_seed(1)
    return awaken(resnet_dmb())


@pytest.fixture(params=["static", "modulated"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class Recorder:
    """A hook that keeps what it sees and changes nothing."""

    def __init__(self):
        self.seen = {}

    def __call__(self, name, modulation):
        assert name not in self.seen
        self.seen[name] = modulation
        return modulation


# --- what the networks are made of ---


def test_parameter_counts_are_the_papers():
    assert sum(p.numel() for p in resnet_s().parameters()) == 2_777_674
    assert sum(p.numel() for p in resnet_dmb().parameters()) == 2_957_794


def expected_state(modulated, num_classes=10, num_biases=4):
    """Names and shapes of the official implementation's state dict."""

    def batch_norm(name, channels):
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}

    state = {"conv1.weight": (64, 3, 3, 3), **batch_norm("bn1", 64)}
    width = 64
    for stage, channels in enumerate((64, 128, 256), start=1):
        for index in (0, 1):
            block = f"layer{stage}.{index}"
            state[f"{block}.conv1.weight"] = (channels, width, 3, 3)
            if modulated:
                state[f"{block}.conv2_dmb.conv.weight"] = (channels, channels, 3, 3)
                state[f"{block}.conv2_dmb.conv.bias"] = (channels,)
                state[f"{block}.conv2_dmb.gate_dmb.weight"] = (channels, channels)
                state[f"{block}.conv2_dmb.gate_dmb.biases"] = (channels, num_biases)
                state[f"{block}.conv2_dmb.gate_dmb.gate_fc.weight"] = (num_biases, channels)
                state[f"{block}.conv2_dmb.gate_dmb.gate_fc.bias"] = (num_biases,)
            else:
                state[f"{block}.conv2.weight"] = (channels, channels, 3, 3)
            state |= batch_norm(f"{block}.bn1", channels) | batch_norm(f"{block}.bn2", channels)
            if width != channels:
                state[f"{block}.shortcut.0.weight"] = (channels, width, 1, 1)
                state |= batch_norm(f"{block}.shortcut.1", channels)
            width = channels
    return state | {"linear.weight": (num_classes, 256), "linear.bias": (num_classes,)}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (resnet_s(), expected_state(modulated=False)),
        (resnet_dmb(), expected_state(modulated=True)),
        (resnet_s(num_classes=3), expected_state(modulated=False, num_classes=3)),
        (
            resnet_dmb(num_classes=3, num_biases=7),
            expected_state(modulated=True, num_classes=3, num_biases=7),
        ),
    ],
    ids=["s", "dmb", "s-3", "dmb-3-7"],
)
def test_state_dict_has_the_official_names_and_shapes(model, expected):
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected


def test_strides_halve_the_second_and_third_stage(static):
    strides = [block.conv1.stride for _, block in static.named_blocks()]
    assert strides == [(1, 1), (1, 1), (2, 2), (1, 1), (2, 2), (1, 1)]
    shortcuts = [len(block.shortcut) for _, block in static.named_blocks()]
    assert shortcuts == [0, 0, 2, 0, 2, 0]


def test_a_network_says_what_it_is():
    s, dmb = resnet_s(num_classes=3), resnet_dmb(num_classes=5, num_biases=2)
    assert (s.architecture, s.num_classes, s.num_biases) == ("resnet-s", 3, None)
    assert (dmb.architecture, dmb.num_classes, dmb.num_biases) == ("resnet-dmb", 5, 2)
    for network in (s, dmb):
        assert dict(network.blocks()) == CHANNELS
        assert [name for name, _ in network.blocks()] == BLOCKS
        assert network.stages() == ("layer1", "layer2", "layer3")
    assert all(isinstance(block, DMBBlock) for _, block in dmb.named_blocks())


@pytest.mark.parametrize("value", [0, -1, 2.5, "10", True])
def test_nonsense_sizes_are_refused(value):
    for build, name in ((resnet_s, "num_classes"), (resnet_dmb, "num_classes"), (resnet_dmb, "num_biases")):
        with pytest.raises(ValueError, match=f"{name} is {value!r}; expected a whole number of at least 1"):
            build(**{name: value})


@pytest.mark.parametrize("kind", [BasicBlock, DMBBlock])
@pytest.mark.parametrize("name", ["in_channels", "channels", "stride"])
@pytest.mark.parametrize("value", [0, -1])
def test_nonsense_sizes_of_a_block_are_refused(kind, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; expected a whole number of at least 1"):
        kind(**{"in_channels": 4, "channels": 4, name: value})


# --- the equation ---


def unfolded_block(block, x, training):
    """The paper's block by PyTorch's own batch norm: f ⊙ Conv(x), then bn2. Running statistics are kept."""

    def batch_norm(bn, z):
        mean, var = bn.running_mean.clone(), bn.running_var.clone()
        return F.batch_norm(z, mean, var, bn.weight, bn.bias, training, bn.momentum, bn.eps)

    h = F.relu(batch_norm(block.bn1, block.conv1(x)))
    if isinstance(block, DMBBlock):
        gate, c = block.conv2_dmb.gate_dmb, h.mean(dim=(2, 3))
        alpha = torch.softmax(F.linear(c, gate.gate_fc.weight, gate.gate_fc.bias), dim=1)
        f = 1 + torch.tanh(c @ gate.weight.T + alpha @ gate.biases.T)
        z = f[:, :, None, None] * block.conv2_dmb.conv(h)
    else:
        z = block.conv2(h)
    shortcut = x
    if len(block.shortcut):
        shortcut = batch_norm(block.shortcut[1], block.shortcut[0](x))
    return F.relu(batch_norm(block.bn2, z) + shortcut)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", [BasicBlock, DMBBlock])
@pytest.mark.parametrize(("channels", "stride"), [(6, 1), (8, 2)])
def test_a_block_equals_the_paper_written_out(kind, channels, stride, training):
    torch.manual_seed(3)
    block = awaken(kind(6, channels, stride).double()).train(training)
    x = torch.randn(4, 6, 8, 8, dtype=torch.float64)
    expected = unfolded_block(block, x, training)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)
    assert expected.shape == (4, channels, 8 // stride, 8 // stride)


def test_training_updates_the_statistics_of_the_scaled_response():
    torch.manual_seed(3)
    block = awaken(DMBBlock(4, 4).double()).train()
    x = torch.randn(4, 4, 8, 8, dtype=torch.float64)
    before = block.bn2.running_mean.clone()
    recorder = Recorder()
    block(x, "b", recorder)
    seen = recorder.seen["b"]
    expected = 0.9 * before + 0.1 * (seen.factors * seen.response).mean(dim=0)
    torch.testing.assert_close(block.bn2.running_mean, expected, rtol=1e-12, atol=1e-12)


def test_the_whole_network_equals_the_paper_written_out(model, images):
    with torch.no_grad():
        x = F.relu(model.bn1(model.conv1(images)))
        for _, block in model.named_blocks():
            x = unfolded_block(block, x, training=False)
        expected = model.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


class _BlockWithBias(BasicBlock):
    """A static block whose second convolution has a bias, as the modulated one's has."""

    def add_second_convolution(self, channels):
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_neutral_factors_equal_plain_convolutions_bit_for_bit(modulated, images, training, bfloat16):
    plain = ResNet(_BlockWithBias, "plain")
    plain.load_state_dict(
        {
            name.replace("conv2_dmb.conv", "conv2"): value.clone()
            for name, value in modulated.state_dict().items()
            if "gate_dmb" not in name
        }
    )
    twin = resnet_dmb()
    twin.load_state_dict(modulated.state_dict())

    def neutral(_, modulation):
        return modulation.with_factors(torch.ones_like(modulation.factors))

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        assert torch.equal(twin.train(training)(images, neutral), plain.train(training)(images))
    statistics = plain.state_dict()
    for name, value in twin.state_dict().items():
        if "gate_dmb" not in name:
            assert torch.equal(value, statistics[name.replace("conv2_dmb.conv", "conv2")]), name


# --- the hook ---


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_recording_hook_changes_nothing_bit_for_bit(model, images, batch, layout):
    pictures = images[:batch].contiguous(memory_format=layout)
    with torch.no_grad():
        assert torch.equal(model(pictures, Recorder()), model(pictures))


def test_a_recording_hook_changes_nothing_in_training_either(model, images):
    states = []
    for hook in (None, Recorder()):
        twin = {"resnet-s": resnet_s, "resnet-dmb": resnet_dmb}[model.architecture]()
        twin.load_state_dict(model.state_dict())
        twin.train()(images, hook).logsumexp(dim=1).sum().backward()
        states.append([*twin.state_dict().values(), *(p.grad for p in twin.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_the_hook_sees_every_block_in_order(model, images):
    recorder = Recorder()
    with torch.no_grad():
        model(images, recorder)
    assert list(recorder.seen) == BLOCKS
    for name, seen in recorder.seen.items():
        assert seen.factors.shape == seen.response.shape == (3, CHANNELS[name])
        assert seen.factors.dtype == torch.float32


def test_a_static_network_shows_factors_1_and_no_parts(static, images):
    recorder = Recorder()
    with torch.no_grad():
        static(images, recorder)
    for seen in recorder.seen.values():
        assert torch.equal(seen.factors, torch.ones_like(seen.factors))
        assert isinstance(seen, StaticModulation) and not seen.varies


def test_the_response_is_the_second_convolutions_mean(model, images):
    block = model.layer1[0]
    recorder = Recorder()
    with torch.no_grad():
        model(images, recorder)
        h = F.relu(block.bn1(block.conv1(model.stem(images))))
        conv = block.conv2 if block.num_biases is None else block.conv2_dmb.conv
        torch.testing.assert_close(recorder.seen["layer1.0"].response, conv(h).mean(dim=(2, 3)))


def test_the_modulated_network_shows_parts_that_make_its_factors(modulated, images):
    recorder = Recorder()
    with torch.no_grad():
        modulated(images, recorder)
    for name, seen in recorder.seen.items():
        c = CHANNELS[name]
        assert seen.bias_terms.shape == (3, c, 4)
        assert torch.equal(seen.factors, 1 + torch.tanh(seen.preactivation))
        torch.testing.assert_close(seen.preactivation, seen.linear_term + seen.bias_terms.sum(dim=2))
        torch.testing.assert_close(seen.gate_weights.sum(dim=1), torch.ones(3))
        assert seen.factors.std(dim=0).min() > 0  # each picture has its own


def test_an_answer_is_used_and_reaches_the_blocks_behind(modulated, images):
    plain, changed = Recorder(), {}

    def silence(name, modulation):
        if name == "layer2.0":
            modulation = modulation.with_factors(torch.zeros_like(modulation.factors))
        changed[name] = modulation
        return modulation

    with torch.no_grad():
        logits, changed_logits = modulated(images, plain), modulated(images, silence)
    for before in ("layer1.0", "layer1.1"):
        assert torch.equal(plain.seen[before].factors, changed[before].factors)
    assert not torch.equal(plain.seen["layer2.1"].factors, changed["layer2.1"].factors)
    assert not torch.equal(logits, changed_logits)


def test_a_static_network_can_be_rescaled_too(static, images):
    """f = 2 for one channel equals a network whose second convolution has that channel doubled."""

    def double(name, modulation):
        if name != "layer3.0":
            return modulation
        factors = modulation.factors.clone()
        factors[:, 7] = 2
        return modulation.with_factors(factors)

    doubled = resnet_s()
    doubled.load_state_dict(static.state_dict())
    with torch.no_grad():
        doubled.layer3[0].conv2.weight[7] *= 2
        expected = doubled.eval()(images)
        torch.testing.assert_close(static(images, double), expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(static(images), expected, rtol=1e-5, atol=1e-5)


def test_a_raising_hook_leaves_the_network_as_it_was(model, images):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    with torch.no_grad():
        before = model(images)

        def fail(name, modulation):
            if name == "layer2.1":
                raise RuntimeError("enough")
            return modulation

        with pytest.raises(RuntimeError, match="enough"):
            model(images, fail)
        assert torch.equal(model(images), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert attributes == {name: set(vars(module)) for name, module in model.named_modules()}
    assert not model.training


@pytest.mark.parametrize("answer", [None, "factors", torch.ones(3, 64), {}])
def test_an_answer_that_is_no_modulation_is_refused(model, images, answer):
    with pytest.raises(TypeError, match=f"answered {type(answer).__name__} for layer1.0; expected a Modulation"):
        model(images, lambda name, modulation: answer)


@pytest.mark.parametrize("shape", [(64,), (1, 64), (3, 63), (2, 64), (3, 64, 1, 1), ()])
def test_factors_of_another_shape_are_refused(model, images, shape):
    def answer(name, modulation):
        return replace(modulation, factors=torch.ones(shape))

    with pytest.raises(ValueError, match=r"for layer1.0; expected \(3, 64\)"):
        model(images, answer)


def test_without_a_hook_nothing_is_recorded(model, images, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("computed without a hook")

    for kind in (BasicBlock, DMBBlock, DynamicModulatedConv2d):
        monkeypatch.setattr(kind, "modulation", refuse)
    monkeypatch.setattr(Modulation, "__init__", refuse)
    with torch.no_grad():
        assert model(images[:1]).shape == (1, 10)


def test_gradients_flow_through_a_recording_hook_to_the_pictures(model, images):
    gradients = []
    for hook in (None, Recorder()):
        pictures = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(model(pictures, hook)[:, 3].sum(), pictures)[0])
    assert torch.equal(*gradients)
    assert gradients[0].abs().sum() > 0


def test_a_factor_can_be_attributed_to_the_pictures(modulated, images):
    pictures = images.clone().requires_grad_()
    recorder = Recorder()
    modulated(pictures, recorder)
    gradient = torch.autograd.grad(recorder.seen["layer2.0"].factors[1, 5], pictures)[0]
    assert gradient[1].abs().sum() > 0
    assert gradient[0].abs().sum() == gradient[2].abs().sum() == 0  # another picture has no part in it


def test_threads_with_different_pictures_get_what_each_gets_alone(modulated, images):
    def run(picture):
        recorder = Recorder()
        with torch.no_grad():
            logits = modulated(picture, recorder)
        return [logits, *(seen.factors for seen in recorder.seen.values())]

    alone = [run(images[i : i + 1]) for i in range(3)]
    together, barrier = {}, threading.Barrier(3)

    def work(i):
        barrier.wait()
        together[i] = [run(images[i : i + 1]) for _ in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, expected in enumerate(alone):
        assert len(together[i]) == 4
        for seen in together[i]:
            assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))


# --- inputs and precisions ---


@pytest.mark.parametrize("size", [(32, 32), (1, 1), (33, 47), (64, 16)])
def test_other_sizes_pass_too(model, size):
    recorder = Recorder()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, *size), recorder)
    assert logits.shape == (1, 10)
    assert logits.isfinite().all()
    assert recorder.seen["layer3.1"].factors.shape == (1, 256)


def test_a_picture_is_answered_alike_alone_and_in_a_batch(model, images):
    with torch.no_grad():
        batch = model(images)
        for i in range(3):
            torch.testing.assert_close(model(images[i : i + 1])[0], batch[i], rtol=1e-4, atol=1e-4)


def test_a_caller_may_start_in_the_middle(model, images):
    with torch.no_grad():
        x = model.stem(images)
        for name, block in model.named_blocks():
            x = block(x, name)
        assert torch.equal(model.head(x), model(images))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_autocast_computes_in_bfloat16_with_float32_factors(modulated, images, training):
    twin = resnet_dmb()
    twin.load_state_dict(modulated.state_dict())
    twin.train(training)
    recorder = Recorder()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = twin(images, recorder)
    twin.load_state_dict(modulated.state_dict())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(twin(images), logits)
    for seen in recorder.seen.values():
        assert seen.factors.dtype == seen.response.dtype == torch.float32
    with torch.no_grad():
        twin.load_state_dict(modulated.state_dict())
        torch.testing.assert_close(logits.float(), twin(images), rtol=0.1, atol=0.3)


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
def test_a_block_can_be_compiled_whole_for_training(bfloat16):
    """Traced in one piece, without a compiler of machine code; numbers and gradients stay the same."""
    torch.manual_seed(3)
    block = awaken(DMBBlock(4, 4)).train()
    x, answers = torch.randn(2, 4, 8, 8), []
    for run in (block, torch.compile(block, backend="aot_eager", fullgraph=True, dynamic=False)):
        pictures = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            y = run(pictures)
        gradients = torch.autograd.grad(y.float().square().sum(), [pictures, *block.parameters()])
        answers.append([y, *gradients])
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(other, one, rtol=0.02 if bfloat16 else 1e-5, atol=0.1 if bfloat16 else 1e-5)
