import json
import os
import types
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_safetensors
from torch import nn

from abn.common.data import CLASS_NAMES
from abn.interpret.reference.file import REFERENCE_FILE, ReferenceFileError, load_reference, save_reference
from abn.interpret.reference.measure import compute_reference
from abn.interpret.reference.statistics import LEVELS, Statistics, own_share
from abn.models.modulation import BankModulation, StaticModulation
from abn.models.resnet import resnet_dmb, resnet_s
from tests.command import run_abn

SHA = "0123456789abcdef" * 4
IDENTITY = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}  # normalise gives the pixels back


class _Stub(nn.Module):
    """Two blocks whose modulations are read off the pixels: channel c of every picture is one value v_c.

    "a" has factors v, a response of -v and gate weights (v_0 / 100, 1 - v_0 / 100); "b" is static.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images, hook=None):
        v = images.mean(dim=(2, 3)).round(decimals=3)
        gates = torch.stack([v[:, 0] / 100, 1 - v[:, 0] / 100], dim=1)
        hook("a", BankModulation(v, -v, v, linear_term=v, gate_weights=gates, bias_bank=torch.zeros(3, 2)))
        hook("b", StaticModulation.of(v[:, :2] * 2))
        return v


class _AllModulated(_Stub):
    """Its block "a" alone."""

    def forward(self, images, hook=None):
        return super().forward(images, lambda name, m: hook(name, m) if name == "a" else m)


def _pixels(values):
    """(N, 3) whole numbers → (N, 3, 32, 32) pictures of one colour each."""
    return torch.tensor(values, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, 32, 32)


@pytest.fixture(scope="module")
def small():
    # Channel 0 takes 0…100 once each, channel 1 never varies, channel 2 is 5 for odd pictures and 7 for even.
    values = [(i, 9, 5 if i % 2 else 7) for i in range(101)]
    labels = torch.tensor([i % 2 for i in range(101)])
    return compute_reference(
        _Stub().eval(), _pixels(values), labels, 7, class_names=("even", "odd"), **IDENTITY,
        weights_sha256=SHA, dataset_note="a note",
    )  # fmt: skip


def test_statistics_over_all_images_are_exact(small):
    factors = small.blocks["a"].factors
    assert factors.mean == pytest.approx([50, 9, 5 * 50 / 101 + 7 * 51 / 101], rel=1e-6)
    assert factors.sd[0] == pytest.approx(np.sqrt((101**2 - 1) / 12), rel=1e-6)
    assert factors.sd[1] == 0
    np.testing.assert_allclose(factors.quantiles[:, 0], LEVELS, rtol=1e-6, atol=1e-6)
    assert (factors.quantiles[:, 1] == 9).all()
    assert factors.quantiles.dtype == factors.mean.dtype == np.float32


def test_statistics_of_a_class_use_its_images_alone(small):
    factors = small.blocks["a"].factors
    even, odd = np.arange(0, 101, 2), np.arange(1, 101, 2)
    for index, values in enumerate((even, odd)):
        assert factors.class_mean[index, 0] == pytest.approx(values.mean(), rel=1e-6)
        assert factors.class_sd[index, 0] == pytest.approx(values.std(), rel=1e-6)
        np.testing.assert_allclose(factors.class_quantiles[index, :, 0], np.quantile(values, LEVELS / 100), rtol=1e-6)
    np.testing.assert_allclose(factors.class_mean[:, 2], [7, 5])


def test_gates_and_responses_are_measured_and_a_static_block_has_neither(small):
    gates = small.blocks["a"].gates
    np.testing.assert_allclose(gates.mean, [0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(gates.quantiles[[0, -1], 0], [0, 1], atol=1e-6)
    np.testing.assert_allclose(small.blocks["a"].response_mean, -small.blocks["a"].factors.mean)
    np.testing.assert_allclose(small.blocks["a"].response_sd, small.blocks["a"].factors.sd)
    assert small.blocks["b"].factors is None
    assert small.blocks["b"].gates is None
    np.testing.assert_allclose(small.blocks["b"].response_mean, [100, 18], rtol=1e-6)


class _Constant(_Stub):
    """Modulated and static blocks whose factors are 1 for every picture."""

    def forward(self, images, hook=None):
        ones, gates = torch.ones(len(images), 2), torch.full((len(images), 4), 0.25)
        hook("modulated", BankModulation.of(ones, 0 * ones, gates, torch.zeros(2, 4)))
        hook("static", StaticModulation.of(ones))
        return images.mean(dim=(2, 3))


def test_a_block_is_static_by_its_kind_and_not_by_its_factors():
    pixels, labels = _pixels([(1, 2, 3), (4, 5, 6)]), torch.tensor([0, 1])
    blocks = compute_reference(_Constant().eval(), pixels, labels, class_names=("x", "y"), weights_sha256=SHA).blocks
    assert blocks["modulated"].factors.mean.tolist() == [1, 1]
    assert blocks["modulated"].factors.percentile([1, 1.1]).tolist() == [50, 100]
    assert blocks["modulated"].gates.mean.tolist() == [0.25] * 4
    assert blocks["static"].factors is None
    assert blocks["static"].gates is None


def test_what_was_measured_stands_beside_it(small):
    assert (small.weights_sha256, small.num_images, small.class_names) == (SHA, 101, ("even", "odd"))
    assert small.dataset_note == "a note"
    assert list(small.blocks) == ["a", "b"]


def _statistics(*columns):
    """Statistics of one class over the columns' values, by NumPy's own quantiles."""
    values = np.array(columns, dtype=np.float64).T
    quantiles = np.quantile(values, LEVELS / 100, axis=0).astype(np.float32)
    mean, sd = values.mean(0).astype(np.float32), values.std(0).astype(np.float32)
    return Statistics(mean, sd, quantiles, mean[None], sd[None], quantiles[None])


def test_percentile_interpolates_between_the_quantiles():
    statistics = _statistics(np.arange(101))
    for value, expected in [(0, 0), (100, 100), (25, 25), (37.25, 37.25), (-3, 0), (104, 100)]:
        assert statistics.percentile([value]) == pytest.approx([expected])


def test_percentile_of_a_shared_value_is_the_middle_of_its_ranks():
    # 40 % zeros, then 1…60: zero has the ranks 0…40.
    values = [0] * 41 + list(range(1, 61))
    statistics = _statistics(values, [3.0] * 101)
    assert statistics.percentile([0, 3.0]) == pytest.approx([20, 50])
    assert statistics.percentile([0.5, 2.9]) == pytest.approx([40.5, 0])
    assert statistics.percentile([60, 3.1]) == pytest.approx([100, 100])


def test_percentile_takes_rounding_for_the_constant_itself_but_not_a_departure():
    statistics = _statistics([1.0] * 101)
    assert statistics.percentile([1 + 2e-7]) == pytest.approx([50])
    assert statistics.percentile([1 - 2e-7]) == pytest.approx([50])
    assert statistics.percentile([1 - 1e-5]) == pytest.approx([0])


def test_percentile_takes_leading_axes_and_keeps_nan():
    statistics = _statistics(np.arange(101), np.arange(101) / 10)
    seen = statistics.percentile(np.array([[[10, 1.0], [np.nan, 10.0]]]))
    np.testing.assert_allclose(seen, [[[10, 10], [np.nan, 100]]], rtol=1e-5)


def test_percentile_among_a_class(small):
    factors = small.blocks["a"].factors
    # 26 of the 51 even numbers lie at or below 50; of the odd ones 49 is the 25th of 50.
    assert factors.percentile([50, 9, 7], 0)[0] == pytest.approx(50)
    assert factors.percentile([49, 9, 5], 1)[0] == pytest.approx(100 * 24 / 49, abs=1e-4)
    assert factors.percentile([50, 9, 7], 0)[1:] == pytest.approx([50, 50])
    assert factors.percentile([50, 9, 7], 1)[2] == 100


def test_percentile_agrees_with_the_share_of_lower_images():
    values = np.random.default_rng(0).normal(1, 0.01, (10_000, 3)).astype(np.float32)
    statistics = _statistics(*values.T)
    seen = statistics.percentile(values[:50])
    expected = 100 * (values[None] < values[:50, None]).mean(axis=1)
    np.testing.assert_allclose(seen, expected, atol=0.2)


def test_percentiles_are_exact_in_the_tails_of_ten_thousand_images():
    """The value below which n of the images lie has the percentile n / 100: below which 9 lie, 0.09 and not 0.5."""
    statistics = _statistics(np.exp(np.linspace(-3, 3, 10_001)))
    for lower in (0, 1, 5, 9, 10, 20, 50, 90, 100, 5_000, 9_900, 9_980, 9_991, 9_999, 10_000):
        value = np.exp(np.linspace(-3, 3, 10_001))[lower]
        assert statistics.percentile([value]) == pytest.approx([lower / 100], abs=1e-4), lower


def test_a_quantile_is_asked_for_in_percent(small):
    factors = small.blocks["a"].factors
    for percent in (0, 0.05, 5, 95, 99.95, 100):
        assert factors.quantile(percent)[0] == pytest.approx(percent, rel=1e-6)
    with pytest.raises(ValueError, match=r"no quantile is kept at 5.5 %; there are those at 0.0, 0.01, 0.02"):
        factors.quantile(5.5)


def test_the_own_share_and_the_common_one_add_up():
    """Factors (1.5, 1) with means (1.2, 0.6): own 0.3² + 0.4² = 0.25, common 0.2² + 0.4² = 0.2."""
    shares = own_share(np.array([[1.5, 1.0], [1.2, 0.6]]), np.array([1.2, 0.6]))
    np.testing.assert_allclose(shares, [0.25 / 0.45, 0])
    assert own_share(np.array([[1.3, 0.6]]), np.array([1.0, 1.0])).tolist() == [1]  # nothing in common
    assert own_share(np.array([[1.0, 1.0]]), np.array([1.0, 1.0])).tolist() == [0]  # nothing modulated


def test_squared_modulation_is_on_average_the_common_part_and_the_mean_own_one():
    factors = np.random.default_rng(0).normal(0.8, 0.1, (500, 3))
    means = factors.mean(axis=0)
    common, own = ((means - 1) ** 2).sum(), ((factors - means) ** 2).sum(axis=1)
    assert ((factors - 1) ** 2).sum(axis=1).mean() == pytest.approx(common + own.mean(), rel=1e-12)
    np.testing.assert_allclose(own_share(factors, means), own / (common + own))


def test_the_median_own_share_is_kept(tmp_path):
    """One block with factors (i, 9, 5 or 7): the shares by hand, and their median."""
    values = np.array([(i, 9, 5 if i % 2 else 7) for i in range(101)])
    labels = torch.tensor([i % 2 for i in range(101)])
    reference = compute_reference(
        _AllModulated().eval(), _pixels(values), labels, 7, class_names=("even", "odd"), **IDENTITY,
        weights_sha256=SHA,
    )  # fmt: skip
    means = values.mean(axis=0)
    own, common = ((values - means) ** 2).sum(axis=1), ((means - 1) ** 2).sum()
    assert reference.median_own_share == pytest.approx(np.median(own / (own + common)), rel=1e-5)
    save_reference(reference, tmp_path)
    assert load_reference(tmp_path, SHA).median_own_share == reference.median_own_share


def test_a_network_with_a_static_block_has_no_own_share(small):
    assert small.own_share is None and small.median_own_share is None


def test_what_a_later_version_keeps_beside_is_passed_over(small, tmp_path):
    save_reference(small, tmp_path)
    _rewrite(tmp_path, **{"a/factors/lowest_images": np.zeros((5, 3), np.int64)})
    assert _same(load_reference(tmp_path, SHA), small)


def test_wrong_values_and_classes_are_refused(small):
    factors = small.blocks["a"].factors
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \(..., 3\)"):
        factors.percentile([1, 2])
    with pytest.raises(ValueError, match=r"shape \(\); expected \(..., 3\)"):
        factors.percentile(1.0)
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"class_index is {index}; expected 0 to 1"):
            factors.percentile([1, 2, 3], index)


@pytest.mark.parametrize("build", [resnet_s, resnet_dmb])
def test_both_networks_are_measured_alike_whatever_the_batch_size(build):
    torch.manual_seed(0)
    model = build(num_classes=2).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 0, 1, 1])
    one, other = (
        compute_reference(model, pixels, labels, size, class_names=("x", "y"), weights_sha256=SHA) for size in (5, 2)
    )
    assert list(one.blocks) == [name for name, _ in model.blocks()]
    for name, channels in model.blocks():
        seen = one.blocks[name]
        assert seen.response_mean.shape == seen.response_sd.shape == (channels,)
        np.testing.assert_allclose(seen.response_mean, other.blocks[name].response_mean, atol=1e-5)
        if model.num_biases is None:
            assert seen.factors is None
            assert seen.gates is None
        else:
            assert seen.factors.class_quantiles.shape == (2, len(LEVELS), channels)
            assert seen.gates.quantiles.shape == (len(LEVELS), 4)
            np.testing.assert_allclose(seen.factors.mean, other.blocks[name].factors.mean, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_nonsense_is_refused_before_the_pass():
    pixels, labels = _pixels([(1, 2, 3), (4, 5, 6)]), torch.tensor([0, 1])
    options = {"class_names": ("x", "y"), "weights_sha256": SHA}
    with pytest.raises(ValueError, match="training mode"):
        compute_reference(_Stub(), pixels, labels, **options)
    model = _Stub().eval()
    with pytest.raises(ValueError, match="batch_size is 0; expected at least 1"):
        compute_reference(model, pixels, labels, 0, **options)
    with pytest.raises(ValueError, match=r"there are 2 images, and labels of shape \(1,\)"):
        compute_reference(model, pixels, labels[:1], **options)
    with pytest.raises(ValueError, match="the labels are 0 to 2; this checkpoint has 2 classes, 0 to 1"):
        compute_reference(model, pixels, torch.tensor([0, 2]), **options)
    with pytest.raises(ValueError, match="there is no image of y;"):
        compute_reference(model, pixels, torch.tensor([0, 0]), **options)


def _same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            _same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return one == other


def test_a_saved_reference_loads_as_it_was(small, tmp_path):
    # "b" before "a": safetensors sorts by name, so the order of computation has to be kept apart.
    reordered = replace(small, blocks={name: small.blocks[name] for name in ("b", "a")})
    assert save_reference(reordered, tmp_path) == tmp_path / REFERENCE_FILE
    assert _same(load_reference(tmp_path, SHA), reordered)
    assert os.listdir(tmp_path) == [REFERENCE_FILE]


def test_a_folder_without_a_reference_has_none(tmp_path):
    assert load_reference(tmp_path, SHA) is None


def test_one_of_other_weights_is_refused_with_both_hashes_and_the_remedy(small, tmp_path):
    save_reference(small, tmp_path)
    with pytest.raises(ReferenceFileError) as caught:
        load_reference(tmp_path, "f" * 64)
    message = str(caught.value)
    assert "belongs to the weights 0123456789ab…" in message
    assert "this checkpoint has ffffffffffff…" in message
    assert "abn reference" in message
    assert str(tmp_path) not in message
    with pytest.raises(ReferenceFileError) as named:
        load_reference(tmp_path, "f" * 64, source="user/repo")
    assert str(named.value) == f"user/repo: {message}"


def _rewrite(folder, metadata=None, **tensors):
    """The stored reference with other metadata; tensors are replaced, or removed where None."""
    path = folder / REFERENCE_FILE
    stored = load_file(path)
    with safe_open(path, framework="numpy") as file:
        kept = file.metadata()
    for name, tensor in tensors.items():
        stored.pop(name, None)
        if tensor is not None:
            stored[name] = tensor
    save_safetensors(stored, path, {**kept, **(metadata or {})})


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"format": "other"}, {}, "is a safetensors file but no reference"),
        ({"version": "1"}, {}, "has format version '1', this code reads '2'"),
        ({"quantile_levels_percent": "[0, 50, 100]"}, {}, "has quantiles at other levels than this code reads"),
        ({"quantile_levels_percent": "0 to 100"}, {}, "has damaged metadata"),
        (
            {},
            {"own_share": np.linspace(1, 0, len(LEVELS), dtype=np.float32)},
            "holds no ascending shares from 0 to 1",
        ),
        ({}, {"own_share": np.zeros(3, np.float32)}, "own_share in reference.safetensors is F32 (3,)"),
        ({"class_names": "even, odd"}, {}, "has damaged metadata"),
        ({"num_images": "many"}, {}, "has damaged metadata (num_images is 'many')"),
        ({"num_images": "-5"}, {}, "has damaged metadata"),
        ({"num_images": "²"}, {}, "has damaged metadata"),
        ({"num_images": "9" * 5000}, {}, "has damaged metadata (num_images is '999"),
        ({"class_names": "[" * 100_000}, {}, "has damaged metadata"),
        ({"class_names": '[["even"], ["odd"]]'}, {}, "has damaged metadata (class_names is no list of names)"),
        ({"version": "2\n" * 1000}, {}, "has format version '2\\n2"),
        ({"blocks": '["a", "b"]'}, {}, "has damaged metadata"),
        (
            {"blocks": '{"a": {"response": 3, "halves": 3}}'},
            {},
            "has damaged metadata (unknown part 'halves')",
        ),
        ({"class_names": '["even"]'}, {}, "is F32 (2, 3), expected F32 (1, 3)"),
        ({}, {"a/factors/sd": None}, "misses a/factors/sd"),
        ({}, {"a/gates/mean": np.zeros(3, np.float32)}, "a/gates/mean in reference.safetensors is F32 (3,)"),
        ({}, {"a/factors/mean": np.zeros(3)}, "is F64 (3,), expected F32 (3,)"),
        (
            {},
            {"a/factors/mean": np.full(3, np.nan, np.float32)},
            "a/factors/mean in reference.safetensors holds",
        ),
        (
            {},
            {"a/factors/sd": np.array([0.1, -0.1, 0.1], np.float32)},
            "a/factors/sd in reference.safetensors holds a standard deviation below 0",
        ),
        (
            {},
            {"a/factors/quantiles": np.linspace(1, 0, len(LEVELS), dtype=np.float32)[:, None].repeat(3, axis=1)},
            "a/factors/quantiles in reference.safetensors holds quantiles that fall",
        ),
    ],
)
def test_a_damaged_reference_is_refused_by_name(small, tmp_path, metadata, tensors, message):
    save_reference(small, tmp_path)
    _rewrite(tmp_path, metadata, **tensors)
    with pytest.raises(ReferenceFileError) as caught:
        load_reference(tmp_path, SHA)
    assert message in str(caught.value)
    assert "make it anew with: abn reference" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_metadata_that_would_fill_the_memory_are_not_taken_apart(small, tmp_path, monkeypatch):
    save_reference(small, tmp_path)
    _rewrite(tmp_path, {"class_names": f"[{'{},' * 1_500_000}{{}}]"})
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(ReferenceFileError, match="has more than 4,000,000 bytes of names; make it anew with"):
        load_reference(tmp_path, SHA)


@pytest.mark.parametrize("cut", [0, 5, 300, -1])
def test_a_truncated_reference_is_refused(small, tmp_path, cut):
    path = save_reference(small, tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ReferenceFileError, match="unreadable, truncated or no safetensors file"):
        load_reference(tmp_path, SHA)


def test_a_write_that_fails_leaves_the_older_reference(small, tmp_path, monkeypatch):
    save_reference(small, tmp_path)
    monkeypatch.setattr(os, "replace", _raise(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        save_reference(replace(small, num_images=5), tmp_path)
    monkeypatch.undo()
    assert load_reference(tmp_path, SHA).num_images == 101
    assert os.listdir(tmp_path) == [REFERENCE_FILE]


def _raise(error):
    def call(*_, **__):
        raise error

    return call


@dataclass(frozen=True)
class _Info:
    class_names: tuple = CLASS_NAMES
    mean: tuple = IDENTITY["mean"]
    std: tuple = IDENTITY["std"]
    weights_sha256: str = SHA
    dataset_note: str = "ten pictures"


@pytest.fixture
def command(tmp_path):
    """An empty checkpoint folder, a data folder of ten pictures, and main's arguments."""
    x = np.arange(10, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=np.arange(10), x_test=x, y_test=np.arange(10))
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    arguments = [str(folder), "--data", str(tmp_path), "--device", "cpu", "--batch-size", "3"]
    return types.SimpleNamespace(folder=folder, arguments=arguments)


