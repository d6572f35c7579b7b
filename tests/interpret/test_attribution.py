"""Attribution: exact values on networks that can be worked out by hand, identities on a real one."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.functional import gaussian_blur

from abn.common.data import MEAN, STD, normalise
from abn.interpret import interventions
from abn.interpret.attribution import captum_methods
from abn.interpret.attribution.attribute import METHODS, attribute
from abn.interpret.attribution.gradcam import cell_step
from abn.interpret.attribution.targets import Score, as_target
from abn.interpret.inspection import inspect
from abn.models.resnet import resnet_dmb, resnet_s

SMALL = {  # every method, cheap enough for 8 × 8 pictures
    "saliency": {},
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 5},
    "smoothgrad": {"samples": 5, "seed": 3},
    "grad_cam": {"relu": False},
    "occlusion": {"window": 4, "stride": 2},
}


class Polynomial(nn.Module):
    """Logits Σ w·x^power over pixels and colours: every attribution can be worked out by hand."""

    def __init__(self, weights, power=1):
        super().__init__()
        self.weights = nn.Parameter(weights)  # (classes, 3, H, W)
        self.power = power
        self.num_classes = len(weights)

    def forward(self, images, hook=None):
        return torch.einsum("nchw,kchw->nk", images**self.power, self.weights)


def randn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def linear():
    return Polynomial(randn(3, 3, 4, 4, seed=0)).eval()


@pytest.fixture
def pictures():
    return randn(2, 3, 4, 4, seed=1)


def awake(model, seed=0):
    """Banks, gates and batch statistics as different from their initial values as a trained network's."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "biases" in name or "gate_fc" in name:
                parameter.normal_(std=0.5, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return awake(resnet_dmb())


@pytest.fixture(scope="module")
def precise(model):
    """In float64: between batches of different sizes no ReLU near zero flips by rounding."""
    precise = resnet_dmb().double()
    precise.load_state_dict(model.state_dict())
    return precise.eval()


@pytest.fixture(scope="module")
def images():
    return randn(3, 3, 8, 8, seed=2)


# Exact values on a network that is linear, or a square, in its pixels


def test_saliency_of_a_linear_network_is_its_weights(linear, pictures):
    found = attribute(linear, pictures, 1, "saliency")
    assert torch.equal(found.values, linear.weights[1].detach().expand(2, 3, 4, 4))
    assert found.resolution == (4, 4)
    assert found.problems == (None, None)
    assert found.convergence_delta is None


def test_pixel_map_is_the_signed_sum_over_colours(linear, pictures):
    found = attribute(linear, pictures, 1, "saliency")
    assert torch.equal(found.pixel_map(), found.values[:, 0] + found.values[:, 1] + found.values[:, 2])


def test_input_x_gradient_of_a_linear_network_sums_to_its_logit(linear, pictures):
    found = attribute(linear, pictures, 2, "input_x_gradient")
    assert torch.equal(found.values, pictures * linear.weights[2].detach())
    torch.testing.assert_close(found.values.flatten(1).sum(dim=1), linear(pictures).detach()[:, 2])


def test_integrated_gradients_of_a_linear_network_are_exact_for_every_baseline(linear, pictures):
    black = -torch.tensor(MEAN).view(3, 1, 1) / torch.tensor(STD).view(3, 1, 1)
    baselines = {
        "black": black.expand_as(pictures),
        "mean": torch.zeros_like(pictures),
        "blurred": gaussian_blur(pictures, [5, 5], [0.5, 0.5]),
    }
    for name, baseline in baselines.items():
        found = attribute(linear, pictures, 0, "integrated_gradients", baseline=name, steps=3)
        expected = linear.weights[0].detach() * (pictures - baseline)
        torch.testing.assert_close(found.values, expected, msg=name)
        torch.testing.assert_close(found.convergence_delta, torch.zeros(2), atol=1e-5, rtol=0)


def test_black_is_the_checkpoints_own_black(linear, pictures):
    linear.info = SimpleNamespace(mean=(0.5, 0.25, 0.75), std=(0.5, 0.5, 0.25))
    found = attribute(linear, pictures, 0, "integrated_gradients", baseline="black", steps=2)
    black = torch.tensor([-1.0, -0.5, -3.0]).view(3, 1, 1)
    torch.testing.assert_close(found.values, linear.weights[0].detach() * (pictures - black))


def test_integrated_gradients_of_a_square_are_exact():
    square = Polynomial(randn(2, 3, 4, 4, seed=3), power=2).eval()
    picture = randn(1, 3, 4, 4, seed=4)
    found = attribute(square, picture, 1, "integrated_gradients", baseline="mean", steps=4)
    torch.testing.assert_close(found.values, square.weights[1].detach() * picture**2)


@pytest.mark.parametrize(("window", "stride", "positions"), [(2, 2, 2), (2, 1, 3), (3, 2, 2), (4, 3, 1)])
@pytest.mark.parametrize("fill", ["mean", "black"])
def test_occlusion_of_a_linear_network_is_the_mean_drop_of_the_windows_on_a_pixel(
    linear, pictures, window, stride, positions, fill
):
    found = attribute(linear, pictures, 1, "occlusion", window=window, stride=stride, fill=fill)
    colour = torch.zeros(3, 1, 1)
    if fill == "black":
        colour = -torch.tensor(MEAN).view(3, 1, 1) / torch.tensor(STD).view(3, 1, 1)
    parts = (linear.weights[1].detach() * (pictures - colour)).sum(dim=1)
    total, windows = torch.zeros(2, 4, 4), torch.zeros(4, 4)
    for y in range(0, positions * stride, stride):
        for x in range(0, positions * stride, stride):
            drop = parts[:, y : y + window, x : x + window].sum(dim=(1, 2), keepdim=True)
            total[:, y : y + window, x : x + window] += drop
            windows[y : y + window, x : x + window] += 1
    torch.testing.assert_close(found.values, (total / windows)[:, None])
    assert found.resolution == (positions, positions)


def test_smoothgrad_averages_the_gradients_at_the_noise_of_its_seed():
    square = Polynomial(torch.ones(1, 3, 4, 4), power=2).eval()  # gradient 2x
    picture = randn(1, 3, 4, 4, seed=5)
    found = attribute(square, picture, 0, "smoothgrad", samples=11, noise_level=0.2, seed=7)
    generator = torch.Generator().manual_seed(7)
    noise = torch.stack([torch.randn(3, 4, 4, generator=generator) for _ in range(11)])
    deviation = 0.2 * (picture.max() - picture.min())
    torch.testing.assert_close(found.values[0], 2 * (picture[0] + deviation * noise.mean(dim=0)))


def test_one_class_against_another_is_the_difference_of_the_two(linear, pictures):
    found = attribute(linear, pictures, (2, 0), "saliency")
    assert torch.equal(found.values, (linear.weights[2] - linear.weights[0]).detach().expand(2, 3, 4, 4))


@pytest.mark.parametrize("target", [[2, 0], torch.tensor([2, 0]), np.array([2, 0]), [np.int64(2), torch.tensor(0)]])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "grad_cam"])
def test_each_image_may_have_a_class_of_its_own(linear, pictures, method, target):
    options = SMALL[method] | ({"window": 2} if method == "occlusion" else {})
    found = attribute(linear, pictures, target, method, **options).values
    expected = [attribute(linear, pictures[i : i + 1], (2, 0)[i], method, **options).values for i in (0, 1)]
    torch.testing.assert_close(found, torch.cat(expected))


