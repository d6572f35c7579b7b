import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abn.common.data import MEAN, STD, Cifar10, DataError, normalise, to_pixels
from abn.common.devices import DeviceError, choose_device
from abn.models.registry import Architecture
from abn.training import epoch as one_epoch
from abn.training import run as training
from abn.training.batches import Augmentation, Batches, Split, split_data
from abn.training.recipes import RECIPES, Recipe
from abn.training.run import Run, TrainingError, Variant, evaluate, train
from tests.command import run_abn

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def pictures(train_images=20, test_images=6, seed=0):
    rng = np.random.default_rng(seed)
    return Cifar10(
        x_train=rng.integers(1, 256, (train_images, 32, 32, 3), dtype=np.uint8),
        y_train=np.arange(train_images) % 10,
        x_test=rng.integers(1, 256, (test_images, 32, 32, 3), dtype=np.uint8),
        y_test=np.arange(test_images) % 10,
    )


def tiny_network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10),
    )  # fmt: skip


TINY = Architecture("tiny", tiny_network, "Tiny")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A third architecture, of a few hundred weights, and float32 throughout on any CPU."""
    monkeypatch.setitem(training.ARCHITECTURES, "tiny", TINY)
    monkeypatch.setattr(training, "gains_by_bfloat16", lambda device: False)


def tiny_run(**changed):
    recipe = Recipe("paper", epochs=3, schedule="cosine", batch_size=8)
    return replace(Run("tiny", recipe, seed=0, holdout=0, evaluate_every=1), **changed)


def go(run, out, data=None, **options):
    return train(run, data or pictures(), out, CPU, progress=False, **options)


def same_weights(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


# --- recipes ---


def test_the_papers_recipe_is_the_papers():
    recipe = RECIPES["paper"]
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.momentum) == (15, 128, 0.1, 0.9)
    assert (recipe.weight_decay, recipe.nesterov, recipe.label_smoothing) == (5e-4, False, 0)
    rates = [recipe.learning_rate(epoch, 0, 391) for epoch in range(15)]
    assert rates[0] == 0.1
    assert rates[-1] == pytest.approx(0.0011, abs=5e-5)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("epochs", [1, 15, 50])
def test_the_cosine_is_pytorchs_stepped_once_an_epoch(epochs):
    recipe = replace(RECIPES["paper"], epochs=epochs)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        expected = optimizer.param_groups[0]["lr"]
        for batch in (0, 200, 390):
            assert recipe.learning_rate(epoch, batch, 391) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_one_cycle_rises_and_falls_in_straight_lines():
    recipe = Recipe("cycle", epochs=2, schedule="onecycle", lr=0.8, warmup=0.25)
    # 2 × 4 batches: batch i is i / 9 through the cycle.
    rates = [recipe.learning_rate(epoch, batch, 4) for epoch in range(2) for batch in range(4)]
    expected = [0.8 * min(i / 9 / 0.25, (1 - i / 9) / 0.75) for i in range(1, 9)]
    assert rates == pytest.approx(expected)
    assert max(rates) == pytest.approx(0.8 * 8 / 9)  # on both sides of the peak
    assert all(0 < rate <= 0.8 for rate in rates)


def test_the_quick_recipe_begins_with_small_crops_for_its_share_of_the_epochs():
    recipe = RECIPES["quick"]
    assert recipe.augmentation == Augmentation(
        padding=2, padding_mode="reflect", alternate_flips=True, early_size=24, early_epochs=5
    )
    assert replace(recipe, epochs=7).augmentation.early_epochs == 4
    assert RECIPES["paper"].augmentation == Augmentation()


def test_a_recipe_without_cutout_has_the_hash_it_had_before_there_was_any():
    assert RECIPES["paper"].sha256 == "0ec593670109"
    assert replace(RECIPES["paper"], cutout=8).sha256 not in {
        "0ec593670109",
        replace(RECIPES["paper"], cutout=4).sha256,
    }


# --- data on the device ---


def test_without_a_holdout_all_is_trained_on_and_the_test_images_are_evaluated_on():
    data = pictures()
    train_split, test_split = split_data(data, 0, CPU)
    assert torch.equal(train_split.pixels, to_pixels(data.x_train))
    assert train_split.labels.tolist() == data.y_train.tolist()
    assert torch.equal(test_split.pixels, to_pixels(data.x_test))
    assert (len(train_split), len(test_split)) == (20, 6)
    assert train_split.labels.dtype == test_split.labels.dtype == torch.int64


def test_a_holdout_is_disjoint_complete_and_always_the_same():
    data = pictures(50)
    data = replace(data, x_train=np.broadcast_to(np.arange(50, dtype=np.uint8)[:, None, None, None], (50, 32, 32, 3)))
    kept, held = split_data(data, 10, CPU)
    numbers = [split.pixels[:, 0, 0, 0].tolist() for split in (kept, held)]
    assert (len(kept), len(held)) == (40, 10)
    assert sorted(numbers[0] + numbers[1]) == list(range(50))
    assert held.labels.tolist() == [number % 10 for number in numbers[1]]
    torch.manual_seed(99)
    assert torch.equal(split_data(data, 10, CPU)[1].pixels, held.pixels)
    assert sorted(numbers[1]) != list(range(10))  # drawn, not the first ones


@pytest.mark.parametrize("holdout", [-1, 20, 21])
def test_a_holdout_that_leaves_nothing_is_refused(holdout):
    with pytest.raises(DataError, match=f"--holdout is {holdout}; expected 0 to 19"):
        split_data(pictures(), holdout, CPU)


def colourful(n=30, size=8):
    """Pictures without a zero pixel; label i belongs to picture i."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.arange(n))


