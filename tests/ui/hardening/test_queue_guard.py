"""What one visitor does to the queue, others do not feel."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest

from abn.ui.hardening.queue_guard import LONGEST_NAME, _Messages, guard


@pytest.fixture
def page():
    go_on, at_once, most, lock = threading.Event(), [0], [0], threading.Lock()

    def slow(number):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        go_on.wait(60)
        with lock:
            at_once[0] -= 1
        return number

    def steps(number):
        yield number
        go_on.wait(60)
        yield number + 2

    with gr.Blocks(analytics_enabled=False) as page:
        number = gr.Number(0)
        gr.Button().click(slow, number, number, api_name="slow", concurrency_limit=2)
        gr.Button().click(lambda n: n + 1, number, number, api_name="fast")
        gr.Button().click(steps, number, number, api_name="steps")
    page.queue()
    guard(page)
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    page.go_on, page.most = go_on, most
    yield page
    go_on.set()
    page.close()


def post(page: gr.Blocks, route: str, **values: Any) -> httpx.Response:
    return httpx.post(f"{page.local_url}gradio_api/{route}", json=values, timeout=30)


def ask(page: gr.Blocks, name: str, **session: str) -> str:
    return post(page, f"call/{name}", data=[1], **session).json()["event_id"]


def answer(page: gr.Blocks, name: str, event: str) -> str:
    return httpx.get(f"{page.local_url}gradio_api/call/{name}/{event}", timeout=30).text


def test_who_waits_is_answered_however_many_come_after(page):
    """Gradio drops the messages of its oldest sessions, and with the first one missing its queue would stop."""
    page._queue.pending_messages_per_session.max_size = 8
    waiting = [ask(page, "slow", session_hash=f"early-{number}") for number in range(3)]
    for _ in range(20):
        assert "[2]" in answer(page, "fast", ask(page, "fast"))
    page.go_on.set()
    for event in waiting:
        assert "[1]" in answer(page, "slow", event)
    assert "[2]" in answer(page, "fast", ask(page, "fast"))


def test_who_has_gone_gets_no_message_and_keeps_nobody_waiting(page):
    names = ("worked-on", "worked-on-too", "waits", "gone")
    events = [ask(page, "slow", session_hash=name) for name in names]
    del page._queue.pending_messages_per_session["gone"]  # as when its browser is closed
    page.go_on.set()
    for event in events[:3]:
        assert "[1]" in answer(page, "slow", event)
    assert "[2]" in answer(page, "fast", ask(page, "fast"))


def number_of(page: gr.Blocks, name: str) -> int:
    return next(number for number, function in page.fns.items() if function.api_name == name)


def test_a_job_that_is_cancelled_keeps_its_place_until_it_ends_and_no_longer(page):
    slow = number_of(page, "slow")
    for count in range(12):  # of which some are cancelled before they began, some after
        event = ask(page, "slow", session_hash=f"cancels-{count}")
        for _ in range(3):
            cancelled = {"session_hash": f"cancels-{count}", "fn_index": slow, "event_id": event}
            assert post(page, "cancel", **cancelled).status_code == 200
    assert page.most[0] <= 2  # as many as the line lets compute at once
    waits = ask(page, "slow", session_hash="waits")
    page.go_on.set()
    assert "[1]" in answer(page, "slow", waits)
    assert page.most[0] <= 2
    assert "[2]" in answer(page, "fast", ask(page, "fast"))
    assert page._queue.active_jobs == [None] * len(page._queue.active_jobs)
    assert all(line.current_concurrency == 0 for line in page._queue.event_queue_per_concurrency_id.values())


def test_who_cancels_is_told_that_it_is_over(page):
    event = ask(page, "slow", session_hash="cancels")
    post(page, "cancel", session_hash="cancels", fn_index=number_of(page, "slow"), event_id=event)
    assert "event: complete" in answer(page, "slow", event)


def test_a_generator_that_is_cancelled_keeps_nobody_waiting(page):
    event = ask(page, "steps", session_hash="cancels")
    while event not in page.app.iterators:
        time.sleep(0.01)
    post(page, "cancel", session_hash="cancels", fn_index=number_of(page, "steps"), event_id=event)
    assert "[2]" in answer(page, "fast", ask(page, "fast"))  # while the other is still in the middle of a step
    assert not page.go_on.is_set()
    page.go_on.set()
    assert "[3]" in answer(page, "steps", ask(page, "steps"))


@pytest.mark.parametrize(
    ("route", "values", "status"),
    [
        ("call/slow", {"session_hash": "x" * (LONGEST_NAME + 1)}, 400),
        ("queue/join", {"fn_index": 0, "session_hash": "x" * (LONGEST_NAME + 1)}, 400),
        ("call/slow", {"session_hash": "a<gradio-sep>b"}, 400),
        ("queue/join", {"fn_index": 4711, "session_hash": "a"}, 404),
        ("call/nothing", {"session_hash": "a"}, 404),
    ],
)
def test_what_is_not_there_makes_no_session(page, route, values, status):
    refused = post(page, route, data=[1], **values)
    assert refused.status_code == status
    assert len(refused.text) < 200
    assert list(page.state_holder.session_data) == []
    assert len(page._queue.pending_messages_per_session) == 0


def test_messages_may_be_deleted_twice():
    messages = _Messages(2)
    messages["a"] = SimpleNamespace()
    del messages["a"]
    del messages["a"]
    assert len(messages) == 0