@pytest.mark.parametrize("target", [np.int64(2), np.array(2), torch.tensor(2), np.uint8(2)])
def test_whole_numbers_of_numpy_and_torch_are_classes(linear, pictures, target):
    expected = attribute(linear, pictures, 2, "saliency").values
    assert torch.equal(attribute(linear, pictures, target, "saliency").values, expected)
    contrast = attribute(linear, pictures, (target, np.int32(0)), "saliency").values
    assert torch.equal(contrast, attribute(linear, pictures, (2, 0), "saliency").values)


def test_a_plain_function_is_a_target(linear, pictures):
    found = attribute(linear, pictures, lambda logits, modulations: 3 * logits[:, 1] - logits[:, 0], "saliency")
    expected = (3 * linear.weights[1] - linear.weights[0]).detach()
    torch.testing.assert_close(found.values, expected.expand(2, 3, 4, 4))


# Identities on a real network


@pytest.mark.parametrize("method", [name for name in METHODS if name != "grad_cam"])
def test_class_pair_on_a_real_network(model, images, method):
    pair, first, second = (
        attribute(model, images, target, method, **SMALL[method]).values for target in ((3, 5), 3, 5)
    )
    torch.testing.assert_close(pair, first - second, rtol=1e-3, atol=1e-5 * first.abs().max().item())