def find_crop(image, pixels):
    """(rows down, columns right, flipped) by which a normalised image was cut from a zero-padded picture."""
    size = pixels.shape[-1]
    padded = normalise(F.pad(pixels, [4] * 4)[None])[0]  # padded before it is normalised: black, not grey
    for dy in range(9):
        for dx in range(9):
            crop = padded[:, dy : dy + size, dx : dx + size]
            for flipped in (False, True):
                if torch.equal(image, crop.flip(2) if flipped else crop):
                    return dy, dx, flipped
    return None


def test_every_picture_is_a_crop_of_the_padded_original_or_its_mirror_image():
    split = colourful()
    batches = Batches(split, batch_size=8, seed=3)
    assert len(batches) == 4
    found, labels = [], []
    for epoch in range(4):
        for images, numbers in batches.epoch(epoch):
            assert images.dtype == torch.float32
            labels += numbers.tolist()
            found += [find_crop(image, split.pixels[number]) for image, number in zip(images, numbers, strict=True)]
    assert None not in found
    assert sorted(labels) == sorted(list(range(30)) * 4)
    for axis in (0, 1):
        assert {crop[axis] for crop in found} == set(range(9))
    assert 0.3 < np.mean([crop[2] for crop in found]) < 0.7
    assert len({crop[:2] for crop in found}) > 40  # rows and columns are drawn apart, for each picture


def test_padding_is_black_before_normalisation():
    split = Split(torch.full((64, 3, 8, 8), 255, dtype=torch.uint8), torch.arange(64))
    images, _ = next(Batches(split, 64, 0).epoch(0))
    for colour in range(3):
        values = set(images[:, colour].unique().tolist())
        black, white = (0 - MEAN[colour]) / STD[colour], (1 - MEAN[colour]) / STD[colour]
        assert sorted(values) == pytest.approx([black, white], rel=1e-5)


def test_batches_are_the_same_for_the_same_seed_and_epoch_alone():
    split = colourful()

    def numbers(seed, epoch):
        return torch.cat([images.flatten() for images, _ in Batches(split, 8, seed).epoch(epoch)])

    first = numbers(5, 2)
    torch.manual_seed(1234)
    np.random.seed(1)
    assert torch.equal(numbers(5, 2), first)
    for seed, epoch in ((5, 1), (5, 3), (6, 2), (2, 5)):
        assert not torch.equal(numbers(seed, epoch), first)


