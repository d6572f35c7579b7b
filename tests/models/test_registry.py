"""Every architecture of the registry goes the whole way: saved, loaded, looked into, measured, shown, exported."""

import json

import numpy as np
import pytest
import torch

from abn.app.export import PictureFile, export_of
from abn.app.export.document import to_json
from abn.app.export.html_page import to_html
from abn.app.export.opening import read_export
from abn.app.export.tables import to_csv
from abn.app.figures import factor_heatmap
from abn.app.figures.drawing import block_factors, gate_weights
from abn.app.inspector.changes import Change
from abn.app.inspector.inspector import Inspector
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import load_network
from abn.checkpoints.store import load_checkpoint, save_checkpoint
from abn.common.data import CLASS_NAMES, to_pixels
from abn.experiment.runs import ARM_LABELS
from abn.interpret.inspection import inspect
from abn.interpret.reference.file import save_reference
from abn.interpret.reference.measure import compute_reference
from abn.models import registry
from abn.models.modulation import BankModulation, Modulation
from abn.models.registry import ARCHITECTURES, Architecture
from abn.models.resnet import BasicBlock, ResNet
from abn.training.run import Variant
from tests.conftest import awake

CPU = torch.device("cpu")


class HalfBlock(BasicBlock):
    """Factors that are a sigmoid of the mean response."""

    def factors(self, h, z):
        return torch.sigmoid(z.mean(dim=(2, 3)))

    def modulation(self, h, response):
        return Modulation(torch.sigmoid(response), response, response)


def half(num_classes=10):
    return ResNet(HalfBlock, "half", num_classes)


@pytest.fixture(params=[*ARCHITECTURES, "half"])
def architecture(request, monkeypatch):
    if request.param == "half":  # one entry, and nothing else
        monkeypatch.setitem(ARCHITECTURES, "half", Architecture("half", half, "Half", "Half modulates."))
    return ARCHITECTURES[request.param]


@pytest.fixture
def folder(architecture, pictures, labels, tmp_path):
    folder = save_checkpoint(awake(architecture.name), tmp_path / architecture.name)
    model = load_checkpoint(folder)
    reference = compute_reference(
        model, to_pixels(pictures), torch.from_numpy(labels), class_names=CLASS_NAMES,
        weights_sha256=model.info.weights_sha256,
    )  # fmt: skip
    save_reference(reference, folder)
    return folder


def test_it_comes_back_as_it_was_saved_and_says_what_it_is(architecture, folder):
    made, loaded = awake(architecture.name), load_checkpoint(folder)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), made(images))
    for name in ("architecture", "options", "num_biases"):
        assert getattr(loaded, name) == getattr(made, name)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"# {architecture.label}\n" in card and "{" not in card.split("---")[2]
    seen = inspect(loaded, images).modulations
    assert {type(m) is BankModulation for m in seen.values()} == {architecture.has_bank}
    assert {m.varies for m in seen.values()} == {architecture.modulated}
    assert all(torch.equal(m.factors[0], m.factors[1]) for m in seen.values()) is not architecture.modulated


def test_its_reference_has_factors_where_they_vary_and_gates_where_there_is_a_bank(architecture, folder):
    network = load_network(None, folder)
    for block in network.reference.blocks.values():
        assert (block.factors is not None, block.gates is not None) == (architecture.modulated, architecture.has_bank)


def test_it_stands_on_either_side_and_in_every_export(architecture, folder, checkpoints, pictures):
    network, dmb = load_network(None, folder), load_network(None, checkpoints / "resnet-dmb")
    assert network.label == architecture.label
    pairs = [(network, dmb), (dmb, network)] if architecture.modulated else [(network, dmb)]
    if not architecture.modulated:
        with pytest.raises(CheckpointError, match="modulates no channels"):
            Inspector(dmb, network, CPU)
    for sides in pairs:
        inspector = Inspector(*sides, CPU)
        result = inspector.inspect(pictures[0])
        own = result.baseline if sides[0] is network else result.dmb
        assert (own.is_modulated, own.has_bank) == (architecture.modulated, architecture.has_bank)
        assert own.has_reference is architecture.modulated
        factor_heatmap(block_factors(own), "deviation" if own.has_reference else "raw")
        export = export_of(inspector, result, None, PictureFile("a.png", "ab" * 32, (32, 32), "crop", (0, 0, 32, 32)))
        page, tables, document = to_html(export), to_csv(export), to_json(export)
        assert architecture.label in page.decode() and "gate_weights.csv" in tables
        again = read_export(document).result
        opened = again.baseline if own is result.baseline else again.dmb
        for block, same in zip(own.blocks, opened.blocks, strict=True):
            assert np.array_equal(block.factors, same.factors) and same.is_modulated is architecture.modulated
        if architecture.has_bank:
            gate_weights(own)
            assert own.blocks[0].channel_sum(1).residual == pytest.approx(0, abs=1e-6)
        else:
            with pytest.raises(ValueError, match="no bank of biases"):
                gate_weights(own)


def test_its_factors_can_be_changed_and_its_gates_where_it_has_them(architecture, folder):
    model = load_checkpoint(folder)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    if not architecture.modulated:
        with pytest.raises(ValueError, match="this network is static"):
            Change(strength=0).hook(model)
        return
    seen = inspect(model, images, Change(strength=0).hook(model)).modulations
    assert all((m.factors == 1).all() for m in seen.values())
    if architecture.has_bank:
        inspect(model, images, Change(gates="no bank").hook(model))
    else:
        with pytest.raises(ValueError, match="no bank of biases; choose 'own'"):
            Change(gates="no bank").hook(model)


def test_a_registered_architecture_is_trained_as_its_entry_says_and_is_no_arm_unless_it_says_so(architecture):
    variant = Variant.of(architecture.name)
    assert (variant.build, variant.parameter_groups) == (architecture.build, architecture.parameter_groups)
    assert (architecture.name in ARM_LABELS) is architecture.is_arm


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="'se' already"):
        registry.register(ARCHITECTURES["se"])


def test_an_architecture_that_is_not_registered_is_not_saved(tmp_path):
    with pytest.raises(CheckpointError, match="unknown architecture 'half'; register it"):
        save_checkpoint(half(), tmp_path / "half")
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize(
    ("architecture", "options", "reason"),
    [
        ("awake", {"temperature": "hot"}, 'the option temperature is "hot"; expected a number'),
        ("awake", {"temperature": True}, "the option temperature is true; expected a number"),
        ("awake", {"temperature": 0}, "temperature is 0; expected a positive number"),
        ("awake", {"standardise": 1}, "the option standardise is 1; expected a bool"),
        ("awake", {"wake": 1}, "awake has no option 'wake'; there is standardise, temperature"),
        ("se", {"temperature": 1.0}, "se has no option 'temperature'; there is none"),
    ],
)
def test_options_an_architecture_cannot_have(tmp_path, architecture, options, reason):
    folder = save_checkpoint(awake(architecture), tmp_path / "x")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "options": options}))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    assert reason in str(error.value)


def test_options_are_kept(tmp_path):
    model = ARCHITECTURES["awake"].build(num_classes=3, num_biases=2, standardise=False, temperature=0.5).eval()
    loaded = load_checkpoint(save_checkpoint(model, tmp_path / "x", class_names=["a", "b", "c"]))
    assert loaded.options == {"standardise": False, "temperature": 0.5}
    assert loaded.layer1[0].conv2_dmb.gate_dmb.temperature == 0.5
