"""Networks of a link, which may take long, beside what the visitor chooses meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from abn.app.export import PictureFile, export_of, to_json
from abn.app.inspector.visitors import OWN, BusyError, Choice, Pair, Pairs
from abn.app.pictures.reading import read_picture
from abn.checkpoints.sources import HubSource
from abn.common.data import Cifar10
from abn.ui import about, serving
from abn.ui.page import link
from abn.ui.page.build import build_page
from abn.ui.page.picture_column import Origins
from abn.ui.page.shown import Shown
from tests.conftest import run_apart

CHOSEN = Pair(None, None)


class SlowPairs(Pairs):
    """Answers a link's networks with a pair, after whatever `meanwhile` does."""

    def __init__(self, inspector) -> None:
        super().__init__(inspector, folders=True)
        self.meanwhile = lambda: None

    def choose(self, baseline, dmb, *, folders=True):
        if not folders:
            self.meanwhile()
        return CHOSEN


@pytest.fixture(scope="module")
def pairs(inspector):
    return SlowPairs(inspector)


@pytest.fixture(scope="module")
def handlers(pairs, examples):
    """The page's handlers by name."""
    return {each.name: each.fn for each in build_page(pairs, examples).fns.values()}


def visitor(name: str, **query: str) -> SimpleNamespace:
    return SimpleNamespace(session_hash=name, query_params=query)


def opened(handlers, name: str, **query: str) -> list:
    """What a page that opens with a link is sent about its networks, one after the other."""

    async def collected():
        return [sent async for sent in handlers["open_networks"](visitor(name, **query))]

    return run_apart(collected())


def is_skip(update) -> bool:
    return update == gr.skip()


def test_a_links_networks_are_taken(pairs, handlers):
    pairs.meanwhile = lambda: None
    loading, loaded = opened(handlers, "a", left="user/repo")
    assert loading[0].value.startswith("Loading user/repo from the Hub") and all(map(is_skip, loading[1:]))
    assert loaded[0].visible is False and loaded[1] is CHOSEN
    (nothing,) = opened(handlers, "a")  # a link without networks
    assert all(map(is_skip, nothing))


def test_a_link_that_a_class_opens_at_once_waits_for_its_place(pairs, handlers, monkeypatch):
    tries = []

    def meanwhile():
        tries.append(None)
        if len(tries) < 4:
            raise BusyError("other networks are being loaded just now", "user/repo")

    monkeypatch.setattr(link, "AGAIN", 0)
    pairs.meanwhile = meanwhile
    _, loaded = opened(handlers, "a", left="user/repo")
    assert loaded[1] is CHOSEN and len(tries) == 4


def test_so_many_links_wait_and_no_more(pairs, handlers, monkeypatch):
    """Each has a place among the events that are worked on at once, of which others need some."""
    told, go_on = [], threading.Event()
    monkeypatch.setattr(link, "MOST_LINKS", 3)
    monkeypatch.setattr(gr, "Warning", told.append)
    pairs.meanwhile = lambda: go_on.wait(60)

    async def last_of(name):
        *_, answer = [sent async for sent in handlers["open_networks"](visitor(name, left="user/repo"))]
        return answer

    async def run():
        first = [asyncio.create_task(last_of(f"first-{number}")) for number in range(3)]
        await asyncio.sleep(0)  # so that they wait
        refused = await last_of("fourth")
        go_on.set()
        return await asyncio.gather(*first), refused, await last_of("fifth")

    taken, refused, later = run_apart(run())
    assert [answer[1] for answer in (*taken, later)] == [CHOSEN] * 4
    assert all(map(is_skip, refused[1:])) and len(told) == 1
    assert "other links' networks are being loaded just now; open it again in a minute" in told[0]
    assert link.MOST_LINKS < serving.MOST_AT_ONCE


def test_a_link_waits_so_long_and_no_longer(pairs, handlers, monkeypatch):
    def meanwhile():
        raise BusyError("other networks are being loaded just now", "user/repo")

    told = []
    monkeypatch.setattr(link, "AGAIN", 0)
    monkeypatch.setattr(link, "MOST_SECONDS", 0)
    monkeypatch.setattr(gr, "Warning", told.append)
    pairs.meanwhile = meanwhile
    _, answer = opened(handlers, "a", left="user/repo")
    assert answer[0].visible is False and all(map(is_skip, answer[1:]))
    assert "other networks are being loaded just now" in told[0]


@pytest.mark.parametrize("act", ["choose", "reset", "open_result"])
@pytest.mark.parametrize("whose", ["a", "b"])
def test_a_links_networks_change_nothing_after_the_visitors_own_choice(
    pairs, handlers, inspector, first_example, act, whose
):
    arguments = {
        "choose": ("", "somebody/other", None),
        "reset": (None,),
        "open_result": (to_json(export_of(inspector, first_example)),),
    }
    pairs.meanwhile = lambda: handlers[act](visitor(whose), *arguments[act])
    *_, answer = opened(handlers, "a", left="user/repo")
    assert answer[0].visible is False  # nothing is being loaded any more
    # The choice of another visitor is no reason.
    assert all(map(is_skip, answer[1:])) if whose == "a" else answer[1] is CHOSEN


