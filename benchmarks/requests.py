"""A seeded mix of requests, good and bad, each with the answer that it must get."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from abn.app.inspector.changes import GATES, ONE_VECTOR, Change
from abn.app.inspector.inspector import Inspector
from abn.app.pictures.fitting import FITS, fit
from abn.app.pictures.formats import PictureError
from abn.app.pictures.reading import read_picture
from abn.interpret.attribution.attribute import METHODS
from benchmarks.mutations import mutated
from benchmarks.visitor import Answer

TOLERANCE = 1e-4
"""Largest difference accepted, as a share of the largest value of the same list: float32, other thread counts."""

# Small enough for a thousand requests to end; the full settings take ten times as long.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "saliency": [{}],
    "input_x_gradient": [{}],
    "integrated_gradients": [{"steps": 4, "baseline": kind} for kind in ("black", "mean", "blurred")],
    "smoothgrad": [{"samples": 4, "seed": seed} for seed in (0, 7)],
    "grad_cam": [
        {"stage": stage, "relu": relu} for stage in ("layer1", "layer2", "layer3") for relu in (True, False)
    ],
    "occlusion": [{"window": 16, "stride": 8, "fill": fill} for fill in ("mean", "black")],
}
# Of the modulated network in this repository, which `benchmarks.load` asks.
CHANNELS = {f"layer{stage}.{index}": 32 * 2**stage for stage in (1, 2, 3) for index in (0, 1)}
NUM_BIASES = 4
KINDS = {"inspect": 0.4, "change": 0.1, "fast": 0.22, "slow": 0.08, "file": 0.1, "value": 0.1}
BAD_VALUES: list[tuple[str, dict[str, Any], str]] = [
    ("attribute", {"target": "ship", "against": "ship"}, "ship is set against itself"),
    ("attribute", {"method": "occlusion", "window": 4, "stride": 9}, "stride is 9"),
    ("attribute", {"method": "integrated_gradients", "steps": 100_000}, "512"),
    ("attribute", {"method": "deep_lift"}, "deep_lift"),
    ("attribute", {"target": "unicorn"}, "unicorn"),
    ("attribute", {"window": "x"}, "does not fit"),
    ("attribute", {"method": None}, "attribution method None"),
    ("intervene", {"channel": 3, "factor": 0}, "to change one channel, name its block"),
    ("intervene", {"block": "layer1.0", "channel": 64, "factor": 0}, "channel is 64; expected a whole number from 0"),
    ("intervene", {"strength": 5}, "strength is 5; expected a number from 0 to 4"),
    ("inspect", {"fit_mode": "stretch"}, "stretch"),
    ("inspect", {"image": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}, "upload the file first"),
    ("inspect", {"image": None}, "No picture was sent"),
]


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        kind: what percentiles are grouped by.
        content: the file sent; None where `values` say what stands for one.
        phrase: of a request that must be refused, what its error must say.
    """

    kind: str
    endpoint: str
    content: bytes | None
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    phrase: str | None = None

    def expected(self, inspector: Inspector) -> tuple[str, Any]:
        """("complete", result) or ("error", a phrase of its sentence), computed here and alone."""
        if self.phrase is not None:
            return "error", self.phrase
        try:
            fitted = fit(read_picture(self.content), self.values.get("fit_mode", "crop"))
        except PictureError as error:
            return "error", html.escape(str(error), quote=False)
        if self.endpoint == "inspect":
            return "complete", inspector.inspect(fitted.pixels).as_dict()
        values = {name: value for name, value in self.values.items() if name != "fit_mode"}
        if self.endpoint == "intervene":
            return "complete", inspector.intervene(fitted.pixels, Change(**values)).as_dict()
        method, target, against = values.pop("method"), values.pop("target", None), values.pop("against", None)
        if target is None:
            target = inspector.inspect(fitted.pixels).dmb.predicted_name
        return "complete", inspector.attribute(fitted.pixels, target, against, method, values).as_dict()


