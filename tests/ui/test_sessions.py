"""Whose session Gradio forgets, and that it forgets all of it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest

from abn.ui.hardening.queue_guard import guard
from abn.ui.hardening.sessions import keep_sessions


@pytest.fixture
def page():
    with gr.Blocks(analytics_enabled=False) as page:
        number, chosen, seen = gr.Number(0), gr.State("own"), gr.State("nothing")
        gr.Button().click(lambda n: ("other", n), number, [chosen, number], api_name="choose")
        gr.Button().click(lambda n, chosen: (chosen, n), [number, chosen], [seen, number], api_name="look")
        gr.Button().click(lambda n: n + 1, number, number, api_name="plain")
    page.queue()
    guard(page)
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, state_session_capacity=4)
    keep_sessions(page)
    yield page
    page.close()


def ask(page: gr.Blocks, name: str, session: str) -> str:
    index = next(number for number, function in page.fns.items() if function.api_name == name)
    inputs = [1] + [None] * (len(page.fns[index].inputs) - 1)
    body = {"data": inputs, "fn_index": index, "session_hash": session}
    answer = httpx.post(f"{page.local_url}gradio_api/queue/join", json=body, timeout=30)
    assert answer.status_code == 200
    event = answer.json()["event_id"]
    while event in page._queue.event_ids_to_events:
        time.sleep(0.01)
    return event


def values(page: gr.Blocks, session: str) -> list:
    return list(page.state_holder.session_data[session].state_data.values())


def test_what_a_visitor_chose_is_not_forgotten_before_the_rest(page):
    """The browser slept, its connection broke, and it goes on with the page as it was."""
    ask(page, "choose", "sleeps")
    ask(page, "look", "sleeps")
    assert values(page, "sleeps") == ["other", "other"]
    state = page.state_holder.session_data["sleeps"]
    state.is_closed = True
    chosen = next(iter(state._state_ttl))
    time_to_live, _ = state._state_ttl[chosen]
    state._state_ttl[chosen] = (time_to_live, datetime.now() - timedelta(hours=2))
    page.app.state_holder.delete_all_expired_state()  # as Gradio does every second
    assert values(page, "sleeps") == ["other", "other"]


def test_callers_who_keep_nothing_take_each_others_places_and_no_visitors(page):
    for name in ("first", "second"):
        ask(page, "choose", name)
    for number in range(20):
        ask(page, "plain", f"caller-{number}")
    assert {"first", "second"} <= set(page.state_holder.session_data)
    assert len(page.state_holder.session_data) == len(page.state_holder.time_last_used) == 4


def test_who_waits_is_kept_before_those_who_do_not(page):
    for number in range(4):
        ask(page, "choose", f"visitor-{number}")
    page._queue.event_ids_to_events["an-event"] = SimpleNamespace(session_hash="visitor-0")
    ask(page, "choose", "new")
    assert set(page.state_holder.session_data) == {"visitor-0", "visitor-2", "visitor-3", "new"}
    del page._queue.event_ids_to_events["an-event"]


def test_being_refused_makes_no_session(page, monkeypatch):
    made = []
    monkeypatch.setattr(page.state_holder, "update", made.append)
    body = {"data": [1], "session_hash": "asks"}
    page._queue.max_size = 0
    assert httpx.post(f"{page.local_url}gradio_api/call/plain", json=body, timeout=30).status_code == 503
    assert made == list(page.state_holder.session_data) == []
    page._queue.max_size = None
    assert httpx.post(f"{page.local_url}gradio_api/call/plain", json=body, timeout=30).status_code == 200
    while page._queue.event_ids_to_events:
        time.sleep(0.01)
    assert set(made) == set(page.state_holder.session_data) == {"asks"}
