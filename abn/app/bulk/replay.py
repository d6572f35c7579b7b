"""An export computed anew: where the numbers differ, and what else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abn.app.export import Export, ExportError, export_of, read_export
from abn.app.export.bundle import MANIFEST_FILE, RESULT_FILE
from abn.app.export.manifest import Manifest, Origin
from abn.app.export.opening import LARGEST_BUNDLE, WITHOUT_RESULT
from abn.app.export.stored import HIGH, LOW
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.results import BlockResult, NetworkResult
from abn.checkpoints.folder import CONFIG_FILE, LARGEST_CONFIG
from abn.checkpoints.info import CheckpointError, parse_config
from abn.checkpoints.network import Network, open_network
from abn.checkpoints.sources import locate
from abn.common.texts import aligned

TOLERANCE = 1e-4  # of a quantity's largest value; float32 sums in another order differ by about 1e-6


@dataclass(frozen=True)
class Difference:
    """One quantity of one network, then and now.

    Attributes:
        largest: of the absolute differences; None where they cannot be compared, and `where` says why.
        scale: the quantity's largest absolute value, then.
        where: the place of the largest difference, in words.
    """

    quantity: str
    network: str
    largest: float | None
    scale: float = 0.0
    where: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether it is at most `tolerance` times the scale."""
        return self.largest is not None and self.largest <= tolerance * self.scale


def open_bundle(path: Path) -> Export:
    """The export in a bundle's folder, its zip, or a `result.json` alone.

    Raises:
        ExportError: for what holds none, or one that cannot be opened.
    """
    try:
        if path.is_dir():
            if not (path / RESULT_FILE).exists() and (path / MANIFEST_FILE).exists():
                raise ExportError(f"{path} is {WITHOUT_RESULT}")
            path = path / RESULT_FILE
        with path.open("rb") as file:
            content = file.read(LARGEST_BUNDLE + 1)
    except OSError as error:
        raise ExportError(
            f"{path} cannot be read ({error.strerror}); name a bundle's folder, its zip or its {RESULT_FILE}."
        ) from error
    try:
        return read_export(content)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error


def find_network(origin: Origin, side: str, named: str | None, bundled: Path) -> Network:
    """The network of an export: the one named, or the same weights from this code's checkpoints or from the Hub.

    Args:
        named: a folder or Hub id in place of the manifest's, or None.
        bundled: the folder with the checkpoints that came with the code.

    Raises:
        CheckpointError: for one that cannot be had; it says how to name it.
        ReferenceFileError: for a reference that belongs to other weights.
    """
    if named is not None:
        return open_network(named)
    for folder in sorted(bundled.iterdir()) if bundled.is_dir() else []:
        if _weights_sha256(folder) == origin.weights_sha256:
            return open_network(folder)
    remedy = f"name a folder or Hub id that has them, or others, with --{side}"
    if origin.hub_id is None:
        raise CheckpointError(
            f"the weights {origin.weights_sha256[:12]}… of {origin.label}, from a folder called {origin.source}, are "
            f"not among the checkpoints here; {remedy}"
        )
    try:
        return open_network(locate(origin.hub_id, hub_only=True))  # what a file names is no folder
    except CheckpointError as error:
        raise CheckpointError(f"{str(error).rstrip('.')}; {remedy}") from error


def _weights_sha256(folder: Path) -> str | None:
    try:
        with (folder / CONFIG_FILE).open("rb") as file:
            return parse_config(file.read(LARGEST_CONFIG), str(folder)).weights_sha256
    except (OSError, CheckpointError):
        return None  # no checkpoint: the next folder may be one


def replay(export: Export, inspector: Inspector) -> tuple[Export, str | None]:
    """The export computed anew from its pixels and options, and why its attribution could not be, or None."""
    pixels, question = export.result.pixels, export.manifest.question
    pair = problem = None
    if question is not None:
        try:
            pair = inspector.attribute(
                pixels, question.target, question.against, question.method, dict(question.options)
            )
        except ValueError as error:  # a class that networks named in place of the export's do not have
            problem = str(error)
    return export_of(inspector, inspector.inspect(pixels), pair, export.manifest.picture), problem