def test_what_reset_has_cancelled_is_no_failure(pairs, handlers, monkeypatch):
    """Gradio tells of it as of any failure, after Reset has answered."""

    def fail(*names, folders=True):
        raise ValueError("there is no such folder")

    monkeypatch.setattr(pairs, "choose", fail)
    for _ in range(2):
        with pytest.raises(gr.Error):
            handlers["choose"](visitor("a"), "", "nowhere", None)
        assert handlers["failed"](visitor("a")) == about.NETWORKS_FAILED
        handlers["reset"](visitor("a"), None)
        assert is_skip(handlers["failed"](visitor("a")))


def test_networks_change_nothing_after_a_file_was_opened(pairs, handlers, inspector, first_example, monkeypatch):
    data = to_json(export_of(inspector, first_example))

    def choose(self, *names, folders=True):
        handlers["open_result"](visitor("a"), data)
        return OWN

    monkeypatch.setattr(SlowPairs, "choose", choose)
    assert all(map(is_skip, handlers["choose"](visitor("a"), "", "somebody/other", None)))


def test_an_older_look_changes_nothing_after_a_file_was_opened(
    handlers, inspector, first_example, examples, monkeypatch
):
    data = to_json(export_of(inspector, first_example))
    picture = read_picture(examples[1])
    look = handlers["look"]
    assert look(visitor("a"), picture, "crop", OWN, None)[0].opened is None

    def inspect(self, pixels):
        handlers["open_result"](visitor("a"), data)
        return first_example

    monkeypatch.setattr(type(inspector), "inspect", inspect)
    assert all(map(is_skip, look(visitor("a"), picture, "crop", OWN, None)))
    assert not is_skip(look(visitor("b"), picture, "crop", OWN, None)[0])


def test_settings_of_a_page_that_was_forgotten_say_so(handlers, first_example):
    assert handlers["remind"](None).value == about.NOTHING_HERE
    assert is_skip(handlers["remind"](Shown(OWN, first_example, PictureFile(), "")))


def test_a_picture_of_the_page_is_exported_under_its_own_name_and_hash(handlers, examples):
    """The browser sends it encoded anew, as another file."""
    picture = read_picture(examples[1])
    picture.info["file"] = ("image.png", "ff" * 32)
    file = handlers["look"](visitor("a"), picture, "crop", OWN, None)[0].file
    assert (file.name, file.sha256) == (examples[1].name, hashlib.sha256(examples[1].read_bytes()).hexdigest())
    picture.putpixel((0, 0), (1, 2, 3))
    file = handlers["look"](visitor("a"), picture, "crop", OWN, None)[0].file
    assert (file.name, file.sha256) == ("image.png", "ff" * 32)


def test_a_test_image_is_exported_by_its_number(examples, pictures, labels):
    origins = Origins(examples, Cifar10(pictures, labels, pictures, labels))
    assert origins.file(origins.name(Image.fromarray(pictures[17]))) == ("test image 17", None)


def test_a_links_picture_does_not_take_the_place_of_an_opened_file(handlers, inspector, first_example):
    opened = handlers["open_result"](visitor("a"), to_json(export_of(inspector, first_example)))[1]
    assert opened.opened is not None
    assert is_skip(handlers["open_link"](visitor("a"), None, opened, OWN)[0])
    assert not is_skip(handlers["open_link"](visitor("a"), None, None, OWN)[0])


def test_the_page_says_what_of_it_the_link_carries(first_example):
    def said(origin, *places):
        chosen = [None if place is None else Choice(place, "ab" * 32) for place in places]
        return link.note(Shown(Pair(*chosen), first_example, PictureFile(), origin))

    hub, folder = HubSource("user/repo", "0" * 40), Path("my-network")
    assert said("example/ship", None, None) == said("example/ship", hub, None) == about.LINK_SHOWN
    assert said("", hub, hub) == about.LINK_UPLOAD
    assert said("example/ship", hub, folder) == f"{about.LINK_SHOWN} {about.LINK_FOLDER}"
    assert said("", folder, None) == f"{about.LINK_UPLOAD} {about.LINK_FOLDER}"


@pytest.mark.parametrize("text", ["1.5", "-0.1", "nan", "much", "inf"])
def test_an_opacity_beyond_the_slider_is_refused(text):
    slider = gr.Slider(0, 1, value=0.6)
    assert link.parse(slider, None, "0.25") == 0.25
    with pytest.raises(ValueError, match=text if text == "much" else text.lstrip("-")):
        link.parse(slider, None, text)


def test_a_link_carries_the_network_of_each_tab(handlers):
    read = handlers["open_link"](visitor("a", network="dmb", gates_network="dmb"), None, None, OWN)
    assert read.count("dmb") == 2
