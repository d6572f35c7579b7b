"""The named endpoints: what the page computes, for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import gradio as gr

from abn.app.inspector import changes
from abn.app.inspector.changes import Change
from abn.app.inspector.inspector import Inspector
from abn.app.pictures.fitting import FITS, fit
from abn.app.pictures.formats import ACCEPTED
from abn.interpret.attribution.methods import named_options
from abn.ui.edge import as_gradio_error, refuse
from abn.ui.page.picture_input import PictureInput
from abn.ui.tabs import attribution_controls
from abn.ui.tabs.whole_number import WholeNumber

IMAGE = f"The picture: {ACCEPTED} of at most 20 MB, uploaded or as a base64 data: address."
EVERY_BLOCK = "(every block)"


def add_endpoints(own: Inspector) -> None:
    """Add `/inspect`, `/attribute` and `/intervene`, behind components that no visitor sees."""
    whose = own.dmb.label
    with gr.Row(visible=False):
        image = PictureInput(label="image")
        mode = gr.Radio(list(FITS), value="crop", label="fit")
        controls = attribution_controls.build(own.methods, own.class_names, whose)
        change = _change_controls(own)
        answer = gr.JSON(label="result")
        inspect_button, attribute_button, intervene_button = gr.Button(), gr.Button(), gr.Button()

    @as_gradio_error
    def inspect_picture(image, fit_mode="crop") -> dict[str, Any]:
        fitted = fit(required(image), fit_mode)
        return {"picture": picture(fitted)} | own.inspect(fitted.pixels).as_dict()

    @as_gradio_error
    def attribute_picture(image, fit_mode, *values) -> dict[str, Any]:
        fitted = fit(required(image), fit_mode)
        target, against, method, options = controls.read(values)
        if target is None:
            target = own.inspect(fitted.pixels).dmb.predicted_name
        pair = own.attribute(fitted.pixels, target, against, method, options)
        return {"picture": picture(fitted), "options": options} | pair.as_dict()

    @as_gradio_error
    def intervene_on_picture(image, fit_mode, block, *values) -> dict[str, Any]:
        fitted = fit(required(image), fit_mode)
        wanted = Change(None if block == EVERY_BLOCK else block, *values)
        return {"picture": picture(fitted), "network": whose} | own.intervene(fitted.pixels, wanted).as_dict()

    def required(image):
        if image is None:
            raise refuse("No picture was sent: upload one as `image`.")
        return image

    def picture(fitted) -> dict[str, Any]:
        return {"size": list(fitted.original_size), "used": list(fitted.box), "fit": fitted.mode}

    common = {"image": IMAGE, "fit_mode": "crop uses the centre square, pad the whole picture between black bars."}
    chosen = {
        "target": f"The class to attribute; {attribution_controls.PREDICTED} for what {whose} predicts.",
        "against": f"A class whose logit is subtracted; {attribution_controls.NO_OTHER} for none.",
        "method": "The attribution method; each ignores the options of the others.",
    }
    of_methods = {
        name: f"Of {whose_option}. {option.description}"
        for name, (whose_option, option) in named_options(own.methods).items()
    }
    changed = {
        "block": f"The block to change; {EVERY_BLOCK} for all of them.",
        "gates": "; ".join(f"{name}: {does}" for name, does in changes.GATES.items()) + ".",
        "strength": f"s in 1 + s·tanh(m), after the gates, from 0 to {changes.STRONGEST:g}: 0 removes the "
        "modulation, 1 leaves it.",
        "vector": f"The bias vector of '{changes.ONE_VECTOR}', from 0 to {(own.dmb.model.num_biases or 1) - 1}.",
        "channel": "A channel of the block, from 0, which gets the factor, last of all.",
        "factor": f"That channel's factor in place of its own, from 0 to {changes.LARGEST_FACTOR:g}: 1 takes its "
        "modulation away, 0 silences its convolution.",
    }
    _name_parameters(inspect_picture, common)
    _name_parameters(attribute_picture, common | chosen | of_methods)
    _name_parameters(intervene_on_picture, common | changed, optional=("vector", "channel", "factor"))
    inspect_button.click(
        inspect_picture, [image, mode], answer, api_name="inspect",
        api_description="Classify a picture with both networks. Returns, for each, the raw softmax by class name and "
        "every block's factors and responses; for a modulated network also gate weights, linear and bias terms.",
    )  # fmt: skip
    attribute_button.click(
        attribute_picture, [image, mode, *controls.components], answer, api_name="attribute",
        concurrency_limit=2, concurrency_id=attribution_controls.SLOW_QUEUE,
        api_description="Attribute a class to the pixels of a picture, for both networks. Returns 32 × 32 signed "
        "maps. Options of other methods than the chosen one are ignored, but have to be within their ranges.",
    )  # fmt: skip
    intervene_button.click(
        intervene_on_picture, [image, mode, *change], answer, api_name="intervene",
        api_description=f"Change gates or factors of {whose} for one picture, and see what it says then. Returns its "
        "raw softmax and blocks before and after, and how far the softmax moved (total variation distance, 0 to 1). "
        "Gate weights, linear and bias terms are those before strength and factor act. Batch normalisation keeps "
        "the statistics it was trained with, which no longer match the changed factors: part of the difference comes "
        "from that alone.",
    )  # fmt: skip


def _change_controls(own: Inspector) -> list[gr.components.Component]:
    """What a `Change` takes, in its order; it says itself what it does not take."""
    blocks = [name for name, _ in own.dmb.model.blocks()]
    return [
        gr.Dropdown([EVERY_BLOCK, *blocks], value=EVERY_BLOCK, label="block"),
        gr.Dropdown(list(changes.GATES), value=changes.OWN, label="gates"),
        gr.Number(1, label="strength"),
        WholeNumber(None, precision=0, label="vector"),
        WholeNumber(None, precision=0, label="channel"),
        gr.Number(None, label="factor"),
    ]


def _name_parameters(
    function: Callable[..., Any], described: Mapping[str, str], optional: Collection[str] = ()
) -> None:
    """Give a function the parameters Gradio shows: the options are known only when it runs.

    Args:
        described: name → description, in order; Gradio reads the descriptions off the docstring, for MCP.
        optional: the last of them, if they may be left out; those whose component has a value may be anyway.
    """
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, default=None if name in optional else empty) for name in described]
    )
    function.__doc__ = "\n".join(["Args:", *(f"    {name}: {text}" for name, text in described.items())])