def test_one_sample_without_noise_is_saliency(model, images):
    smooth = attribute(model, images, 4, "smoothgrad", samples=1, noise_level=0)
    assert torch.equal(smooth.values, attribute(model, images, 4, "saliency").values)


def test_smoothgrad_follows_its_seed(model, images):
    first, again, other = (
        attribute(model, images, 4, "smoothgrad", samples=3, seed=seed).values for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("baseline", ["black", "mean", "blurred"])
def test_integrated_gradients_add_up_to_the_difference_of_the_logits(model, images, baseline):
    found = attribute(model, images, 6, "integrated_gradients", steps=64, baseline=baseline)
    coarse = attribute(model, images, 6, "integrated_gradients", steps=2, baseline=baseline)
    zero = torch.zeros_like(images)
    black = (zero - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    start = {"black": black, "mean": zero, "blurred": gaussian_blur(images, [7, 7], [1.0, 1.0])}[baseline]
    with torch.no_grad():
        rise = (model(images) - model(start))[:, 6]
    missing = found.values.sum(dim=(1, 2, 3)) - rise
    torch.testing.assert_close(found.convergence_delta, missing, rtol=1e-3, atol=1e-5)
    assert (missing.abs() < 0.05 * rise.abs().mean()).all()
    assert missing.abs().mean() < coarse.convergence_delta.abs().mean()


@pytest.mark.parametrize("stage", ["layer1", "layer2", "layer3"])
@pytest.mark.parametrize("target", [3, (3, 5)])
def test_grad_cam_by_hand(model, images, stage, target):
    x, activations = model.stem(images), None
    for name, block in model.named_blocks():
        x = block(x, name)
        if name == f"{stage}.1":
            activations = x
    logits = model.head(x)
    goal = logits[:, target] if isinstance(target, int) else logits[:, target[0]] - logits[:, target[1]]
    (gradient,) = torch.autograd.grad(goal.sum(), activations)
    signed = (gradient.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True).detach()
    for relu, expected in ((True, signed.relu()), (False, signed)):
        found = attribute(model, images, target, "grad_cam", stage=stage, relu=relu)
        side = {"layer1": 8, "layer2": 4, "layer3": 2}[stage]
        assert found.resolution == (side, side)
        # A stage's cell i looks at pixel s·i, and between two of them the map goes from one to the other.
        step, close = 8 // side, {"rtol": 1e-4, "atol": 1e-5 * signed.abs().max().item()}
        torch.testing.assert_close(found.values[..., ::step, ::step], expected, **close)
        if step == 2:
            halfway = (expected[..., :, :-1] + expected[..., :, 1:]) / 2
            torch.testing.assert_close(found.values[..., ::2, 1:-1:2], halfway, **close)
        torch.testing.assert_close(found.values[..., -1, -1], expected[..., -1, -1], **close)


def test_grad_cam_before_the_head_is_the_class_activation_map():
    network = awake(resnet_s(num_classes=4))
    images = randn(1, 3, 16, 16, seed=6)
    x = network.stem(images)
    for _, block in network.named_blocks():
        x = block(x)
    weights = network.linear.weight[2].view(1, 256, 1, 1) / 16
    expected = (weights * x).sum(dim=1, keepdim=True).detach()
    found = attribute(network, images, 2, "grad_cam", relu=False)
    torch.testing.assert_close(found.values[..., ::4, ::4], expected, rtol=1e-4, atol=1e-6)
    logit = network(images)[0, 2] - network.linear.bias[2]
    assert expected.sum().item() == pytest.approx(logit.item(), rel=1e-4)  # before it is enlarged, it adds up
    with torch.no_grad():
        network.linear.weight.mul_(2)
    doubled = attribute(network, images, 2, "grad_cam", relu=False)
    torch.testing.assert_close(doubled.values, 2 * found.values)


@pytest.mark.parametrize(
    ("size", "cells", "step"),
    [(8, 2, 4), (8, 4, 2), (8, 8, 1), (1, 1, 1), (1, 1, 4), (2, 1, 2), (30, 8, 4), (33, 9, 4), (9, 3, 4), (5, 2, 4)],
)
def test_a_map_is_enlarged_to_the_picture_whatever_its_size(size, cells, step):
    values = torch.arange(cells, dtype=torch.float32).expand(1, 1, cells, cells)
    expected = (torch.arange(size) / step).clamp(max=cells - 1).expand(1, 1, size, size)
    torch.testing.assert_close(captum_methods._enlarged(values, (size, size), (step, step)), expected)


def test_the_step_between_two_cells_is_the_networks_own():
    network = resnet_s()
    assert [cell_step(network, stage) for stage in network.stages()] == [(1, 1), (2, 2), (4, 4)]
    network.conv1.stride, network.layer3[0].conv1.stride = (2, 1), (3, 1)
    assert [cell_step(network, stage) for stage in network.stages()] == [(2, 1), (4, 2), (12, 2)]


def test_the_peak_of_grad_cam_lies_where_the_network_looked_in_a_picture_of_nine_pixels(model):
    """Three cells, at pixels 0, 4 and 8."""
    picture = randn(1, 3, 9, 9, seed=2)
    x = model.stem(picture)
    for name, block in model.named_blocks():
        x = block(x, name)
    found = attribute(model, picture, 3, "grad_cam", relu=False)
    weights = model.linear.weight[3].view(1, 256, 1, 1) / 9
    expected = (weights * x).sum(dim=1, keepdim=True).detach()
    assert found.resolution == (3, 3)
    torch.testing.assert_close(found.values[..., ::4, ::4], expected, rtol=1e-4, atol=1e-6)


def test_a_map_lies_where_the_network_looked():
    """What a stage's cell depends on is centred on its pixel."""
    network = awake(resnet_s())
    leaf = randn(1, 3, 32, 32, seed=3).requires_grad_()
    x = network.stem(leaf)
    for name, block in network.named_blocks():
        x = block(x)
        if name == "layer2.1":
            break
    (gradient,) = torch.autograd.grad(x[0, :, 8, 8].sum(), leaf)
    weight = gradient.abs().sum(dim=(0, 1))
    rows = (weight.sum(dim=1) * torch.arange(32)).sum() / weight.sum()
    assert rows.item() == pytest.approx(16, abs=0.3)  # and not 16.5, where tiles would have it


def test_the_gradient_runs_through_the_gates_unless_the_factors_are_frozen(precise, images):
    picture = images[:1].double()
    frozen = interventions.frozen(inspect(precise, picture).modulations)
    direction = randn(1, 3, 8, 8, seed=8).double()
    slopes = []
    for hook in (None, frozen):
        found = attribute(precise, picture, 0, "saliency", hook=hook)
        slopes.append((found.values * direction).sum())
        step = 1e-6 * direction
        with torch.no_grad():
            rise = precise(picture + step, hook)[0, 0] - precise(picture - step, hook)[0, 0]
        torch.testing.assert_close(slopes[-1], rise / 2e-6, rtol=1e-4, atol=1e-7)
    assert abs(slopes[0] - slopes[1]) > 0.01 * abs(slopes[1])


def assert_same(found, expected):
    """Equal but for rounding; occlusion and the steps of Integrated Gradients are float32 in Captum."""
    tolerance = 1e-6 * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_gets_the_same_map_alone_and_in_a_batch(precise, method):
    many = randn(40, 3, 8, 8, seed=9).double()  # more than go through the network at once
    together = attribute(precise, many, 1, method, **SMALL[method])
    for i in (0, 39):
        assert_same(
            together.values[i : i + 1], attribute(precise, many[i : i + 1], 1, method, **SMALL[method]).values
        )
    assert len(together.problems) == 40


# Hooks


@pytest.mark.parametrize("method", METHODS)
def test_factors_recorded_for_n_images_fit_methods_that_evaluate_many_copies(precise, images, method):
    images = images.double()
    recorded = interventions.frozen(inspect(precise, images).modulations)
    together = attribute(precise, images, 2, method, recorded, **SMALL[method])
    own = interventions.frozen(inspect(precise, images[1:2]).modulations)
    assert_same(together.values[1:2], attribute(precise, images[1:2], 2, method, own, **SMALL[method]).values)


@pytest.mark.parametrize(
    "hook",
    [
        interventions.shuffled(1),
        interventions.compose(
            interventions.gates("layer2.0", [1.0, 0.0, 0.0, 0.0]), interventions.channel("layer3.1", 5, 0.0)
        ),
    ],
    ids=["shuffled", "gates and channel"],
)
def test_a_hook_means_the_same_to_copies_as_to_the_images(precise, images, hook):
    images = images.double()
    copies = attribute(precise, images, 2, "smoothgrad", hook, samples=4, noise_level=0)
    once = attribute(precise, images, 2, "saliency", hook)
    assert_same(copies.values, once.values)
    assert not torch.allclose(once.values, attribute(precise, images, 2, "saliency").values)


@pytest.mark.parametrize("method", METHODS)
def test_factors_recorded_in_inference_mode_can_be_frozen(model, images, method):
    with torch.inference_mode():
        recorded = inspect(model, images).modulations
    expected = interventions.frozen(inspect(model, images).modulations)
    found = attribute(model, images, 2, method, interventions.frozen(recorded), **SMALL[method])
    again = attribute(model, images, 2, method, expected, **SMALL[method])
    assert torch.equal(found.values, again.values)


@pytest.mark.parametrize("method", METHODS)
def test_a_hook_for_a_block_that_is_not_there_is_refused(model, images, method):
    with pytest.raises(ValueError, match="no block layer9.0"):
        attribute(model, images, 2, method, interventions.neutral(["layer9.0"]), **SMALL[method])


def test_a_target_may_read_the_modulations(model, images):
    def factor(logits, modulations):
        return modulations["layer2.0"].factors[:, 7]

    factor.reads_modulations = True
    hook = interventions.channel("layer2.0", 7, 0.25)
    for given, expected in (
        (None, inspect(model, images).modulations["layer2.0"].factors[:, 7]),
        (hook, 0.25),
    ):
        score = Score(model, factor, given, num_images=3, per_pass=8)
        value = score(torch.cat([images, images]))
        expected = torch.as_tensor(expected).expand(3).repeat(2)
        torch.testing.assert_close(value.detach(), expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_factor_can_be_attributed(model, images, method):
    def factor(logits, modulations):
        return modulations["layer2.0"].factors[:, 7]

    factor.reads_modulations = True
    if method == "grad_cam":
        with pytest.raises(ValueError, match="does not depend on what layer3 gives on; name an earlier stage"):
            attribute(model, images, factor, method)
        assert attribute(model, images, factor, method, stage="layer1").problems == (None,) * 3
        return
    found = attribute(model, images, factor, method, **SMALL[method])
    assert found.problems == (None,) * 3
    if method == "saliency":
        leaf = images.clone().requires_grad_()
        score = Score(model, factor, None, num_images=3, per_pass=3)
        (gradient,) = torch.autograd.grad(score(leaf).sum(), leaf)
        torch.testing.assert_close(found.values, gradient)


# Maps that say nothing


def problem(*args, **options):
    return attribute(*args, **options).problems


def test_a_network_that_ignores_the_picture_gives_blank_maps(pictures):
    silent = Polynomial(torch.zeros(2, 3, 4, 4)).eval()
    gradient = "the map is blank: the gradient is zero everywhere"
    assert problem(silent, pictures, 0, "saliency")[1].startswith(gradient)
    assert problem(silent, pictures, 0, "integrated_gradients", steps=2)[0].startswith(gradient)
    covered = problem(silent, pictures, 0, "occlusion", window=2, stride=2)
    assert covered == ("the map is blank: covering a part of the picture nowhere changes the target",) * 2


def test_what_equals_the_baseline_is_blank_by_definition(linear, pictures):
    pictures[1] = 0
    for method, options, reason in (
        ("input_x_gradient", {}, "the data set's mean colour everywhere"),
        ("integrated_gradients", {"baseline": "mean"}, "equals the baseline (mean)"),
        ("integrated_gradients", {"baseline": "blurred"}, "equals the baseline (blurred)"),
        ("occlusion", {"window": 2, "stride": 2}, "the fill's colour (mean) everywhere"),
    ):
        first, second = problem(linear, pictures, 0, method, **options)
        assert first is None
        assert reason in second


@pytest.mark.parametrize(
    ("level", "method", "options"),
    [
        (200, "integrated_gradients", {"baseline": "blurred", "steps": 2}),
        (0, "integrated_gradients", {"baseline": "black", "steps": 2}),
        (0, "occlusion", {"fill": "black", "window": 8, "stride": 8}),
    ],
)
def test_rounding_is_not_drawn_as_a_map(level, method, options):
    """A blur gives an even picture back but for rounding, and batches of other sizes round otherwise."""
    network = awake(resnet_s())
    picture = normalise(torch.full((1, 3, 32, 32), level, dtype=torch.uint8))
    found = attribute(network, picture, 0, method, **options)
    assert not found.values.any()
    assert found.problems[0].startswith("the map is blank: the picture ")


def test_grad_cam_says_when_its_relu_cut_everything():
    network = awake(resnet_s())
    with torch.no_grad():
        network.linear.weight[3] = -1
        network.linear.weight[4] = 0
    picture = randn(1, 3, 8, 8, seed=10)
    cut = attribute(network, picture, 3, "grad_cam")
    assert not cut.values.any()
    assert "no positive evidence at layer3" in cut.problems[0]
    signed = attribute(network, picture, 3, "grad_cam", relu=False)
    assert signed.problems == (None,)
    assert (signed.values < 0).all()
    assert "the target does not depend on it" in problem(network, picture, 4, "grad_cam")[0]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "grad_cam"])
def test_a_broken_pixel_spoils_only_its_own_picture(linear, pictures, method):
    square = Polynomial(linear.weights.detach(), power=2).eval()
    pictures[1, 0, 0, 0] = float("nan")
    options = SMALL[method] | ({"window": 2} if method == "occlusion" else {})
    first, second = problem(square, pictures, 0, method, **options)
    assert first is None
    assert second == "the map is not finite: the picture itself holds a value that is not finite"


def test_broken_weights_are_named_as_the_cause(images):
    network = awake(resnet_s())
    with torch.no_grad():
        network.layer1[0].conv1.weight[0, 0, 0, 0] = float("nan")
    for method in METHODS:
        found = problem(network, images, 0, method, **SMALL[method])
        assert len(found) == 3
        assert all("the target is nan, by weights or factors" in each for each in found), method


def test_an_overflow_of_the_gradient_alone_is_told_apart(pictures):
    class Root(Polynomial):
        def forward(self, images, hook=None):
            return super().forward(images).sqrt()

    root = Root(torch.zeros(1, 3, 4, 4)).eval()  # √0: a finite target of infinite slope
    assert "its gradient is not" in problem(root, pictures, 0, "saliency")[0]


# What may be asked


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (10, "target is 10; the network has the classes 0 to 9"),
        (-1, "target is -1; the network has the classes 0 to 9"),
        (True, "target is True; the network has the classes 0 to 9"),
        ("cat", "target is 'cat'; the network has the classes 0 to 9"),
        (1.0, "target is 1.0; the network has the classes 0 to 9"),
        ((3, 10), "target is 10; the network has the classes 0 to 9"),
        ((3, 3), "class 3 against itself"),
        ((1, 2, 3), r"expected a class index, a pair \(a, b\) for a against b, or a list of one class an image"),
        ([1, 2], r"target has shape \(2,\); expected \(3,\), one class an image, or the tuple \(a, b\)"),
        ([1, 2, 10], "target is 10; the network has the classes 0 to 9"),
        (torch.tensor([1, 2]), r"target has shape \(2,\); expected \(3,\)"),
        (np.array([[1], [2], [3]]), r"target has shape \(3, 1\); expected \(3,\)"),
        (torch.tensor([1.0, 2, 3]), r"target is tensor\(1.\)"),
        (np.array([True, False, True]), "target is np.True_"),
        (torch.tensor(True), r"target is tensor\(True\)"),
    ],
)
def test_targets_refused(model, images, target, message):
    with pytest.raises(ValueError, match=message):
        attribute(model, images, target, "saliency")


