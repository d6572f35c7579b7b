import json
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm import tqdm

from abn.common.data import CLASS_NAMES
from abn.experiment.audit import parse_audit
from abn.experiment.audit_conditions import adapted, conditions
from abn.experiment.audit_report import answers, bank_matters, dynamic_or_rescale
from abn.experiment.audit_run import audit
from abn.experiment.audit_statistics import (
    bank_share,
    bank_variation,
    entropy,
    leads,
    paired_difference,
    variance_split,
)
from abn.experiment.audit_store import Store
from abn.interpret.inspection import inspect
from abn.interpret.interventions import other_images
from abn.models.modulation import BankModulation
from abn.ui.tabs.results_words import audited
from tests.command import run_abn
from tests.tiny import Tiny, tiny_pictures

# --- statistics


def test_the_variance_is_split_by_class_as_by_hand():
    split = variance_split(np.array([[0, 7], [0, 7], [3, 7], [5, 7]], np.float32), np.array([0, 0, 0, 1]))
    assert split.mean.tolist() == [2, 7]
    assert split.between.tolist() == [3, 0]  # ¾ (1 - 2)² + ¼ (5 - 2)²
    assert split.within.tolist() == [1.5, 0]  # ¾ · 2 + ¼ · 0
    assert split.variance.tolist() == [4.5, 0]
    assert split.relative_sd.tolist() == [4.5**0.5 / 2, 0]


def test_between_and_within_are_the_whole_population_variance_also_of_factors_that_hardly_vary():
    values = (0.4 + 1e-6 * np.random.default_rng(0).standard_normal((500, 3))).astype(np.float32)
    split = variance_split(values, np.arange(500) % 7)
    np.testing.assert_allclose(split.variance, values.astype(np.float64).var(axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    ("gates", "expected"),
    [([0.25] * 4, 1), ([0, 1, 0, 0], 0), ([0.5, 0.5, 0, 0], 0.5), ([1], 1), ([1 / 3] * 3, 1)],
)
def test_entropy_is_a_share_of_the_largest(gates, expected):
    assert entropy(np.array([gates])) == pytest.approx(expected, abs=1e-12)


def test_vectors_that_tie_share_the_lead():
    gates = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(leads(gates), [(1 + 1 / 3) / 4, (1 / 2 + 1 / 3) / 4, (1 / 2 + 1 + 1 / 3) / 4])


def test_the_banks_share_counts_magnitudes_and_nothing_over_nothing_as_none():
    linear_term, bias_term = np.array([[1, -3.0, 0]]), np.array([[-1, 1.0, 0]])
    assert bank_share(linear_term, bias_term) == pytest.approx((1 / 2 + 1 / 4 + 0) / 3)


def test_a_bank_that_is_large_but_the_same_for_every_image_has_no_share_in_the_variation():
    linear_term = np.array([[-3.0, 1], [3, 1]])
    assert bank_variation(linear_term, np.full((2, 2), 9.0)) == 0
    assert bank_variation(linear_term, np.array([[9.0, 2], [11, 4]])) == pytest.approx((1 / 4 + 1) / 2)


def test_the_paired_interval_is_the_published_one():
    # Example of statpsych's ci.prop.ps, after Bonett & Price (2012): 26 and 4 of 48 differ.
    first = np.array([True] * 26 + [False] * 4 + [True] * 6 + [False] * 12)
    second = np.array([False] * 26 + [True] * 4 + [True] * 6 + [False] * 12)
    found = paired_difference(first, second)
    assert found.difference == pytest.approx(100 * 22 / 48)
    assert (found.low, found.high) == (pytest.approx(25.48067, abs=1e-5), pytest.approx(62.51933, abs=1e-5))
    back = paired_difference(second, first)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))


def test_networks_that_agree_on_every_image_differ_by_nothing_within_an_interval_that_has_a_width():
    found = paired_difference(np.array([True, False, True]), np.array([True, False, True]))
    assert found.difference == 0
    assert found.low == -found.high < 0


def test_an_interval_stays_within_what_a_difference_can_be():
    found = paired_difference(np.array([True] * 10), np.array([False] * 10))
    assert found.difference == found.high == 100
    assert 50 < found.low < 60


# --- conditions


def _modulation(linear_term, gate_weights, bank):
    linear_term, gate_weights, bank = map(torch.tensor, (linear_term, gate_weights, bank))
    return BankModulation.of(torch.zeros_like(linear_term), linear_term, gate_weights, bank)


