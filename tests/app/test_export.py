"""What a picture's results become as files, and that they say the same."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import shutil
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image, ImageColor
from plotly.colors import sample_colorscale

from abn.app.export import (
    KINDS,
    Export,
    PictureFile,
    bundle_files,
    export_of,
    read_export,
    to_csv,
    to_json,
    to_npz,
    to_png,
    to_zip,
    write_folder,
)
from abn.app.export.images import KEYWORD, LEFT, MAP_SIDE, MARGIN
from abn.app.export.manifest import origin
from abn.app.export.sheet import _fonts, colours, printable, veiled, width_of, wrap
from abn.app.figures import drawing, shared_limit
from abn.app.figures.style import DIVERGING, colour_scale
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.results import PictureResult
from abn.checkpoints.network import load_network


@pytest.fixture(scope="module")
def files(export):
    return bundle_files(export, "spot")


@pytest.fixture(scope="module")
def foreign(two_modulated, pictures):
    """Two modulated networks of three classes without a reference; Grad-CAM has one value for all colours."""
    pair = two_modulated.attribute(pictures[0], "a", None, "grad_cam", {"relu": False})
    return export_of(two_modulated, two_modulated.inspect(pictures[0]), pair)


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def same_block(one, other):
    assert one.name == other.name
    for name in ("factors", "response", "linear_term", "gate_weights", "bias_bank"):
        array, back = getattr(one, name), getattr(other, name)
        assert (array is None) == (back is None)
        assert array is None or (np.array_equal(array, back) and back.dtype == np.float32)


@pytest.mark.parametrize("which", ["export", "foreign"])
def test_everything_comes_back_to_the_last_bit(which, request):
    export = request.getfixturevalue(which)
    back = read_export(to_json(export))
    assert np.array_equal(back.result.pixels, export.result.pixels)
    assert back.manifest == export.manifest
    for one, other in zip(export.result.networks, back.result.networks, strict=True):
        assert (one.label, one.class_names) == (other.label, other.class_names)
        assert np.array_equal(one.probabilities, other.probabilities)
        assert len(one.blocks) == len(other.blocks)
        for block, same in zip(one.blocks, other.blocks, strict=True):
            same_block(block, same)
    pair, again = export.attribution, back.attribution
    assert (pair.method, pair.target, pair.classes) == (again.method, again.target, again.classes)
    for half, same in ((pair.baseline, again.baseline), (pair.dmb, again.dmb)):
        assert torch.equal(half.values, same.values)
        assert (half.resolution, half.problems, half.options) == (same.resolution, same.problems, same.options)
        assert (half.convergence_delta is None) == (same.convergence_delta is None)
        assert half.convergence_delta is None or torch.equal(half.convergence_delta, same.convergence_delta)


def test_what_is_usual_comes_back_for_the_pictures_own_values(export):
    back = read_export(to_json(export)).result.dmb
    predicted = export.result.dmb.predicted
    for block, same in zip(export.result.dmb.blocks, back.blocks, strict=True):
        factors = same.reference.factors
        assert np.array_equal(factors.mean, block.reference.factors.mean)
        np.testing.assert_allclose(
            factors.percentile(same.factors, predicted), block.reference.factors.percentile(block.factors, predicted)
        )
        gates = same.reference.gates
        assert np.array_equal(gates.quantile(95), block.reference.gates.quantile(95))
        with pytest.raises(ValueError, match="nothing else; ask the checkpoint's reference"):
            factors.percentile(same.factors + 1)
        with pytest.raises(ValueError, match="nothing else"):
            factors.percentile(same.factors, predicted + 1)
    assert back.own_share().share == pytest.approx(export.result.dmb.own_share().share)
    assert (
        back.own_share().median == pytest.approx(export.result.dmb.own_share().median) and back.own_share().median > 0
    )


@pytest.mark.parametrize("which", ["export", "foreign"])
def test_an_opened_export_is_written_as_the_same_bytes(which, request):
    export = request.getfixturevalue(which)
    kinds = [kind for kind in KINDS if kind != "html"] if which == "foreign" else list(KINDS)
    assert bundle_files(read_export(to_json(export)), "x", kinds) == bundle_files(export, "x", kinds)


def test_the_json_says_what_the_api_says(export, files):
    document = json.loads(files["result.json"])

    def compare(expected, found):
        if isinstance(expected, dict):
            for key, value in expected.items():
                usual = {"usual_mean": "mean", "usual_sd": "sd", "percentile": "percentile"}.get(key)
                compare(value, found[key] if usual is None else found["usual_factors"][usual])
        elif isinstance(expected, list) and expected and not isinstance(expected[0], str):
            np.testing.assert_allclose(np.array(found, float), np.array(expected, float), rtol=1e-6, atol=1e-7)
        elif isinstance(expected, float):
            assert found == pytest.approx(expected, rel=1e-6)
        else:
            assert found == expected

    compare(export.result.as_dict(), document)
    compare(export.attribution.as_dict(), document["attribution"])


def test_a_number_that_is_not_finite_is_null_and_comes_back(export):
    values = export.attribution.dmb.values.clone()
    values[0, 1, 2, 3] = torch.inf
    half = dataclasses.replace(export.attribution.dmb, values=values, problems=("the map is not finite",))
    pair = dataclasses.replace(export.attribution, dmb=half)
    written = to_json(Export(export.result, export.manifest, pair))
    assert json.loads(written)["attribution"]["dmb"]["values"][1][2][3] is None
    back = read_export(written).attribution
    assert back.dmb.values.isnan().nonzero().tolist() == [[0, 1, 2, 3]]
    assert back.dmb.problems == ("the map is not finite",)


def test_without_attribution_there_is_none_in_any_file(inspector, pictures):
    export = export_of(inspector, inspector.inspect(pictures[1]))
    assert read_export(to_json(export)).attribution is None
    names = bundle_files(export, "x")
    assert not [name for name in names if "attribution" in name or "overlay" in name]
    assert export.manifest.question is None


def test_the_manifest_says_what_was_done_with_what(export, inspector, pictures, files):
    manifest = json.loads(files["manifest.json"])
    assert manifest["pixels_sha256"] == hashlib.sha256(pictures[0].tobytes()).hexdigest()
    assert manifest["picture"]["name"] == "spot.png"
    for side, network in zip(("baseline", "dmb"), inspector.networks, strict=True):
        weights = (network.model.info.folder / "model.safetensors").read_bytes()
        assert manifest[side]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        assert manifest[side]["source"] == network.model.info.folder.name
    assert manifest["dmb"]["num_biases"] == 4 and manifest["baseline"]["num_biases"] is None
    options = {"steps": 2, "baseline": "black"}  # the default too
    assert manifest["question"] == {
        "method": "integrated_gradients", "target": "dog", "against": "cat", "options": options,
    }  # fmt: skip
    assert manifest["device"] == "cpu"
    assert torch.__version__.startswith(manifest["versions"]["torch"])
    assert manifest["versions"]["numpy"] == np.__version__


def test_no_file_names_a_folder_of_this_machine(files, inspector):
    places = {str(network.model.info.folder.parent).encode() for network in inspector.networks}
    places.add(b"/home/somebody")
    for name, content in files.items():
        if name.endswith(".npz"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = b"".join(archive.read(entry) for entry in archive.namelist()).replace(b"\0", b"")
        for place in places:
            assert place not in content, name


def test_a_checkpoint_of_the_hub_is_named_with_its_commit(inspector):
    info = dataclasses.replace(inspector.dmb.model.info, source="user/repo@main", commit="c0ffee")
    found = origin("ResNet-DMB", info)
    assert (found.source, found.commit, found.hub_id) == ("user/repo@main", "c0ffee", "user/repo@c0ffee")
    folder = dataclasses.replace(info, source="/srv/secret/mine", commit=None)
    assert (origin("x", folder).source, origin("x", folder).hub_id) == ("mine", None)


def test_networks_from_folders_of_any_name_are_opened_again(checkpoints, pictures, tmp_path):
    """Two of one architecture are told apart by their folders' names."""
    networks = []
    for name in ("a\nb\u00a0c", "\x1b\u202e"):
        shutil.copytree(checkpoints / "resnet-dmb", tmp_path / name)
        networks.append(load_network(None, tmp_path / name))
    inspector = Inspector(*networks, torch.device("cpu"))
    export = export_of(inspector, inspector.inspect(pictures[0]))
    assert [network.label for network in export.result.networks] == ["ResNet-DMB (a?b\u00a0c)", "ResNet-DMB (??)"]
    assert (export.manifest.baseline.source, export.manifest.dmb.source) == ("a?b\u00a0c", "??")
    assert read_export(to_json(export)).manifest == export.manifest
    assert set(bundle_files(export, kinds=["csv", "npz", "html"]))  # none of them fails at a name


