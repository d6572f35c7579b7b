"""Attribution maps in numbers and in words, with maps set by hand."""

from __future__ import annotations

import numpy as np
import pytest

from abn.app.figures import Region, regions
from abn.app.figures.in_numbers import region_rows
from abn.interpret.attribution.methods import METHODS
from abn.ui import words


def test_the_sums_of_every_region_and_its_share_of_the_absolute_sum():
    values = np.array([[1.0, 2.0, 0.0, 0.0], [3.0, -4.0, 0.0, 10.0]])
    assert regions(values, (1, 2)) == [
        Region((0, 1), (0, 1), 2.0, 0.5),  # 1 + 2 + 3 − 4; 10 of 20
        Region((0, 1), (2, 3), 10.0, 0.5),
    ]
    assert [each.total for each in regions(values, (2, 1))] == [3.0, 9.0]


def test_regions_of_a_real_size_tile_the_map():
    values = np.random.default_rng(0).normal(size=(32, 32))
    found = regions(values)
    assert [(each.rows, each.columns) for each in found] == [
        ((8 * i, 8 * i + 7), (8 * j, 8 * j + 7)) for i in range(4) for j in range(4)
    ]
    assert found[6].total == pytest.approx(values[8:16, 16:24].sum())
    assert sum(each.total for each in found) == pytest.approx(values.sum())
    assert sum(each.share for each in found) == pytest.approx(1)


def test_sizes_that_do_not_divide_and_values_that_are_not_finite():
    values = np.array([[1.0, np.nan, -3.0]])
    assert regions(values, (1, 2)) == [Region((0, 0), (0, 1), 1.0, 0.25), Region((0, 0), (2, 2), -3.0, 0.75)]
    assert regions(np.zeros((2, 2)), (1, 1)) == [Region((0, 1), (0, 1), 0.0, 0.0)]


def test_a_region_without_a_value_is_not_one_of_0():
    values = np.array([[np.nan, np.nan, -3.0, 1.0]])
    found = regions(values, (1, 2))
    assert np.isnan(found[0].total) and found[1].total == -2.0
    assert [row[2] for row in region_rows([found], adds_up=True)] == ["–", "-2"]
    assert words.regions("a", found, adds_up=True) == (
        "**a**: lowest in rows 0–0, columns 2–3 (sum -2; 100 % of the absolute sum)."
    )
    assert (
        words.regions("a", regions(np.full((2, 2), np.nan), (1, 1)), adds_up=True) == "**a**: no region has a value."
    )


@pytest.mark.parametrize(
    ("values", "grid", "message"),
    [
        (np.zeros(4), (1, 1), r"the map has shape \(4,\); expected \(H, W\)"),
        (np.zeros((2, 3)), (3, 3), "the grid is 3 × 3; expected 1 to 2 × 3"),
        (np.zeros((2, 3)), (0, 1), "the grid is 0 × 1"),
    ],
)
def test_regions_refuse_what_they_cannot_divide(values, grid, message):
    with pytest.raises(ValueError, match=message):
        regions(values, grid)


def test_the_sentence_names_the_highest_and_the_lowest_region():
    found = [
        Region((0, 7), (0, 7), 0.5, 0.25), Region((0, 7), (8, 15), 2.0, 0.5), Region((8, 15), (0, 7), -1.25, 0.125),
    ]  # fmt: skip
    assert words.regions("ResNet-S", found, adds_up=True) == (
        "**ResNet-S**: highest in rows 0–7, columns 8–15 (sum +2; 50 % of the absolute sum) and "
        "lowest in rows 8–15, columns 0–7 (sum -1.25; 12 % of the absolute sum)."
    )


def test_the_sentence_of_a_map_of_one_sign_and_of_none():
    one_sign = [Region((0, 0), (0, 0), 3.0, 0.75), Region((0, 0), (1, 1), 1.0, 0.25)]
    assert words.regions("A*", one_sign, adds_up=True) == (
        "**A\\***: highest in rows 0–0, columns 0–0 (sum +3; 75 % of the absolute sum)."
    )
    blank = [Region((0, 0), (0, 0), 0.0, 0.0)]
    assert words.regions("A", blank, adds_up=True) == "**A**: every region has a sum of 0."
    assert words.regions("A", blank, "the map is blank: no pixel counts", adds_up=True) == (
        "**A**: the map is blank: no pixel counts."
    )


def test_values_that_are_no_shares_have_a_mean():
    """Occlusion says of every pixel how much covering it costs: of a region, that is no sum."""
    found = regions(np.full((8, 8), 2.0), (2, 2))
    assert [each.value(False) for each in found] == [2.0] * 4
    assert [each.value(True) for each in found] == [32.0] * 4
    assert words.regions("A", found, adds_up=False).startswith(
        "**A**: highest in rows 0–3, columns 0–3 (mean +2; 25 %"
    )
    assert region_rows([found], False)[0] == ["0–3", "0–3", "+2"]
    assert {name for name, method in METHODS.items() if method.adds_up} == {
        "input_x_gradient",
        "integrated_gradients",
    }
