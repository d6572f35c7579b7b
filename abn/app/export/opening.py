"""Open an exported JSON again. It may come from anybody: what does not fit is refused in a sentence."""

from __future__ import annotations

import numpy as np
import torch

from abn.app.export.document import LARGEST_EXPORT, SIDES, Export
from abn.app.export.manifest import Manifest, Question, check_format, pixels_sha256, read_manifest
from abn.app.export.parts import ExportError, Part, parse
from abn.app.export.stored import read_stored
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.results import BlockResult, NetworkResult, PictureResult
from abn.checkpoints.info import MOST_CLASSES
from abn.common.data import IMAGE_SIZE
from abn.interpret.attribution.attribute import Attribution
from abn.interpret.reference.statistics import BlockReference

MOST_BLOCKS = 32  # of a network; ours have six
MOST_CHANNELS = 4096  # of a block; ours have up to 256
MOST_IN_ALL = 16_384  # channels of a network's blocks together; ours have 896
MOST_WEIGHTS = 10_000  # gate weights likewise; ours have 24
SUM_TOLERANCE = 1e-3  # of probabilities and gate weights, which sum to 1 but for rounding


def read_export(data: bytes) -> Export:
    """What `to_json` wrote, as the page and the writers take it.

    Args:
        data: the content of a `result.json`, from anybody.

    Raises:
        ExportError: for another file, a newer format, one cut short or too large, missing parts, shapes
            that do not agree or no network here has, numbers out of range, or pixels that are not the manifest's.
    """
    document = parse(data, LARGEST_EXPORT)
    if not isinstance(document.value, dict) or not isinstance(document.value.get("manifest"), dict):
        raise ExportError("This is no export of this program; open the result.json of a bundle.")
    manifest = document.part("manifest")
    check_format(manifest)
    known = read_manifest(manifest)
    pixels = _read_pixels(document.part("pixels"), known)
    class_names = document.part("class_names").names()
    _require_at_most(MOST_CLASSES, len(class_names), "classes", document)
    if known.dmb.num_biases is None:
        raise ExportError("manifest.dmb.num_biases is null; expected a modulated network on that side.")
    networks = [_read_network(document.part(side), class_names, known, side) for side in SIDES]
    result = PictureResult(pixels, *networks)
    return Export(result, known, _read_attribution(document.part("attribution"), known.question, class_names))


def _read_pixels(part: Part, manifest: Manifest) -> np.ndarray:
    values = part.array(IMAGE_SIZE, IMAGE_SIZE, 3, low=0, high=255)
    pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise ExportError("pixels holds fractions; expected whole numbers from 0 to 255.")
    if pixels_sha256(pixels) != manifest.pixels_sha256:
        raise ExportError(
            "The pixels are not those of the manifest's hash: the export was changed after it was written."
        )
    return pixels


def _read_network(part: Part, class_names: tuple[str, ...], manifest: Manifest, side: str) -> NetworkResult:
    softmax = part.part("raw_softmax")
    if set(softmax.object()) != set(class_names):
        raise ExportError(f"{softmax.where} names other classes than class_names does; expected the same.")
    probabilities = Part([softmax.object()[name] for name in class_names], softmax.where)
    values = probabilities.array(len(class_names), low=0, high=1)
    _require_sum_of_1(values, softmax.where)
    blocks, names = part.part("blocks"), part.part("block_names").names()
    if set(blocks.object()) != set(names):
        raise ExportError(f"{blocks.where} has other blocks than block_names says; expected the same.")
    _require_at_most(MOST_BLOCKS, len(names), "blocks", blocks)
    origin = getattr(manifest, side)
    network = NetworkResult(
        label=part.part("network").text(),
        architecture=part.part("architecture").text(),
        class_names=class_names,
        probabilities=values,
        blocks=tuple(_read_block(blocks.part(name), name, int(values.argmax())) for name in names),
    )
    _require_at_most(MOST_IN_ALL, sum(len(block.factors) for block in network.blocks), "channels in all", blocks)
    weights = sum(0 if block.gate_weights is None else len(block.gate_weights) for block in network.blocks)
    _require_at_most(MOST_WEIGHTS, weights, "gate weights in all", blocks)
    if (network.label, network.architecture) != (origin.label, origin.architecture):
        raise ExportError(f"{side} is another network than the manifest says; the export was changed.")
    num_biases = {None if block.gate_weights is None else len(block.gate_weights) for block in network.blocks}
    if num_biases != {origin.num_biases}:
        raise ExportError(f"{side} has bias banks of another size than the manifest says; the export was changed.")
    return network


def _read_block(part: Part, name: str, predicted: int) -> BlockResult:
    factors = part.part("factors").array(None, low=0, high=2)
    size = len(factors)
    _require_at_most(MOST_CHANNELS, size, "channels", part)
    response = part.part("response").array(size, gaps=True)
    linear_term = gate_weights = bias_bank = reference = None
    if part.optional("linear_term") is not None:
        linear_term = part.part("linear_term").array(size)
        gate_weights = part.part("gate_weights").array(None, low=0, high=1)
        _require_sum_of_1(gate_weights, f"{part.where}.gate_weights")
        bias_bank = part.part("bias_bank").array(size, len(gate_weights))
    usual = part.optional("usual_response")
    if usual is not None:
        gates = None if gate_weights is None else read_stored(part.optional("usual_gates"), gate_weights, predicted)
        reference = BlockReference(
            read_stored(part.optional("usual_factors"), factors, predicted),
            gates,
            usual.part("mean").array(size),
            usual.part("sd").array(size, low=0),
        )
        if linear_term is not None and (reference.factors is None or gates is None):
            raise ExportError(f"{part.where} lacks usual_factors or usual_gates; it is no whole export.")
    return BlockResult(name, factors, response, linear_term, gate_weights, bias_bank, reference)


def _require_at_most(most: int, found: int, what: str, part: Part) -> None:
    """What is drawn grows with blocks × channels: a small file must not ask for a large figure."""
    if found > most:
        raise ExportError(
            f"{part.where} has {found:,} {what}; expected at most {most:,}, and no network of this program has as "
            "many. Open a result.json that it wrote."
        )


def _require_sum_of_1(values: np.ndarray, where: str) -> None:
    total = float(values.sum())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ExportError(f"{where} sums to {total:.6g}; expected 1.")


def _read_attribution(part: Part, question: Question | None, class_names: tuple[str, ...]) -> AttributionPair | None:
    if part.is_null != (question is None):
        raise ExportError("Of the manifest's question and the attribution one is missing; it is no whole export.")
    if question is None:
        return None
    classes = (question.target,) if question.against is None else (question.target, question.against)
    unknown = [name for name in classes if name not in class_names]
    if unknown:
        raise ExportError(f"manifest.question names the class {unknown[0][:60]!r}, which class_names lacks.")
    halves = [_read_side(part.part(side), question) for side in SIDES]
    return AttributionPair(question.method, " against ".join(classes), *halves, classes)


def _read_side(part: Part, question: Question) -> Attribution:
    values = part.part("values")
    colours = 1 if isinstance(values.value, list) and len(values.value) == 1 else 3
    found = values.array(colours, IMAGE_SIZE, IMAGE_SIZE, gaps=True)
    delta, problem = part.optional("convergence_delta"), part.optional("problem")
    return Attribution(
        torch.from_numpy(found)[None],
        question.method,
        part.part("resolution").wholes(2, least=1),
        None if delta is None else torch.tensor([delta.number()]),
        (None if problem is None else problem.text(),),
        dict(question.options),
    )