def test_every_condition_holds_what_it_says():
    shown = _modulation([[0.1], [0.2], [0.6]], [[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]], [[1.0, -0.5]])
    labels = torch.tensor([0, 0, 1])
    numbers = torch.arange(3)
    found = {c.name: c.hook(numbers, labels) for c in conditions({"a": shown}, labels)}
    assert found.pop("free") is None
    factors = {name: hook("a", shown).factors for name, hook in found.items()}
    f = shown.factors
    expected = {
        "neutral": torch.ones(3, 1),
        "mean": f.mean().expand(3, 1),
        "class_mean": torch.stack([f[:2].mean(), f[:2].mean(), f[2, 0]])[:, None],
        "shuffled": f[other_images(3, 0)],
        "uniform": 1 + torch.tanh(torch.tensor([[0.1], [0.2], [0.6]]) + (1.0 - 0.5) / 2),
        "mean_bank": 1 + torch.tanh(torch.tensor([[0.1], [0.2], [0.6]]) + (0.8 * 1.0 - 0.2 * 0.5)),
        "no_bank": 1 + torch.tanh(torch.tensor([[0.1], [0.2], [0.6]])),
    }
    assert factors.keys() == expected.keys()
    for name, of_condition in expected.items():
        torch.testing.assert_close(factors[name], of_condition, msg=lambda text, name=name: f"{name}: {text}")


def test_an_images_frozen_factors_follow_it_into_any_batch():
    shown = _modulation([[0.1], [0.2], [0.6]], [[1.0]] * 3, [[0.0]])
    labels = torch.tensor([1, 0, 1])
    found = {c.name: c for c in conditions({"a": shown}, labels)}
    alone = replace(shown, factors=torch.zeros(1, 1), linear_term=torch.zeros(1, 1))
    own = found["shuffled"].hook(torch.tensor([2]), labels[2:])("a", alone).factors
    assert torch.equal(own, shown.factors[other_images(3, 0)[2:]])
    beyond = found["shuffled"].hook(torch.tensor([5]), labels[2:])("a", alone).factors  # a training image
    assert torch.equal(beyond, own)
    of_class = found["class_mean"].hook(torch.tensor([2]), torch.tensor([0]))("a", alone).factors
    assert torch.equal(of_class, shown.factors[1:2])


@pytest.mark.parametrize("count", [2, 3, 100])
def test_every_image_gets_another_ones_factors(count):
    donors = other_images(count, 0)
    assert sorted(donors.tolist()) == list(range(count))
    assert (donors != torch.arange(count)).all()
    assert torch.equal(donors, other_images(count, 0))


def test_one_image_has_no_other():
    with pytest.raises(ValueError, match="no other image to take factors from among 1; give 2 at least"):
        other_images(1, 0)


# --- a network that reads its answer off the factors


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "partial", {})


def _accuracies(found, key):
    return {condition["name"]: condition[key]["accuracy"] for condition in (found["free"], *found["conditions"])}


@pytest.mark.parametrize("key", ["trained", "reestimated"])
def test_a_linear_term_that_tells_the_classes_apart_is_dynamic_and_needs_no_bank(store, key):
    test = tiny_pictures(20)
    found = audit(Tiny.by_linear_term(), test, tiny_pictures(8), store, batch=7)
    kept = (test.labels[other_images(20, 0)] == test.labels).double().mean().item()
    accuracies = _accuracies(found, key)
    shuffled = accuracies.pop("shuffled")
    assert accuracies == {
        "free": 100, "neutral": 0, "mean": 0, "class_mean": 100, "uniform": 100, "mean_bank": 100, "no_bank": 100,
    }  # fmt: skip
    assert shuffled == pytest.approx(100 * kept) if key == "trained" else 0 < shuffled < 100
    by_name = {condition["name"]: condition[key] for condition in found["conditions"]}
    assert by_name["mean"]["difference"] == 100
    assert by_name["no_bank"]["difference"] == 0
    (block,) = found["blocks"]
    assert (block["entropy"], block["leads"]) == (1, [0.5, 0.5])
    assert (block["bank_share"], block["bank_variation"]) == (0, 0)
    assert block["within_class"] < 1e-12 < block["between_class"]
    assert found["answers"][0]["answer"].startswith("Dynamic: freezing every factor at its mean costs +100.00 points")
    assert found["answers"][1]["answer"] == "No: the bank is zero in every block."


