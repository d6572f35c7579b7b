"""An exported JSON opened again: whatever a stranger sends is opened whole or refused in a sentence."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import random
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from abn.app.export import Export, ExportError, opening, read_export, to_csv, to_html, to_json, to_png, to_zip
from abn.app.export.document import LARGEST_EXPORT
from abn.app.export.manifest import Manifest, Origin, PictureFile, Question, pixels_sha256
from abn.app.export.opening import MOST_BLOCKS, MOST_CHANNELS, MOST_ENTRIES
from abn.app.export.stored import store
from abn.app.figures.in_numbers import response_rows
from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.results import BlockResult, NetworkResult, PictureResult
from abn.checkpoints.info import CheckpointError, parse_config
from abn.common.documents import MOST_NAMES
from abn.interpret.attribution.attribute import Attribution
from abn.interpret.reference.statistics import LEVELS, BlockReference, Statistics

NAMES = ("ship", "truck")


def statistics(size: int) -> Statistics:
    ramp = np.linspace(0, 1, len(LEVELS), dtype=np.float32)[:, None].repeat(size, axis=1)
    mean = np.full(size, 0.5, np.float32)
    rows = (np.stack([mean, mean]), np.stack([mean, mean]), np.stack([ramp, ramp]))
    return Statistics(mean, mean / 2, ramp, *rows)


@pytest.fixture(scope="module")
def small() -> Export:
    """By hand: a static network beside one of two blocks, three and two channels, K = 2."""
    f = np.float32
    pixels = np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)

    def block(name, size, parts=()):
        reference = BlockReference(
            *([statistics(size), statistics(2)] if parts else [None] * 2), f([0] * size), f([1] * size)
        )
        factors = f([0.5] * size) if parts else f([1] * size)
        return BlockResult(name, factors, f([-0.25] * size), *parts, reference=reference)

    parts = [(f([0.1] * c), f([0.25, 0.75]), f([[1, -1]] * c)) for c in (3, 2)]
    static = NetworkResult("S", "resnet-s", NAMES, f([0.25, 0.75]), (block("b1", 3), block("b2", 2)))
    dmb = NetworkResult("D", "resnet-dmb", NAMES, f([0.9, 0.1]), (block("b1", 3, parts[0]), block("b2", 2, parts[1])))
    maps = torch.arange(32 * 32.0).reshape(1, 1, 32, 32) - 500
    halves = [Attribution(maps / (i + 1), "occlusion", (7, 7), None, (None,), {}) for i in range(2)]
    options = {"window": 8, "stride": 4, "fill": "mean"}
    question = Question("occlusion", "ship", "truck", options)
    pair = AttributionPair("occlusion", "ship against truck", *halves, ("ship", "truck"))
    manifest = Manifest(
        PictureFile("a.png"), pixels_sha256(pixels),
        Origin("S", "resnet-s", "s", None, "1" * 64, None), Origin("D", "resnet-dmb", "u/d@main", "c0", "2" * 64, 2),
        question, "cpu", "a processor", {"torch": "2.11", "abn": "0.3.0"},
    )  # fmt: skip
    return Export(PictureResult(pixels, static, dmb), manifest, pair)


@pytest.fixture(scope="module")
def document(small):
    return json.loads(to_json(small))


def with_(document, path, value):
    """A copy in which the member at "a/b/0" is `value`; of a callable, what it makes of the member."""
    changed = copy.deepcopy(document)
    *keys, last = (int(key) if key.isdecimal() else key for key in path.split("/"))
    place = changed
    for key in keys:
        place = place[key]
    place[last] = value(place[last]) if callable(value) else value
    return json.dumps(changed).encode()


def test_a_small_export_comes_back(small, document):
    back = read_export(json.dumps(document, sort_keys=True).encode())  # as a program that sorts members saves it
    assert back.manifest.as_dict() == small.manifest.as_dict()
    assert back.result.agree is False
    assert [block.name for block in back.result.dmb.blocks] == ["b1", "b2"]
    assert back.result.dmb.blocks[0].channel_sum(1).preactivation == pytest.approx(0.1 + 0.25 - 0.75)
    assert back.attribution.baseline.values.shape == (1, 1, 32, 32)
    assert back.attribution.maps[1][31, 31] == (1023 - 500) / 2


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("sea lion", True),
        ("chien\u00a0loup", True),
        ("می\u200cخواهم", True),
        ("柴犬\u3000日本", True),
        ("\U0001f469\u200d\U0001f52c", True),
        ("x" * 1000, True),
        ("x" * 1001, False),
        ("sea\nlion", False),
        ("sea\u2028lion", False),
        ("\x1b[2J", False),
        ("\u202enoil aes", False),
        ("\u200b", False),
        ("\u200c", False),
        ("\u3000", False),
        ("\ud800", False),
    ],
)
def test_the_class_names_that_load_are_those_that_can_be_opened_again(document, name, allowed):
    known = {"architecture": "resnet-s", "num_biases": None, "weights_sha256": "1" * 64}
    config = json.dumps(known | {"class_names": [name], "mean": [0, 0, 0], "std": [1, 1, 1]}).encode()
    written = json.dumps(document).replace('"ship"', json.dumps(name)).encode()
    if allowed:
        assert parse_config(config, "x").class_names == (name,)
        back = read_export(written)
        assert back.result.dmb.predicted_name == name
        assert read_export(to_json(back)).manifest.question.target == name
        return
    with pytest.raises(CheckpointError, match="expected .* in one line of at most 1,000|is not JSON"):
        parse_config(config, "x")
    with pytest.raises(ExportError, match="expected a text|is no JSON"):
        read_export(written)


def test_a_second_network_that_is_not_modulated_is_refused(document):
    static = json.loads(with_(document, "dmb", document["baseline"]))
    static["manifest"]["dmb"] = static["manifest"]["baseline"]
    with pytest.raises(ExportError, match="expected a modulated network"):
        read_export(json.dumps(static).encode())


def test_a_number_of_biases_that_the_blocks_have_not_is_refused(document):
    with pytest.raises(ExportError, match="dmb has bias banks of another size"):
        read_export(with_(document, "manifest/dmb/num_biases", None))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JSON, or was cut short"),
        (b"\xff\xfe\x00", "no JSON, or was cut short"),
        (b"PK\x03\x04 a zip", "no JSON, or was cut short"),
        (b"[1, 2]", "no export of this program"),
        (b"null", "no export of this program"),
        (b'"text"', "no export of this program"),
        (b'{"agree": true, "baseline": {}, "dmb": {}}', "no export of this program"),
        (b'{"manifest": {"format": "other"}}', "no export of this program"),
        (b"[" * 100_000, "no JSON"),
        (b"[" * 200_001, "more than 200,000 lists"),
        (b" " * (LARGEST_EXPORT + 1), "has 8,000,001 bytes, and an export at most 8,000,000"),
        (b"1" * 10_000, "no JSON"),
    ],
)  # fmt: skip
def test_other_files_are_refused(data, message):
    with pytest.raises(ExportError, match=message):
        read_export(data)


def test_an_export_cut_short_anywhere_is_refused(small):
    whole = to_json(small)
    for length in range(0, len(whole), 997):
        with pytest.raises(ExportError, match="cut short"):
            read_export(whole[:length])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("manifest/version", 2, "has format version 2, and this program reads 1; open it with a newer one"),
        ("manifest/version", 0, "which never was"),
        ("manifest/version", "1", 'manifest.version is "1"; expected a whole number'),
        ("manifest/baseline", None, "manifest.baseline is null; expected an object"),
        ("manifest/dmb/weights_sha256", "1895", "expected 64 hexadecimal digits"),
        ("manifest/dmb/label", "E", "another network than the manifest says"),
        ("manifest/dmb/num_biases", 4, "bias banks of another size"),
        ("manifest/dmb/num_biases", 10_001, "expected a whole number from 1 to 10,000"),
        ("manifest/picture/fit", "stretch", "expected one of crop, pad"),
        ("manifest/picture/name", "a\nb", "manifest.picture.name is .*expected a text in one line"),
        ("manifest/picture/size", [1, 2, 3], "expected 2 whole numbers"),
        ("manifest/question", None, "one is missing"),
        ("manifest/question/method", "guess", "no attribution method 'guess'"),
        ("manifest/question/options/window", 1000, "window is 1000; expected a whole number from 1 to 32"),
        ("manifest/question/options", {"magic": 1}, "has no option 'magic'"),
        ("manifest/question/target", "dog", "names the class 'dog', which class_names lacks"),
        ("manifest/device", "x" * 2000, "at most 1,000 characters"),
        ("class_names", ["ship", "ship"], "different names"),
        ("class_names", ["ship", "dog"], "names other classes than class_names"),
        ("class_names", [], "different names"),
        ("pixels", [], "pixels has 0 members; expected at least 32"),
        ("pixels/3/4", [1, 2], "pixels\\[3\\]\\[4\\] has 2 members; expected at least 3"),
        ("pixels/3/4/0", 256, "pixels\\[3\\]\\[4\\]\\[0\\] is 256; expected at most 255"),
        ("pixels/3/4/0", 0.5, "pixels\\[3\\]\\[4\\]\\[0\\] is 0.5; expected a whole number"),
        ("pixels/3/4/0", lambda old: (old + 1) % 256, "not those of the manifest's hash"),
        ("pixels/3/4/0", True, "is true; expected a whole number"),
        ("pixels/3/4/0", "7", 'is "7"; expected a whole number'),
        ("pixels/3/4/0", 10**400, "is a number of too many digits"),
        ("dmb/raw_softmax/ship", 1.5, "dmb.raw_softmax.ship is 1.5; expected a number from 0 to 1"),
        ("dmb/raw_softmax/ship", 0.5, "dmb.raw_softmax sums to 0.6; expected 1"),
        ("dmb/raw_softmax/ship", None, "dmb.raw_softmax.ship is null"),
        ("dmb/block_names", ["b1"], "dmb.blocks has other blocks than block_names says"),
        ("dmb/blocks/b1/factors", [0.5] * 4, "dmb.blocks.b1.response holds 3 numbers; expected 4"),
        ("dmb/blocks/b1/factors", [], "dmb.blocks.b1.factors has 0 members; expected at least 1"),
        ("dmb/blocks/b1/factors/1", 2.5, "dmb.blocks.b1.factors\\[1\\] is 2.5; expected at most 2"),
        ("dmb/blocks/b1/factors/1", None, "dmb.blocks.b1.factors\\[1\\] is null; expected a number"),
        ("dmb/blocks/b2/gate_weights", [0.5, 0.6], "gate_weights sums to 1.1; expected 1"),
        ("dmb/blocks/b2/bias_bank", [[1, 2], [1]], "bias_bank holds lists of different lengths"),
        ("dmb/blocks/b2/linear_term", None, "bias banks of another size"),
        ("dmb/blocks/b2/usual_factors", None, "lacks usual_factors or usual_gates"),
        ("dmb/blocks/b2/usual_factors/sd/0", -1, "usual_factors.sd\\[0\\] is -1; expected at least 0"),
        ("dmb/blocks/b2/usual_factors/percentile/0", 101, "percentile\\[0\\] is 101; expected at most 100"),
        ("dmb/blocks/b2/usual_gates/low/0", 9, "a low above its high"),
        ("attribution", None, "one is missing"),
        ("attribution/dmb/values/0/31", [], "values\\[0\\]\\[31\\] has 0 members; expected at least 32"),
        ("attribution/dmb/values/0/0/0", 1e31, "attribution.dmb.values.* is 1e\\+31; expected at most 1e\\+30"),
        ("attribution/dmb/resolution", [0, 7], "expected 2 whole numbers of at least 1"),
        ("attribution/dmb/convergence_delta", "much", "convergence_delta is .*expected a number"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_place(document, path, value, message):
    with pytest.raises(ExportError, match=message):
        read_export(with_(document, path, value))


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_the_zip_of_everything_is_opened_again(small):
    back = read_export(to_zip(small, "spot"))
    assert to_json(back) == to_json(small)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped({"a/result.json": b"{}", "b/result.json": b"{}"}), "holds 2 files called result.json; expected one"),
        (zipped({"notes.txt": b"x"}), "holds 0 files called result.json"),
        (zipped({"x/manifest.json": b"{}"}), "a bundle without result.json"),
        (zipped({"x/result.json": b"{"}), "no JSON, or was cut short"),
        (zipped({"x/result.json": b" " * (LARGEST_EXPORT + 1_000_000)}), "has 8,000,001 bytes"),  # 9 MB from 9 kB
        (zipped({"x/result.json": b"{}" * 99}, zipfile.ZIP_LZMA), "damaged or encrypted"),
        (zipped({f"{number}": b"" for number in range(MOST_ENTRIES + 1)}), "no bundle of this program"),
        (zipped({"x/result.json": b"{}"}).replace(b"PK\x01\x02", b"PK\x01\x07"), "damaged"),
    ],
)
def test_other_zips_are_refused(data, message):
    with pytest.raises(ExportError, match=message):
        read_export(data)


def test_no_more_of_a_zip_is_unpacked_than_an_export_may_have(monkeypatch):
    """A small file of a hundred megabytes must not fill the memory."""
    taken = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda file, n=-1: taken.append(n) or read(file, n))
    with pytest.raises(ExportError, match="has 8,000,001 bytes"):
        read_export(zipped({"result.json": b" " * 100_000_000}))
    assert taken == [LARGEST_EXPORT + 1]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(small, number):
    data = to_json(small).replace(b'"factors":[0.5', b'"factors":[' + number.encode(), 1)
    assert number.encode() in data
    with pytest.raises(ExportError, match="expected a finite number"):
        read_export(data)


@pytest.mark.parametrize(
    "path", ["manifest", "pixels", "class_names", "dmb", "attribution", "dmb/blocks/b1/response"]
)
def test_what_is_missing_is_named(document, path):
    changed = copy.deepcopy(document)
    *keys, last = path.split("/")
    place = changed
    for key in keys:
        place = place[key]
    del place[last]
    message = "no export of this program" if path == "manifest" else f" lacks {last}"
    with pytest.raises(ExportError, match=message):
        read_export(json.dumps(changed).encode())


def lengthened(network: dict, more: int) -> None:
    """Give a network of a document `more` blocks, each whole, like its last one."""
    last = network["blocks"][network["block_names"][-1]]
    names = [f"more{index}" for index in range(more)]
    network["block_names"] += names
    network["blocks"] |= {name: copy.deepcopy(last) for name in names}


def widened(network: dict, times: int) -> None:
    """Give the last block of a network of a document `times` as many channels."""
    block = network["blocks"][network["block_names"][-1]]
    for place in (block, block["usual_response"], block.get("usual_factors", {})):
        for name, values in place.items():
            if isinstance(values, list) and name != "gate_weights":
                place[name] = values * times


@pytest.mark.parametrize("side", ["baseline", "dmb"])
def test_as_many_blocks_and_channels_as_allowed_are_opened_and_no_more(document, side):
    changed = copy.deepcopy(document)
    lengthened(changed[side], MOST_BLOCKS - 2)
    widened(changed[side], MOST_CHANNELS // 2)
    network = read_export(json.dumps(changed).encode()).networks[side]
    assert len(network.blocks) == MOST_BLOCKS
    assert len(network.blocks[-1].factors) == MOST_CHANNELS

    changed = copy.deepcopy(document)
    lengthened(changed[side], 398)
    with pytest.raises(
        ExportError, match=f"{side}.blocks has 400 blocks; expected at most 32, .* Open a result.json"
    ):
        read_export(json.dumps(changed).encode())
    changed = copy.deepcopy(document)
    widened(changed[side], MOST_CHANNELS // 2 + 1)
    with pytest.raises(ExportError, match=f"{side}.blocks.b2 has 4,098 channels; expected at most 4,096"):
        read_export(json.dumps(changed).encode())


def test_gate_weights_are_limited_in_all(document, monkeypatch):
    """Each is a cell of a figure and a column of a table."""
    weights = sum(len(block["gate_weights"]) for block in document["dmb"]["blocks"].values())
    monkeypatch.setattr(opening, "MOST_WEIGHTS", weights)
    read_export(json.dumps(document).encode())
    monkeypatch.setattr(opening, "MOST_WEIGHTS", weights - 1)
    with pytest.raises(
        ExportError, match=f"dmb.blocks has {weights} gate weights in all; expected at most {weights - 1}"
    ):
        read_export(json.dumps(document).encode())


def test_long_lists_are_refused_by_their_length(document):
    with pytest.raises(ExportError, match="class_names is .*; expected .* names, at most 1,000"):
        read_export(with_(document, "class_names", [7] * 10_001))
    with pytest.raises(ExportError, match="manifest.picture.used is .*; expected 4 whole numbers"):
        read_export(with_(document, "manifest/picture/used", ["a"] * 5))


def test_classes_are_limited_as_those_of_a_checkpoint_are(document):
    changed = copy.deepcopy(document)
    changed["class_names"] = [f"class {number}" for number in range(MOST_NAMES + 1)]
    with pytest.raises(ExportError, match="class_names is .*; expected .* names, at most 1,000"):
        read_export(json.dumps(changed).encode())


JUNK = [None, True, -1, 0, 1e30, 10**30, "", "x", "\0", "<script>", [], {}, [[]], {"": None}, [None] * 7]


def test_a_thousand_damaged_exports_end_in_a_sentence_or_an_export(document):
    """Whatever stands anywhere, nothing but ExportError is raised; what opens is small and can be written again."""
    chance = random.Random(0)
    refusals = []
    for _ in range(1000):
        changed = copy.deepcopy(document)
        if chance.random() < 0.2:
            lengthened(changed[chance.choice(["baseline", "dmb"])], chance.choice([1, MOST_BLOCKS - 2, MOST_BLOCKS]))
        if chance.random() < 0.2:
            widened(
                changed[chance.choice(["baseline", "dmb"])], chance.choice([2, MOST_CHANNELS // 2, MOST_CHANNELS])
            )
        for _ in range(chance.randint(1, 3)):
            place, key = changed, None
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = chance.choice(keys)
                if not isinstance(place[key], dict | list) or chance.random() < 0.25:
                    break
                place = place[key]
            if key is not None and len(place):
                place[key] = chance.choice(JUNK)
        try:
            export = read_export(json.dumps(changed).encode())
        except ExportError as error:
            refusals.append(str(error))
            continue
        for network in export.result.networks:
            assert len(network.blocks) <= MOST_BLOCKS
            assert max(len(block.factors) for block in network.blocks) <= MOST_CHANNELS
        assert read_export(to_json(export)).manifest == export.manifest
        assert to_csv(export)
    assert max(map(len, refusals)) < 600
    assert 500 < len(refusals) < 1000


def with_blocks(small: Export, **changes) -> Export:
    """`small` with other arrays in every block of its second network."""
    blocks = tuple(dataclasses.replace(block, **changes) for block in small.result.dmb.blocks)
    dmb = dataclasses.replace(small.result.dmb, blocks=blocks)
    return dataclasses.replace(small, result=PictureResult(small.result.pixels, small.result.baseline, dmb))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e31])
def test_numbers_that_could_not_be_read_again_are_refused_with_their_place(small, value):
    f, written = np.float32, re.escape(f"{value:g}")
    for name, array in (("linear_term", f([0, value])), ("factors", f([value, 1])), ("gate_weights", f([0, value]))):
        with pytest.raises(
            ExportError, match=f"^dmb.blocks.b1.{name} holds {written}, .* Take the other kinds of file"
        ):
            to_json(with_blocks(small, reference=None, **{name: array}))
    dmb = dataclasses.replace(small.result.dmb, probabilities=f([value, 0]))
    with pytest.raises(ExportError, match=f"^dmb.raw_softmax holds {written}, and a result.json"):
        to_json(dataclasses.replace(small, result=PictureResult(small.result.pixels, small.result.baseline, dmb)))


def test_null_stands_for_a_response_that_is_not_finite(small):
    response = np.float32([np.nan, 1, np.inf])
    block = dataclasses.replace(small.result.dmb.blocks[0], response=response)
    dmb = dataclasses.replace(small.result.dmb, blocks=(block, *small.result.dmb.blocks[1:]))
    export = dataclasses.replace(small, result=PictureResult(small.result.pixels, small.result.baseline, dmb))
    back = read_export(to_json(export)).result.dmb.blocks[0].response
    np.testing.assert_array_equal(back, np.float32([np.nan, 1, np.nan]))


def test_a_missing_response_takes_nothing_from_the_table(small):
    blocks = small.result.dmb.blocks
    gaps = (np.float32([np.nan, 1, 3]), np.float32([np.nan, np.nan]))
    blocks = tuple(dataclasses.replace(block, response=gap) for block, gap in zip(blocks, gaps, strict=True))
    dmb = dataclasses.replace(small.result.dmb, blocks=blocks)
    rows = response_rows(PictureResult(small.result.pixels, small.result.baseline, dmb))
    assert [row for row in rows if row[1] == "D"] == [
        ["b1", "D", 2, "1.100", "2.000", "2.900"], ["b2", "D", 0, "–", "–", "–"],
    ]  # fmt: skip


@pytest.mark.parametrize(("bank", "k"), [(np.zeros((3, 400_000), np.float32), "400,000"), (None, "200,000")])
def test_banks_too_large_to_be_opened_again_are_not_written(small, bank, k):
    """Before they are written in memory where that is certain, and after it where the digits decide."""
    bank = np.full((3, 200_000), 1 / 3, np.float32) if bank is None else bank
    message = (
        f"up to K = {k} vectors, .* more than the 8,000,000 bytes that can be opened again. Take the other kinds"
    )
    with pytest.raises(ExportError, match=message):
        to_json(with_blocks(small, reference=None, bias_bank=bank, gate_weights=np.zeros(bank.shape[1], np.float32)))


@pytest.mark.parametrize("versions", [{}, {"abn": None}])
def test_an_export_that_does_not_say_its_version_is_drawn(document, versions):
    drawn = to_png(read_export(with_(document, "manifest/versions", versions)))
    assert Image.open(io.BytesIO(drawn["sees.png"])).text["Software"] == "Adaptive Bias Networks of a version unknown"


def test_names_bring_no_markup_into_the_page(small):
    evil = "</script><img src=x onerror=alert(1)>&lt;!--"
    label = {"label": evil}
    manifest = Manifest(**{**vars(small.manifest), "dmb": Origin(**{**vars(small.manifest.dmb), **label})})
    dmb = NetworkResult(**{**vars(small.result.dmb), **label})
    page = to_html(
        Export(PictureResult(small.result.pixels, small.result.baseline, dmb), manifest, small.attribution)
    )
    assert b"<img src=x" not in page
    assert page.count(b"</script>") == 4
    assert b"&lt;/script&gt;&lt;img src=x" in page


def test_what_is_kept_of_a_picture_is_for_it_also_where_a_factor_is_no_number():
    """As of weights that overflow; it is another picture's that is refused."""
    values = np.array([1.0, np.nan], np.float32)
    kept = store(statistics(2), values, 0)
    assert np.isnan(kept.percentile(values.copy())[1])
    with pytest.raises(ValueError, match="an export knows where its own"):
        kept.percentile(np.array([1.0, 1.0], np.float32))
