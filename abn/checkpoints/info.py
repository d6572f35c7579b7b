"""What a checkpoint says of itself: the fields of its `config.json`, strictly read."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from abn.common.documents import STRICT, DocumentError, Expected, Names, NotJsonError, read_document

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
PICKLE_REMEDY = (
    "a pickle can run any code when it is opened, so none is ever opened here: "
    "save the weights as safetensors, or ask their owner to"
)
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


_Count = Annotated[int, Expected("a whole number of at least 1", lambda value: value >= 1)]
_Percent = Annotated[float, Expected("a percentage from 0 to 100", lambda value: 0 <= value <= 100)]

_Split = Annotated[str, Expected('"test" or "holdout"', lambda value: value in ("test", "holdout"))]
_License = Annotated[
    str,
    Expected(
        "a licence as the Hub calls it, such as apache-2.0: at most 60 small letters, digits, points and dashes",
        lambda text: _LICENSE.fullmatch(text) is not None,
    ),
]


def _colours(words: str, least: float = -_LARGEST) -> Expected:
    return Expected(f"{words}, one a colour", lambda values: all(least <= value <= _LARGEST for value in values))


@dataclass(frozen=True)
class Config:
    """The fields of a `config.json`; what is not known is None.

    Attributes:
        architecture: a name in `abn.models.registry.ARCHITECTURES`.
        class_names: in the order of the logits.
        mean: of each colour on the scale 0…1, as `abn.common.data.normalise` takes it; `std` likewise.
        num_biases: K of the bias banks; None for a network without any.
        options: what else the architecture's builder was given, by name; None where there is nothing.
        weights_sha256: hash of `model.safetensors`, 64 hexadecimal digits.
        recipe: its name and all its fields.
        epochs: trained for.
        accuracy: of the last epoch, in percent, on `test_images` images.
        evaluated_on: "test", or "holdout" for held-out training images.
        best_accuracy: percent, the best of the evaluated epochs, for comparison only; `best_epoch` is its
            number, from 1.
        dataset_note: in what the data differ from the official ones, or "".
        license: the Hub's name of the licence the weights are under, e.g. "apache-2.0".
    """

    __pydantic_config__ = STRICT

    architecture: Annotated[str, Expected("the name of an architecture", lambda name: name != "")]
    class_names: Names
    mean: Annotated[tuple[float, float, float], _colours("three numbers")]
    std: Annotated[
        tuple[float, float, float], _colours(f"three numbers of at least {_SMALLEST_STD:f}", _SMALLEST_STD)
    ]
    num_biases: Annotated[
        int | None,
        Expected(
            f"a whole number from 1 to {MOST_BIASES:,}, or null for a network without bias banks",
            lambda count: count is None or 1 <= count <= MOST_BIASES,
        ),
    ]
    weights_sha256: Annotated[
        str,
        Expected(
            "64 hexadecimal digits, the SHA-256 of model.safetensors",
            lambda text: re.fullmatch("[0-9a-f]{64}", text) is not None,
        ),
    ]
    recipe: Annotated[dict[str, Any], Expected("an object with the recipe's name and fields")] | None = None
    seed: Annotated[int, Expected("a whole number of at least 0", lambda value: value >= 0)] | None = None
    epochs: _Count | None = None
    accuracy: _Percent | None = None
    evaluated_on: (
        Annotated[str, Expected('"test" or "holdout"', lambda value: value in ("test", "holdout"))] | None
    ) = None
    test_images: _Count | None = None
    best_accuracy: _Percent | None = None
    best_epoch: _Count | None = None
    hardware: str | None = None
    torch_version: str | None = None
    dataset: str | None = None
    dataset_note: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = ""
    license: _License | None = None
    options: Annotated[dict[str, Any], Expected("an object with the options of the architecture")] | None = None


@dataclass(frozen=True)
class CheckpointInfo(Config):
    """Everything known about a checkpoint: its `config.json`, and how and whence it was loaded.

    Attributes:
        source: the folder or Hub id it was loaded from, as the caller named it.
        commit: on the Hub, of every file that was loaded.
        folder: where its files lie on this machine.
        notice: what a person should know about how it was loaded, e.g. that the Hub was not reached;
            `public_notice` is the same without remedies on this machine, for a page that strangers reach.
    """

    source: str | None = None
    commit: str | None = None
    folder: Path | None = None
    notice: str | None = None
    public_notice: str | None = None

    def config(self) -> dict[str, Any]:
        """The fields that stand in `config.json`."""
        return {field.name: getattr(self, field.name) for field in fields(Config)}


def parse_config(text: bytes, source: str) -> CheckpointInfo:
    """Read the bytes of a `config.json`.

    Raises:
        CheckpointError: for what is no JSON object, lacks a field or holds nonsense in one.
    """
    try:
        return CheckpointInfo(**vars(read_document(Config, text)))
    except NotJsonError as error:
        raise CheckpointError(
            "config.json is not JSON; put the original back, or save the checkpoint anew", source
        ) from error
    except DocumentError as error:
        place = f": {error.place}" if error.place else ""
        raise CheckpointError(
            f"config.json{place} {error.problem}; abn.save_checkpoint writes every field as it should be", source
        ) from error