@pytest.mark.parametrize("key", ["trained", "reestimated"])
def test_a_bank_that_tells_the_classes_apart_matters(store, key):
    found = audit(Tiny.by_bank(), tiny_pictures(20), tiny_pictures(8), store)
    accuracies = _accuracies(found, key)
    assert {name: accuracies[name] for name in ("free", "class_mean", "uniform", "mean_bank", "no_bank")} == {
        "free": 100, "class_mean": 100, "uniform": 0, "mean_bank": 0, "no_bank": 0,
    }  # fmt: skip
    (block,) = found["blocks"]
    assert block["leads"] == [0.5, 0.5]
    assert block["entropy"] == pytest.approx(0, abs=1e-6)
    assert (block["bank_share"], block["bank_variation"]) == pytest.approx((1 / 3, 1 / 3))  # of one channel in three
    assert found["answers"][1]["answer"].startswith("Yes: removing the bank costs +100.00 points")
    assert "the gates choose in every block" in found["answers"][1]["answer"]


def test_factors_that_are_constant_are_a_rescale_and_freezing_them_changes_no_logit(store):
    model, test = Tiny.by_constant(), tiny_pictures(6)
    found = audit(model, test, tiny_pictures(4), store)
    at_mean = next(condition for condition in found["conditions"] if condition["name"] == "mean")
    assert at_mean["trained"]["difference"] == at_mean["reestimated"]["difference"] == 0
    assert found["answers"][0]["answer"].startswith("Just a rescale: every factor is the same for every image")
    (numbers, labels, images), *_ = test.batches(6, torch.device("cpu"))
    seen = inspect(model, images)
    hook = {c.name: c.hook for c in conditions(seen.modulations, test.labels)}["mean"](numbers, labels)
    assert torch.equal(inspect(model, images, hook).logits, seen.logits)


def test_bn2_is_re_estimated_under_the_condition_and_absorbs_whatever_factors_are_constant():
    model, images, bar = Tiny.by_linear_term(), tiny_pictures(8), tqdm(disable=True)
    model.block.conv2_dmb.gate_dmb.biases.data[1] = 0.4
    ((numbers, labels, normalised),) = images.batches(8, torch.device("cpu"))
    seen = inspect(model, normalised)
    tried = {condition.name: condition for condition in conditions(seen.modulations, labels)}
    assert seen.modulations["only"].factors[:, 1].mean() > 1.1
    networks = {name: adapted(model, images, tried[name], 3, bar) for name in ("free", "neutral", "mean")}
    assert networks["neutral"].block.bn2.running_mean[1].item() == pytest.approx(0.9, abs=1e-4)
    assert networks["free"].block.bn2.running_mean[1].item() > 0.91
    neutral, at_mean = (
        inspect(networks[name], normalised, tried[name].hook(numbers, labels)).logits for name in ("neutral", "mean")
    )
    torch.testing.assert_close(neutral, at_mean, atol=0.01, rtol=0)


def test_an_audit_leaves_the_network_as_it_was(store):
    model = Tiny.by_bank()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    audit(model, tiny_pictures(4), tiny_pictures(4), store)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part.training for part in model.modules())


def test_classes_without_a_test_image_have_no_mean(store):
    test = replace(tiny_pictures(2), labels=torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="no test image of class 0, so it has no mean factors; take more images"):
        audit(Tiny.by_bank(), test, tiny_pictures(4), store)


# --- sentences


def _block(**known):
    return {
        "channels": 2, "sd": 0.1, "within_share": 0.75, "entropy": 0.8, "leads": [0.6, 0.4], "gates": [0.6, 0.4],
        "bank_share": 0.2, "bank_variation": 0.3, **known,
    }  # fmt: skip