def test_a_pictures_name_is_no_path_and_one_line():
    assert PictureFile("C:\\pictures\\a.png").name == "a.png"
    assert PictureFile("/srv/a\nb.png").name == "a?b.png"
    assert PictureFile("/srv/").name is None


def test_factors_csv_has_a_row_for_every_channel_of_both_networks(export, files):
    rows = table(files["factors.csv"])
    expected = [
        (side, n, b, c) for side, n in export.networks.items() for b in n.blocks for c in range(len(b.factors))
    ]
    assert len(rows) == len(expected) == 2 * 896
    compared = {block.name: block for block in drawing.block_factors(export.result.dmb)}
    for row, (side, network, block, channel) in zip(rows, expected, strict=True):
        assert (row["picture"], row["side"], row["network"], row["block"], row["channel"]) == (
            "spot", side, network.label, block.name, str(channel),
        )  # fmt: skip
        assert np.float32(row["factor"]) == block.factors[channel]
        assert np.float32(row["response"]) == block.response[channel]
        if side == "baseline":
            assert row["linear_term"] == row["usual_mean"] == row["deviation"] == ""
            continue
        assert np.float32(row["linear_term"]) == block.linear_term[channel]
        assert np.float32(row["usual_sd"]) == compared[block.name].sd[channel]
        assert np.float32(row["deviation"]) == compared[block.name].deviation[channel]
        assert float(row["percentile"]) == pytest.approx(compared[block.name].percentile[channel], rel=1e-6)


