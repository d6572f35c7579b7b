"""`abn replay BUNDLE`: the same numbers, or which differ and why."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numpy as np
import pytest

from abn.app.bulk import replay
from abn.app.export import Export, ExportError, export_of, to_json, write_folder, write_zip
from abn.app.inspector.inspector import Inspector
from abn.checkpoints import network
from abn.checkpoints.sources import HubSource
from abn.checkpoints.store import save_checkpoint
from abn.cli.main import main
from abn.common.memory import DeviceMemoryError
from tests.conftest import awake


@pytest.fixture
def run(checkpoints, monkeypatch, capsys):
    """Runs `replay` with the tests' checkpoints as the bundled ones; answers with exit code, stdout and stderr."""
    monkeypatch.setattr(network, "CHECKPOINTS", checkpoints)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["replay", *map(str, arguments)])
        return caught.value.code, *capsys.readouterr()

    return run_command


@pytest.fixture
def bundle(export, tmp_path):
    write_folder(export, tmp_path / "spot", ["json"])
    return tmp_path / "spot"


def changed(export: Export, change) -> Export:
    document = json.loads(to_json(export))
    change(document)
    return replay.read_export(json.dumps(document).encode())


def test_the_same_weights_give_the_same_numbers(run, bundle, export):
    code, said, _ = run(bundle, "--device", "cpu")
    assert code == 0
    assert "spot.png, pixels" in said and "All is as it was then." in said
    assert "Reproduced: no quantity differs by more than 0.0001" in said
    for quantity in (
        "probabilities",
        "factors",
        "gate weights",
        "linear terms",
        "bias bank",
        "responses",
        "attribution",
    ):
        assert f"{quantity} " in said
    assert "beyond" not in said
    write_zip(export, bundle.with_suffix(".zip"), ["json", "csv"])
    for other in (bundle.with_suffix(".zip"), bundle / "result.json"):
        assert run(other, "--device", "cpu")[0] == 0


def test_a_changed_number_is_found_with_its_place(inspector, export):
    def change(document):
        document["dmb"]["blocks"]["layer2.1"]["factors"][17] = 1.9
        document["attribution"]["baseline"]["values"][2][3][4] = 99.0

    old = changed(export, change)
    now, problem = replay.replay(old, inspector)
    assert problem is None
    found = {(one.quantity, one.network): one for one in replay.differences(old, now)}
    factors = found["factors", "ResNet-DMB"]
    true = export.result.dmb.block("layer2.1").factors[17]
    assert (factors.where, factors.largest) == ("layer2.1 17", pytest.approx(1.9 - true, rel=1e-4))
    attribution = found["attribution", "ResNet-S"]
    assert (attribution.where, attribution.scale) == ("colour, row, column 2, 3, 4", 99.0)
    beyond = [key for key, one in found.items() if not one.within(replay.TOLERANCE)]
    assert beyond == [
        ("attribution", "ResNet-S"), ("factors", "ResNet-DMB"), ("percentiles", "ResNet-DMB"),
        ("percentiles in class", "ResNet-DMB"),
    ]  # fmt: skip
    assert "beyond" in replay.table(list(found.values()))


def test_other_weights_are_said_to_be_other(run, bundle, tmp_path):
    other = save_checkpoint(awake("resnet-dmb", seed=5), tmp_path / "retrained")
    code, said, _ = run(bundle, "--dmb", other, "--device", "cpu")
    assert code == 1
    assert (
        "other weights: ResNet-DMB" in said and "(retrained) now; their numbers are those of another network" in said
    )
    assert "Not reproduced: " in said
    # The first network is the same.
    (line,) = [line for line in said.splitlines() if line.startswith("probabilities") and "ResNet-S" in line]
    assert "beyond" not in line
    assert "usual factors" in said and "not there now" in said  # this checkpoint has no reference


@pytest.mark.parametrize(
    ("field", "quantity"),
    [
        ("sd", "their sd"), ("low", "their 5 and 95 %"), ("percentile", "percentiles"),
        ("percentile_in_class", "percentiles in class"),
    ],
)  # fmt: skip
def test_a_changed_number_of_what_is_usual_is_found_too(bundle, inspector, field, quantity):
    values = json.loads((bundle / "result.json").read_text())
    usual = values["dmb"]["blocks"]["layer2.0"]["usual_factors"]
    usual[field][3] = 0.9 * usual[field][3] if usual[field][3] else 0.01
    (bundle / "result.json").write_text(json.dumps(values))
    export = replay.open_bundle(bundle / "result.json")
    again, _ = replay.replay(export, inspector)
    wrong = [one for one in replay.differences(export, again) if not one.within(replay.TOLERANCE)]
    assert [(one.quantity, one.network) for one in wrong] == [(quantity, "ResNet-DMB")]
    assert wrong[0].where.startswith("layer2.0")


def test_another_resolution_or_another_reason_is_found(export):
    half = dataclasses.replace(export.attribution.dmb, resolution=(1, 1), problems=("the map is blank: so",))
    now = dataclasses.replace(export, attribution=dataclasses.replace(export.attribution, dmb=half))
    found = {one.quantity: one for one in replay.differences(export, now) if one.largest is None}
    assert found["resolution"].where.endswith(" then, (1, 1) now")
    assert found["blank map"].where == "none then, the map is blank: so now"


