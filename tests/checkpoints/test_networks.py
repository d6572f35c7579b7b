"""A checkpoint with its reference statistics, by folder or Hub id."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from abn.checkpoints import network as networks
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import BASELINE, DMB, load_network, open_network
from abn.checkpoints.store import load_checkpoint, save_checkpoint
from abn.interpret.reference.file import ReferenceFileError, save_reference
from abn.interpret.reference.statistics import Statistics
from tests.conftest import HOME, awake


def test_the_checkpoints_that_came_with_the_code_are_there():
    assert (BASELINE, DMB) == (HOME / "checkpoints" / "resnet-s", HOME / "checkpoints" / "resnet-dmb")
    assert [open_network(folder).label for folder in (BASELINE, DMB)] == ["ResNet-S", "ResNet-DMB"]


def test_a_reference_of_other_weights_is_refused(checkpoints, tmp_path):
    folder = save_checkpoint(awake("resnet-dmb", seed=9), tmp_path / "dmb")
    (folder / "reference.safetensors").write_bytes(
        (checkpoints / "resnet-dmb" / "reference.safetensors").read_bytes()
    )
    with pytest.raises(ReferenceFileError, match="belongs to the weights"):
        load_network(None, folder)


def without_a_block(blocks):
    del blocks["layer2.0"]


def with_a_block_of_another_network(blocks):
    blocks["layer4.0"] = blocks["layer3.1"]


def of_fewer_channels(blocks):
    blocks["layer2.0"] = blocks["layer1.0"]


def of_a_static_block(blocks):
    blocks["layer2.0"] = replace(blocks["layer2.0"], factors=None, gates=None)


def of_another_bank(blocks):
    gates = Statistics(**{key: value[..., :3] for key, value in vars(blocks["layer2.0"].gates).items()})
    blocks["layer2.0"] = replace(blocks["layer2.0"], gates=gates)


@pytest.mark.parametrize(
    ("change", "there", "wanted"),
    [
        (without_a_block, "nothing", "128 responses and 128 factors and 4 gate weights"),
        (with_a_block_of_another_network, "256 responses and 256 factors and 4 gate weights", "nothing"),
        (of_fewer_channels, "64 responses and 64 factors", "128 responses and 128 factors"),
        (of_a_static_block, "128 responses and no factors and no gate weights", "128 responses and 128 factors"),
        (of_another_bank, "128 responses and 128 factors and 3 gate weights", "128 responses and 128 factors and 4"),
    ],
)
def test_a_reference_of_other_blocks_is_refused_when_it_is_opened(checkpoints, tmp_path, change, there, wanted):
    folder = shutil.copytree(checkpoints / "resnet-dmb", tmp_path / "dmb")
    reference = open_network(folder).reference
    change(reference.blocks)
    save_reference(reference, folder)
    with pytest.raises(ReferenceFileError) as caught:
        open_network(folder)
    said = str(caught.value)
    assert re.search(f"has {there}.* for block 'layer[24].0', expected {wanted}.*, as the network has; make it", said)


def test_a_reference_of_other_class_names_is_refused(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints / "resnet-dmb", tmp_path / "dmb")
    reference = open_network(folder).reference
    save_reference(replace(reference, class_names=reference.class_names[::-1]), folder)
    with pytest.raises(ReferenceFileError, match="has other class names, or another order of them.*make it anew"):
        open_network(folder)


def test_a_static_networks_reference_fits_it(checkpoints):
    assert open_network(checkpoints / "resnet-s").reference.blocks["layer1.0"].factors is None


def test_a_hub_id_that_cannot_be_had_falls_back_and_says_so(checkpoints, monkeypatch):
    monkeypatch.setattr(networks, "load_checkpoint", refuse_hub(checkpoints))
    network = load_network("somebody/resnet", checkpoints / "resnet-dmb")
    assert network.label == "ResNet-DMB"
    assert "somebody/resnet" in network.notice
    assert "came with this app" in network.notice


def refuse_hub(checkpoints):
    def load(source, **_):
        if source == "somebody/resnet":
            raise CheckpointError("there is no such repository", source)
        return load_checkpoint(source)

    return load