def mix(seed: int, class_names: tuple[str, ...], files: dict[str, bytes]) -> Iterator[Request]:
    """Requests without end: two fifths inspections, as many attributions and interventions, a fifth other things.

    Those are mutated files, of which some are still good, and values that are refused. Every picture is another one,
    so that an answer that belongs to another request shows.

    Args:
        files: good files, which the bad ones are mutations of.
    """
    random = np.random.default_rng(seed)
    number = 0
    while True:
        number += 1
        kind = random.choice(list(KINDS), p=list(KINDS.values()))
        content, name = picture(random, number)
        common = {"fit_mode": str(random.choice(list(FITS)))}
        if kind == "inspect":
            yield Request("inspect", "inspect", content, name, common)
        elif kind == "change":
            yield Request("intervene", "intervene", content, name, common | _change(random))
        elif kind in ("fast", "slow"):
            method = str(random.choice([n for n, m in METHODS.items() if m.slow == (kind == "slow")]))
            options = OPTIONS[method][random.integers(len(OPTIONS[method]))]
            values = common | _target(random, class_names) | {"method": method} | options
            yield Request(f"attribute, {method}", "attribute", content, name, values)
        elif kind == "file":
            name, content = mutated(random, files)
            yield Request("mutated file", "inspect", content, name, common)
        else:
            endpoint, values, phrase = BAD_VALUES[random.integers(len(BAD_VALUES))]
            sent = None if "image" in values else content
            yield Request("bad value", endpoint, sent, name, dict(values), phrase)


def picture(random: np.random.Generator, number: int) -> tuple[bytes, str]:
    """A picture that is like no other, in one of six formats, from 40 to 400 pixels wide: (content, name)."""
    side = (int(random.integers(40, 400)), int(random.integers(40, 400)))
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    made = coarse.resize(side, Image.Resampling.BICUBIC)
    ending, format, options = (
        ("png", "PNG", {}), ("jpg", "JPEG", {"quality": 85}), ("webp", "WEBP", {"quality": 85}), ("gif", "GIF", {}),
        ("bmp", "BMP", {}), ("tiff", "TIFF", {}),
    )[random.integers(6)]  # fmt: skip
    stream = io.BytesIO()
    made.save(stream, format, **options)
    return stream.getvalue(), f"{number}.{ending}"


def _target(random: np.random.Generator, class_names: tuple[str, ...]) -> dict[str, str]:
    first, second = (str(name) for name in random.choice(class_names, 2, replace=False))
    return [{}, {"target": first}, {"target": first, "against": second}][random.integers(3)]


def _change(random: np.random.Generator) -> dict[str, Any]:
    block = str(random.choice(list(CHANNELS)))
    gates = str(random.choice(list(GATES)))
    everywhere = {"gates": gates, "strength": int(random.integers(5)) / 2}
    if gates == ONE_VECTOR:
        everywhere["vector"] = int(random.integers(NUM_BIASES))
    one = {"channel": int(random.integers(CHANNELS[block])), "factor": int(random.integers(5)) / 2}
    return [everywhere, everywhere | {"block": block}, one | {"block": block}][random.integers(3)]


def difference(answer: Answer, expected: tuple[str, Any]) -> float | None:
    """By how much an answer misses the one expected, as a share of the largest value of the same list.

    Returns:
        None for another kind of answer, other words, other parts, or a value that is missing or no number.
    """
    kind, content = expected
    if answer.kind != kind:
        return None
    if kind == "error":
        said = answer.content
        return 0.0 if isinstance(said, str) and content in said else None
    return _difference({name: answer.content.get(name) for name in content}, content)


def _difference(said: Any, expected: Any) -> float | None:
    if isinstance(expected, dict):
        if not isinstance(said, dict) or list(said) != list(expected):
            return None
        return _largest(_difference(said[name], expected[name]) for name in expected)
    if isinstance(expected, float) or (isinstance(expected, list) and expected and not isinstance(expected[0], str)):
        try:
            said, expected = np.asarray(said, dtype=float), np.asarray(expected, dtype=float)
        except (TypeError, ValueError):  # words, or rows of several lengths
            return None
        if said.shape != expected.shape or not np.isfinite(said).all():
            return None
        return float(np.abs(said - expected).max() / max(np.abs(expected).max(), 1e-3))
    return 0.0 if said == expected else None


def _largest(differences: Iterator[float | None]) -> float | None:
    found = list(differences)
    return None if any(value is None for value in found) else max(found, default=0.0)
