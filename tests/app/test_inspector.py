import dataclasses

import numpy as np
import pytest
import torch

from abn.app.inspector.changes import Change
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.results import BlockResult
from abn.app.inspector.visitors import Pairs
from abn.checkpoints.network import Network, load_network
from abn.checkpoints.store import CheckpointError, load_checkpoint, save_checkpoint
from abn.common.data import CLASS_NAMES, normalise, to_pixels
from abn.common.texts import escape
from abn.interpret.attribution.attribute import attribute
from abn.ui import words
from abn.ui.page.build import build_page
from abn.ui.page.latest import Superseded
from tests.conftest import awake

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def result(inspector, pictures):
    return inspector.inspect(pictures[0])


def test_probabilities_are_those_of_the_networks(inspector, pictures, result):
    for network, seen in zip(inspector.networks, result.networks, strict=True):
        with torch.no_grad():
            logits = network.model(normalise(to_pixels(pictures[:1])))
        np.testing.assert_allclose(seen.probabilities, logits.softmax(1)[0], atol=1e-6)
        assert seen.predicted == logits.argmax().item()


def test_every_channels_sum_is_the_networks_factor(result):
    for block in result.dmb.blocks:
        for channel in range(0, len(block.factors), 17):
            exact = block.channel_sum(channel)
            assert exact.preactivation == pytest.approx(exact.linear_term + exact.bias_terms.sum(), abs=1e-12)
            assert abs(exact.residual) < 1e-6
            assert exact.network_factor == block.factors[channel]


def test_a_known_channels_sum():
    block = BlockResult(
        "b", np.array([1.5]), np.zeros(1), np.array([0.25]), np.array([0.25, 0.75]), np.array([[1.0, -1.0]])
    )
    exact = block.channel_sum(0)
    assert exact.bias_terms.tolist() == [0.25, -0.75]
    assert exact.preactivation == -0.25
    assert exact.factor == pytest.approx(1 + np.tanh(-0.25))
    assert exact.residual == pytest.approx(1 + np.tanh(-0.25) - 1.5)


def test_a_static_block_and_a_missing_channel_have_no_sum(result):
    with pytest.raises(ValueError, match="layer1.0 is static"):
        result.baseline.blocks[0].channel_sum(0)
    with pytest.raises(ValueError, match="no channel 64; it has channels 0 to 63"):
        result.dmb.blocks[0].channel_sum(64)
    with pytest.raises(ValueError, match="no block 'layer9.0'; there are layer1.0, layer1.1"):
        result.dmb.block("layer9.0")


def test_own_share_is_the_pictures_part_of_all_distances(result):
    share = result.dmb.own_share()
    means = np.concatenate([block.reference.factors.mean for block in result.dmb.blocks])
    factors = np.concatenate([block.factors for block in result.dmb.blocks])
    own, common = ((factors - means) ** 2).sum(), ((means - 1) ** 2).sum()
    assert share.share == pytest.approx(own / (own + common), rel=1e-5)
    said = words.own_share(result.dmb)
    assert f"**{100 * share.share:.1f} %**" in said and f"{100 * (1 - share.share):.1f} % is what" in said
    assert 0 < share.median < 1
    assert f"({100 * share.median:.1f} % for the median test image)" in said


def test_attribution_is_the_librarys(inspector, pictures):
    pair = inspector.attribute(pictures[0], "dog", None, "input_x_gradient", {})
    alone = attribute(inspector.dmb.model, normalise(to_pixels(pictures[:1])), 5, "input_x_gradient")
    np.testing.assert_allclose(pair.maps[1], alone.pixel_map()[0])
    assert pair.target == "dog"
    assert inspector.attribute(pictures[0], "dog", "cat", "saliency", {}).target == "dog against cat"