def test_the_other_tables(export, files):
    gates = table(files["gate_weights.csv"])
    assert len(gates) == 24
    assert np.float32(gates[5]["weight"]) == export.result.dmb.blocks[1].gate_weights[1]
    assert (gates[5]["block"], gates[5]["gate"]) == ("layer1.1", "1")
    probabilities = table(files["probabilities.csv"])
    assert len(probabilities) == 20
    best = [row for row in probabilities if row["rank"] == "1"]
    assert [row["class"] for row in best] == [network.predicted_name for network in export.result.networks]
    pixels = table(files["attribution.csv"])
    assert len(pixels) == 32 * 32
    row = pixels[5 * 32 + 7]
    assert (row["row"], row["column"]) == ("5", "7")
    assert [int(row[c]) for c in ("red", "green", "blue")] == export.result.pixels[5, 7].tolist()
    first, second = export.attribution.maps
    assert np.float32(row["dmb"]) == second[5, 7]
    assert np.float32(row["dmb_minus_baseline"]) == second[5, 7] - first[5, 7]


def test_tables_of_other_networks(foreign):
    tables = to_csv(foreign, "x")
    gates = table(tables["gate_weights.csv"])
    assert [row["side"] for row in gates] == ["baseline"] * 12 + ["dmb"] * 18
    assert {row["usual_mean"] for row in gates} == {""}
    assert {row["deviation"] for row in table(tables["factors.csv"])} == {""}
    # A class's name that a spreadsheet would compute.
    assert [row["class"] for row in table(tables["probabilities.csv"])] == ["a", "'=b()", "<c>"] * 2


def test_npz_holds_every_array_without_pickle(export, files):
    with np.load(io.BytesIO(files["arrays.npz"]), allow_pickle=False) as arrays:
        assert json.loads(arrays["manifest"].item()) == json.loads(files["manifest.json"])
        assert np.array_equal(arrays["pixels"], export.result.pixels)
        assert arrays["class_names"].tolist() == list(export.result.dmb.class_names)
        for side, network in export.networks.items():
            assert np.array_equal(arrays[f"{side}/probabilities"], network.probabilities)
            assert arrays[f"{side}/block_names"].tolist() == [block.name for block in network.blocks]
            for block in network.blocks:
                assert np.array_equal(arrays[f"{side}/{block.name}/factors"], block.factors)
                assert (f"{side}/{block.name}/bias_bank" in arrays) == block.is_modulated
        bank = export.result.dmb.blocks[3].bias_bank
        assert np.array_equal(arrays["dmb/layer2.1/bias_bank"], bank)
        assert arrays["dmb/attribution"].shape == (3, 32, 32)
        assert np.array_equal(arrays["dmb/attribution"].sum(axis=0), export.attribution.maps[1])


def test_the_same_results_are_the_same_bytes(export):
    assert to_npz(export) == to_npz(export)
    assert to_zip(export, "x", ["json", "npz"]) == to_zip(export, "x", ["json", "npz"])


def test_pngs_say_what_they_are_of(export, files):
    names = {name for name in files if name.endswith(".png")}
    assert names == {
        "picture.png", "sees.png", "attribution-baseline.png", "attribution-dmb.png", "overlay-baseline.png",
        "overlay-dmb.png", "attribution-difference.png", "factors-dmb.png",
    }  # fmt: skip
    for name in names:
        with Image.open(io.BytesIO(files[name])) as picture:
            assert json.loads(picture.text[KEYWORD]) == json.loads(files["manifest.json"])
    assert np.array_equal(np.array(Image.open(io.BytesIO(files["picture.png"]))), export.result.pixels)
    sees = np.array(Image.open(io.BytesIO(files["sees.png"])))
    assert np.array_equal(sees[6::12, 6::12], export.result.pixels)


