"""A line of those who wait for something slow leaves places for those who wait for something fast."""

from __future__ import annotations

import threading
import time
from typing import Any

import gradio as gr
import httpx
import pytest

from abn.ui.hardening import lines
from abn.ui.hardening.lines import MOST_IN_LINE, keep_places
from abn.ui.hardening.queue_guard import guard


@pytest.fixture
def page():
    go_on = threading.Event()
    with gr.Blocks(analytics_enabled=False) as page:
        number = gr.Number(0)
        gr.Button().click(lambda n: go_on.wait(60) and n, number, number, api_name="slow", concurrency_id="slow")
        gr.Button().click(lambda n: n + 1, number, number, api_name="fast")
    page.queue(max_size=MOST_IN_LINE + 10)
    guard(page)
    keep_places(page, frozenset(("slow",)))
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    page.go_on = go_on
    yield page
    go_on.set()
    page.close()


def ask(page: gr.Blocks, name: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{page.local_url}gradio_api/call/{name}", json={"data": [1], **more}, timeout=30)


def answer(page: gr.Blocks, name: str, event: str) -> str:
    return httpx.get(f"{page.local_url}gradio_api/call/{name}/{event}", timeout=30).text


def test_the_fast_is_answered_however_many_wait_for_the_slow(page):
    answers = [ask(page, "slow") for _ in range(MOST_IN_LINE + 20)]
    refused = [answer for answer in answers if answer.status_code != 200]
    # One is worked on, and some may have been taken into the line before it was.
    assert 0 < len(refused) <= 20
    assert all(answer.status_code == 503 and "others wait for something as slow" in answer.text for answer in refused)
    taken = ask(page, "fast")
    assert taken.status_code == 200
    said = answer(page, "fast", taken.json()["event_id"])
    assert "event: complete" in said and "[2]" in said


def test_who_reads_no_answers_gets_no_more_until_they_are_read(page, monkeypatch):
    monkeypatch.setattr(lines, "MOST_UNREAD", 10)
    asked = [ask(page, "fast", session_hash="reads-nothing") for _ in range(20)]
    assert asked[0].status_code == 200
    assert asked[-1].status_code == 503 and "More than 10 messages wait to be read" in asked[-1].text
    assert ask(page, "fast", session_hash="another").status_code == 200


def test_what_many_do_not_read_is_dropped_of_those_who_came_first(page, monkeypatch):
    monkeypatch.setattr(lines, "MOST_UNREAD_IN_ALL", 20)
    monkeypatch.setattr(lines, "FEW_UNREAD", 5)
    messages = page._queue.pending_messages_per_session
    waits = ask(page, "slow", session_hash="waits").json()["event_id"]
    for number in range(30):
        ask(page, "fast", session_hash=f"reads-nothing-{number}")
        while len(page._queue.event_ids_to_events) > 1:
            time.sleep(0.01)
    assert sum(each.qsize() for each in messages.values()) <= 25  # one event's messages beyond
    assert "reads-nothing-0" not in messages and "reads-nothing-29" in messages
    page.go_on.set()
    assert "[1]" in answer(page, "slow", waits)


def test_while_too_much_is_unread_nobody_may_leave_much_unread(page, monkeypatch):
    monkeypatch.setattr(lines, "MOST_UNREAD_IN_ALL", 10)
    monkeypatch.setattr(lines, "FEW_UNREAD", 5)
    ask(page, "slow", session_hash="waits")  # so that nothing of it is dropped
    for _ in range(10):
        last = ask(page, "fast", session_hash="waits")
        while len(page._queue.event_ids_to_events) > 1:
            time.sleep(0.01)
    assert last.status_code == 503 and "More than 5 messages wait to be read" in last.text
    assert ask(page, "fast", session_hash="another").status_code == 200


@pytest.mark.parametrize(("header", "value"), [("x-forwarded-host", "a:b"), ("x-gradio-server", "http://a:b")])
def test_an_address_that_is_none_is_refused_before_it_is_worked_on(page, header, value, capfd):
    url = f"{page.local_url}gradio_api/call/fast"
    refused = httpx.post(url, json={"data": [1]}, headers={header: value}, timeout=30)
    assert refused.status_code == 400 and "the address in its headers is none" in refused.text
    assert "Traceback" not in "".join(capfd.readouterr())


def test_what_waits_holds_so_many_bytes_and_no_more(page, monkeypatch):
    monkeypatch.setattr(lines, "MOST_BYTES", 100_000)
    monkeypatch.setattr(lines, "SMALL", 10_000)
    sent = [ask(page, "slow", padding="x" * 30_000) for _ in range(5)]
    assert [answer.status_code for answer in sent] == [200, 200, 200, 503, 503]
    assert "fill the memory" in sent[-1].text
    assert ask(page, "fast").status_code == 200  # a small one


def test_what_is_said_of_an_event_is_short(page):
    def click(index):
        body = {"data": [1], "fn_index": 1, "session_hash": "clicks", "event_data": {"index": index}}
        return httpx.post(f"{page.local_url}gradio_api/queue/join", json=body, timeout=30)

    refused = click("x" * 20_000)
    assert refused.status_code == 400 and "too long" in refused.text
    assert click([1, 2]).status_code == 200