@pytest.fixture
def stubbed(command, monkeypatch):
    """The same, where any folder loads as the stub."""
    command.model = _Stub().eval()
    command.model.info = _Info()
    monkeypatch.setattr("abn.checkpoints.reference.load_checkpoint", lambda source: command.model)
    return command


def test_the_command_writes_the_reference_of_the_test_images(stubbed, capsys):
    run_abn("reference", *stubbed.arguments)
    loaded = load_reference(stubbed.folder, SHA)
    assert (loaded.num_images, loaded.class_names, loaded.dataset_note) == (10, CLASS_NAMES, "ten pictures")
    np.testing.assert_allclose(loaded.blocks["a"].factors.mean, [4.5] * 3)
    assert f"reference over 10 images in {stubbed.folder / REFERENCE_FILE}" in capsys.readouterr().out


def _exit_message(arguments):
    with pytest.raises(SystemExit) as caught:
        run_abn("reference", *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_command_takes_a_real_checkpoint_without_changing_it(command):
    from abn.checkpoints.store import load_checkpoint, save_checkpoint

    torch.manual_seed(0)
    folder = save_checkpoint(resnet_dmb().eval(), command.folder)
    weights = (folder / "model.safetensors").read_bytes()
    run_abn("reference", *command.arguments)
    loaded = load_reference(folder, load_checkpoint(folder).info.weights_sha256)
    assert list(loaded.blocks) == [name for name, _ in resnet_dmb().blocks()]
    assert loaded.blocks["layer3.1"].factors.class_quantiles.shape == (10, len(LEVELS), 256)
    assert (folder / "model.safetensors").read_bytes() == weights


def test_the_command_says_in_one_sentence_what_is_wrong(stubbed, tmp_path, monkeypatch):
    arguments = stubbed.arguments
    for name in ("user/repo", "x" * 300):
        assert f"{name} is no folder here" in _exit_message([name, *arguments[1:]])
    assert "holds no cifar10.npz" in _exit_message([arguments[0], "--data", str(tmp_path / "none")])
    assert "device 'tpu' is not to be had" in _exit_message([*arguments, "--device", "tpu"])
    stubbed.model.info = replace(_Info(), class_names=("x", "y"))
    message = _exit_message(arguments)
    assert "this checkpoint tells x, y apart, which are not CIFAR-10's classes" in message
    assert "abn.interpret.reference.measure.compute_reference" in message
    stubbed.model.info = replace(_Info(), class_names=CLASS_NAMES[::-1])
    assert "not CIFAR-10's classes" in _exit_message(arguments)
    stubbed.model.info = _Info()
    monkeypatch.setattr(os, "replace", _raise(OSError(28, "No space left on device")))
    assert "could not be written" in _exit_message(arguments)
    monkeypatch.undo()
    assert not (stubbed.folder / REFERENCE_FILE).exists()


def test_the_command_passes_a_checkpoints_own_complaint_on(command):
    message = _exit_message(command.arguments)  # the folder is empty
    assert message.startswith(f"abn reference: {command.folder}: ")
    assert "config.json" in message


def test_the_command_refuses_a_batch_of_none(command, capsys):
    with pytest.raises(SystemExit):
        run_abn("reference", *command.arguments, "--batch-size", 0)
    assert "'--batch-size': Input should be greater than or equal to 1" in capsys.readouterr().err


def test_the_file_holds_what_a_reader_without_this_code_needs(small, tmp_path):
    path = save_reference(small, tmp_path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        assert file.get_tensor("a/factors/quantiles").shape == (len(LEVELS), 3)
    assert metadata["weights_sha256"] == SHA
    assert json.loads(metadata["class_names"]) == ["even", "odd"]
