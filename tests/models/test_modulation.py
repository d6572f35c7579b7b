"""What a network shows of its modulation, and what a hook may answer."""

from dataclasses import dataclass, replace

import pytest
import torch

from abn.interpret import interventions
from abn.models.layers import DynamicModulatedConv2d
from abn.models.modulation import BankModulation, Modulation, StaticModulation, ask, joined, require_blocks


@pytest.fixture
def modulation():
    """Two images, two channels, K = 2; every number a short binary fraction, so sums are exact."""
    gates, bank = torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([[4.0, 8.0], [-2.0, 0.5]])
    linear = torch.tensor([[0.5, -1.0], [1.0, 2.0]])
    return BankModulation.of(torch.zeros(2, 2), linear, gates, bank)


def test_preactivation_splits_exactly_into_signed_parts(modulation):
    expected = torch.tensor([[[3.0, 2.0], [-1.5, 0.125]], [[2.0, 4.0], [-1.0, 0.25]]])  # (N, C, K)
    assert torch.equal(modulation.bias_terms, expected)
    total = modulation.linear_term + modulation.bias_terms.sum(dim=2)
    assert torch.equal(total, torch.tensor([[5.5, -2.375], [7.0, 1.25]]))
    assert torch.equal(modulation.preactivation, total)
    assert torch.equal(modulation.factors, 1 + torch.tanh(total))


def test_with_gates_computes_the_same_equation_anew(modulation):
    changed = modulation.with_gates(torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
    expected = torch.tensor([[0.5 + 1 + 6, -1 - 0.5 + 0.375], [1.0 + 4, 2.0 - 2]])
    assert torch.equal(changed.preactivation, expected)
    assert torch.equal(changed.factors, 1 + torch.tanh(expected))
    assert torch.equal(changed.linear_term, modulation.linear_term)
    assert torch.equal(changed.response, modulation.response)
    assert torch.equal(modulation.gate_weights, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))  # the old one stays


def test_a_gate_weight_of_0_removes_its_vector(modulation):
    gates = modulation.gate_weights * torch.tensor([1.0, 0.0])
    changed = modulation.with_gates(gates)
    assert torch.equal(changed.bias_terms[:, :, 1], torch.zeros(2, 2))
    assert torch.equal(changed.preactivation, torch.tensor([[3.5, -2.5], [3.0, 1.0]]))
    none = modulation.with_gates(torch.zeros(1, 2))
    assert torch.equal(none.factors, 1 + torch.tanh(modulation.linear_term))


def test_one_row_of_gate_weights_serves_every_image(modulation):
    row = torch.tensor([[0.25, 0.75]])
    assert torch.equal(modulation.with_gates(row).gate_weights, row.expand(2, 2))
    assert torch.equal(modulation.with_gates(row).factors, modulation.with_gates(row.expand(2, 2)).factors)


def test_own_gate_weights_change_nothing(modulation):
    assert torch.equal(modulation.with_gates(modulation.gate_weights).factors, modulation.factors)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (3, 2), (1, 1), (2, 2, 1)])
def test_gate_weights_of_another_shape_are_refused(modulation, shape):
    with pytest.raises(ValueError, match=r"this block takes \(2, 2\) or \(1, 2\)"):
        modulation.with_gates(torch.ones(shape))


def test_with_factors_keeps_the_parts(modulation):
    changed = modulation.with_factors(torch.ones(2, 2))
    assert torch.equal(changed.factors, torch.ones(2, 2))
    assert torch.equal(changed.preactivation, modulation.preactivation)


def test_a_modulation_cannot_be_changed_in_place(modulation):
    with pytest.raises(AttributeError):
        modulation.factors = torch.zeros(2, 2)


def test_a_static_block_has_neutral_factors_and_takes_others():
    static = StaticModulation.of(torch.zeros(2, 3))
    assert torch.equal(static.factors, torch.ones(2, 3))
    assert not static.varies and static.preactivation is None
    assert torch.equal(static.with_factors(torch.zeros(2, 3)).factors, torch.zeros(2, 3))


def test_the_bank_is_a_copy_which_the_parameter_does_not_change():
    layer = DynamicModulatedConv2d(2, 2)
    with torch.no_grad():
        seen = layer.modulation(torch.ones(1, 2, 3, 3), torch.ones(1, 2))
        layer.gate_dmb.biases.fill_(7)
    assert torch.equal(seen.bias_bank, torch.zeros(2, 4))
    assert seen.bias_bank.numpy().sum() == 0  # NumPy refuses what requires a gradient


def test_in_a_pass_with_gradients_the_parts_stay_in_the_graph_until_detached():
    layer = DynamicModulatedConv2d(2, 2)
    seen = layer.modulation(torch.ones(1, 2, 3, 3), torch.ones(1, 2))
    seen.with_gates(torch.tensor([[1.0, 0, 0, 0]])).factors.sum().backward()
    assert (layer.gate_dmb.biases.grad[:, 0] != 0).all() and (layer.gate_dmb.biases.grad[:, 1:] == 0).all()
    kept = seen.detached()
    assert not any(values.requires_grad for values in kept.tensors.values())
    assert all(torch.equal(values, getattr(seen, name)) for name, values in kept.tensors.items())