def test_other_libraries_and_devices_are_named(export):
    versions = {**export.manifest.versions, "torch": "2.11.0"}
    then = dataclasses.replace(export.manifest, device="cuda:0", hardware="NVIDIA H200", versions=versions)
    now = dataclasses.replace(export.manifest, versions={**export.manifest.versions, "captum": None})
    lines = replay.circumstances(then, now)
    assert f"torch: 2.11.0 then, {export.manifest.versions['torch']} now" in lines
    assert f"captum: {export.manifest.versions['captum']} then, none now" in lines
    assert "device: cuda:0 then, cpu now" in lines
    assert f"hardware: NVIDIA H200 then, {export.manifest.hardware} now" in lines
    assert replay.circumstances(now, now) == []
    bare = {**now.versions, "torch": now.versions["torch"].partition("+")[0]}  # as earlier versions told it
    assert replay.circumstances(dataclasses.replace(now, versions=bare), now) == []


def test_networks_of_other_classes_are_not_compared_but_named(export, two_modulated):
    now, problem = replay.replay(export, two_modulated)
    assert "there is no class 'dog'; there are a" in problem
    found = {(one.quantity, one.network): one for one in replay.differences(export, now)}
    assert found["probabilities", "ResNet-S"].where == "other classes"
    assert found["gate weights", "ResNet-S"].where == "not in the export"
    assert found["gate weights", "ResNet-DMB"].where == "layer1.0: 4 and 3 values"
    assert not any(one.within(1) for one in found.values() if one.largest is None)


def test_weights_that_are_not_here_are_asked_for(run, bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(network, "CHECKPOINTS", tmp_path / "nowhere")
    code, said, complaint = run(bundle)
    assert (code, said) == (2, "")
    assert "of ResNet-S, from a folder called resnet-s, are not among the checkpoints here" in complaint
    assert "with --baseline" in complaint


def test_weights_from_the_hub_are_asked_for_by_commit(export, monkeypatch, tmp_path, inspector):
    asked = []
    monkeypatch.setattr(replay, "open_network", lambda source: asked.append(source) or inspector.dmb)
    origin = dataclasses.replace(export.manifest.dmb, source="user/repo@main", commit="c0ffee")
    assert replay.find_network(origin, "dmb", None, tmp_path) is inspector.dmb
    assert asked == [HubSource("user/repo", "c0ffee")]


@pytest.mark.parametrize("step", ["__init__", "inspect_many"])
def test_a_full_memory_is_a_sentence(run, bundle, monkeypatch, step):
    def full(*_, **__):
        raise DeviceMemoryError("The memory of cuda:0 is full.")

    monkeypatch.setattr(Inspector, step, full)
    assert run(bundle) == (2, "", "abn replay: The memory of cuda:0 is full.\n")


def test_a_bundle_that_is_none_is_refused(run, tmp_path, bundle):
    (bundle / "result.json").write_bytes((bundle / "result.json").read_bytes()[:-100])
    code, _, complaint = run(bundle)
    assert code == 2 and "was cut short" in complaint
    assert "cannot be read (No such file or directory); name a bundle's folder" in run(tmp_path / "none")[2]
    with zipfile.ZipFile(tmp_path / "spoilt.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("result.json", "{}" * 1000)
    spoilt = bytearray((tmp_path / "spoilt.zip").read_bytes())
    spoilt[60] ^= 0xFF
    (tmp_path / "spoilt.zip").write_bytes(spoilt)
    with pytest.raises(ExportError, match="spoilt.zip: The file is a damaged or encrypted zip"):
        replay.open_bundle(tmp_path / "spoilt.zip")
    (tmp_path / "broken.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    with pytest.raises(ExportError, match="holds 0 files called result.json"):
        replay.open_bundle(tmp_path / "broken.zip")


def test_a_bundle_without_the_json_is_told_what_it_lacks(run, export, tmp_path):
    write_folder(export, tmp_path / "spot", ["csv"])
    write_zip(export, tmp_path / "spot.zip", ["csv"])
    for path in (tmp_path / "spot", tmp_path / "spot.zip"):
        code, said, complaint = run(path)
        assert (code, said) == (2, "")
        assert str(path) in complaint
        assert "a bundle without result.json, which holds the numbers; inspect the picture again" in complaint


def test_a_difference_knows_what_is_not_finite():
    nan, inf = np.nan, np.inf
    same = replay._difference("x", "n", np.array([nan, 1.0]), np.array([inf, 1.0]))
    assert (same.largest, same.scale, same.within(0)) == (0.0, 1.0, True)
    other = replay._difference("x", "n", np.array([1.0, 2.0]), np.array([1.0, nan]), names=["a", "b"])
    assert (other.largest, other.where, other.within(1e9)) == (inf, "b", False)


def test_without_attribution_none_is_compared(inspector, pictures):
    export = export_of(inspector, inspector.inspect(pictures[3]))
    now, problem = replay.replay(export, inspector)
    assert problem is None and now.attribution is None
    assert not [one for one in replay.differences(export, now) if one.quantity == "attribution"]