def test_a_refused_target_lists_the_classes_by_name(linear, pictures):
    linear.info = SimpleNamespace(class_names=("cup", "pen", "hat"))
    with pytest.raises(ValueError, match=r"0 to 2 \(0 cup, 1 pen, 2 hat\)"):
        as_target(3, linear, 2)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("deeplift", {}, "no attribution method 'deeplift'; there are saliency, input_x_gradient, "),
        (None, {}, "no attribution method None"),
        ("saliency", {"steps": 3}, "saliency has no option 'steps'; it has none"),
        ("smoothgrad", {"steps": 3}, "no option 'steps'; its options are samples, noise_level, seed"),
        ("integrated_gradients", {"steps": 0}, "steps is 0; expected a whole number from 1 to 512"),
        ("integrated_gradients", {"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ("integrated_gradients", {"steps": True}, "steps is True; expected a whole number"),
        ("integrated_gradients", {"baseline": "white"}, "expected one of black, mean, blurred"),
        (
            "smoothgrad",
            {"noise_level": float("nan")},
            "noise_level is nan; expected a number from 0.0 to 1.0",
        ),
        ("smoothgrad", {"seed": -1}, "seed is -1"),
        ("grad_cam", {"stage": "layer4"}, "stage is 'layer4'; expected one of layer1, layer2, layer3"),
        ("grad_cam", {"relu": 1}, "relu is 1; expected True or False"),
        ("occlusion", {"window": 9}, "window is 9; the image has 8 × 8 pixels"),
        ("occlusion", {"window": 2, "stride": 3}, "stride is 3, more than the window's 2 pixels"),
    ],
)
def test_methods_and_options_refused(model, images, method, options, message):
    with pytest.raises(ValueError, match=message):
        attribute(model, images, 0, method, **options)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("method", METHODS)
