"""The attribution methods, each as Captum computes it, bounded in memory and free of global state.

A runner takes the score ``images (k·N, 3, H, W) → (k·N,)``, the images (N, 3, H, W) as a leaf that requires a
gradient, and the method's options, complete and checked; it answers with a `Map`. `abn.interpret.attribution.methods`
describes the methods, their units and their options to people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from captum.attr import InputXGradient, IntegratedGradients, Occlusion, Saliency
from torch import Tensor

from abn.common.data import MEAN, STD, normalise
from abn.interpret.attribution.gradcam import cell_step
from abn.interpret.attribution.gradcam import grad_cam as grad_cam_at
from abn.interpret.attribution.targets import Score

NO_GRADIENT = (
    "the gradient is zero everywhere: every path from this picture to the target is switched off "
    "(ReLUs that are all negative, factors or weights that are 0, or two classes with the same weights)"
)
ROUNDING = 1e-5  # of a normalised pixel, of which 1/255 is 0.02
Options = Mapping[str, Any]
"""By name, each of the type that its `abn.interpret.attribution.methods.Option` has checked."""


@dataclass(frozen=True, eq=False)
class Map:
    """What a method computed, and what it knows about a map that is zero everywhere.

    Attributes:
        values: (N, 3, H, W), or (N, 1, H, W) where the method has no answer for each colour.
        resolution: (h, w) that the method itself resolves.
        convergence_delta: (N,), of Integrated Gradients.
        explained: (N,) bool, images for which `explanation` says why the map is zero.
        otherwise: why it is zero for the others.
    """

    values: Tensor
    resolution: tuple[int, int]
    convergence_delta: Tensor | None = None
    explained: Tensor | None = None
    explanation: str = ""
    otherwise: str = NO_GRADIENT


def saliency(score: Score, images: Tensor, options: Options) -> Map:
    """The gradient of the score, (N, 3, H, W), with its sign."""
    return Map(Saliency(score).attribute(images, abs=False), _size(images))


def input_x_gradient(score: Score, images: Tensor, options: Options) -> Map:
    """The gradient times the normalised pixel, (N, 3, H, W)."""
    values = InputXGradient(score).attribute(images)
    reason = "the picture has the data set's mean colour everywhere, which is 0 after normalisation"
    zero = torch.zeros_like(images[:1])
    return Map(values, _size(images), explained=_equal(images, zero), explanation=reason)


def integrated_gradients(score: Score, images: Tensor, options: Options) -> Map:
    """(N, 3, H, W): pixel minus baseline, times the mean gradient on the straight path between them.

    `Map.convergence_delta` (N,) is by how much their sum misses the difference of the two scores.
    """
    steps, baseline = options["steps"], _baseline(options["baseline"], score, images)
    score.expect(len(images) * (steps + 2))  # the two ends, for the convergence delta
    images = images.detach()
    values, delta = IntegratedGradients(score).attribute(
        images,
        baselines=baseline,
        n_steps=steps,
        internal_batch_size=max(len(images), score.per_pass),
        return_convergence_delta=True,
    )
    reason = f"the picture equals the baseline ({options['baseline']}), so there is no path between them"
    same = _equal(images, baseline)
    return Map(_blank(values, same), _size(images), delta, same, reason)


def smoothgrad(score: Score, images: Tensor, options: Options) -> Map:
    """(N, 3, H, W): the mean of Saliency over noisy copies, each with the same noise for every image of the batch.

    Noise is drawn on the CPU from a generator of this call: an image gets the same map alone, in a
    batch, and on another device; Captum's NoiseTunnel would draw from the global generator.
    """
    samples, n = options["samples"], len(images)
    score.expect(n * samples)
    generator = torch.Generator().manual_seed(options["seed"])
    flat = images.detach().flatten(1)
    deviation = options["noise_level"] * (flat.amax(dim=1) - flat.amin(dim=1)).view(n, 1, 1, 1)
    total = torch.zeros_like(images)
    per_pass = max(1, score.per_pass // n)
    for start in range(0, samples, per_pass):
        copies = []
        for _ in range(min(per_pass, samples - start)):
            noise = torch.randn(images.shape[1:], generator=generator).to(images)
            copies.append(images.detach() + deviation * noise)
        noisy = torch.cat(copies).requires_grad_()
        gradients = Saliency(score).attribute(noisy, abs=False)
        total += gradients.view(len(copies), *images.shape).sum(dim=0)
    return Map(total / samples, _size(images))


def grad_cam(score: Score, images: Tensor, options: Options) -> Map:
    """(N, 1, H, W): the stage's (N, 1, h, w) map, enlarged bilinearly after its ReLU, if any."""
    stage = options["stage"]
    signed = grad_cam_at(score, images.detach(), stage)
    resolution = _size(signed)
    explained, reason = None, ""
    if options["relu"]:
        explained = signed.flatten(1).amin(dim=1) < 0
        reason = (
            f"there is no positive evidence at {stage}: Grad-CAM's ReLU cut away the whole map, "
            "which is negative; switch relu off to see it"
        )
        signed = F.relu(signed)
    values = _enlarged(signed, _size(images), cell_step(score.model, stage))
    otherwise = f"either {stage} is silent for this picture, or the target does not depend on it"
    return Map(values, resolution, None, explained, reason, otherwise)