def test_a_map_as_png_has_the_figures_colours(export, files):
    sheet = np.array(Image.open(io.BytesIO(files["attribution-dmb.png"])))
    limit = shared_limit(*export.attribution.maps)
    expected = colours(export.attribution.maps[1], 0, limit)
    step = MAP_SIDE // 32
    left = MARGIN + LEFT + step // 2
    tops = [
        top for top in range(sheet.shape[0] - MAP_SIDE)
        if np.array_equal(sheet[top : top + MAP_SIDE : step, left : left + MAP_SIDE : step], expected)
    ]  # fmt: skip
    assert len(tops) == step  # the map stands there, each of its pixels twelve high
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) > 100


def test_colours_are_those_that_plotly_draws():
    values = np.linspace(-1.2, 1.2, 49)
    places = (np.clip(values, -1, 1) + 1) / 2
    drawn = sample_colorscale(colour_scale(), list(places), colortype="tuple")
    np.testing.assert_allclose(colours(3 + 2 * values, 3, 2), 255 * np.array(drawn), atol=1)
    assert colours(np.array([-9.0, 9.0, np.nan]), 0, 1).tolist() == [
        list(ImageColor.getrgb(colour)) for colour in (DIVERGING[0], DIVERGING[-1], "#808080")
    ]


def test_a_veil_hides_the_picture_by_the_strength_of_the_map():
    pixels = np.full((1, 3, 3), 100, np.uint8)
    veil = veiled(pixels, np.array([[0.0, 2.0, -1.0]]), 2.0, 0.5)
    red, blue = (np.array(ImageColor.getrgb(DIVERGING[end])) for end in (-1, 0))
    assert veil[0].tolist() == [
        [100, 100, 100], np.rint(50 + red / 2).tolist(), np.rint(75 + blue / 4).tolist(),
    ]  # fmt: skip


def test_text_on_pngs_is_what_the_fonts_have():
    assert printable("−3 × é ≤ πλοίο, корабль\t Ž") == "−3 × é ≤ πλοίο, корабль Ž"
    known = any(ord("船") in characters for characters in _fonts().values())
    assert printable("船") == ("船" if known else "[U+8239]")
    assert printable("\U000f0000") == "[U+F0000]"  # of private use, so no font has it


@pytest.mark.parametrize("text", ["word " * 40 + "x" * 300, "корабль " * 50, "船" * 200, "[U+8239]" * 90])
def test_text_on_pngs_keeps_to_its_width(text):
    lines = wrap(text, 200, 13)
    assert len(lines) > 10 and max(width_of(line, 13) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == printable(text).replace(" ", "")


def test_names_in_any_script_are_drawn_alike_by_many_threads_without_a_warning(export, capfd):
    """Formulas are none: a name is drawn as it is."""
    labels = ("Ελλάδα $x_1$", "модель 船 \U000f0000")
    networks = [
        dataclasses.replace(network, label=label)
        for network, label in zip(export.result.networks, labels, strict=True)
    ]
    named = dataclasses.replace(export, result=PictureResult(export.result.pixels, *networks))
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as threads:
        warnings.simplefilter("error")
        first, *others = threads.map(to_png, [named] * 4)
    assert all(other == first for other in others)
    assert first["attribution-dmb.png"] != to_png(export)["attribution-dmb.png"]
    assert capfd.readouterr() == ("", "")
    assert pyplot.get_fignums() == []


def test_factor_pngs_of_two_modulated_networks(foreign):
    found = to_png(foreign)
    assert {"factors-baseline.png", "factors-dmb.png"} <= set(found)


def test_a_bundle_is_a_folder_or_a_zip_of_the_same_files(export, files, tmp_path):
    write_folder(export, tmp_path / "spot")
    assert {path.name: path.read_bytes() for path in (tmp_path / "spot").iterdir()} == files
    with zipfile.ZipFile(io.BytesIO(to_zip(export, "spot"))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {f"spot/{n}": c for n, c in files.items()}


def test_kinds_are_chosen_and_the_manifest_is_always_there(export):
    assert set(bundle_files(export, "x", ["npz"])) == {"manifest.json", "arrays.npz"}
    with pytest.raises(ValueError, match="no kind of file 'pdf'; there are json, csv, npz, png, html"):
        bundle_files(export, "x", ["json", "pdf"])
