"""What the speed benchmarks count and compare; nothing here is timed."""

import pytest
import torch
from torch import nn

from abn.models.registry import ARCHITECTURES, Architecture
from benchmarks import modulation_cost, official_loop, peak, several_seeds, timing, training_speed
from benchmarks.official_loop import OfficialLoop

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch):
    monkeypatch.setattr(peak, "SIZES", {"cpu": (8, 16)})


def test_the_operations_of_a_convolution_and_a_linear_layer_are_exact():
    layers = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), nn.Flatten(), nn.Linear(5 * 16, 7))
    images = torch.randn(2, 3, 8, 8)
    convolution = 2 * (2 * 4 * 4) * 5 * (3 * 3 * 3)  # two an output pixel, output channel and weight
    linear = 2 * 2 * 7 * 80
    assert peak.count_operations(lambda: layers(images)) == convolution + linear
    # Back, a layer costs its weights' gradient and its input's; nobody asks for that of the first.
    assert peak.count_operations(lambda: layers(images).sum().backward()) == 2 * convolution + 3 * linear


def test_the_modulated_networks_operations_are_the_static_ones_and_the_modulations():
    count = {}
    for name in modulation_cost.NETWORKS:
        model, network = training_speed.own_network(name, CPU, compile_network=False)
        images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
        count[name] = peak.count_operations(
            lambda m=model, n=network, x=images, y=labels: training_speed.forward_and_back(m, n, x, y)
        )
    widths = (64, 64, 128, 128, 256, 256)
    modulation = sum(2 * 2 * (c * c + c * 4 + 4 * c) for c in widths)  # W c, G c and B α of two images
    assert count["resnet-dmb"] - count["resnet-s"] == 3 * modulation


def test_every_size_of_matrix_computes_as_much():
    found = peak.products(CPU, torch.float32)
    assert {rows: work for rows, (_, work) in found.items()} == {8: 2 * 16**3, 16: 2 * 16**3}
    for run, work in found.values():
        assert peak.count_operations(run) == work


def test_the_ordinary_script_learns_and_goes_on_where_it_stopped(monkeypatch):
    monkeypatch.setattr(official_loop, "DIFFERENT", 4)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    before = model[1].weight.clone()
    loop = OfficialLoop(model, CPU, batch_size=4, steps=3)
    assert loop.run(1) > 0
    batches = loop.batches
    loop.run(2)
    assert loop.batches is batches
    assert not torch.equal(model[1].weight, before)
    with pytest.raises(StopIteration):
        loop.run(1)


def test_its_pictures_are_normalised_and_repeat():
    pictures = official_loop.NoisePictures(3000)
    assert len(pictures) == 3000 and len(pictures.data) == 2048
    image, label = pictures[2050]
    assert (image.shape, image.dtype) == ((3, 32, 32), torch.float32)
    assert label == pictures.targets[2]
    assert image.min() < -1 and image.max() > 1


@pytest.fixture
def by_turns(monkeypatch):
    """Networks of one layer, and seconds that are set here: every candidate runs once."""
    for name in modulation_cost.NETWORKS:
        layer = Architecture(name, lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)), name)
        monkeypatch.setitem(ARCHITECTURES, name, layer)
    seconds = {
        "own": [2.0, 4.0],
        "limit": [1.9, 3.8],
        "official": [6.0, 12.0],
        "resnet-s": [2.0],
        "resnet-dmb": [2.5],
    }

    def interleaved(candidates, rounds, device):
        assert device == CPU
        for run in candidates.values():
            run()
        return {name: seconds.get(name, [0.5, 0.25]) for name in candidates}

    for module in (training_speed, modulation_cost):
        monkeypatch.setattr(module, "interleaved", interleaved)