def test_many_at_once_are_what_each_is_alone(inspector, pictures):
    together = inspector.inspect_many(pictures[:5])
    assert len(together) == 5
    for pixels, result in zip(pictures, together, strict=False):
        alone = inspector.inspect(pixels)
        assert np.array_equal(result.pixels, pixels)
        for one, other in zip(result.networks, alone.networks, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
            for block, same in zip(one.blocks, other.blocks, strict=True):
                assert block.is_modulated == same.is_modulated
                np.testing.assert_allclose(block.factors, same.factors, atol=1e-5)
                np.testing.assert_allclose(block.response, same.response, atol=1e-4)
                if block.is_modulated:
                    np.testing.assert_allclose(block.gate_weights, same.gate_weights, atol=1e-5)
                    np.testing.assert_allclose(block.linear_term, same.linear_term, atol=1e-4)
                    assert np.array_equal(block.bias_bank, same.bias_bank)


def test_many_attributed_at_once_are_what_each_is_alone(inspector, pictures):
    together = inspector.attribute_many(pictures[:3], "dog", "cat", "input_x_gradient", {})
    alone = inspector.attribute(pictures[2], "dog", "cat", "input_x_gradient", {})
    assert [pair.classes for pair in together] == [("dog", "cat")] * 3
    for values, expected in zip(together[2].maps, alone.maps, strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-4 * np.abs(expected).max())
    assert not np.allclose(together[0].maps[1], together[2].maps[1])


def test_progress_runs_over_both_networks(inspector, pictures):
    told = []
    inspector.attribute(pictures[0], "dog", None, "smoothgrad", {"samples": 4}, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert any(share <= 0.5 for share in told)


def test_an_unknown_class_is_refused_with_what_there_is(inspector, pictures):
    with pytest.raises(ValueError, match="no class 'unicorn'; there are airplane, automobile"):
        inspector.attribute(pictures[0], "unicorn", None, "saliency", {})


def test_an_answer_that_overflowed_is_told_and_not_shown_as_the_first_class(checkpoints, pictures, labels):
    """Weights that answer plain pictures may still be too large for others."""
    broken = load_network(None, checkpoints / "resnet-s")
    # Alike and positive, as the features are: otherwise some sums cancel, by the order of adding.
    broken.model.linear.weight.data.fill_(1e38)
    modulated = load_network(None, checkpoints / "resnet-dmb")
    inspector = Inspector(broken, modulated, CPU)
    with pytest.raises(ValueError, match="ResNet-S answers this picture with NaN or infinity: its weights are so l"):
        inspector.inspect(pictures[0])
    assert inspector.find_disagreement(pictures, labels, np.random.default_rng(0)) is None  # none that can be shown


def test_a_change_that_overflows_is_not_the_weights_fault(checkpoints, pictures, monkeypatch):
    inspector = Inspector(*(load_network(None, checkpoints / name) for name in ("resnet-s", "resnet-dmb")), CPU)
    monkeypatch.setattr(Change, "hook", lambda self, model: lambda name, m: m.with_factors(m.factors * 1e38))
    with pytest.raises(ValueError, match="with this change its numbers overflow; choose a smaller change"):
        inspector.intervene(pictures[0], Change())


def test_a_disagreement_is_one(inspector, pictures, labels):
    found = inspector.find_disagreement(pictures, labels, np.random.default_rng(0))
    assert found is not None, "these two networks are unrelated: they differ on some of sixty pictures"
    assert not inspector.inspect(found.pixels).agree
    assert found.true_class == CLASS_NAMES[labels[found.index]]


def test_a_network_agrees_with_itself(inspector, pictures, labels):
    twins = Inspector(inspector.dmb, inspector.dmb, CPU)
    asked = []
    random = np.random.default_rng(0)
    assert twins.find_disagreement(pictures, labels, random, lambda: asked.append(1)) is None
    assert asked == []  # the same weights: no picture has to be looked at


def test_a_search_ends_when_it_is_of_no_use_any_more(inspector, pictures, labels, monkeypatch):
    monkeypatch.setattr(Inspector, "_predict", lambda self, network, images: np.zeros(len(images)))
    batches = []

    def before_batch():
        batches.append(1)
        if len(batches) == 3:
            raise Superseded

    many = np.repeat(pictures, 10, axis=0)
    with pytest.raises(Superseded):
        inspector.find_disagreement(many, np.repeat(labels, 10), np.random.default_rng(0), before_batch)
    assert len(batches) == 3


def test_networks_of_other_classes_are_not_compared(inspector, tmp_path):
    folder = save_checkpoint(awake("resnet-s"), tmp_path / "other", class_names=[f"c{i}" for i in range(10)])
    with pytest.raises(CheckpointError, match="compared on the same classes"):
        Inspector(load_network(None, folder), inspector.dmb, CPU)


def test_without_a_reference_the_page_says_what_is_missing(checkpoints, pictures, tmp_path):
    networks = [
        Network(name, load_checkpoint(checkpoints / folder))
        for name, folder in (("ResNet-S", "resnet-s"), ("ResNet-DMB", "resnet-dmb"))
    ]
    inspector = Inspector(*networks, CPU)
    seen = inspector.inspect(pictures[0])
    assert seen.dmb.own_share() is None
    assert "carries no `reference.safetensors`" in words.own_share(seen.dmb)
    config = build_page(Pairs(inspector, folders=False), []).get_config_file()
    labels = [c["props"].get("choices") for c in config["components"] if c["type"] == "radio"]
    assert [["raw factor", "raw"]] in [[list(choice) for choice in choices] for choices in labels]


def test_a_notice_about_a_checkpoint_stands_on_the_page(inspector):
    told = {True: "somebody/resnet: offline; unset HF_HUB_OFFLINE.", False: "somebody/resnet: offline; try again."}
    noticed = dataclasses.replace(inspector.dmb, notice=told[True], public_notice=told[False])
    for local in (True, False):  # strangers can set nothing on the server
        config = build_page(Pairs(Inspector(inspector.baseline, noticed, CPU), folders=local), []).get_config_file()
        texts = [c["props"].get("value") for c in config["components"] if c["type"] == "markdown"]
        assert escape(told[local]) in texts
        assert escape(told[not local]) not in texts


def test_four_biases_and_ten_classes_are_not_assumed(tmp_path, pictures):
    from abn.models.resnet import resnet_dmb, resnet_s

    torch.manual_seed(0)
    names = ["a", "b", "c"]
    saved = [
        save_checkpoint(model.eval(), tmp_path / model.architecture, class_names=names)
        for model in (resnet_s(3), resnet_dmb(3, num_biases=2))
    ]
    inspector = Inspector(*(load_network(None, folder) for folder in saved), CPU)
    seen = inspector.inspect(pictures[0])
    assert list(seen.as_dict()["dmb"]["raw_softmax"]) == names
    assert len(seen.dmb.blocks[0].channel_sum(3).bias_terms) == 2
    assert build_page(Pairs(inspector, folders=False), []) is not None


def test_words_say_who_said_what(result):
    text = words.agreement(result)
    assert result.baseline.predicted_name in text
    assert f"{100 * result.dmb.probabilities.max():.1f} %" in text
    assert text.startswith("**They agree" if result.agree else "**They disagree")
    table = words.examples([(f"{result.dmb.predicted_name}-2", result), ("nothing", result)])
    assert "(miss)" in table
    assert "Of 2 drawings" in table


def test_a_network_without_modulation_is_no_second_one(inspector):
    with pytest.raises(CheckpointError, match="ResNet-S modulates no channels; it can be the first network alone"):
        Inspector(inspector.baseline, inspector.baseline, CPU)


def test_a_checkpoints_own_names_bring_no_markup():
    assert escape("![x](http://host/x.png) <b>") == "\\!\\[x\\](http:\u200b//host/x.png) &lt;b&gt;"
    assert escape("a\n\n# www.evil.test $$x$$") == "a \\# w\u200bww.evil.test \\$\\$x\\$\\$"
    assert escape("ship") == "ship"
