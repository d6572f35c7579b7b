"""A network without a bank on the page: its factors are drawn, and in the place of gates and sums it says why not."""

import pytest
import torch

from abn.app.export.manifest import PictureFile
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import OWN, Pairs
from abn.checkpoints.network import load_network
from abn.checkpoints.store import save_checkpoint
from abn.ui.page.build import build_page
from abn.ui.page.shown import Shown
from tests.conftest import awake


@pytest.fixture(scope="module")
def page_and_shown(tmp_path_factory, checkpoints, pictures, examples):
    folder = save_checkpoint(awake("se"), tmp_path_factory.mktemp("se") / "se")
    networks = load_network(None, checkpoints / "resnet-dmb"), load_network(None, folder)
    pairs = Pairs(Inspector(*networks, torch.device("cpu")), folders=True)
    result = pairs.own.inspect(pictures[0])
    file = PictureFile("a.png", "ab" * 32, (32, 32), "crop", (0, 0, 32, 32))
    return build_page(pairs, examples), Shown(OWN, result, file)


def functions(page, module, name):
    written = [each.fn for each in page.fns.values() if each.fn is not None]
    return [each for each in written if (each.__module__, each.__name__) == (f"abn.ui.tabs.{module}", name)]


def test_gates_are_said_not_to_be_there_and_those_of_the_other_side_are_drawn(page_and_shown):
    page, shown = page_and_shown
    (draw,) = functions(page, "gates", "draw")
    _, said, plot, _ = draw(shown, "dmb")
    assert "**SE**" in said and "no gate weights" in said and plot is None
    _, said, plot, _ = draw(shown, "baseline")
    assert plot is not None and "entropy" in said


def test_factors_are_drawn_and_a_channel_says_its_preactivation(page_and_shown):
    page, shown = page_and_shown
    block = shown.result.dmb.blocks[2]
    draw = functions(page, "factors", "draw_sum")[0]
    plot, said = draw(shown, "dmb", block.name, 3)
    assert plot is None
    assert f"factor {block.factors[3]:.5f}, pre-activation {block.preactivation[3]:+.5f}" in said
    said = functions(page, "factors", "draw_texts")[0](shown, "dmb")
    assert "has no factors" not in said[1]