def test_speeds_are_ratios_of_the_same_round(by_turns):
    speed = training_speed.measure("resnet-s", CPU, batch=2, steps=3, rounds=2, compile_network=False)
    assert (speed.own, speed.limit, speed.official) == pytest.approx((2, 6 / 2.85, 6 / 9))
    assert (speed.over_limit, speed.over_official) == pytest.approx((0.95, 3))
    assert speed.peak == 2 * 16**3 / 0.25
    assert speed.share == pytest.approx(speed.operations * 3 / 3.0 / speed.peak)


def test_both_benchmarks_print_their_tables(by_turns, capsys):
    training_speed.main(["--device", "cpu", "--batch", "2", "--steps", "1", "--rounds", "1", "--no-compile"])
    printed = capsys.readouterr().out
    assert "| own loop | 0.7 | 1 |" in printed
    assert "| ordinary script | 0.2 | 3.00 |" in printed
    assert "eager; n = 1 rounds of 1 steps" in printed
    modulation_cost.main(
        ["--device", "cpu", "--batches", "1", "--training-batch", "2", "--rounds", "1", "--no-compile"]
    )
    printed = capsys.readouterr().out
    assert "| forward | 1 | eager | 2000.0 | 2500.0 | 1.250 |" in printed
    assert "| training step | 2 | eager | 500.0 | 625.0 | 1.250 |" in printed


def test_seeds_at_once_count_the_images_of_all_processes(capsys, monkeypatch):
    measured = {1: [2.0, 4.0], 3: [3.0, 6.0]}
    asked = {}

    def measure(architecture, device, counts, **options):
        asked.update(options, counts=counts)
        return measured

    monkeypatch.setattr(several_seeds, "measure", measure)
    several_seeds.main(["--device", "cpu", "--at-once", "3", "--steps", "6", "--batch", "10", "--rounds", "2"])
    assert asked == {"counts": [1, 3], "batch": 10, "steps": 6, "rounds": 2, "fast": False}
    printed = capsys.readouterr().out
    assert "| 1 | 20 | 1.00 |" in printed  # 60 images in the median of 3 s
    assert "| 3 | 40 | 2.00 |" in printed  # 180 in 4.5 s; three times the work in one and a half times the time


def test_processes_train_side_by_side_and_end():
    seconds = several_seeds.measure("resnet-s", "cpu", [1, 2], batch=2, steps=1, rounds=2, fast=False)
    assert {count: len(taken) for count, taken in seconds.items()} == {1: 2, 2: 2}
    assert all(taken > 0 for each in seconds.values() for taken in each)


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        (several_seeds, ["--at-once", "2", "0"], "--at-once is 0; expected at least 1"),
        (several_seeds, ["--steps", "0"], "--steps is 0; expected at least 1"),
        (training_speed, ["--rounds", "0"], "--rounds is 0; expected at least 1"),
        (training_speed, ["--steps", "0"], "--steps is 0; expected at least 1"),
        (training_speed, ["--device", "tpu"], "--device: device 'tpu' is not to be had"),
        (modulation_cost, ["--batches", "-1"], "--batches is -1; expected at least 1"),
        (modulation_cost, ["--device", "tpu"], "--device: device 'tpu' is not to be had"),
    ],
)
def test_bad_options_are_named(module, arguments, said, capsys):
    with pytest.raises(SystemExit) as caught:
        module.main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_process_that_ends_early_is_told(monkeypatch):
    def measure(*args, **options):
        raise EOFError  # as the end of a pipe has it

    monkeypatch.setattr(several_seeds, "measure", measure)
    with pytest.raises(SystemExit, match="one of the processes has ended, and what it says stands above; if memory"):
        several_seeds.main(["--device", "cpu"])


def test_the_clock_waits_for_the_device_that_works(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    gpu = torch.device("cuda:1")
    seconds = timing.interleaved({"a": lambda: waited.append("a"), "b": lambda: waited.append("b")}, 1, gpu)
    assert waited == [gpu, "a", gpu, gpu, "b", gpu] * 2  # one round that is not counted
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 1, "b": 1}
    waited.clear()
    timing.interleaved({"a": lambda: None}, 1, CPU)
    assert waited == []