def _enlarged(values: Tensor, size: tuple[int, int], strides: tuple[int, int]) -> Tensor:
    """(N, 1, h, w) → (N, 1, H, W), bilinearly: cell i at pixel s·i (`cell_step`), beyond the last one its value.

    `F.interpolate` alone takes cells for tiles and would put them (s − 1) / 2 pixels further right and down.
    """
    height, width = size
    reached = [step * (count - 1) + 1 for step, count in zip(strides, _size(values), strict=True)]
    values = F.interpolate(values, reached, mode="bilinear", align_corners=True)
    return F.pad(values, (0, width - reached[1], 0, height - reached[0]), mode="replicate")


def occlusion(score: Score, images: Tensor, options: Options) -> Map:
    """(N, 1, H, W): the score's mean fall over the squares that cover a pixel, the same for all colours."""
    window, stride = options["window"], options["stride"]
    height, width = _size(images)
    positions = window_positions(height, width, window, stride)
    score.expect(len(images) * (positions[0] * positions[1] + 1))
    fill = _baseline(options["fill"], score, images[:1])
    channels = images.shape[1]
    values = Occlusion(score).attribute(
        images.detach(),
        sliding_window_shapes=(channels, window, window),
        strides=(channels, stride, stride),
        baselines=fill,
        perturbations_per_eval=max(1, score.per_pass // len(images)),
    )
    same = _equal(images, fill)
    # A window covers all colours, so Captum repeats one number in each: kept once, for their sum to be it.
    return Map(
        _blank(values[:, :1], same),
        positions,
        None,
        same,
        f"the picture has the fill's colour ({options['fill']}) everywhere, so covering it changes nothing",
        "covering a part of the picture nowhere changes the target",
    )


def window_positions(height: int, width: int, window: int, stride: int) -> tuple[int, int]:
    """Rows and columns of places where an occlusion window stands; the last may be cut off.

    Raises:
        ValueError: for a window larger than the image, or a stride that leaves pixels uncovered.
    """
    if window > min(height, width):
        raise ValueError(f"window is {window}; the image has {height} × {width} pixels")
    if stride > window:
        raise ValueError(
            f"stride is {stride}, more than the window's {window} pixels, so that some would never be "
            f"covered; expected 1 to {window}"
        )
    return math.ceil((height - window) / stride) + 1, math.ceil((width - window) / stride) + 1


def _baseline(kind: str, score: Score, images: Tensor) -> Tensor:
    """The picture that stands for "nothing to see", as large as `images` and laid out in memory alike, normalised."""
    if kind == "mean":
        return torch.zeros_like(images)
    if kind == "black":
        info = getattr(score.model, "info", None)
        mean, std = (MEAN, STD) if info is None else (tuple(info.mean), tuple(info.std))
        pixel = normalise(torch.zeros(1, 3, 1, 1, device=images.device), mean, std)
        return torch.empty_like(images).copy_(pixel)
    images = images.detach()
    blurred = _blurred(images)
    # A blur gives an even picture back but for rounding, whose attribution would be drawn as if it were one.
    even = ((images - blurred).abs().flatten(1).amax(dim=1) < ROUNDING).view(-1, 1, 1, 1)
    return torch.empty_like(images).copy_(torch.where(even, images, blurred))


def _blurred(images: Tensor) -> Tensor:
    """Gaussian blur with a deviation of an eighth of the shorter side, reaching three of them."""
    from torchvision.transforms.functional import gaussian_blur  # half a second's import, needed only here

    side = min(_size(images))
    sigma = side / 8
    reach = min(math.ceil(3 * sigma), side - 1)  # reflection reaches no further than the picture
    return gaussian_blur(images, [2 * reach + 1] * 2, [sigma] * 2)


def _equal(images: Tensor, other: Tensor) -> Tensor:
    """(N,) bool: which images equal `other` in every pixel."""
    return (images == other).flatten(1).all(dim=1)


def _blank(values: Tensor, images: Tensor) -> Tensor:
    """Maps with 0 for those (N,) images of which nothing else can be said: batches of other sizes round otherwise."""
    return values.masked_fill(images.view(-1, 1, 1, 1), 0.0)


def _size(images: Tensor) -> tuple[int, int]:
    height, width = images.shape[-2:]
    return height, width