def test_the_network_always_gets_colours_innermost(model, images, method, layout):
    layouts = []

    def note(_, given):
        layouts.append(given[0].is_contiguous(memory_format=torch.channels_last))

    with model.conv1.register_forward_pre_hook(note):
        attribute(model, images.clone(memory_format=layout), 3, method)
    assert layouts and all(layouts)


def test_numbers_of_numpy_are_options(linear, pictures):
    given = {"samples": np.int64(2), "noise_level": np.float32(0.25), "seed": np.float64(3.0)}
    assert attribute(linear, pictures, 0, "smoothgrad", **given).options == {
        "samples": 2, "noise_level": 0.25, "seed": 3
    }  # fmt: skip
    assert METHODS["grad_cam"].complete({"relu": np.bool_(False)})["relu"] is False


def test_whole_floats_are_whole_numbers(model, images):
    found = attribute(model, images, 0, "integrated_gradients", steps=4.0)
    assert found.options == {"steps": 4, "baseline": "black"}
    assert torch.equal(found.values, attribute(model, images, 0, "integrated_gradients", steps=4).values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(3, 8, 8), r"shape \(3, 8, 8\); expected \(N, 3, H, W\)"),
        (torch.zeros(0, 3, 8, 8), "N at least 1"),
        (torch.zeros(1, 1, 8, 8), r"expected \(N, 3, H, W\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "torch.uint8; normalise them first"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float64), "torch.float64 on cpu, the network is torch.float32"),
    ],
)
def test_images_refused(model, wrong, message):
    with pytest.raises(ValueError, match=message):
        attribute(model, wrong, 0, "saliency")


