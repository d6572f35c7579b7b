"""A checkpoint with what is usual for it, by folder or Hub id."""

from __future__ import annotations

import pytest

from abn import networks
from abn.checkpoint_info import CheckpointError
from abn.checkpoints import load_checkpoint, save_checkpoint
from abn.networks import BASELINE, DMB, load_network, open_network
from abn.reference_file import ReferenceFileError
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
