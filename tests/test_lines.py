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
    yield page
    go_on.set()
    page.close()


def test_the_fast_is_answered_however_many_wait_for_the_slow(page):
    def ask(name):
        return httpx.post(f"{page.local_url}gradio_api/call/{name}", json={"data": [1]}, timeout=30)

    answers = [ask("slow") for _ in range(MOST_IN_LINE + 20)]
    refused = [answer for answer in answers if answer.status_code != 200]
    # One is worked on, and some may have been taken into the line before it was.
    assert 0 < len(refused) <= 20
    assert all(answer.status_code == 503 and "others wait for something as slow" in answer.text for answer in refused)
    taken = ask("fast")
    assert taken.status_code == 200
    event = taken.json()["event_id"]
    said = httpx.get(f"{page.local_url}gradio_api/call/fast/{event}", timeout=30).text
    assert "event: complete" in said and "[2]" in said


def test_as_many_files_may_be_open_as_the_system_allows():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (before[1], 10_240)  # the latter on macOS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
