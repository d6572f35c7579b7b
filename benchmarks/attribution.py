"""What each attribution method costs, in passes forward and back, and against the libraries that offer it.

    python -m benchmarks.attribution [--device auto] [--batches 1 32] [--rounds 5] [--methods saliency …]

Grad-CAM is compared with pytorch-grad-cam (`pip install grad-cam`; left out, and said so, where it is missing), the
others with Captum, on the same network and pictures: used plainly, with its defaults, and told to take 32 images at
once. By default Occlusion takes one at a time, and the others all at once: left out where that is over 128, which
fills a memory. In a round all take turns. The maps must be the same: the largest difference is printed, as a share of
the largest value of ours.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from importlib.util import find_spec

import captum
import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Occlusion, Saliency
from torch import Tensor

from abn.checkpoints.network import DMB
from abn.checkpoints.store import load_checkpoint
from abn.common.data import normalise, to_pixels
from abn.common.devices import describe_hardware
from abn.interpret.attribution.attribute import METHODS, attribute
from abn.models.resnet import ResNet
from benchmarks.options import device_and_counts
from benchmarks.timing import interleaved, ratio

TARGET = 8
AT_ONCE, MOST_AT_ONCE = 32, 128
STRIDE = 4  # pixels from one cell of the last stage to the next
Plain = Callable[[], Tensor]


def pictures(count: int, device: torch.device, model: ResNet) -> Tensor:
    """(count, 3, 32, 32) normalised, of coloured squares."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    pixels = to_pixels(coarse.repeat(8, axis=1).repeat(8, axis=2)).to(device)
    return normalise(pixels, model.info.mean, model.info.std)


def forward_and_back(model: ResNet, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[:, TARGET].sum(), leaf)[0]


def by_captum(method: str, model: ResNet, images: Tensor, *, plainly: bool) -> Plain | None:
    """The method as Captum's manual has it, with our options' values.

    Args:
        plainly: with Captum's own idea of how many images it takes at once, not `AT_ONCE`.

    Returns:
        None where that idea is all of too many.
    """
    options = METHODS[method].complete({})
    n = len(images)
    if plainly and n * options.get("steps", options.get("samples", 1)) > MOST_AT_ONCE:
        return None
    if method == "saliency":
        return lambda: Saliency(model).attribute(images.clone().requires_grad_(), target=TARGET, abs=False)
    if method == "input_x_gradient":
        return lambda: InputXGradient(model).attribute(images.clone().requires_grad_(), target=TARGET)
    if method == "integrated_gradients":
        black = normalise(torch.zeros_like(images), model.info.mean, model.info.std)
        at_once = {} if plainly else {"internal_batch_size": max(n, AT_ONCE)}
        return lambda: IntegratedGradients(model).attribute(
            images, baselines=black, target=TARGET, n_steps=options["steps"], return_convergence_delta=True, **at_once
        )[0]
    if method == "smoothgrad":
        deviation = options["noise_level"] * (images.max() - images.min()).item()
        at_once = {} if plainly else {"nt_samples_batch_size": max(1, AT_ONCE // n)}
        return lambda: NoiseTunnel(Saliency(model)).attribute(
            images.clone().requires_grad_(), nt_type="smoothgrad", nt_samples=options["samples"], stdevs=deviation,
            target=TARGET, abs=False, **at_once,
        )  # fmt: skip
    if method == "occlusion":
        window, stride = options["window"], options["stride"]
        at_once = {} if plainly else {"perturbations_per_eval": max(1, AT_ONCE // n)}
        return lambda: Occlusion(model).attribute(
            images, sliding_window_shapes=(3, window, window), strides=(3, stride, stride), target=TARGET,
            baselines=0, **at_once,
        )[:, :1]  # fmt: skip
    raise ValueError(f"{method} is not compared with Captum")


def by_grad_cam(model: ResNet, images: Tensor) -> Plain | None:
    """pytorch-grad-cam on the last stage, or None where it is not installed."""
    if find_spec("pytorch_grad_cam") is None:
        return None
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(TARGET)] * len(images)

    def run() -> Tensor:
        with GradCAM(model=model, target_layers=[model.layer3[-1]]) as cam:
            return torch.from_numpy(cam(input_tensor=images, targets=targets))[:, None]

    return run


def to_unit(maps: Tensor) -> Tensor:
    """Each map stretched to 0…1, which is all that pytorch-grad-cam returns."""
    low, high = (extreme(maps.flatten(1), 1).view(-1, 1, 1, 1) for extreme in (torch.amin, torch.amax))
    return (maps - low) / (high - low).clamp_min(1e-12)


def distance(method: str, ours: Tensor, theirs: Tensor) -> str:
    if method == "smoothgrad":
        return "other noise"  # Captum's comes from the global generator
    if method == "grad_cam":  # the stage's own cells, enlarged as pytorch-grad-cam does it
        cells = ours[..., ::STRIDE, ::STRIDE]
        ours = to_unit(F.interpolate(cells, scale_factor=STRIDE, mode="bilinear"))
    return f"{((ours.cpu() - theirs.cpu()).abs().max() / ours.abs().max().cpu()).item():.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attribution", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--checkpoint", default=str(DMB))
    args = parser.parse_args()
    device = device_and_counts(parser, args, "batches", "rounds")
    model = load_checkpoint(args.checkpoint).to(device).eval()
    print(
        f"{describe_hardware(device)}, torch {torch.__version__}, captum {captum.__version__}; {model.architecture}, "
        f"{args.rounds} rounds"
    )
    print("| batch | method | passes forward and back | expected | plainly / ours | 32 at once / ours | difference |")
    print("|---|---|---|---|---|---|---|")
    for batch in args.batches:
        images = pictures(batch, device, model)
        for name in args.methods:
            if name == "grad_cam":
                theirs = {"plainly": by_grad_cam(model, images), "32 at once": None}
            else:
                theirs = {
                    how: by_captum(name, model, images, plainly=how == "plainly") for how in ("plainly", "32 at once")
                }
            there = {how: run for how, run in theirs.items() if run is not None}
            candidates: dict[str, Callable[[], object]] = {
                "pass": lambda images=images: forward_and_back(model, images),
                "ours": lambda images=images, name=name: attribute(model, images, TARGET, name),
                **there,
            }
            seconds = interleaved(candidates, args.rounds, device, rotate=True)
            cost = statistics.median(seconds["ours"]) / statistics.median(seconds["pass"])
            against = [f"{ratio(seconds[how], seconds['ours']):.2f}" if how in there else "–" for how in theirs]
            ours = attribute(model, images, TARGET, name).values
            off = [distance(name, ours, run().detach()) for run in list(there.values())[:1]] or ["–"]
            row = [str(batch), name, f"{cost:.2f}", f"{METHODS[name].cost():.2f}", *against, *off]
            print(f"| {' | '.join(row)} |", flush=True)
    if find_spec("pytorch_grad_cam") is None:
        print("Grad-CAM is compared with nothing: pip install grad-cam")


if __name__ == "__main__":
    main()
