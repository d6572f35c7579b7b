"""What fails beneath the page: a disk without room, and what nobody thought of."""

import asyncio
import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from playwright.sync_api import expect
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from abn.ui.hardening.failures import FAILED, FULL, Few, TellFailures
from tests.conftest import HOME, READY

SHIP = HOME / "assets" / "examples" / "ship.png"
START = {"type": "http.response.start", "status": 200, "headers": []}


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/home/somebody/uploads")


def answers(application, kind="http"):
    """What the middleware sends for an application."""
    sent = []

    async def send(message):
        sent.append(message)

    answering = TellFailures(application)({"type": kind, "path": "/upload"}, None, send)
    with ThreadPoolExecutor() as elsewhere:  # Playwright's loop runs in this thread
        elsewhere.submit(asyncio.run, answering).result()
    return sent


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_is_said_in_words(number):
    async def application(scope, receive, send):
        raise OSError(number, os.strerror(number), "/home/somebody/uploads")

    start, body = answers(application)
    assert start["status"] == 507
    assert FULL.encode() in body["body"]
    assert b"somebody" not in body["body"]


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no", "/home/somebody"), KeyError("/home/somebody")])
def test_what_else_fails_is_one_sentence_to_who_asked_and_logged_for_the_host(error, caplog):
    async def application(scope, receive, send):
        raise error

    start, body = answers(application)
    assert (start["status"], body["body"]) == (500, f'{{"error":"{FAILED}"}}'.encode())
    assert [record.getMessage() for record in caplog.records] == ["'/upload' failed"]
    assert caplog.records[0].exc_info[1] is error


@pytest.mark.parametrize("began", [False, True])
def test_who_has_gone_is_no_failure(began, caplog):
    async def application(scope, receive, send):
        if began:
            await send(START)
            raise RuntimeError("response already started") from HTTPException(404)
        raise ClientDisconnect

    assert answers(application) == ([START] if began else [])
    assert caplog.records == []


def test_what_is_no_request_fails_as_ever():
    async def application(scope, receive, send):
        full()

    with pytest.raises(OSError, match="No space left"):
        answers(application, "lifespan")


def test_an_answer_that_has_begun_is_not_begun_again():
    async def application(scope, receive, send):
        await send(START)
        full()

    assert answers(application) == [START]


def test_the_host_reads_so_many_lines_a_minute(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("abn.ui.hardening.failures.time.monotonic", lambda: now[0])
    few = Few(most=2, seconds=60)
    records = [logging.LogRecord("a", logging.ERROR, "b", 1, "%s failed", (i,), None) for i in range(7)]
    assert [few.filter(record) for record in records[:4]] == [True, True, False, False]
    assert records[0].getMessage() == "0 failed"
    assert records[1].getMessage() == "1 failed (what else fails now is not logged for a while)"
    now[0] += 61
    assert [few.filter(record) for record in records[4:]] == [True, True, False]


def test_the_servers_upload_route(url, monkeypatch):
    with monkeypatch.context() as disk:
        disk.setattr("gradio.route_utils.NamedTemporaryFile", full)
        refused = httpx.post(f"{url}gradio_api/upload", files={"files": ("a.png", SHIP.read_bytes())}, timeout=60)
    assert (refused.status_code, refused.json()) == (507, {"error": FULL})
    taken = httpx.post(f"{url}gradio_api/upload", files={"files": ("a.png", SHIP.read_bytes())}, timeout=60)
    assert taken.status_code == 200


def test_the_page_says_that_the_picture_did_not_arrive(url, browser, monkeypatch):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    page.locator(READY).wait_for()
    monkeypatch.setattr("gradio.route_utils.NamedTemporaryFile", full)
    page.locator("input[type=file]").first.set_input_files(SHIP)
    expect(page.locator("#failure")).to_contain_text("the one you sent did not arrive")
    page.close()
