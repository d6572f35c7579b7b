"""The architectures there are: the one place where one is added.

    register(Architecture("mine", build_mine, "Mine", about="…"))

From then on it can be trained, saved, loaded, looked into and shown beside any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from abn.models.resnet import ResNet


def _later(module: str, name: str) -> Callable[..., Any]:
    """A function of `abn.models.<module>` that is imported when called: labels are read without torch."""

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module(f"abn.models.{module}"), name)(*arguments, **named)

    call.__name__ = name
    return call


def every_parameter(model: nn.Module) -> list[dict]:
    """One group with the recipe's own settings, as the paper has it."""
    return [{"params": list(model.parameters())}]


@dataclass(frozen=True)
class Architecture:
    """A network that can be built from what a checkpoint's `config.json` says.

    Attributes:
        name: in files and on the command line; `model.architecture` of what `build` makes.
        build: (num_classes, and by name `num_biases` where `takes_num_biases`, and `options`) → the network, with
            freshly initialised weights. Raises ValueError for values it cannot take.
        label: for people.
        about: a sentence for the model card: what is modulated, and by what.
        modulated: whether it has factors that vary between images.
        has_bank: whether it mixes them from a bank of biases, by gate weights.
        takes_num_biases: whether the number of vectors in the bank can be chosen.
        options: what else `build` takes and `model.options` says, by name and type; stored with a checkpoint.
        parameter_groups: its parameters as an optimiser takes them; a group's `weight_decay` and `lr_scale` (a
            multiple of the recipe's rate) stand for the recipe's in that group.
        is_arm: whether the experiment trains it: an arm more is a planned contrast more.
    """

    name: str
    build: Callable[..., ResNet]
    label: str
    about: str = "Its channels are modulated."
    modulated: bool = True
    has_bank: bool = False
    takes_num_biases: bool = False
    options: Mapping[str, type] = field(default_factory=dict)
    parameter_groups: Callable[[nn.Module], list[dict]] = every_parameter
    is_arm: bool = False


ARCHITECTURES: dict[str, Architecture] = {}
"""By name, in the order in which people are shown them."""


def register(architecture: Architecture) -> None:
    """Add an architecture.

    Raises:
        ValueError: for a name that is taken.
    """
    if architecture.name in ARCHITECTURES:
        raise ValueError(f"there is an architecture {architecture.name!r} already; choose another name")
    ARCHITECTURES[architecture.name] = architecture


def label_of(name: str) -> str:
    """An architecture's name for people; the name itself where it is not known here."""
    return ARCHITECTURES[name].label if name in ARCHITECTURES else name


def arms() -> dict[str, Architecture]:
    """Those that the experiment trains, the paper's two first."""
    return {name: each for name, each in ARCHITECTURES.items() if each.is_arm}


register(
    Architecture(
        "resnet-s",
        _later("resnet", "resnet_s"),
        "ResNet-S",
        "A static network: no channel is modulated.",
        modulated=False,
        is_arm=True,
    )
)
register(
    Architecture(
        "resnet-dmb", _later("resnet", "resnet_dmb"), "ResNet-DMB",
        "The second convolution of every block is modulated from a bank of {num_biases} bias vectors.",
        has_bank=True, takes_num_biases=True, is_arm=True,
    )
)  # fmt: skip
register(
    Architecture(
        "bank-only", _later("variants", "bank_only"), "Bank only",
        "The second convolution of every block is modulated from a bank of {num_biases} bias vectors alone, without "
        "a linear term.",
        has_bank=True, takes_num_biases=True, is_arm=True,
    )
)  # fmt: skip
register(
    Architecture(
        "no-gates", _later("variants", "no_gates"), "No gates",
        "The second convolution of every block is modulated by a linear term and a static bias.",
        has_bank=True, is_arm=True,
    )
)  # fmt: skip
register(
    Architecture(
        "se", _later("variants", "se"), "SE",
        "The second convolution of every block is modulated by squeeze-and-excitation.", is_arm=True,
    )
)  # fmt: skip
register(
    Architecture(
        # The smallest change that `abn awaken` tried under which the bank is used after a hundred steps.
        "awake", partial(_later("variants", "awake"), temperature=0.1), "Awake",
        "The second convolution of every block is modulated from a bank of {num_biases} bias vectors, whose gates "
        "see a standardised input.",
        has_bank=True, takes_num_biases=True, options={"standardise": bool, "temperature": float},
        parameter_groups=partial(_later("variants", "gate_parameters_apart"), lr_scale=10.0), is_arm=True,
    )
)  # fmt: skip