def test_a_network_in_training_mode_is_refused(images):
    with pytest.raises(ValueError, match="training mode"):
        attribute(resnet_s().train(), images, 0, "saliency")


def test_every_method_describes_itself():
    assert list(METHODS) == list(SMALL)
    for name, method in METHODS.items():
        assert method.name == name
        assert method.slow == (method.cost() > 3)
        assert "logit" in method.unit and len(method.unit) <= 38
        for option in method.options:
            assert option.check(option.default) == option.default
            with pytest.raises(ValueError, match=option.name):
                option.check(object())


@pytest.mark.parametrize("method", [name for name in METHODS if name != "grad_cam"])
def test_the_unit_says_how_a_map_answers_to_its_target_and_its_pixels(linear, pictures, method):
    """A logit twice as large doubles every map; pixels in half the unit, at twice the slope, halve a gradient's."""
    options = {"window": 2, "stride": 1} if method == "occlusion" else {}
    if method == "integrated_gradients":
        options = {"baseline": "mean"}
    steep = Polynomial(2 * linear.weights.detach()).eval()
    one, doubled = (attribute(network, pictures, 0, method, **options).values for network in (linear, steep))
    torch.testing.assert_close(doubled, 2 * one)
    rescaled = attribute(steep, pictures / 2, 0, method, **options).values
    per_pixel = METHODS[method].unit == "logit per unit of normalised pixel"
    torch.testing.assert_close(rescaled, 2 * one if per_pixel else one)


