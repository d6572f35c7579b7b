"""A line of those who wait for something slow leaves places for those who wait for something fast."""

from __future__ import annotations

import threading

import gradio as gr
import httpx
import pytest

from abn.ui.lines import MOST_IN_LINE, keep_places
from abn.ui.serving import allow_many_files


@pytest.fixture
def page():
    go_on = threading.Event()
    with gr.Blocks(analytics_enabled=False) as page:
        number = gr.Number(0)
        gr.Button().click(lambda n: go_on.wait(60) and n, number, number, api_name="slow", concurrency_id="slow")
        gr.Button().click(lambda n: n + 1, number, number, api_name="fast")
    page.queue(max_size=MOST_IN_LINE + 10)
    keep_places(page, frozenset(("slow",)))
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    page.go_on = go_on
    yield page
    go_on.set()
    page.close()


def ask(page: gr.Blocks, name: str, **session: str) -> httpx.Response:
    return httpx.post(f"{page.local_url}gradio_api/call/{name}", json={"data": [1], **session}, timeout=30)


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


def test_who_waits_is_answered_however_many_come_after(page):
    """Gradio drops the messages of its oldest sessions, and with the first one missing its queue would stop."""
    page._queue.pending_messages_per_session.max_size = 8
    waiting = [ask(page, "slow", session_hash=f"early-{number}").json()["event_id"] for number in range(3)]
    for _ in range(20):
        assert "[2]" in answer(page, "fast", ask(page, "fast").json()["event_id"])
    page.go_on.set()
    for event in waiting:
        assert "[1]" in answer(page, "slow", event)
    assert "[2]" in answer(page, "fast", ask(page, "fast").json()["event_id"])


def test_who_has_gone_gets_no_message_and_keeps_nobody_waiting(page):
    names = ("worked-on", "waits", "gone")
    events = [ask(page, "slow", session_hash=name).json()["event_id"] for name in names]
    del page._queue.pending_messages_per_session["gone"]  # as when its browser is closed
    page.go_on.set()
    for event in events[:2]:
        assert "[1]" in answer(page, "slow", event)
    assert "[2]" in answer(page, "fast", ask(page, "fast").json()["event_id"])


def test_as_many_files_may_be_open_as_the_system_allows():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (before[1], 10_240)  # the latter on macOS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
