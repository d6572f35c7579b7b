"""What a visitor's page shows at the moment, and the parts of the page that depend on the two networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradio.components import Component

from abn.app.export import Export, PictureFile
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.results import PictureResult
from abn.app.inspector.visitors import Pair


@dataclass(frozen=True, eq=False)
class Shown:
    """A result, and what it was made from.

    Attributes:
        pair: the networks it came from.
        file: the picture's file, and how it was fitted to a square.
        origin: where the picture can be had again, "example/ship" or "test/17"; "" for one of the visitor's own.
        opened: the file that the result was read from; None for one that was computed here.
    """

    pair: Pair
    result: PictureResult
    file: PictureFile
    origin: str = ""
    opened: Export | None = None


@dataclass(frozen=True)
class Side:
    """A network that modulates its channels, as the controls need it."""

    label: str
    blocks: tuple[str, ...]
    has_reference: bool


@dataclass(frozen=True)
class Compared:
    """Two networks, as the page's labels and choices need them.

    Attributes:
        labels: of the baseline and of the modulated network.
        modulated: "dmb", and "baseline" if that one is modulated too.
        channels: numbers of channels that the modulated network's blocks have, ascending.
        own: whether they are the networks the app was started with.
    """

    labels: tuple[str, str]
    class_names: tuple[str, ...]
    modulated: dict[str, Side]
    channels: tuple[int, ...]
    own: bool = False


def compared_networks(inspector: Inspector, own: bool = False) -> Compared:
    """The networks of an inspector."""
    sides = {
        side: Side(
            network.label, tuple(name for name, _ in network.model.blocks()), network.reference is not None
        )
        for side, network in inspector.modulated.items()
    }  # fmt: skip
    channels = {channels for _, channels in inspector.dmb.model.blocks()}
    labels = tuple(network.label for network in inspector.networks)
    return Compared(labels, inspector.class_names, sides, tuple(sorted(channels)), own)


def compared_in(result: PictureResult) -> Compared:
    """The networks of a result, which may have come from elsewhere."""
    sides = {
        name: Side(network.label, tuple(block.name for block in network.blocks), network.has_reference)
        for name, network in zip(("baseline", "dmb"), result.networks, strict=True)
        if network.is_modulated
    }
    channels = {len(block.factors) for block in result.dmb.blocks}
    labels = tuple(network.label for network in result.networks)
    return Compared(labels, result.dmb.class_names, sides, tuple(sorted(channels)))


@dataclass(frozen=True)
class Refit:
    """Components whose labels or choices follow the networks.

    Attributes:
        update: one update a component, in their order.
    """

    components: tuple[Component, ...]
    update: Callable[[Compared], list[Any]]


def refit_all(parts: list[Refit]) -> Refit:
    """Several as one."""
    return Refit(
        tuple(component for part in parts for component in part.components),
        lambda compared: [value for part in parts for value in part.update(compared)],
    )
