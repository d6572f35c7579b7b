"""What a visitor's page shows at the moment, and the parts of the page that depend on the two networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradio.components import Component

from abn.inspector import Inspector
from abn.pairs import Pair
from abn.results import PictureResult


@dataclass(frozen=True, eq=False)
class Shown:
    """A result, and what it was made from.

    Attributes:
        pair: the networks it came from.
        fit: how the picture was fitted to a square, a key of `abn.pictures.FITS`.
        origin: where the picture can be had again, "example/ship" or "test/17"; "" for one of the visitor's own.
    """

    pair: Pair
    result: PictureResult
    fit: str
    origin: str


@dataclass(frozen=True)
class Refit:
    """Components whose labels or choices follow the networks.

    Attributes:
        update: an inspector → one update a component, in their order.
    """

    components: tuple[Component, ...]
    update: Callable[[Inspector], list[Any]]


def refit_all(parts: list[Refit]) -> Refit:
    """Several as one."""
    return Refit(
        tuple(component for part in parts for component in part.components),
        lambda inspector: [value for part in parts for value in part.update(inspector)],
    )
