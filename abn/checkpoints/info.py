"""What a checkpoint says of itself: the fields of its `config.json`, strictly read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from abn.common.texts import LONGEST_TEXT, is_line, one_line

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
PICKLE_REMEDY = (
    "a pickle can run any code when it is opened, so none is ever opened here: "
    "save the weights as safetensors, or ask their owner to"
)
MOST_CLASSES = 1_000  # each is a choice in several lists of the page
MOST_BIASES = 10_000  # K; the bank of a block then has some ten million bytes
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,59}")
_LARGEST = 1e9  # of any number; larger ones overflow
_SMALLEST_STD = 1e-6  # of a colour's standard deviation; what is divided by smaller ones overflows


class CheckpointError(ValueError):
    """A checkpoint that cannot be had or used.

    Attributes:
        reason: what is wrong and what to do about it, without the source.
        source: the folder or Hub id as the caller named it, or None.
        to_strangers: the whole message as a public page tells it, where nobody can set anything on this machine.
    """

    def __init__(self, reason: str, source: str | None = None, *, to_strangers: str | None = None) -> None:
        """
        Args:
            to_strangers: the reason in other words; None where they are the same.
        """
        prefix = f"{source}: " if source else ""
        super().__init__(prefix + reason)
        self.reason = reason
        self.source = source
        self.to_strangers = prefix + (to_strangers or reason)


@dataclass(frozen=True)
class CheckpointInfo:
    """Everything known about a checkpoint; what is not known is None.

    Attributes:
        architecture: a name in `abn.models.resnet.ARCHITECTURES`.
        class_names: in the order of the logits.
        mean: of each colour on the scale 0…1, as `abn.common.data.normalise` takes it; `std` likewise.
        num_biases: K of the bias banks; None for a network without any.
        weights_sha256: hash of `model.safetensors`, 64 hexadecimal digits.
        recipe: its name and all its fields.
        epochs: trained for.
        accuracy: of the last epoch, in percent, on `test_images` images.
        evaluated_on: "test", or "holdout" for held-out training images.
        best_accuracy: percent, the best of the evaluated epochs, for comparison only; `best_epoch` is its
            number, from 1.
        dataset_note: in what the data differ from the official ones, or "".
        license: the Hub's name of the licence the weights are under, e.g. "apache-2.0".
        source: the folder or Hub id it was loaded from, as the caller named it.
        commit: on the Hub, of every file that was loaded.
        folder: where its files lie on this machine.
        notice: what a person should know about how it was loaded, e.g. that the Hub was not reached;
            `public_notice` is the same without remedies on this machine, for a page that strangers reach.
    """

    architecture: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_biases: int | None
    weights_sha256: str
    recipe: dict[str, Any] | None = None
    seed: int | None = None
    epochs: int | None = None
    accuracy: float | None = None
    evaluated_on: str | None = None
    test_images: int | None = None
    best_accuracy: float | None = None
    best_epoch: int | None = None
    hardware: str | None = None
    torch_version: str | None = None
    dataset: str | None = None
    dataset_note: str = ""
    license: str | None = None
    source: str | None = None
    commit: str | None = None
    folder: Path | None = None
    notice: str | None = None
    public_notice: str | None = None

    def config(self) -> dict[str, Any]:
        """The fields that stand in `config.json`: all but how and whence it was loaded."""
        return {name: getattr(self, name) for name in _RULES}


def parse_config(text: bytes, source: str) -> CheckpointInfo:
    """Read the bytes of a `config.json`.

    Raises:
        CheckpointError: for what is no JSON object, lacks a field or holds nonsense in one.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CheckpointError(
            "config.json is not JSON; put the original back, or save the checkpoint anew", source
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"config.json holds a {type(config).__name__}; expected an object with the checkpoint's fields",
            source,
        )
    optional = {field.name for field in fields(CheckpointInfo) if field.default is not MISSING}
    missing = sorted(set(_RULES) - optional - set(config))
    if missing:
        raise CheckpointError(
            f"config.json lacks {', '.join(missing)}; abn.save_checkpoint writes every field it needs", source
        )
    for name, (allowed, expected) in _RULES.items():
        value = config.get(name)
        if (value is None and name in optional) or allowed(value):
            continue
        raise CheckpointError(f"config.json: {name} is {_shortened(value)}; expected {expected}", source)
    known = {name: _frozen(config[name]) for name in _RULES if config.get(name) is not None}
    return CheckpointInfo(**{"num_biases": None} | known)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shortened(value: Any) -> str:
    text = one_line(json.dumps(value, ensure_ascii=False), 61)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _colours(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and all(map(_number, value))


def _names(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and 0 < len(value) <= MOST_CLASSES
        and all(isinstance(name, str) and len(name) <= LONGEST_TEXT and is_line(name) for name in value)
        and len(set(value)) == len(value)
    )


def _percent(value: Any) -> bool:
    return _number(value) and 0 <= value <= 100


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


_TEXT = (lambda value: isinstance(value, str), "text")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (lambda value: isinstance(value, str) and value != "", "the name of an architecture"),
    "class_names": (
        _names,
        f"a list of one or more different names, at most {MOST_CLASSES:,}, "
        f"each in one line of at most {LONGEST_TEXT:,} characters",
    ),
    "mean": (_colours, "three numbers, one a colour"),
    "std": (
        lambda value: _colours(value) and all(width >= _SMALLEST_STD for width in value),
        f"three numbers of at least {_SMALLEST_STD:f}, one a colour",
    ),
    "num_biases": (
        lambda value: value is None or (_whole(value, 1) and value <= MOST_BIASES),
        f"a whole number from 1 to {MOST_BIASES:,}, or null for a network without bias banks",
    ),
    "weights_sha256": (_sha256, "64 hexadecimal digits, the SHA-256 of model.safetensors"),
    "recipe": (lambda value: isinstance(value, dict), "an object with the recipe's name and fields"),
    "seed": (lambda value: _whole(value, 0), "a whole number of at least 0"),
    "epochs": (lambda value: _whole(value, 1), "a whole number of at least 1"),
    "accuracy": (_percent, "a percentage from 0 to 100"),
    "evaluated_on": (lambda value: value in ("test", "holdout"), '"test" or "holdout"'),
    "test_images": (lambda value: _whole(value, 1), "a whole number of at least 1"),
    "best_accuracy": (_percent, "a percentage from 0 to 100"),
    "best_epoch": (lambda value: _whole(value, 1), "a whole number of at least 1"),
    "hardware": _TEXT,
    "torch_version": _TEXT,
    "dataset": _TEXT,
    "dataset_note": _TEXT,
    "license": (
        lambda value: isinstance(value, str) and _LICENSE.fullmatch(value) is not None,
        "a licence as the Hub calls it, such as apache-2.0: at most 60 small letters, digits, points and dashes",
    ),
}
"""Field of config.json → whether a value is allowed, and what to expect instead."""
