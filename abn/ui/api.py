"""The named endpoints: what the page computes, for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from abn.attribution_methods import Method
from abn.inspector import AttributionPair
from abn.pictures import FITS, fit
from abn.results import PictureResult
from abn.ui import attribution_controls
from abn.ui.edge import refuse, told
from abn.ui.picture_input import PictureInput

IMAGE = "The picture: PNG, JPEG, WebP, GIF, BMP or TIFF of at most 20 MB, uploaded or as a base64 data: address."


def add_endpoints(
    inspect_pixels: Callable[..., PictureResult],
    attribute_pixels: Callable[..., AttributionPair],
    methods: Mapping[str, Method],
    class_names: Sequence[str],
    whose: str,
) -> None:
    """Add `/inspect` and `/attribute`, behind components that no visitor sees."""
    with gr.Row(visible=False):
        image = PictureInput(label="image")
        mode = gr.Radio(list(FITS), value="crop", label="fit")
        controls = attribution_controls.build(methods, class_names, whose)
        answer = gr.JSON(label="result")
        inspect_button, attribute_button = gr.Button(), gr.Button()

    @told
    def inspect_picture(image, fit_mode="crop") -> dict[str, Any]:
        fitted = fit(required(image), fit_mode)
        return {"picture": picture(fitted)} | inspect_pixels(fitted.pixels).as_dict()

    @told
    def attribute_picture(image, fit_mode, *values) -> dict[str, Any]:
        fitted = fit(required(image), fit_mode)
        target, against, method, options = controls.read(values)
        if target is None:
            target = inspect_pixels(fitted.pixels).dmb.predicted_name
        pair = attribute_pixels(fitted.pixels, target, against, method, options)
        return {"picture": picture(fitted), "options": options} | pair.as_dict()

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
        option.name: f"Of {name}. {option.description}" for name, each in methods.items() for option in each.options
    }
    _name_parameters(inspect_picture, common)
    _name_parameters(attribute_picture, common | chosen | of_methods)
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


def _name_parameters(function: Callable[..., Any], described: Mapping[str, str]) -> None:
    """Give a function the parameters Gradio shows: the options are known only when it runs.

    Args:
        described: name → description, in order; Gradio reads the descriptions off the docstring, for MCP.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in described])
    function.__doc__ = "\n".join(["Args:", *(f"    {name}: {text}" for name, text in described.items())])
