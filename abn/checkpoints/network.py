"""A checkpoint as it is looked into: the network, its reference statistics, and what people call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from abn.checkpoints.info import CheckpointError
from abn.checkpoints.sources import HubSource, locate
from abn.checkpoints.store import MOST_BYTES, MOST_SECONDS, load_checkpoint
from abn.common.bundled import bundled
from abn.interpret.reference.file import REFERENCE_FILE, REMEDY, ReferenceFileError, load_reference
from abn.interpret.reference.statistics import Reference
from abn.models.registry import ARCHITECTURES, label_of
from abn.models.resnet import ResNet

CHECKPOINTS = bundled("checkpoints")
"""The folder with the checkpoints that came with the code."""
BASELINE, DMB = CHECKPOINTS / "resnet-s", CHECKPOINTS / "resnet-dmb"

SHOWN_INSTEAD = "The checkpoint that came with this app is shown in its place."
OTHER_CLASSES = (
    "{name}: it tells other classes apart than the checkpoint beside it, which came with this app; two networks are "
    "compared on the same classes. So the other checkpoint that came with this app is shown in its place."
)


@dataclass(frozen=True)
class Network:
    """One loaded checkpoint, on the device.

    Attributes:
        label: for people, e.g. "ResNet-DMB".
        reference: statistics over the data set; None where the checkpoint carries none.
        notice: what a person should know about how it was loaded, or None; `public_notice` is the same without
            remedies on this machine, for a page that strangers reach.
        stands_in: whether it is a bundled one in place of another that was named.
    """

    label: str
    model: ResNet
    reference: Reference | None = None
    notice: str | None = None
    public_notice: str | None = None
    stands_in: bool = False

    @property
    def is_modulated(self) -> bool:
        """Whether it has factors that depend on the picture."""
        return ARCHITECTURES[self.model.architecture].modulated

    @property
    def name(self) -> str:
        """Of the checkpoint, for people: its folder's name or its Hub id, never a path."""
        info = self.model.info
        if info.commit is not None:
            repo, _, revision = info.source.partition("@")
            return f"{repo}@{revision[:7]}" if revision == info.commit else info.source
        return "" if info.folder is None else info.folder.resolve().name


def open_network(
    source: str | Path | HubSource,
    *,
    max_bytes: int = MOST_BYTES,
    max_seconds: float = MOST_SECONDS,
    public_only: bool = False,
    cache: Path | None = None,
) -> Network:
    """A checkpoint with its reference.

    Args:
        source: a folder, a Hub id, or what `abn.checkpoints.sources.locate` made of one.
        max_bytes, max_seconds, public_only, cache: of what comes from the Hub, see `load_checkpoint`.

    Raises:
        CheckpointError: for a source that cannot be had or used.
        ReferenceFileError: for a reference that cannot be read, or belongs to other weights or other blocks.
    """
    model = load_checkpoint(
        source, max_bytes=max_bytes, max_seconds=max_seconds, public_only=public_only, cache=cache
    )
    info = model.info
    label = label_of(model.architecture)
    reference = load_reference(info.folder, info.weights_sha256, info.source)
    if reference is not None:
        _require_blocks(reference, model)
        if reference.class_names != info.class_names:
            raise ReferenceFileError(
                f"{info.source}: {REFERENCE_FILE} has other class names, or another order of them, than the "
                f"checkpoint; {REMEDY}"
            )
    return Network(label, model, reference, info.notice, info.public_notice)


def _require_blocks(reference: Reference, model: ResNet) -> None:
    modulates = ARCHITECTURES[model.architecture].modulated
    expected = {
        name: (channels, channels if modulates else None, model.num_biases) for name, channels in model.blocks()
    }
    found = {
        name: (len(block.response_mean), *(part and len(part.mean) for part in (block.factors, block.gates)))
        for name, block in reference.blocks.items()
    }
    for name in expected | found:
        if found.get(name) != expected.get(name):
            there, wanted = (_sizes(blocks.get(name)) for blocks in (found, expected))
            raise ReferenceFileError(
                f"{model.info.source}: {REFERENCE_FILE} has {there} for block {name!r}, expected {wanted}, as the "
                f"network has; {REMEDY}"
            )


def _sizes(sizes: tuple[int | None, ...] | None) -> str:
    if sizes is None:
        return "nothing"
    parts = zip(sizes, ("responses", "factors", "gate weights"), strict=True)
    return " and ".join(f"{size or 'no'} {part}" for size, part in parts)


def load_network(source: str | None, bundled: Path) -> Network:
    """A checkpoint with its reference; the bundled one where none is named or a Hub id cannot be had or used.

    Args:
        source: a folder, a Hub id, or None for the bundled checkpoint.
        bundled: the folder of the checkpoint that came with the code.

    Raises:
        CheckpointError, ReferenceFileError: for a named folder, or the bundled one, as `open_network` does.
    """
    if source is None:
        return open_network(bundled)
    place = locate(source)
    try:
        return open_network(source)
    except (CheckpointError, ReferenceFileError) as error:
        if not isinstance(place, HubSource):
            raise
        public = getattr(error, "to_strangers", str(error))
        notices = [f"{text.rstrip('.')}. {SHOWN_INSTEAD}" for text in (str(error), public)]
    return _stand_in(bundled, *notices)


def load_networks(sources: Sequence[str | None], bundled: Sequence[Path]) -> list[Network]:
    """The two networks to compare, each as `load_network` has it.

    Where one side has to be the bundled one and the other tells other classes apart, the other is the bundled one
    too: what cannot be had is then a notice, and not the end of the program.

    Args:
        sources: of the first and the second network.
        bundled: likewise.

    Raises:
        CheckpointError, ReferenceFileError: as `load_network` does.
    """
    networks = [load_network(*side) for side in zip(sources, bundled, strict=True)]
    first, second = (network.model.info.class_names for network in networks)
    if first == second or not any(network.stands_in for network in networks):
        return networks
    return [
        network if network.stands_in else _stand_in(folder, *[OTHER_CLASSES.format(name=network.name)] * 2)
        for network, folder in zip(networks, bundled, strict=True)
    ]


def _stand_in(bundled: Path, notice: str, public_notice: str) -> Network:
    return replace(open_network(bundled), notice=notice, public_notice=public_notice, stands_in=True)