def test_rows_and_joined_are_inverse_and_leave_the_bank_whole(modulation):
    parts = [modulation.rows(slice(0, 1)), modulation.rows(slice(1, 2))]
    assert torch.equal(parts[1].factors, modulation.factors[1:])
    assert torch.equal(parts[0].bias_bank, modulation.bias_bank)
    whole = joined(parts)
    assert type(whole) is BankModulation
    assert all(torch.equal(values, getattr(modulation, name)) for name, values in whole.tensors.items())


def test_what_is_not_there_stays_away():
    bare = joined([Modulation(torch.ones(1, 2)), Modulation(torch.zeros(2, 2))])
    assert (bare.response, bare.preactivation, len(bare.factors)) == (None, None, 3)
    assert list(bare.tensors) == ["factors"]


@dataclass(frozen=True, kw_only=True)
class Shifted(Modulation):
    """``factors ⊙ x + shift``, both (N, T, F)."""

    shift: torch.Tensor

    @property
    def in_force(self):
        return {**super().in_force, "shift": 0.0}


# Factors (N, paths, C) of a softmax over two paths, ½ if nothing is chosen; and factors with a shift beside them.
PATHS = Modulation(torch.tensor([[[0.25, 0.5], [0.75, 0.5]], [[1.0, 0.0], [0.0, 1.0]]]), neutral=0.5)
SHIFTED = Shifted(torch.tensor([[[1.5, 2.0]], [[0.5, 3.0]]]), shift=torch.tensor([[[4.0, -1.0]], [[2.0, 0.0]]]))


def test_interventions_hold_for_any_axes_and_any_neutral_factor():
    assert torch.equal(interventions.neutral()("a", PATHS).factors, torch.full((2, 2, 2), 0.5))
    doubled = interventions.scaled(2)("a", PATHS).factors
    assert torch.equal(doubled[0], torch.tensor([[0.0, 0.5], [1.0, 0.5]]))
    assert torch.equal(interventions.scaled(0)("a", PATHS).factors, torch.full((2, 2, 2), 0.5))
    assert torch.equal(interventions.scaled(1)("a", PATHS).factors, PATHS.factors)
    assert torch.equal(interventions.shuffled(0)("a", PATHS).factors, PATHS.factors.flip(0))
    one = interventions.frozen({"a": PATHS.rows(slice(0, 1))})("a", PATHS)
    assert torch.equal(one.factors, PATHS.factors[:1].expand(2, 2, 2))
    changed = interventions.channel("a", 1, 9.0)("a", PATHS).factors
    assert torch.equal(changed[..., 0], PATHS.factors[..., 0]) and (changed[..., 1] == 9).all()


def test_interventions_take_all_that_acts():
    neutral = interventions.neutral()("a", SHIFTED)
    assert torch.equal(neutral.factors, torch.ones(2, 1, 2)) and torch.equal(neutral.shift, torch.zeros(2, 1, 2))
    halved = interventions.scaled(0.5)("a", SHIFTED)
    assert halved.factors[0].tolist() == [[1.25, 1.5]] and halved.shift[0].tolist() == [[2.0, -0.5]]
    swapped = interventions.shuffled(0)("a", SHIFTED)
    assert torch.equal(swapped.shift, SHIFTED.shift.flip(0))
    frozen = interventions.frozen({"a": SHIFTED.rows(slice(1, 2))})("a", SHIFTED)
    assert torch.equal(frozen.shift, SHIFTED.shift[1:].expand(2, 1, 2))
    with pytest.raises(ValueError, match="the modulation recorded of a has no shift"):
        interventions.frozen({"a": Modulation(SHIFTED.factors)})("a", SHIFTED)


def test_frozen_refuses_other_axes():
    with pytest.raises(ValueError, match=r"shape \(2, 2\); expected \(2, 2, 2\) or \(1, 2, 2\)"):
        interventions.frozen({"a": Modulation(torch.ones(2, 2))})("a", PATHS)


@pytest.mark.parametrize("shown", [PATHS, SHIFTED, StaticModulation.of(torch.ones(1, 2))])
@pytest.mark.parametrize(
    "hook",
    [
        interventions.gates("a", [1, 0]),
        interventions.uniform_gates(),
        interventions.only_vector(0),
        interventions.without_bank(),
    ],
    ids=["gates", "uniform", "one vector", "no bank"],
)
def test_gates_are_changed_only_where_there_is_a_bank(shown, hook):
    with pytest.raises(ValueError, match="a has no bank of biases, so no gates to change"):
        hook("a", shown)


def test_an_answer_that_cannot_be_used_is_refused():
    assert ask(lambda _, m: m, "a", SHIFTED) is SHIFTED
    with pytest.raises(TypeError, match="answered Tensor for a; expected a Modulation"):
        ask(lambda _, m: m.factors, "a", SHIFTED)
    with pytest.raises(TypeError, match="answered Modulation without shift for a"):
        ask(lambda _, m: Modulation(m.factors), "a", SHIFTED)
    with pytest.raises(ValueError, match=r"answered shift of shape \(1, 1, 2\) for a; expected \(2, 1, 2\)"):
        ask(lambda _, m: replace(m, shift=m.shift[:1]), "a", SHIFTED)


def test_a_hook_that_names_a_missing_block_is_refused():
    require_blocks(None, ["a"])
    require_blocks(lambda _, m: m, ["a"])
    require_blocks(interventions.neutral(["a"]), ["a", "b"])
    with pytest.raises(ValueError, match="this network has no block c; it has a, b"):
        require_blocks(interventions.neutral(["c", "a"]), ["a", "b"])