def _condition(difference, reach, name="mean"):
    interval = {"difference": difference, "low": difference - reach, "high": difference + reach}
    return {"name": name, "trained": {"difference": 1.5, "low": 1.25, "high": 1.75}, "reestimated": interval}


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(2.0, "Dynamic: "), (0.25, "Just a rescale, as far as accuracy shows: "), (-2.0, "A rescale would do better: ")],
)
def test_dynamic_or_rescale_follows_the_interval(difference, verdict):
    sentence = dynamic_or_rescale([_block(), _block(within_share=0.5)], _condition(difference, 1.0))
    assert sentence.startswith(verdict)
    assert f"costs {difference:+.2f} points".replace("-", "−") in sentence
    assert (
        "+1.50 points (95 % interval +1.25 to +1.75) before; of a block's variance of factors 50.0 % to 75.0 % lies"
        in sentence
    )


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(2.0, "Yes: "), (0.25, "No, as far as accuracy shows: "), (-2.0, "It does harm: ")],
)
def test_whether_the_bank_matters_follows_the_interval(difference, verdict):
    sentence = bank_matters([_block()], _condition(difference, 1.0), _condition(0.5, 0.25))
    assert sentence.startswith(verdict)
    assert "once bn2 is re-estimated and +1.50 points (95 % interval +1.25 to +1.75) before; giving" in sentence
    assert "the mean of its terms costs +0.50 points (95 % interval +0.25 to +0.75) once it is;" in sentence


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([_block(entropy=0.0181), _block()], "the gates choose in every block (mean entropy at most 0.8000 log K)"),
        ([_block(), _block(entropy=0.995)], "to uniform in 1 of 2 blocks (mean entropy 0.8000 to 0.9950 log K)"),
        ([_block(entropy=0.995)], "collapsed to uniform in every block (mean entropy at least 0.9950 log K)"),
        (
            [_block(), _block(entropy=0.05, gates=[0.0056, 0.9944]), _block(entropy=1.0)],
            "the gates have collapsed to uniform in 1 of 3 blocks and are the same for every image in 1 of 3 blocks",
        ),
        ([_block(leads=[1.0], entropy=1.0)], "one vector leaves the gates nothing to choose"),
        (
            [_block(), _block(bank_share=0.4, bank_variation=0.5)],
            "20.0 % to 40.0 % of the pre-activation's terms and 30.0 % to 50.0 % of what varies in them between "
            "images, so it is idle in no block",
        ),
        ([_block(), _block(bank_variation=0.01)], "so it is idle in 1 of 2 blocks"),
        ([_block(bank_variation=1e-5)], "under 0.1 % of what varies in them between images, so it is idle in every"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_gates_and_bank_do(blocks, said):
    assert said in bank_matters(blocks, _condition(0, 1), _condition(0, 1))


def test_the_answers_take_the_conditions_by_name():
    tried = [_condition(7, 1, "no_bank"), _condition(3, 1, "mean_bank"), _condition(5, 1, "mean")]
    first, second = answers([_block()], tried)
    assert (first["question"], second["question"]) == ("Dynamic, or just a rescale?", "Does the bank matter?")
    assert "costs +5.00 points" in first["answer"]
    assert "costs +7.00 points" in second["answer"] and "terms costs +3.00 points" in second["answer"]


# --- going on after a kill


def test_a_stopped_audit_goes_on_where_it_was_and_ends_with_the_same_figures(tmp_path):
    arguments = (tiny_pictures(6), tiny_pictures(4))
    whole = audit(Tiny.by_bank(), *arguments, Store(tmp_path / "whole", {}))

    stopping, calls = Tiny.by_bank(), []

    def stop_at_the_fifth(*given):
        calls.append(given)
        if len(calls) == 5:
            raise KeyboardInterrupt

    stopping.block.register_forward_pre_hook(stop_at_the_fifth)  # copies of the network keep it
    with pytest.raises(KeyboardInterrupt):
        audit(stopping, *arguments, Store(tmp_path / "cut", {}))
    going_on = Tiny.by_bank()
    assert audit(going_on, *arguments, Store(tmp_path / "cut", {})) == whole
    again = Tiny.by_bank()
    assert audit(again, *arguments, Store(tmp_path / "cut", {})) == whole
    assert going_on.passes > 0 and again.passes == 0


def test_a_store_of_other_settings_is_refused_and_a_damaged_file_counts_as_missing(tmp_path):
    store = Store(tmp_path / "s", {"images": 3})
    store.keep_answers("free", np.array([True, False, True]))
    assert Store(tmp_path / "s", {"images": 3}).answers("free").tolist() == [True, False, True]
    (tmp_path / "s" / "free.npz").write_bytes(b"PK\x03\x04 cut short")
    assert Store(tmp_path / "s", {"images": 3}).answers("free") is None
    store.keep_answers("free", np.array([True]))
    with pytest.raises(ValueError, match="holds an unfinished audit of other weights or settings; finish that"):
        Store(tmp_path / "s", {"images": 4})
    assert store.answers("free").tolist() == [True]
    store.remove()
    assert not (tmp_path / "s").exists()


def test_a_store_says_with_what_its_runs_were_made(tmp_path):
    Store(tmp_path, {}).history(device="CPU", torch="2")
    Store(tmp_path, {}).history(device="CPU", torch="2")
    assert Store(tmp_path, {}).history(device="GPU", torch="2") == {"device": "CPU, then GPU", "torch": "2"}


# --- the command


@pytest.fixture
def command(tmp_path, checkpoints, pictures, monkeypatch):
    """A data folder of ten pictures, and main's arguments for the small checkpoints."""
    x, y = pictures[:10], np.arange(10)
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    out = tmp_path / "results"
    rest = ["--data", str(tmp_path), "--out", str(out), "--device", "cpu", "--reestimate", "10"]
    return types.SimpleNamespace(out=out, rest=rest, folder=str(checkpoints / "resnet-dmb"))


def test_the_command_writes_what_it_prints(command, capsys):
    run_abn("audit", command.folder, *command.rest)
    assert [path.name for path in command.out.iterdir()] == ["resnet-dmb.json"]
    result = json.loads((command.out / "resnet-dmb.json").read_text(encoding="utf-8"))
    assert (result["checkpoint"], result["images"], result["reestimation_images"]) == ("resnet-dmb", 10, 10)
    assert [block["name"] for block in result["blocks"]][:2] == ["layer1.0", "layer1.1"]
    assert [len(block["channel_mean"]) for block in result["blocks"]] == [64, 64, 128, 128, 256, 256]
    printed = capsys.readouterr().out
    for answer in result["answers"]:
        assert f"**{answer['question']}** {answer['answer']}" in printed
    assert printed.count("| layer") == 6
    assert f"| free | {result['free']['accuracy']:.2f} % |" in printed
    for condition in result["conditions"]:
        assert f"| {condition['label']} | {condition['trained']['accuracy']:.2f} % |" in printed


def test_the_page_reads_what_the_command_writes_also_of_weights_of_unknown_origin(command):
    run_abn("audit", command.folder, *command.rest)
    text = (command.out / "resnet-dmb.json").read_text(encoding="utf-8")
    written = json.loads(text)
    assert written["recipe"] is None
    found = parse_audit(text, "audit/resnet-dmb.json")
    assert f"resnet-dmb ({found.epochs} epochs, seed {found.seed}), {found.free.accuracy:.2f} % with" in audited(
        found
    )
    text = json.dumps(written | {"epochs": None, "seed": None})  # as of converted weights
    found = parse_audit(text, "audit/resnet-dmb.json")
    assert (found.recipe, found.epochs, found.seed, found.images) == (None, None, None, 10)
    assert [vars(each) for each in found.answers] == written["answers"]
    assert [block.bank_share for block in found.blocks] == [block["bank_share"] for block in written["blocks"]]
    assert f"Over 10 images: resnet-dmb, {found.free.accuracy:.2f} % with nothing frozen; on " in audited(found)


def test_the_audit_of_other_weights_is_not_replaced(command, capsys):
    run_abn("audit", command.folder, *command.rest)
    path = command.out / "resnet-dmb.json"
    run_abn("audit", command.folder, *command.rest)  # of the same ones it is
    kept = path.read_text(encoding="utf-8").replace('"weights_sha256": "', '"weights_sha256": "0123456789ab')
    path.write_text(kept, encoding="utf-8")
    assert "the audit of other weights (SHA-256 0123456789ab…, not " in _exit_message([command.folder, *command.rest])
    assert path.read_text(encoding="utf-8") == kept


def _exit_message(arguments):
    with pytest.raises(SystemExit) as caught:
        run_abn("audit", *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_command_says_in_one_sentence_what_is_wrong(command, checkpoints, tmp_path, monkeypatch):
    message = _exit_message([str(checkpoints / "resnet-s"), *command.rest])
    assert "resnet-s is static: it has no modulation to audit; name a checkpoint that has one" in message
    assert "config.json" in _exit_message([str(tmp_path), *command.rest])
    assert "nowhere" in _exit_message([str(tmp_path / "nowhere"), *command.rest])
    assert "holds no cifar10.npz" in _exit_message([command.folder, *command.rest, "--data", str(tmp_path / "none")])
    assert "device 'tpu' is not to be had" in _exit_message([command.folder, *command.rest, "--device", "tpu"])
    assert "--images is 11; there are 10 test images" in _exit_message([command.folder, *command.rest, "--images=11"])
    assert "there are 10 training images" in _exit_message([command.folder, *command.rest, "--reestimate=11"])
    assert "no test image of class 3, 4" in _exit_message([command.folder, *command.rest, "--images=3"])
    file = tmp_path / "file"
    file.touch()
    assert "name another --out" in _exit_message([command.folder, *command.rest, "--out", str(file)])


def test_the_command_refuses_other_classes_and_sizes_below_one(command, tmp_path, capsys):
    from abn.checkpoints.store import save_checkpoint
    from abn.models.resnet import resnet_dmb

    other = save_checkpoint(resnet_dmb(2, 3).eval(), tmp_path / "other", class_names=["x", "y"])
    assert "tells x, y apart, which are not CIFAR-10's classes" in _exit_message([str(other), *command.rest])
    assert len(CLASS_NAMES) == 10
    for option in ("--batch-size", "--images", "--reestimate"):
        with pytest.raises(SystemExit):
            run_abn("audit", command.folder, *command.rest, option, 0)
        assert f"'{option}': Input should be greater than or equal to 1" in capsys.readouterr().err
