"""The controls of the attribution methods: each option's component goes to its own method."""

from dataclasses import replace

import gradio as gr
import pytest

from abn.interpret.attribution.methods import METHODS, Option, named_options
from abn.ui.page import link
from abn.ui.tabs import attribution_controls

STAGE = Option("stage", "choice", "layer1", "The stage.", ("layer1", "layer2"))


@pytest.fixture
def methods():
    """Those there are, and one more with an option that Grad-CAM has under the same name."""
    twin = replace(METHODS["grad_cam"], name="twin", label="Twin", options=(STAGE,))
    return METHODS | {"twin": twin}


@pytest.fixture
def controls(methods):
    with gr.Blocks():
        return attribution_controls.build(methods, ("cat", "dog"), "ResNet-DMB")


def values(controls, method, **changed):
    """What the components send, in their order, with some options changed."""
    options = {name: component.value for name, component in controls.options.items()} | changed
    return [attribution_controls.PREDICTED, "dog", method, *options.values()]


def test_options_of_one_name_have_names_of_their_own(methods):
    named = named_options(methods)
    assert named["stage"] == ("grad_cam", METHODS["grad_cam"].options[0])
    assert named["twin_stage"] == ("twin", STAGE)
    assert list(named)[:2] == ["steps", "baseline"]
    assert len(named) == sum(len(method.options) for method in methods.values())


def test_every_option_has_a_component_of_its_own_which_its_method_reads(controls):
    assert len(set(controls.components)) == len(controls.components) == 3 + len(named_options(controls.methods))
    sent = {"stage": "layer3", "twin_stage": "layer2"}
    assert controls.read(values(controls, "grad_cam", **sent)) == (
        None, "dog", "grad_cam", {"stage": "layer3", "relu": True}
    )  # fmt: skip
    assert controls.read(values(controls, "twin", **sent)) == (None, "dog", "twin", {"stage": "layer2"})
    assert controls.read(values(controls, "saliency", **sent))[3] == {}


def test_a_link_sets_the_option_that_it_names(controls, methods):
    for name, text, expected in (("stage", "layer3", "layer3"), ("twin_stage", "layer2", "layer2")):
        assert link.parse(controls.options[name], named_options(methods)[name][1], text) == expected
    with pytest.raises(ValueError, match="layer3"):
        link.parse(controls.options["twin_stage"], STAGE, "layer3")