def circumstances(then: Manifest, now: Manifest) -> list[str]:
    """What else differs: weights, libraries, device; a sentence each."""
    found = []
    for first, second in ((then.baseline, now.baseline), (then.dmb, now.dmb)):
        if first.weights_sha256 != second.weights_sha256:
            found.append(
                f"other weights: {first.label} {first.weights_sha256[:12]}… ({first.source}) then, {second.label} "
                f"{second.weights_sha256[:12]}… ({second.source}) now; their numbers are those of another network"
            )
    for name in sorted(set(then.versions) | set(now.versions)):
        old, new = then.versions.get(name), now.versions.get(name)
        # Earlier versions of this package left out the build, as "+cu130".
        if old != new and not (old and new and "+" not in old and new.partition("+")[0] == old):
            found.append(f"{name}: {old or 'none'} then, {new or 'none'} now")
    for what, old, new in (("device", then.device, now.device), ("hardware", then.hardware, now.hardware)):
        if old != new:
            found.append(f"{what}: {old} then, {new} now")
    return found


def differences(then: Export, now: Export) -> list[Difference]:
    """Every quantity's largest difference, network by network."""
    found = []
    for side, old in then.networks.items():
        new = now.networks[side]
        found += _of_network(old, new)
        if then.attributions and now.attributions:
            found += _of_attribution(then, now, side)
    return found


Quantity = Callable[[BlockResult, BlockResult, int], np.ndarray | None]
"""(block of then or now, block of then, class that the network said then) → the quantity; None for none."""


def _usual(part: str, field: str) -> Quantity:
    def of(block: BlockResult, then: BlockResult, predicted: int) -> np.ndarray | None:
        known = block.reference and getattr(block.reference, part)
        return (
            np.stack([known.quantile(LOW), known.quantile(HIGH)])
            if known and field == "quantiles"
            else (getattr(known, field) if known else None)
        )

    return of


def _ranks(part: str, values: str, in_class: bool) -> Quantity:
    """Where the picture's values of then stand: a rank of others would differ by rounding where they hardly vary."""

    def of(block: BlockResult, then: BlockResult, predicted: int) -> np.ndarray | None:
        known, ranked = block.reference and getattr(block.reference, part), getattr(then, values)
        if not known or ranked is None:
            return None
        if len(known.mean) != len(ranked):
            return known.mean[:0]
        return known.percentile(ranked, predicted if in_class else None)

    return of


IN_CLASS = "percentiles in class"
_BLOCK_QUANTITIES: Mapping[str, Quantity] = {
    "factors": lambda block, *_: block.factors,
    "gate weights": lambda block, *_: block.gate_weights,
    "linear terms": lambda block, *_: block.linear_term,
    "bias terms": lambda block, *_: block.bias_term if block.has_bank else None,
    "pre-activations": lambda block, *_: block.preactivation,
    "bias bank": lambda block, *_: block.bias_bank,
    "responses": lambda block, *_: block.response,
    "usual factors": _usual("factors", "mean"),
    "their sd": _usual("factors", "sd"),
    "their 5 and 95 %": _usual("factors", "quantiles"),
    "percentiles": _ranks("factors", "factors", in_class=False),
    IN_CLASS: _ranks("factors", "factors", in_class=True),
    "usual gate weights": _usual("gates", "mean"),
    "gates' sd": _usual("gates", "sd"),
    "gates' 5 and 95 %": _usual("gates", "quantiles"),
    "gates' percentiles": _ranks("gates", "gate_weights", in_class=False),
    "usual responses": lambda block, *_: block.reference and block.reference.response_mean,
    "responses' sd": lambda block, *_: block.reference and block.reference.response_sd,
}