@pytest.mark.parametrize("method", METHODS)
def test_the_cost_is_what_is_evaluated(method, monkeypatch):
    network, picture, evaluated = awake(resnet_s()), randn(1, 3, 8, 8, seed=11), []
    head = network.head
    monkeypatch.setattr(network, "head", lambda x: evaluated.append((len(x), x.requires_grad)) or head(x))
    attribute(network, picture, 0, method, **SMALL[method])
    passes = sum(count * (1 if differentiated else 1 / 3) for count, differentiated in evaluated)
    assert passes == pytest.approx(METHODS[method].cost(8, 8, **SMALL[method]))


# Nothing is changed, nothing is shared


def everything(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    values = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    marks = {name: (tensor.requires_grad, tensor.grad, tensor._version) for name, tensor in tensors.items()}
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return values, marks, hooks


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_changed_and_nothing_is_warned_about(method, images):
    network = awake(resnet_dmb())
    network.linear.bias.requires_grad_(False)
    network.conv1.weight.grad = torch.ones_like(network.conv1.weight)
    values, marks, hooks = everything(network)
    given = images.clone()
    random_state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = attribute(network, given, 1, method, interventions.scaled(0.5), **SMALL[method])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(given, images)
    assert given._version == 0
    assert not given.requires_grad
    assert not found.values.requires_grad
    assert found.values.dtype == torch.float32
    values_after, marks_after, hooks_after = everything(network)
    assert marks_after.keys() == marks.keys()
    assert all(torch.equal(values[name], values_after[name]) for name in values)
    assert all(
        (before[0], before[2]) == (after[0], after[2]) and before[1] is after[1]
        for before, after in zip(marks.values(), marks_after.values(), strict=True)
    )
    assert torch.equal(network.conv1.weight.grad, torch.ones_like(network.conv1.weight))
    assert hooks_after == hooks


@pytest.mark.parametrize("method", METHODS)
def test_the_callers_modes_make_no_difference(model, images, method):
    expected = attribute(model, images, 1, method, **SMALL[method])
    with torch.no_grad():
        assert torch.equal(attribute(model, images, 1, method, **SMALL[method]).values, expected.values)
    with torch.inference_mode():
        found = attribute(model, images * 1, 1, method, **SMALL[method])
        assert torch.is_inference_mode_enabled()
    assert torch.equal(found.values, expected.values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attribute(model, images, 1, method, **SMALL[method]).values, expected.values)
    wanted = images.clone().requires_grad_()
    found = attribute(model, wanted, 1, method, **SMALL[method])
    assert torch.equal(found.values, expected.values)
    assert wanted.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_weights_made_in_inference_mode_make_no_difference(model, images, method):
    with torch.inference_mode():
        other = resnet_dmb()
        other.load_state_dict(model.state_dict())
        other.eval()
    assert other.linear.weight.is_inference()
    expected = attribute(model, images, 1, method, **SMALL[method]).values
    assert torch.equal(attribute(other, images, 1, method, **SMALL[method]).values, expected)
    assert other.linear.weight.is_inference()


@pytest.mark.parametrize("method", METHODS)
def test_frozen_parameters_make_no_difference(model, images, method):
    fixed = resnet_dmb()
    fixed.load_state_dict(model.state_dict())
    fixed.eval().requires_grad_(False)
    expected = attribute(model, images, 1, method, **SMALL[method])
    assert torch.equal(attribute(fixed, images, 1, method, **SMALL[method]).values, expected.values)


def test_threads_get_what_they_would_get_alone(model):
    asked = []
    for number, (method, options) in enumerate(SMALL.items()):
        picture = randn(1 + number % 2, 3, 8, 8, seed=20 + number)
        hook = interventions.scaled(number / 2) if number % 2 else None
        options = options | ({"seed": number} if method == "smoothgrad" else {})
        asked.append((picture, number, method, hook, options))

    def answer(request):
        picture, target, method, hook, options = request
        return attribute(model, picture, target, method, hook, **options)

    alone = [answer(request) for request in asked]
    random_state = torch.get_rng_state()
    with ThreadPoolExecutor(6) as pool:
        rounds = [list(pool.map(answer, asked * 2))[i :: len(asked)] for i in range(len(asked))]
    assert torch.equal(torch.get_rng_state(), random_state)
    for expected, found in zip(alone, rounds, strict=True):
        for each in found:
            tolerance = 1e-5 * expected.values.abs().max().item()
            torch.testing.assert_close(each.values, expected.values, rtol=1e-4, atol=tolerance)
            assert each.problems == expected.problems


@pytest.mark.parametrize("method", METHODS)
def test_progress_rises_to_one(model, method):
    shares = []
    images = randn(40, 3, 8, 8, seed=12)  # two passes of pictures
    attribute(model, images, 0, method, progress=shares.append, **SMALL[method])
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    assert shares[-1] == 1
    if METHODS[method].slow:
        assert len(set(shares)) > 4


def test_progress_can_stop_the_work(model, images):
    class StopError(Exception):
        pass

    evaluated = []

    def stop(share):
        evaluated.append(share)
        if share > 0:
            raise StopError

    before = everything(model)
    with pytest.raises(StopError):
        attribute(model, images, 0, "smoothgrad", progress=stop, samples=64)
    assert len(evaluated) == 2
    after = everything(model)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[2] == after[2]
