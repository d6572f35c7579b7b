import pytest
import torch
from torch import nn

from abn.interpret.inspection import inspect
from abn.interpret.interventions import frozen, neutral
from abn.interpret.recalibration import reestimated
from abn.models.resnet import resnet_dmb, resnet_s
from tests.tiny import Tiny, tiny_pictures


def randn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=[resnet_s, resnet_dmb])
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = request.param(num_classes=2).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
            module.weight.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(2))
    return model.eval()


@pytest.fixture(scope="module")
def images():
    """Seven pictures as different from each other as real ones: of some batches the means differ a lot."""
    return (randn(7, 3, 8, 8, seed=3) + 2 * randn(7, 3, 1, 1, seed=4)).double()


def in_batches(images, size, hook=None):
    return [(part, hook) for part in images.split(size)]


def statistics(model):
    return {name: (block.bn2.running_mean, block.bn2.running_var) for name, block in model.named_blocks()}


def directly(model, images, hook=None):
    """What every bn2 is given by all images at once, block after block, by the equations alone."""
    x, found = model.stem(images), {}
    for name, block in model.named_blocks():
        h = torch.relu(block.bn1(block.conv1(x)))
        z = block.convolve(h)
        shown = block.modulation(h, z.mean(dim=(2, 3)))
        factors = block.factors(h, z) if hook is None else hook(name, shown).factors
        scaled = z if factors is None else z * factors[:, :, None, None]
        mean, var = scaled.mean(dim=(0, 2, 3)), scaled.var(dim=(0, 2, 3))
        found[name] = (mean.detach(), var.detach())
        by_channel = [each[:, None, None] for each in (mean, var, block.bn2.weight, block.bn2.bias)]
        mean, var, weight, bias = by_channel
        normalised = (scaled - mean) / torch.sqrt(var + block.bn2.eps) * weight + bias
        x = torch.relu(normalised + block.shortcut(x))
    return found


@pytest.mark.parametrize("hook", [None, neutral()], ids=["free", "neutral"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_statistics_are_those_of_all_images_together_whatever_the_batch_size(network, images, size, hook):
    found, expected = (
        statistics(reestimated(network, in_batches(images, size, hook))),
        directly(network, images, hook),
    )
    assert list(found) == list(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("most_cached", [0, 150_000])
def test_activations_that_have_no_room_are_computed_again(network, images, most_cached):
    """An image's are 65,536 bytes in the first stage, in and out: none has room, or two of seven."""
    whole = statistics(reestimated(network, in_batches(images, 7)))
    found = statistics(reestimated(network, in_batches(images, 1), most_cached=most_cached))
    for name in whole:
        torch.testing.assert_close(found[name], whole[name], rtol=1e-9, atol=1e-12)


def test_each_batch_passes_under_its_own_hook(network, images):
    recorded = inspect(network, images).modulations
    strange = {name: m.with_factors(torch.linspace(0.2, 1.8, len(images))[:, None] * m.factors) for name, m in
               recorded.items()}  # fmt: skip
    parts = [
        (images[i : i + 2], frozen({name: m.with_factors(m.factors[i : i + 2]) for name, m in strange.items()}))
        for i in range(0, 7, 2)
    ]
    found, expected = statistics(reestimated(network, parts)), directly(network, images, frozen(strange))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_only_bn2s_statistics_differ_and_the_network_given_is_left_as_it_is(network, images):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adapted = reestimated(network, in_batches(images, 3))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    changed = {name for name, value in adapted.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{name}.bn2.running_{part}" for name, _ in network.blocks() for part in ("mean", "var")}
    assert not any(part.training for part in adapted.modules())


def test_statistics_are_those_behind_the_factors():
    model = Tiny.by_linear_term()
    model.block.bn1.running_mean.fill_(0.25)
    (_, _, images), *_ = tiny_pictures(2).batches(2, torch.device("cpu"))
    copy = reestimated(model, [(images, None), (2 * images, None)])
    h = torch.relu((torch.cat([images, 2 * images]) - 0.25) * (1 + 1e-5) ** -0.5)
    behind = (model.block.factors(h, h) * h[:, :, 0, 0]).detach()
    torch.testing.assert_close(copy.block.bn2.running_mean, behind.mean(0))
    torch.testing.assert_close(copy.block.bn2.running_var, behind.var(0))


def test_progress_is_told_after_every_block(network, images):
    shares = []
    reestimated(network, in_batches(images, 3), progress=shares.append)
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_re_estimation_needs_an_image_and_evaluation_mode(images):
    for nothing in ([], [(images[:0], None)]):
        with pytest.raises(ValueError, match="no image to estimate bn2's statistics on"):
            reestimated(Tiny(), nothing)
    with pytest.raises(ValueError, match="call model.eval"):
        reestimated(Tiny().train(), [])