def _of_network(then: NetworkResult, now: NetworkResult) -> Iterator[Difference]:
    if then.class_names == now.class_names:
        yield _difference("probabilities", then.label, then.probabilities, now.probabilities, then.class_names)
    else:
        yield Difference("probabilities", then.label, None, where="other classes")
    names = [block.name for block in then.blocks]
    if names != [block.name for block in now.blocks]:
        yield Difference("blocks", then.label, None, where="other blocks")
        return
    for quantity, of in _BLOCK_QUANTITIES.items():
        if quantity == IN_CLASS and then.class_names != now.class_names:
            continue
        pairs = [
            (of(old, old, then.predicted), of(new, old, then.predicted))
            for old, new in zip(then.blocks, now.blocks, strict=True)
        ]
        if all(old is None and new is None for old, new in pairs):
            continue
        if any(old is None or new is None for old, new in pairs):
            missing = "not in the export" if any(old is None for old, _ in pairs) else "not there now"
            yield Difference(quantity, then.label, None, where=missing)
            continue
        each = [
            _difference(quantity, then.label, old, new, place=name)
            for name, (old, new) in zip(names, pairs, strict=True)
        ]
        unlike = [difference for difference in each if difference.largest is None]
        scale = max(difference.scale for difference in each)
        worst = unlike[0] if unlike else max(each, key=lambda difference: difference.largest)
        yield Difference(quantity, then.label, worst.largest, scale, worst.where)


def _of_attribution(then: Export, now: Export, side: str) -> Iterator[Difference]:
    label = then.networks[side].label
    old, new = then.attributions[side], now.attributions[side]
    values = old.values[0].cpu().numpy()
    for what, first, second in (
        ("resolution", old.resolution, new.resolution),
        ("blank map", old.problems[0], new.problems[0]),
    ):
        if first != second:
            yield Difference(what, label, None, where=f"{first or 'none'} then, {second or 'none'} now")
    yield _difference("attribution", label, values, new.values[0].cpu().numpy(), place="colour, row, column")
    if old.convergence_delta is not None and new.convergence_delta is not None:
        deltas = (half.convergence_delta.cpu().numpy() for half in (old, new))
        delta = _difference("convergence delta", label, *deltas)
        # The delta is what is left of a sum of all values, and no rounder than they are.
        scale = max(delta.scale, float(np.nansum(np.abs(values))))
        yield Difference(delta.quantity, label, delta.largest, scale)


def _difference(
    quantity: str,
    network: str,
    then: np.ndarray,
    now: np.ndarray,
    names: Sequence[str] | None = None,
    place: str = "",
) -> Difference:
    """Of two arrays; two values that are both not finite are alike."""
    then, now = np.asarray(then, np.float64), np.asarray(now, np.float64)
    scale = float(np.abs(then[np.isfinite(then)]).max(initial=0.0))
    if then.shape != now.shape:
        shapes = " and ".join(" × ".join(map(str, array.shape)) for array in (then, now))
        return Difference(quantity, network, None, scale, f"{place}: {shapes} values".lstrip(": "))
    alike = (then == now) | ~(np.isfinite(then) | np.isfinite(now))
    with np.errstate(invalid="ignore"):
        apart = np.where(alike, 0.0, np.abs(then - now))
    apart = np.nan_to_num(apart, nan=np.inf)
    if not apart.any():
        return Difference(quantity, network, 0.0, scale)
    worst = np.unravel_index(apart.argmax(), apart.shape)
    index = ", ".join(map(str, worst))
    where = names[worst[0]] if names is not None else f"{place} {index}".strip()
    return Difference(quantity, network, float(apart.max()), scale, where)


def table(differences: Sequence[Difference], tolerance: float = TOLERANCE) -> str:
    """Aligned, with a heading; what is beyond the tolerance is marked."""
    lines = [("quantity", "network", "largest difference", "largest value", "", "where")]
    for one in differences:
        number = "not comparable" if one.largest is None else f"{one.largest:.3g}"
        mark = "" if one.within(tolerance) else "beyond"
        lines.append((one.quantity, one.network, number, f"{one.scale:.4g}", mark, one.where))
    return aligned(lines)
