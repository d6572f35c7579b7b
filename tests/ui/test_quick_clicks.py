"""A visitor who clicks again before the answer is there: nothing is left out, and nothing takes another's place."""

from __future__ import annotations

import threading

import pytest

from abn.ui.page.picture_column import Origins
from abn.ui.tabs.take_away import FILES

expect = pytest.importorskip("playwright.sync_api").expect


def test_of_two_examples_chosen_at_once_the_second_is_shown(page, examples, monkeypatch):
    go_on, at_once = threading.Event(), Origins.examples.fget

    def slow(self):
        assert go_on.wait(60)
        return at_once(self)

    monkeypatch.setattr(Origins, "examples", property(slow))
    try:
        for number in (2, 3):
            page.locator("#examples button").nth(number).click()
    finally:
        go_on.set()
    second = f"example/{examples[3].stem}"
    page.wait_for_function("name => new URL(location.href).searchParams.get('picture') === name", arg=second)
    page.wait_for_timeout(1500)  # the first one's answer, if it came last, would be there by now
    assert page.evaluate("new URL(location.href).searchParams.get('picture')") == second


def test_two_files_asked_for_at_once_both_come(visit, monkeypatch):
    page, both = visit("?tab=take-away"), threading.Barrier(2)
    names = ("All values (JSON)", "Tables (CSV)")
    for name in names:
        ending, write = FILES[name]

        def together(found, stem, write=write):
            both.wait(60)
            return write(found, stem)

        monkeypatch.setitem(FILES, name, (ending, together))
    came = []
    page.on("download", lambda download: came.append(download.suggested_filename))
    for name in names:
        page.get_by_role("button", name=name).click()
    for _ in range(60):
        if len(came) > 1:
            break
        page.wait_for_timeout(500)
    assert sorted(name.partition("-")[2] or name.rpartition(".")[2] for name in came) == ["json", "tables.zip"]


def test_a_search_that_is_over_is_cancelled_in_silence(page, examples):
    """What is cancelled in the browser then is no longer known to the server; its console has to stay empty."""
    page.get_by_role("button", name="Draw one they disagree on").click()
    expect(page.locator("#truth")).to_contain_text("its true class is")
    page.locator("#examples button").nth(4).click()
    expect(page.locator("#truth")).to_be_empty()
    page.get_by_role("button", name="Draw a test image").click()
    expect(page.locator("#truth")).to_contain_text("its true class is")