@pytest.mark.parametrize("cutout", [0, 3])
@pytest.mark.parametrize("at_once", [2, 3, 16])
def test_batches_made_in_one_go_are_the_same_bit_by_bit(cutout, at_once):
    augmentation = Augmentation(alternate_flips=True, cutout=cutout)
    one, several = (Batches(colourful(30), 8, 3, augmentation, at_once=number) for number in (None, at_once))
    for (images, labels), (same_images, same_labels) in zip(one.epoch(1), several.epoch(1), strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
        assert same_images.is_contiguous(memory_format=torch.channels_last)


def test_the_last_partial_batch_is_kept():
    sizes = [len(labels) for _, labels in Batches(colourful(30), 8, 0).epoch(0)]
    assert sizes == [8, 8, 8, 6]
    assert [len(labels) for _, labels in Batches(colourful(5), 128, 0).epoch(0)] == [5]


def test_reflected_padding_mirrors_the_picture_at_its_border():
    split = colourful(1)
    batches = Batches(split, 1, 0, Augmentation(padding=2, padding_mode="reflect"))
    pixels, padded = split.pixels[0], batches.padded[0].permute(2, 0, 1)
    assert padded.dtype == torch.uint8
    assert torch.equal(padded[:, 2:10, 2:10], pixels)
    assert torch.equal(padded[:, 2:10, 1], pixels[:, :, 1])  # the border itself is not repeated
    assert torch.equal(padded[:, 11, 2:10], pixels[:, 5])


def test_alternating_flips_show_every_picture_both_ways_in_two_epochs():
    split = colourful(40)
    batches = Batches(split, 16, 3, Augmentation(padding=0, alternate_flips=True))
    flipped = []
    for epoch in range(4):
        turned = {}
        for images, numbers in batches.epoch(epoch):
            for image, number in zip(images, numbers.tolist(), strict=True):
                plain = normalise(split.pixels[number][None])[0]
                turned[number] = torch.equal(image, plain.flip(2))
                assert turned[number] or torch.equal(image, plain)
        flipped.append([turned[number] for number in range(40)])
    assert flipped[0] == flipped[2] == [not turned for turned in flipped[1]]
    assert flipped[1] == flipped[3]
    assert 8 < sum(flipped[0]) < 32  # half of them, drawn


def test_cutout_sets_one_square_of_every_picture_to_the_mean_and_moves_nothing_else():
    split = colourful(40, size=16)
    plain, cut = (Batches(split, 16, 3, Augmentation(cutout=side)) for side in (0, 6))
    holes = []
    for (before, labels), (after, same_labels) in zip(plain.epoch(1), cut.epoch(1), strict=True):
        assert torch.equal(labels, same_labels)
        for image, whole in zip(after, before, strict=True):
            hole = (image == 0).all(0)
            assert torch.equal(image, whole.masked_fill(hole, 0.0))
            rows, columns = (hole.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
            assert rows == list(range(rows[0], rows[-1] + 1)) and columns == list(range(columns[0], columns[-1] + 1))
            assert hole.sum() == len(rows) * len(columns)  # a rectangle without gaps
            holes.append((rows[0], len(rows), columns[0], len(columns)))
    # Its centre is a pixel of the picture, so at an edge three of the six remain, and no side is longer.
    assert {size for _, height, _, width in holes for size in (height, width)} == {3, 4, 5, 6}
    assert len(set(holes)) > 30


def test_cutout_shrinks_with_the_early_crops():
    batches = Batches(colourful(40, size=16), 40, 3, Augmentation(early_size=8, early_epochs=1, cutout=6))
    images, _ = next(batches.epoch(0))
    sides = [int((image == 0).all(0).any(1).sum()) for image in images]
    assert max(sides) == 3


def test_early_epochs_have_smaller_crops_of_the_same_pictures():
    split = colourful(12)
    batches = Batches(split, 12, 0, Augmentation(padding=0, early_size=5, early_epochs=2))
    shapes = [next(batches.epoch(epoch))[0].shape for epoch in range(3)]
    assert [tuple(shape) for shape in shapes] == [(12, 3, 5, 5), (12, 3, 5, 5), (12, 3, 8, 8)]
    images, numbers = next(batches.epoch(0))
    for image, number in zip(images, numbers, strict=True):
        whole = normalise(split.pixels[number][None])[0]
        whole = torch.cat([whole, whole.flip(2)])
        crops = whole.unfold(1, 5, 1).unfold(2, 5, 1).reshape(2, 3, 16, 5, 5).transpose(1, 2).reshape(-1, 3, 5, 5)
        assert any(torch.equal(image, crop) for crop in crops)


# --- evaluation ---


class _ReadsRed(nn.Module):
    """Logit k is large where the red of a picture is k times 20; it counts its passes in training mode."""

    def forward(self, images):
        assert not self.training
        red = ((images[:, 0].mean(dim=(1, 2)) * STD[0] + MEAN[0]) * 255).round()
        return torch.where(red[:, None] == 20 * torch.arange(10), math.log(9), 0.0)


def test_accuracy_and_loss_of_a_known_network(monkeypatch):
    monkeypatch.setattr("abn.training.evaluation.images_at_once", lambda device: 3)
    pixels = (20 * torch.arange(8, dtype=torch.uint8))[:, None, None, None].expand(-1, 3, 32, 32)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 0, 0])
    accuracy, loss = evaluate(_ReadsRed().train(), Split(pixels, labels))
    assert accuracy == 62.5
    right, wrong = math.log(18 / 9), math.log(18)  # softmax of one ln 9 among nine zeros: 9/18
    assert loss == pytest.approx((5 * right + 3 * wrong) / 8, rel=1e-5)


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_leaves_the_mode_and_the_statistics(mode):
    network = tiny_network().train(mode)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, split_data(pictures(), 0, CPU)[1])
    assert network.training is mode
    assert same_weights(network.state_dict(), before)


