"""What a network makes of its bank: the figures, and the sentences on an experiment's runs."""

import math

import pytest
import torch

from abn.experiment.bank_use import measure, sentences
from abn.experiment.runs import RunLog
from tests.tiny import Tiny, tiny_pictures


def test_a_bank_that_is_zero_has_no_share():
    got = measure(Tiny.by_linear_term(), tiny_pictures(6))
    assert got["bank_share"] == got["bank_variation"] == 0
    assert got["entropy"] == 1  # gates without weights are uniform


def test_a_bank_that_does_it_all_has_all_and_its_gates_choose():
    got = measure(Tiny.by_bank(), tiny_pictures(6))
    # The one channel with a bank has all of its pre-activation from it; the other two have none and count 0.
    assert got["bank_share"] == got["bank_variation"] == pytest.approx(1 / 3, abs=1e-6)
    assert got["entropy"] < 1e-6


def test_a_bank_that_is_the_same_for_every_image_has_no_share_of_the_variation():
    got = measure(Tiny.by_constant(), tiny_pictures(6))
    assert got["bank_share"] == pytest.approx(1)
    assert got["bank_variation"] == 0


def test_peaked_gates_that_never_move_choose_nothing():
    got = measure(Tiny.by_constant(), tiny_pictures(6))
    assert got["choice"] == 0
    model = Tiny.by_bank()
    model.block.conv2_dmb.gate_dmb.gate_fc.weight.data.zero_()
    model.block.conv2_dmb.gate_dmb.gate_fc.bias.data[:] = torch.tensor([50.0, -50])
    got = measure(model, tiny_pictures(6))
    assert (got["entropy"], got["choice"], got["factor_sd"]) == (0, 0, 0)
    assert measure(Tiny.by_bank(), tiny_pictures(6))["choice"] == pytest.approx(1, abs=1e-6)  # each its own vector


def test_the_spread_of_the_factors_is_that_over_the_images():
    # m_1 is ±1 on alternate pictures, so f_1 = 1 ± tanh 1; the two other channels do not vary.
    assert measure(Tiny.by_linear_term(), tiny_pictures(6))["factor_sd"] == pytest.approx(
        math.tanh(1) / math.sqrt(3), abs=1e-5
    )


def run(arm, seed, entropy=None, variation=None, choice=0.5, share=0.1, epochs=1):
    record = {"epoch": 1, "test_accuracy": 90.0}
    if entropy is not None:
        record["bank"] = {
            "entropy": entropy, "choice": choice, "bank_share": share, "bank_variation": variation,
            "factor_sd": 0.0123,
        }  # fmt: skip
    return RunLog(arm, seed, "paper", "abc", epochs, 0, 100, [record])


def test_a_sentence_an_arm_of_which_it_was_measured():
    said = sentences(
        [run("awake", 0, 0.0679, 0.1125), run("resnet-dmb", 0, 0.99971, 0.0002),
         run("resnet-dmb", 1, 0.99984, 0.0004), run("resnet-dmb", 2), run("resnet-s", 0)]
    )  # fmt: skip
    assert said == [
        "ResNet-DMB, n = 2: the bank is idle, with under 0.1 % of what varies in the pre-activations between images; "
        "the gates are uniform, with a mean entropy of 0.9997 to 0.9998 log K; factors differ between images by "
        "0.0123 (standard deviation).",
        "Awake, n = 1: the bank is used, with 11.2 % of what varies in the pre-activations between images; "
        "the gates choose, with a mean entropy of 0.0679 log K; factors differ between images by 0.0123 (standard "
        "deviation).",
    ]


def test_runs_that_differ_are_counted():
    (said,) = sentences(
        [run("awake", 0, 0.2, 0.1), run("awake", 1, 0.995, 0.01), run("awake", 2, 0.3, 0.3, choice=0.001)]
    )
    assert "the bank is used in 2 of 3 runs and is idle in 1 of 3 runs, with 1.0 % to 30.0 % of what varies" in said
    assert (
        "the gates choose in 1 of 3 runs and are uniform in 1 of 3 runs and are the same for every image in 1 of 3 "
        "runs, with a mean entropy of 0.2000 to 0.9950 log K;" in said
    )


def test_a_bank_without_a_linear_term_has_nothing_to_be_a_share_of():
    (said,) = sentences([run("bank-only", 0, 0.9999, 1.0, choice=0.0, share=1.0)])
    assert said.startswith("Bank only, n = 1: the bank is all there is; the gates are uniform, ")
    assert "used" not in said


def test_a_run_that_is_not_finished_does_not_count():
    assert sentences([run("awake", 0, 0.2, 0.1, epochs=2)]) == []
