"""What fails beneath the page: a disk without room, and what nobody thought of."""

import errno
import logging
import os

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import expect
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from abn.ui.hardening.failures import EXCEPTION_HANDLERS, FAILED, FULL, RateLimit
from tests.conftest import HOME, READY

SHIP = HOME / "assets" / "examples" / "ship.png"


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/home/somebody/uploads")


def answer(error: Exception) -> httpx.Response:
    """What a server says whose route fails so."""
    app = FastAPI(exception_handlers=EXCEPTION_HANDLERS)

    @app.post("/upload")
    def upload():
        raise error

    return TestClient(app).post("/upload")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_is_said_in_words(number):
    said = answer(OSError(number, os.strerror(number), "/home/somebody/uploads"))
    assert (said.status_code, said.json()) == (507, {"error": FULL})


def test_what_else_fails_is_one_sentence_to_who_asked_and_logged_for_the_host(caplog):
    error = PermissionError(errno.EACCES, "no", "/home/somebody")
    said = answer(error)
    assert (said.status_code, said.json()) == (500, {"error": FAILED})
    records = [record for record in caplog.records if record.name.startswith("abn")]
    assert [record.getMessage() for record in records] == ["'/upload' failed"]
    assert records[0].exc_info[1] is error


def test_who_has_gone_is_no_failure(caplog):
    answer(ClientDisconnect())
    assert [record for record in caplog.records if record.name.startswith("abn")] == []


def test_the_host_reads_so_many_lines_a_minute(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("abn.ui.hardening.failures.time.monotonic", lambda: now[0])
    few = RateLimit(most=2, seconds=60)
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
