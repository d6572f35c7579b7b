"""The attribution methods on offer: their names, what they show, what they cost, what can be set.

The one source for the page, the API and the checks: `METHODS` by name.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
from torch import Tensor

from abn.interpret.attribution import captum_methods
from abn.interpret.attribution.captum_methods import Map, Options
from abn.interpret.attribution.targets import Score

Value = int | float | bool | str
FORWARD = 1 / 3  # a pass without gradients, as a share of one forward and back
LOGIT, GRADIENT = "logit", "logit per unit of normalised pixel"


@dataclass(frozen=True)
class Option:
    """One setting of a method.

    Attributes:
        default: used where the caller says nothing.
        description: for people, with the unit.
        choices: of a "choice".
        minimum: of a number, inclusive.
        maximum: of a number, inclusive.
    """

    name: str
    kind: Literal["int", "float", "bool", "choice"]
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def check(self, value: Value) -> Value:
        """The value as the method takes it.

        Whole numbers are taken as floats too (32.0): sliders and JSON send them.

        Raises:
            ValueError: for another kind of value, or one out of range.
        """
        checked = {"int": _whole, "float": _number, "bool": _truth, "choice": _text}[self.kind](value)
        allowed = checked is not None and (
            checked in self.choices
            if self.kind == "choice"
            else self.kind == "bool" or self.minimum <= checked <= self.maximum
        )
        if not allowed:
            raise ValueError(f"{self.name} is {value!r}; expected {self.expected}")
        return checked

    @property
    def expected(self) -> str:
        """What it takes, in words: "a whole number from 1 to 512"."""
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "bool":
            return "True or False"
        noun = "a whole number" if self.kind == "int" else "a number"
        return f"{noun} from {self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class Method:
    """One attribution method.

    Attributes:
        name: as `attribute` takes it.
        label: as people call it.
        description: what it shows, and what it does not.
        unit: of the map's values, in at most 38 letters.
        slow: whether it takes tens of passes, so that a page says so beforehand.
        options: in the order in which a page shows them.
        run: computes the map.
        passes: (options, height, width) → forward-and-backward passes an image.
        adds_up: whether the values are shares, so that a region has their sum; else it has their mean.
        coarse: what a map is that resolves {height} × {width} and not every pixel.
    """

    name: str
    label: str
    description: str
    unit: str
    slow: bool
    options: tuple[Option, ...]
    run: Callable[[Score, Tensor, Options], Map]
    passes: Callable[[Options, int, int], float]
    adds_up: bool = False
    coarse: str = ""

    def complete(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Every option's value: those given, checked, and the defaults.

        Raises:
            ValueError: for an option the method does not have, or a value it does not take.
        """
        names = [option.name for option in self.options]
        for name in given:
            if name not in names:
                listed = f"its options are {', '.join(names)}" if names else "it has none"
                raise ValueError(f"{self.name} has no option {name!r}; {listed}")
        return {
            option.name: option.check(given[option.name]) if option.name in given else option.default
            for option in self.options
        }

    def cost(self, height: int = 32, width: int = 32, **options: Value) -> float:
        """Forward-and-backward passes an image, about; a forward pass alone counts a third.

        Raises:
            ValueError: as for `attribute`.
        """
        return self.passes(self.complete(options), height, width)


