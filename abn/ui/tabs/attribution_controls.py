"""Target, method and the method's options: one set of components, for the page and for the API alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from abn.interpret.attribution.methods import DEFAULT_METHOD, Method, Option, named_options
from abn.ui.events import HIDDEN
from abn.ui.page.shown import Compared, Refit
from abn.ui.tabs.whole_number import WholeNumber

SLOW_QUEUE = "slow"  # what may take long, on the page and by API, shares a few places; the fast never waits for it
PREDICTED = "(what it says itself)"
NO_OTHER = "(no other class)"


@dataclass(frozen=True)
class AttributionControls:
    """The components, in the order in which `read` takes their values.

    Attributes:
        options: by the names of `named_options`, which tell two methods' options of one name apart.
        groups: by method.
    """

    methods: Mapping[str, Method]
    target: gr.Dropdown
    against: gr.Dropdown
    method: gr.Dropdown
    options: dict[str, Component]
    groups: dict[str, gr.Group]

    @property
    def components(self) -> list[Component]:
        return [self.target, self.against, self.method, *self.options.values()]

    def read(self, values: Sequence[Any]) -> tuple[str | None, str | None, str, dict[str, Any]]:
        """Component values → target and other class (None where left open), method, its own options."""
        target, against, method, *rest = values
        if not isinstance(method, str) or method not in self.methods:
            raise ValueError(f"there is no attribution method {method!r}; there are {', '.join(self.methods)}")
        given = dict(zip(self.options, rest, strict=True))
        options = {
            option.name: given[name]
            for name, (whose, option) in named_options(self.methods).items()
            if whose == method
        }
        return (
            (None if target == PREDICTED else target),
            (None if against == NO_OTHER else against),
            method,
            options,
        )


def build(methods: Mapping[str, Method], class_names: Sequence[str], whose: str) -> AttributionControls:
    """Add the components; only the chosen method's options are in sight.

    Args:
        whose: label of the network whose answer is the target where none is chosen.
    """
    targets, others = _class_choices(class_names, whose)
    target = gr.Dropdown(targets, value=PREDICTED, label="Target class", elem_id="target")
    against = gr.Dropdown(others, value=NO_OTHER, label="Against", elem_id="against")
    method = gr.Dropdown(
        [(each.label + (" (slow)" if each.slow else ""), name) for name, each in methods.items()],
        value=DEFAULT_METHOD, label="Attribution method", info=methods[DEFAULT_METHOD].description, elem_id="method",
    )  # fmt: skip
    keyed = named_options(methods)
    options: dict[str, Component] = {}
    groups: dict[str, gr.Group] = {}
    for name, each in methods.items():
        if each.options:
            with gr.Group(visible=name == DEFAULT_METHOD) as groups[name]:
                options |= {key: _component(option) for key, (whose, option) in keyed.items() if whose == name}

    def show_options(chosen: str) -> list[Any]:
        info = gr.Dropdown(info=methods[chosen].description)
        return [info, *(gr.Group(visible=name == chosen) for name in groups)]

    method.change(show_options, method, [method, *groups.values()], **HIDDEN)
    return AttributionControls(methods, target, against, method, options, groups)


def refit(controls: AttributionControls) -> Refit:
    """The classes to choose from follow the networks; a choice is taken back."""

    def update(compared: Compared) -> list[Any]:
        targets, others = _class_choices(compared.class_names, compared.labels[1])
        return [gr.Dropdown(targets, value=PREDICTED), gr.Dropdown(others, value=NO_OTHER)]

    return Refit((controls.target, controls.against), update)


def _class_choices(class_names: Sequence[str], whose: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    names = [(name, name) for name in class_names]
    return [(f"what {whose if len(whose) < 16 else 'the right one'} says", PREDICTED), *names], [
        ("no other class", NO_OTHER),
        *names,
    ]


def _component(option: Option) -> Component:
    label = option.name.replace("_", " ").capitalize()
    shared = {"value": option.default, "label": label, "info": option.description}
    if option.kind == "choice":
        return gr.Dropdown(list(option.choices), **shared)
    if option.kind == "bool":
        return gr.Checkbox(**shared)
    limits = {"minimum": option.minimum, "maximum": option.maximum}
    return WholeNumber(precision=0, **limits, **shared) if option.kind == "int" else gr.Number(**limits, **shared)