# --- the loop ---


def test_training_equals_the_loop_written_out(tmp_path):
    data, run = pictures(), tiny_run()
    network, log = go(run, tmp_path / "out", data)
    assert not network.training

    torch.manual_seed(0)
    plain = tiny_network().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    batches = Batches(split_data(data, 0, CPU)[0], 8, 0)
    for epoch in range(3):
        assert log[epoch]["learning_rate"] == pytest.approx(optimizer.param_groups[0]["lr"])
        losses, correct = 0.0, 0
        for images, labels in batches.epoch(epoch):
            logits = plain(images)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        scheduler.step()
        assert log[epoch]["train_loss"] == pytest.approx(losses / 20, rel=1e-4)
        assert log[epoch]["train_accuracy"] == pytest.approx(100 * correct / 20)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    accuracy, loss = evaluate(plain, split_data(data, 0, CPU)[1])
    assert log[-1]["test_loss"] == pytest.approx(loss, rel=1e-4)
    assert log[-1]["test_accuracy"] == pytest.approx(accuracy, abs=1e-3)


def test_nesterov_smoothing_and_one_cycle_reach_the_optimizer(tmp_path):
    recipe = Recipe(
        "cycle", epochs=2, schedule="onecycle", nesterov=True, warmup=0.2, label_smoothing=0.1, batch_size=8
    )
    network, log = go(tiny_run(recipe=recipe), tmp_path / "out")
    torch.manual_seed(0)
    plain = tiny_network().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for epoch in range(2):
        for batch, (images, labels) in enumerate(Batches(split_data(pictures(), 0, CPU)[0], 8, 0).epoch(epoch)):
            optimizer.param_groups[0]["lr"] = recipe.learning_rate(epoch, batch, 3)
            optimizer.zero_grad()
            F.cross_entropy(plain(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert [record["epoch"] for record in log] == [1, 2]


def test_a_group_has_its_own_multiple_of_the_learning_rate(tmp_path):
    def apart(model):
        *others, weight, bias = model.parameters()
        return [{"params": others}, {"params": [weight, bias], "lr_scale": 10.0, "weight_decay": 0.0}]

    recipe = Recipe("paper", epochs=1, schedule="cosine", batch_size=20, momentum=0.0, weight_decay=0.0)
    torch.manual_seed(0)
    before = tiny_network().state_dict()
    moved = {}
    for name, variant in (("alike", Variant(tiny_network)), ("apart", Variant(tiny_network, apart))):
        network, _ = train(tiny_run(recipe=recipe), pictures(), tmp_path / name, CPU, variant=variant)
        moved[name] = {key: value - before[key] for key, value in network.state_dict().items()}
    for key in ("0.weight", "1.weight"):
        torch.testing.assert_close(moved["apart"][key], moved["alike"][key])
    for key in ("5.weight", "5.bias"):  # one step
        torch.testing.assert_close(moved["apart"][key], 10 * moved["alike"][key], rtol=1e-4, atol=1e-6)


def test_a_compiled_network_is_trained_to_the_same_weights(tmp_path, monkeypatch):
    """Traced, loss included, without a compiler of machine code."""
    backends = []

    def traced(network, device):
        backends.append(network)
        return torch.compile(network, backend="aot_eager", dynamic=False)

    monkeypatch.setattr(one_epoch, "compiled", traced)
    plain, log = go(tiny_run(), tmp_path / "plain")
    fast, fast_log = train(tiny_run(), pictures(), tmp_path / "fast", CPU, compile_network=True)
    assert len(backends) == 1
    assert [record["train_loss"] for record in fast_log] == pytest.approx(
        [record["train_loss"] for record in log], rel=1e-4
    )
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_the_log_is_one_json_line_an_epoch(tmp_path):
    _, log = go(tiny_run(evaluate_every=2), tmp_path)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == log
    assert [record["epoch"] for record in log] == [1, 2, 3]
    assert ["test_accuracy" in record for record in log] == [False, True, True]
    assert {"learning_rate", "train_loss", "train_accuracy", "seconds", "device", "torch"} <= set(log[0])
    assert sorted(os.listdir(tmp_path)) == ["log.jsonl", "state.pt"]


def test_a_holdout_is_named_as_one_in_the_log(tmp_path):
    _, log = go(tiny_run(holdout=5), tmp_path)
    assert "holdout_accuracy" in log[-1]
    assert "test_accuracy" not in log[-1]


def test_seeds_differ_and_repeat(tmp_path):
    states = [
        go(tiny_run(seed=seed), tmp_path / name)[0].state_dict() for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    ]
    assert same_weights(states[0], states[1])
    assert not same_weights(states[0], states[2])


# --- what can go wrong on the way ---


def explode(monkeypatch, epoch, batch):
    """Take one step of a learning rate that no network survives."""
    original = Recipe.learning_rate

    def rate(self, e, b, batches):
        return 1e38 if (e, b) == (epoch, batch) else original(self, e, b, batches)

    monkeypatch.setattr(Recipe, "learning_rate", rate)


@pytest.mark.parametrize("batch", [0, 2], ids=["first", "last"])
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_epoch(tmp_path, monkeypatch, batch):
    """Also where it is the last step of an epoch, after its last loss, that broke the weights."""
    with monkeypatch.context() as patch:
        explode(patch, 1, batch)
        with pytest.raises(TrainingError) as caught:
            go(tiny_run(), tmp_path)
    assert "the loss is " in str(caught.value)
    assert "in epoch 2, batch 3" in str(caught.value)
    assert "the last finished epoch is kept" in str(caught.value)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert [record["epoch"] for record in state["log"]] == [1]
    assert all(value.isfinite().all() for value in state["model"].values())
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    network, _ = go(tiny_run(), tmp_path, resume=True)
    assert same_weights(network.state_dict(), go(tiny_run(), tmp_path / "other")[0].state_dict())


# --- the command ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "'--epochs': Input should be greater than or equal to 1"),
        (["--evaluate-every", "-2"], "'--evaluate-every': Input should be greater than or equal to 1"),
        (["--lr", "0"], "'--lr': 0.0 is not a positive number"),
        (["--lr", "nan"], "'--lr': nan is not a positive number"),
        (["--lr", "inf"], "'--lr': inf is not a positive number"),
        (["--seed", "-1"], "'--seed': Input should be greater than or equal to 0"),
        (["--seed", "1" + "0" * 30], "'--seed': Input should be less than or equal to 4294967295"),
        (["--epochs", "few"], "'--epochs': Input should be a valid integer"),
        (["--arch", "vgg"], "'--arch': 'vgg' is not one of awake, bank-only, no-gates, resnet-dmb, resnet-s, se"),
        (["--recipe", "soup"], "'--recipe': 'soup' is not one of paper, quick, strong"),
    ],
)
def test_arguments_out_of_range_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        run_abn("train", "--arch", "resnet-s", "--data", "d", "--out", "o", *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--arch", "--data", "--out"])
def test_required_arguments_are_asked_for(capsys, missing):
    given = {"--arch": "resnet-s", "--data": "d", "--out": "o"}
    del given[missing]
    with pytest.raises(SystemExit):
        run_abn("train", *[part for pair in given.items() for part in pair])
    assert f"Missing option '{missing}'" in capsys.readouterr().err


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "cifar10.npz", **vars(pictures(4, 10)))
    return folder


