"""Attribute what a network said to the pixels of a picture: Captum's methods behind one call.

    attribute(model, images, target=3, method="integrated_gradients", steps=64)

An attribution is signed: positive where a pixel speaks for the target, negative where it speaks against; a
gradient (Saliency, SmoothGrad) says instead whether a brighter pixel would raise the target or lower it. The
gradient runs through the factors ``f = 1 + tanh(W c + B α)`` too, so that what a pixel does by way of the gates
counts; with factors frozen by a hook it does not.

DeepLift and LRP are not offered. Both hand relevance back layer by layer, and Captum's rules are for layers
with one variable input; in ``f ⊙ Conv(x)`` both sides depend on the picture. Rules for products exist, and
have to choose how much of it each side gets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from abn.common.devices import images_at_once
from abn.common.memory import in_parts_that_fit
from abn.interpret.attribution.captum_methods import Map
from abn.interpret.attribution.methods import METHODS, Method, Option, Value, find_method
from abn.interpret.attribution.targets import ClassOfEach, Goal, Score, as_target
from abn.interpret.inspection import require_evaluation_mode
from abn.models.modulation import Hook
from abn.models.resnet import ResNet

__all__ = ["METHODS", "Attribution", "Method", "Option", "attribute"]


@dataclass(frozen=True, eq=False)
class Attribution:
    """N signed maps.

    Attributes:
        values: (N, 3, H, W), on the images' device, in the unit that `METHODS[method].unit` names.
            (N, 1, H, W) for Grad-CAM and Occlusion, which have one value for all colours.
        method: its name in `METHODS`.
        resolution: (h, w) that the method itself resolves: of the stage for Grad-CAM, the places of the
            window for Occlusion, otherwise the picture's.
        convergence_delta: (N,), of Integrated Gradients: the sum of its values minus the difference
            between the target at the picture and at the baseline. None for the others.
        problems: for each image None, or why its map says nothing: zero everywhere, or not finite.
        options: every option in force, the defaults too.
    """

    values: Tensor
    method: str
    resolution: tuple[int, int]
    convergence_delta: Tensor | None
    problems: tuple[str | None, ...]
    options: Mapping[str, Value] = field(default_factory=dict)

    def pixel_map(self) -> Tensor:
        """(N, H, W) the signed sum over the colours: one number a pixel."""
        return self.values.sum(dim=1)

    def on_cpu(self) -> Attribution:
        """The same with its tensors on the CPU."""
        delta = self.convergence_delta
        return replace(self, values=self.values.cpu(), convergence_delta=None if delta is None else delta.cpu())


def attribute(
    model: ResNet,
    images: Tensor,
    target: Goal,
    method: str,
    hook: Hook | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    **options: Value,
) -> Attribution:
    """Attribute a class, one class against another, a factor or a gate to the pixels.

    Nothing is changed: not the network, its gradients or buffers, not `images`, not a random generator.
    Any number of threads may share a network. The same call gives the same map; an image gets the same
    one, but for rounding (which can switch a ReLU that is all but zero), alone and in a batch. On a GPU,
    cuDNN's backward pass may round differently from run to run.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) floating, normalised as the network's checkpoint says, on its device.
        target: a class index; a tuple (a, b) for the logit of a minus that of b; a list, tensor or array (N,) of one
            class an image; or a function (logits (N, num_classes), modulations by block name) → (N,) of any other
            number an image, such as a factor (`abn.interpret.attribution.targets.Target`).
        method: a name in `METHODS`.
        hook: an intervention under which the network runs (`abn.interpret.interventions`). It is asked about the
            N images together, as often as the method needs; without one, large batches are split, and
            split again where the device's memory runs out.
        progress: called with the share done, 0 to 1, by the thread that computes. Raise from it to stop.
        options: of the method, as `METHODS[method].options` lists them.

    Raises:
        ValueError: for a network in training mode, images of another shape, kind or device than it
            takes, a class it does not have, a method or option that does not exist, or a value out of
            range.
        DeviceMemoryError: where the device's memory is full even for the smallest batch.
    """
    require_evaluation_mode(model)
    _require_images(images, model)
    chosen = find_method(method)
    settings = chosen.complete(options)
    goal = as_target(target, model, len(images))
    model = _without_inference_tensors(model)

    def run(start: int, per_pass: int) -> tuple[Map, tuple[str | None, ...]]:
        # Colours innermost: convolutions are faster so, forward and back. Every method keeps it.
        leaf = images[start : start + per_pass].detach().clone(memory_format=torch.channels_last).requires_grad_()
        report = _share(progress, start, len(leaf), len(images))
        here = goal.rows(slice(start, start + len(leaf))) if isinstance(goal, ClassOfEach) else goal
        part = chosen.run(Score(model, here, hook, len(leaf), report, per_pass=per_pass), leaf, settings)
        return part, _problems(part, Score(model, here, hook, len(leaf), per_pass=per_pass), leaf.detach())

    per_pass, smallest = images_at_once(images.device, otherwise=128), 1
    if hook is not None:  # it is meant for these N together
        per_pass, smallest = max(per_pass, len(images)), len(images)
    # Gradients even where the caller has switched them off, and without a caller's autocast.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(images.device.type, enabled=False),
    ):
        parts = in_parts_that_fit(run, len(images), per_pass, images.device, smallest)
    if progress is not None:
        progress(1.0)
    deltas = [part.convergence_delta for part, _ in parts if part.convergence_delta is not None]
    return Attribution(
        torch.cat([part.values for part, _ in parts]).detach(),
        chosen.name,
        parts[0][0].resolution,
        torch.cat(deltas).detach() if deltas else None,
        tuple(problem for _, problems in parts for problem in problems),
        settings,
    )


def _without_inference_tensors(model: ResNet) -> ResNet:
    """The network, or a copy of one made under `torch.inference_mode`, whose weights take part in no gradient."""
    if not any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        return model
    with torch.inference_mode(False), torch.no_grad():
        copied = copy.deepcopy(model)
        for module in copied.modules():
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, torch.nn.Parameter(parameter.clone(), parameter.requires_grad))
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.clone())
    return copied


def _require_images(images: Tensor, model: ResNet) -> None:
    if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (N, 3, H, W) with N at least 1")
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; normalise them first, with abn.common.data.normalise")
    weight = next(model.parameters(), None)
    if weight is None:
        return
    if (images.device, images.dtype) != (weight.device, weight.dtype):
        raise ValueError(
            f"images are {images.dtype} on {images.device}, the network is {weight.dtype} on "
            f"{weight.device}; move one to the other"
        )


def _share(
    progress: Callable[[float], None] | None, start: int, count: int, total: int
) -> Callable[[float], None] | None:
    """Progress within `count` of `total` images, the first of which is number `start`."""
    if progress is None:
        return None
    return lambda done: progress((start + done * count) / total)


def _problems(found: Map, score: Score, images: Tensor) -> tuple[str | None, ...]:
    """For each image why its map says nothing, or None."""
    flat = found.values.detach().flatten(1)
    finite, blank = flat.isfinite().all(dim=1), (flat == 0).all(dim=1)
    if found.convergence_delta is not None:
        finite &= found.convergence_delta.isfinite()
    if finite.all() and not blank.any():
        return (None,) * len(images)
    target = None
    if not finite.all():
        with torch.no_grad():
            target = score(images)
    problems: list[str | None] = []
    for i in range(len(images)):
        if not finite[i]:
            problems.append(f"the map is not finite: {_why_not_finite(images[i], target[i])}")
        elif blank[i]:
            explained = found.explained is not None and found.explained[i]
            problems.append(f"the map is blank: {found.explanation if explained else found.otherwise}")
        else:
            problems.append(None)
    return tuple(problems)


def _why_not_finite(image: Tensor, target: Tensor) -> str:
    if not image.isfinite().all():
        return "the picture itself holds a value that is not finite"
    if not target.isfinite():
        return f"the target is {target.item()}, by weights or factors that are not finite or overflow"
    return (
        "the target is finite, but its gradient is not, or the target of a picture that the method "
        "compares this one with: numbers overflow on the way"
    )
