"""Which networks a page compares is in the page: a server that has forgotten it shows no others in their place."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from abn.app.inspector.visitors import OWN, Choice, Pair, Pairs
from abn.app.pictures.fitting import fit
from abn.app.pictures.reading import read_picture
from abn.checkpoints.sources import HubSource
from abn.checkpoints.store import save_checkpoint
from abn.ui.page.build import build_page
from abn.ui.page.pair_state import PairState, read_pair, write_pair
from tests.conftest import awake

SHA = "ab" * 32
HUB = Choice(HubSource("user/repo", "0" * 40), SHA)
FOLDER = Choice(Path("/models/mine"), SHA)


@pytest.mark.parametrize("pair", [OWN, Pair(HUB, None), Pair(None, FOLDER), Pair(FOLDER, HUB)])
def test_a_pair_is_read_as_it_was_written(pair):
    assert read_pair(write_pair(pair), folders=True) == pair
    with gr.Blocks():
        state = PairState(folders=True)
    assert state.preprocess(state.postprocess(pair)) == pair
    assert state.preprocess(None) == OWN and state.value == ""


def test_strangers_name_no_folder():
    assert read_pair(write_pair(Pair(None, HUB)), folders=False) == Pair(None, HUB)
    with gr.Blocks():
        state = PairState(folders=False)
    with pytest.raises(gr.Error, match="cannot be read from what it sent; reload the page"):
        state.preprocess(write_pair(Pair(FOLDER, None)))


@pytest.mark.parametrize(
    "text",
    [
        "x", "[]", "{}", "1", '"dmb"', "[" * 5000, '{"dmb": null}', '{"dmb": {}}', '{"third": {"hub": "a/b"}}',
        '{"dmb": {"hub": "a/b"}}', '{"dmb": {"hub": "a/b", "weights_sha256": 1}}',
        '{"dmb": {"hub": 1, "weights_sha256": "a"}}', '{"dmb": {"hub": "/etc", "weights_sha256": "a"}}',
        '{"dmb": {"hub": "a/b", "folder": "c", "weights_sha256": "a"}}',
        '{"dmb": {"folder": 1, "weights_sha256": "a"}}', '{"dmb": {"hub": "a/b", "weights_sha256": "a", "more": 1}}',
    ],
)  # fmt: skip
def test_what_no_page_has_written_is_refused(text):
    with gr.Blocks():
        state = PairState(folders=True)
    with pytest.raises(gr.Error, match="cannot be read from what it sent; reload the page"):
        state.preprocess(text)


def test_it_has_gr_textboxs_own_frontend():
    with gr.Blocks():
        state = PairState(folders=True)
    assert state.get_block_name() == state.get_block_class() == "textbox"
    assert state.get_config().keys() == gr.Textbox().get_config().keys()


def after_a_restart(inspector, examples, pair: Pair, *, folders: bool):
    """What a server that has just started says of a page that has compared these networks."""
    page = build_page(Pairs(inspector, folders=folders), examples)
    look = next(each.fn for each in page.fns.values() if each.name == "look")
    state = next(block for block in page.blocks.values() if isinstance(block, PairState))
    chosen = state.preprocess(write_pair(pair))
    return look(SimpleNamespace(session_hash="slept"), read_picture(examples[0]), "crop", chosen, None)[0]


def test_a_restarted_server_loads_the_chosen_networks_again(inspector, examples, tmp_path):
    folder = save_checkpoint(awake("resnet-dmb", 11), tmp_path / "mine")
    pairs = Pairs(inspector, folders=True)
    pair = pairs.choose("", str(folder))
    expected = pairs.inspector(pair).inspect(fit(read_picture(examples[0])).pixels)
    seen = after_a_restart(inspector, examples, pair, folders=True)
    assert seen.pair == pair
    assert seen.result.dmb.probabilities.tolist() == expected.dmb.probabilities.tolist()


def test_or_says_that_they_are_others_by_now_or_gone(inspector, examples, tmp_path):
    folder = save_checkpoint(awake("resnet-dmb", 11), tmp_path / "mine")
    pair = Pairs(inspector, folders=True).choose("", str(folder))
    other = Pair(None, Choice(pair.dmb.place, "cd" * 32))
    with pytest.raises(gr.Error, match="the weights are others than when it was chosen"):
        after_a_restart(inspector, examples, other, folders=True)
    shutil.rmtree(folder)
    with pytest.raises(gr.Error, match="mine"):
        after_a_restart(inspector, examples, pair, folders=True)


def test_of_a_strangers_page_it_says_that_they_are_to_be_loaded_again(inspector, examples):
    with pytest.raises(gr.Error, match="load it again under Compare other networks"):
        after_a_restart(inspector, examples, Pair(None, HUB), folders=False)


def test_a_sessions_own_copy_still_knows_whether_folders_may_be_named():
    """Gradio makes one from the options when an event leaves the component as it is."""
    with gr.Blocks():
        state = PairState(folders=True)
        copy = state.__class__(**{**state.constructor_args, "render": False})
    assert copy.preprocess(write_pair(Pair(FOLDER, None))) == Pair(FOLDER, None)
