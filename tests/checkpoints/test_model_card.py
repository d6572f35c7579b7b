"""The card, read by the Hub's own parser."""

from __future__ import annotations

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from abn.checkpoints.card import model_card
from abn.checkpoints.info import CheckpointError, CheckpointInfo
from abn.checkpoints.store import save_checkpoint
from abn.common.data import CLASS_NAMES, MEAN, STD
from abn.models.resnet import resnet_s


def info(**known) -> CheckpointInfo:
    return CheckpointInfo("resnet-dmb", CLASS_NAMES, MEAN, STD, num_biases=4, weights_sha256="0" * 64, **known)


@pytest.mark.parametrize(
    ("evaluated_on", "images", "split", "name"),
    [
        ("test", 10_000, "test", "Accuracy on 10,000 test images"),
        ("holdout", 5_000, "train", "Accuracy on 5,000 held-out training images"),
        ("test", None, "test", "Accuracy"),
    ],
)
def test_the_front_matter_is_what_the_hubs_library_would_write(evaluated_on, images, split, name):
    card = ModelCard(
        model_card(
            info(
                accuracy=87.87,
                evaluated_on=evaluated_on,
                test_images=images,
                dataset="CIFAR-10",
                license="apache-2.0",
            )
        )
    )
    result = EvalResult(
        task_type="image-classification", task_name="Image Classification", dataset_type="uoft-cs/cifar10",
        dataset_name="CIFAR-10", dataset_split=split, metric_type="accuracy", metric_value=0.8787, metric_name=name,
    )  # fmt: skip
    expected = ModelCardData(
        license="apache-2.0", library_name="abn", pipeline_tag="image-classification",
        tags=["pytorch", "channel-modulation", "resnet-dmb"], datasets=["uoft-cs/cifar10"], metrics=["accuracy"],
        model_name="ResNet-DMB", eval_results=[result],
    )  # fmt: skip
    assert card.data.eval_results == [result]
    assert card.data.to_dict() == expected.to_dict()
    assert "87.87 %" in card.text


@pytest.mark.parametrize("known", [{}, {"accuracy": 50.0, "evaluated_on": "test"}, {"dataset": "CIFAR-10"}])
def test_no_result_without_all_of_it(known):
    assert ModelCard(model_card(info(**known))).data.eval_results is None


@pytest.mark.parametrize("accuracy", [0, 0.0001, 100])
def test_a_result_is_a_number(accuracy):
    card = ModelCard(model_card(info(accuracy=accuracy, evaluated_on="test", dataset="CIFAR-10")))
    assert card.data.eval_results[0].metric_value == pytest.approx(accuracy / 100)


def test_no_name_breaks_out_of_its_line(tmp_path):
    names = ('a "quoted" name', "colon: and more", "![x](http://host/picture.png) | <b>")
    known = {"dataset": 'My "data":\n- set', "accuracy": 50.0, "evaluated_on": "test"}
    save_checkpoint(resnet_s(3), tmp_path, class_names=names, **known)
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.license, data.pipeline_tag) == (None, "image-classification")
    assert data.eval_results[0].dataset_name == known["dataset"]
    assert "resnet-s" in data.tags
    text = (tmp_path / "README.md").read_text()
    assert "![x]" not in text
    assert "<b>" not in text


@pytest.mark.parametrize("license", ["", "MIT License", "mit\n- x", "x" * 61])
def test_a_licence_that_is_none_of_the_hubs(tmp_path, license):
    with pytest.raises(CheckpointError, match="expected a licence as the Hub calls it"):
        save_checkpoint(resnet_s(3), tmp_path / "x", class_names=("a", "b", "c"), license=license)
