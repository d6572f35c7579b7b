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

    _name_parameters(inspect_picture, ["image", "fit_mode"])
    _name_parameters(attribute_picture, ["image", "fit_mode", "target", "against", "method", *controls.options])
    inspect_button.click(
        inspect_picture, [image, mode], answer, api_name="inspect",
        api_description="Classify a picture with both networks. Returns, for each, the raw softmax by class name and "
        "every block's factors and responses; for a modulated network also gate weights, linear and bias terms.",
    )  # fmt: skip
    attribute_button.click(
        attribute_picture, [image, mode, *controls.components], answer, api_name="attribute",
        concurrency_limit=2, concurrency_id=attribution_controls.SLOW_QUEUE,
        api_description="Attribute a class to the pixels of a picture, for both networks. Returns 32 × 32 signed "
        "maps. Options of other methods than the chosen one are ignored.",
    )  # fmt: skip


def _name_parameters(function: Callable[..., Any], names: Sequence[str]) -> None:
    """Give a function the parameter names Gradio shows: the options are known only when it runs."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