def find_method(name: str) -> Method:
    """
    Raises:
        ValueError: for a name that is not in `METHODS`; it lists what is.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"there is no attribution method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]


def _whole(value: Value) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float | np.floating) and value.is_integer():
        return int(value)
    try:
        return operator.index(value)
    except TypeError:
        return None


def _number(value: Value) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return None
    return float(value)


def _truth(value: Value) -> bool | None:
    return bool(value) if isinstance(value, bool | np.bool_) else None


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _occlusion_passes(options: Options, height: int, width: int) -> float:
    rows, columns = captum_methods.window_positions(height, width, options["window"], options["stride"])
    return FORWARD * (rows * columns + 1)


_METHODS = (
    Method(
        name="saliency",
        label="Saliency",
        description=(
            "The gradient: how fast the target would rise if a pixel became a little brighter. It says what "
            "the answer is sensitive to, not what it rests on; what a pixel's colours say against each other cancels."
        ),
        unit=GRADIENT,
        slow=False,
        options=(),
        run=captum_methods.saliency,
        passes=lambda options, height, width: 1.0,
    ),
    Method(
        name="input_x_gradient",
        label="Input × gradient",
        description=(
            "The gradient times the normalised pixel: a first guess at each pixel's share. Pixels of the data "
            "set's mean colour get 0 by definition, and the shares need not add up to the target."
        ),
        unit=LOGIT,
        slow=False,
        options=(),
        run=captum_methods.input_x_gradient,
        passes=lambda options, height, width: 1.0,
        adds_up=True,
    ),
    Method(
        name="integrated_gradients",
        label="Integrated Gradients",
        description=(
            "Each pixel's share of the difference between the picture's target and a baseline's; the shares add "
            "up to it, but for the convergence delta. It depends on the baseline: what equals it gets 0."
        ),
        unit=LOGIT,
        slow=True,
        options=(
            Option("steps", "int", 32, "Points on the path from the baseline.", minimum=1, maximum=512),
            Option(
                "baseline",
                "choice",
                "black",
                "The picture that stands for nothing to see: black, the data set's mean colour, or the "
                "picture itself, blurred.",
                ("black", "mean", "blurred"),
            ),
        ),
        run=captum_methods.integrated_gradients,
        passes=lambda options, height, width: options["steps"] + 2 * FORWARD,
        adds_up=True,
    ),
    Method(
        name="smoothgrad",
        label="SmoothGrad",
        description=(
            "The gradient averaged over noisy copies of the picture, which is less grainy. It describes the "
            "picture's neighbourhood rather than the picture, and not what the answer rests on."
        ),
        unit=GRADIENT,
        slow=True,
        options=(
            Option("samples", "int", 24, "Noisy copies.", minimum=1, maximum=512),
            Option(
                "noise_level",
                "float",
                0.15,
                "Standard deviation of the noise, as a share of the range between the picture's smallest "
                "and largest normalised value.",
                minimum=0.0,
                maximum=1.0,
            ),
            Option("seed", "int", 0, "Of the noise.", minimum=0, maximum=2**31 - 1),
        ),
        run=captum_methods.smoothgrad,
        passes=lambda options, height, width: float(options["samples"]),
    ),
    Method(
        name="grad_cam",
        label="Grad-CAM",
        description=(
            "Where a stage's channels that speak for the target are active. It is as coarse as that stage, one "
            "value for all colours, and with its ReLU silent about what speaks against the target."
        ),
        unit="activation × mean gradient (logit)",
        slow=False,
        options=(
            Option(
                "stage",
                "choice",
                "layer3",
                "The stage whose output is read; 32 × 32 pixels become 32 × 32, 16 × 16 and 8 × 8.",
                ("layer1", "layer2", "layer3"),
            ),
            Option(
                "relu",
                "bool",
                True,
                "Keep only what speaks for the target, as published; off keeps the sign.",
            ),
        ),
        run=captum_methods.grad_cam,
        passes=lambda options, height, width: 1.0,
        coarse="the map's own resolution is {height} × {width}, enlarged",
    ),
    Method(
        name="occlusion",
        label="Occlusion",
        description=(
            "How much the target falls when a square is covered, averaged over the squares that cover a pixel. "
            "A covered picture is unlike any the network was trained on, and parts that stand in for each "
            "other show nothing."
        ),
        unit=LOGIT,
        slow=True,
        options=(
            Option("window", "int", 8, "Side of the square, in pixels.", minimum=1, maximum=32),
            Option(
                "stride",
                "int",
                4,
                "Step of the square, in pixels; at most the window.",
                minimum=1,
                maximum=32,
            ),
            Option(
                "fill",
                "choice",
                "mean",
                "Colour of the square: the data set's mean, or black.",
                ("mean", "black"),
            ),
        ),
        run=captum_methods.occlusion,
        passes=_occlusion_passes,
        coarse="the square stood at {height} × {width} places",
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _METHODS}
DEFAULT_METHOD = "saliency"


def named_options(methods: Mapping[str, Method] = METHODS) -> dict[str, tuple[str, Option]]:
    """Every option of every method under a name of its own: in links, and as a parameter of the API.

    An option has the plain name that its method gives it; where an earlier method has one of that name, the later
    method's comes first: "stage", then "layer_cam_stage".

    Returns:
        name → (its method's name, the option), in the methods' order.
    """
    found: dict[str, tuple[str, Option]] = {}
    for method in methods.values():
        for option in method.options:
            name = f"{method.name}_{option.name}" if option.name in found else option.name
            found[name] = (method.name, option)
    return found