def test_the_command_ends_in_one_sentence(tmp_path, archive):
    arguments = ["--arch", "tiny", "--device", "cpu", "--out", str(tmp_path / "out"), "--data"]

    def message(*given):
        with pytest.raises(SystemExit) as caught:
            run_abn("train", *arguments, *given)
        assert "\n" not in caught.value.code
        return caught.value.code

    assert message(str(tmp_path)).startswith(f"abn train: {tmp_path} holds no cifar10.npz")
    assert message(str(archive), "--holdout", "4") == "abn train: --holdout is 4; expected 0 to 3"
    assert "device 'tpu' is not to be had" in message(str(archive), "--device", "tpu")
    assert not (tmp_path / "out" / "state.pt").exists()


def test_interrupting_says_how_to_go_on(tmp_path, archive, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupt)
    with pytest.raises(SystemExit, match="pass --resume to go on"):
        run_abn("train", "--arch", "tiny", "--device", "cpu", "--out", tmp_path, "--data", archive)


def test_the_checkpoint_is_told_what_the_data_were(tmp_path, archive, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(training, "train", lambda *_, **__: ("network", ["record"]))
    monkeypatch.setattr("abn.training.checkpoint.save_trained", lambda *given: seen.append(given) or "folder")
    run_abn("train", "--arch", "tiny", "--device", "cpu", "--out", tmp_path, "--data", archive)
    ((network, folder, run, log, data),) = seen
    assert (network, folder, run.architecture, log) == ("network", tmp_path / "checkpoint", "tiny", ["record"])
    assert (len(data.x_train), len(data.x_test)) == (4, 10)
    assert capsys.readouterr().out == "checkpoint in folder\n"


@pytest.mark.parametrize("name", ["tpu", "", "cpu:x", "cuda:x", "cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(DeviceError, match=f"device {name!r} is not to be had on this machine; it has: .*cpu"):
        choose_device(name)


def test_the_best_device_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


# --- processes ---

BLOCKER = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def environment():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, check=True
    )


@pytest.mark.process
def test_training_is_imported_without_the_pages_packages():
    blocked = ("captum", "gradio", "plotly", "safetensors", "huggingface_hub")
    code = f"BLOCKED = {blocked}{BLOCKER}\nimport abn, abn.training.run; print(sorted(abn.training.run.RECIPES))"
    assert python(code).stdout == "['paper', 'quick', 'strong']\n"


@pytest.mark.process
def test_a_killed_command_resumes_to_the_weights_of_one_that_was_not(tmp_path, archive):
    """The real network, killed in its third epoch; it goes on without captum, gradio or plotly."""
    deadly = textwrap.dedent("""
        import os, signal, sys
        from abn.training.batches import Batches
        from abn.cli.main import main
        epoch = Batches.epoch
        def killed(batches, number):
            for batch in epoch(batches, number):
                if number == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch
        Batches.epoch = killed
        main(["train", *sys.argv[1:]])
    """)
    command = ["--arch", "resnet-dmb", "--data", str(archive), "--device", "cpu", "--epochs", "5"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = [sys.executable, "-c", deadly, *command, "--out", str(killed)]
    assert subprocess.run(arguments, env=environment(), check=False).returncode == -signal.SIGKILL
    stored = torch.load(killed / "state.pt", weights_only=True)
    assert len(stored["log"]) == 2
    assert not (killed / "checkpoint").exists()

    code = f"BLOCKED = ('captum', 'gradio', 'plotly'){BLOCKER}" + textwrap.dedent("""
        from tests.command import run_abn
        *command, killed, whole = sys.argv[1:]
        run_abn("train", *command, "--out", killed, "--resume")
        run_abn("train", *command, "--out", whole)
    """)
    output = python(code, *command, str(killed), str(whole)).stdout
    assert str(killed / "checkpoint") in output
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (killed, whole)]
    assert same_weights(states[0]["model"], states[1]["model"])
    weights = [(folder / "checkpoint" / "model.safetensors").read_bytes() for folder in (killed, whole)]
    assert weights[0] == weights[1]
