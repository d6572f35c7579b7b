"""`docs/nginx.conf`, run by the real nginx before a served page."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import Pairs
from abn.app.pictures.fitting import fit
from abn.app.pictures.reading import read_picture
from abn.ui.page.build import build_page
from abn.ui.serving import free_port, launch
from tests.conftest import HOME

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")  # which is not on everybody's PATH
CONFIGURATION = HOME / "docs" / "nginx.conf"
SHIP = HOME / "assets" / "examples" / "ship.png"
BODY_TIMEOUT = 4  # seconds, in place of the minute that people get
AT_ONCE = int(re.search(r"limit_conn address +(\d+);", CONFIGURATION.read_text())[1])
BURST = int(re.search(r"burst=(\d+)", CONFIGURATION.read_text())[1])
MAIN = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/abn.conf;
}}
"""

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        NGINX is None and not os.environ.get("CI"),
        reason="no nginx on the PATH: install Debian's package nginx",
    ),
]


@pytest.fixture(scope="module")
def proxied(inspector, examples, tmp_path_factory) -> Iterator[str]:
    """The page's address through nginx, beneath a sub-path."""
    folder = tmp_path_factory.mktemp("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setenv("GRADIO_ROOT_PATH", "/abn")
        page = build_page(Pairs(inspector, folders=False), examples)
        app_port = free_port("127.0.0.1")
        launch(page, "127.0.0.1", app_port, public=True)
        stack.callback(page.close)
        text = CONFIGURATION.read_text()
        for written, here in {
            "listen 80;": f"listen 127.0.0.1:{port};",
            "127.0.0.1:7860": f"127.0.0.1:{app_port}",
            "client_body_timeout   60s;": f"client_body_timeout {BODY_TIMEOUT}s;",
        }.items():
            assert text.count(written) == 1, written
            text = text.replace(written, here)
        (folder / "abn.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        nginx = subprocess.Popen(command)
        stack.callback(nginx.wait, 30)
        stack.callback(nginx.terminate)
        for _ in range(200):
            assert nginx.poll() is None, (folder / "error.log").read_text()
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/abn/"


def begin(url: str, length: int, sent: bytes = b"x") -> socket.socket:
    """A request whose body has begun to come."""
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    connection.sendall(
        f"POST /abn/gradio_api/call/inspect HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n".encode()
        + sent
    )
    return connection


def pause_for_the_rate() -> None:
    """Until an address may ask as often again as at first."""
    time.sleep(BURST / 10 + 1)


@pytest.mark.process
def test_the_page_and_what_it_needs_are_beneath_the_sub_path(proxied):
    page = httpx.get(proxied, timeout=60)
    assert page.status_code == 200 and "Adaptive Bias Networks" in page.text
    config = httpx.get(f"{proxied}config", timeout=60).json()
    assert config["root"].rstrip("/") == proxied.rstrip("/")
    asset = re.search(r'(?:src|href)="\.?/?((?:abn/)?assets/[^"]+\.js)"', page.text)[1].removeprefix("abn/")
    script = httpx.get(proxied + asset, timeout=60)
    assert script.status_code == 200 and "javascript" in script.headers["content-type"]


@pytest.mark.process
def test_a_picture_is_inspected(proxied, inspector):
    answer = Client(proxied, verbose=False).predict(handle_file(str(SHIP)), api_name="/inspect")
    expected = inspector.inspect(fit(read_picture(SHIP)).pixels)
    np.testing.assert_allclose(list(answer["dmb"]["raw_softmax"].values()), expected.dmb.probabilities, atol=1e-6)


@pytest.mark.process
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(proxied):
    with begin(proxied, 40_000_000) as connection:
        said = connection.recv(4096)
    assert said.startswith(b"HTTP/1.1 413 ") and b"nginx" in said


@pytest.mark.process
def test_a_body_that_stops_coming_is_cut_off_and_the_app_does_not_hear_of_it(proxied, monkeypatch):
    from abn.ui.hardening import limits

    heard = []
    monkeypatch.setattr(limits, "_refusal", lambda scope: heard.append(scope["path"]))
    began = time.monotonic()
    with begin(proxied, 1000) as connection:
        said = connection.recv(4096)
    assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
    assert BODY_TIMEOUT - 1 <= time.monotonic() - began < 25
    assert heard == []


@pytest.mark.process
def test_an_address_has_so_many_connections_and_no_more(proxied):
    pause_for_the_rate()
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            stack.enter_context(begin(proxied, 1000))
        deadline = time.monotonic() + BODY_TIMEOUT - 1  # until they are cut off
        statuses = []
        while 429 not in statuses and time.monotonic() < deadline:
            statuses.append(httpx.get(f"{proxied}config", timeout=60).status_code)
        assert statuses[-1] == 429
    for _ in range(100):
        if httpx.get(f"{proxied}config", timeout=60).status_code == 200:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("nobody is let in again")


@pytest.mark.process
def test_an_address_asks_so_often_and_no_more(proxied):
    pause_for_the_rate()
    ask = {"url": f"{proxied}gradio_api/call/nothing", "json": {"data": []}, "timeout": 60}
    with httpx.Client() as client:
        statuses = [client.post(**ask).status_code for _ in range(4 * BURST)]
    assert set(statuses) == {404, 429} and statuses[0] == 404
    pause_for_the_rate()
    assert httpx.post(**ask).status_code == 404


@pytest.mark.process
def test_events_arrive_as_they_happen(proxied, monkeypatch):
    """The first of a stream is read while what it tells of is still computed."""
    pause_for_the_rate()
    go_on, inspect = threading.Event(), Inspector.inspect

    def slow(self, pixels):
        assert go_on.wait(60)
        return inspect(self, pixels)

    monkeypatch.setattr(Inspector, "inspect", slow)
    with SHIP.open("rb") as file:
        (path,) = httpx.post(f"{proxied}gradio_api/upload", files={"files": file}, timeout=60).json()
    config = httpx.get(f"{proxied}config", timeout=60).json()
    number = next(each["id"] for each in config["dependencies"] if each["api_name"] == "inspect")
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "crop"]
    body = {"data": data, "fn_index": number, "session_hash": "reads"}
    assert httpx.post(f"{proxied}gradio_api/queue/join", json=body, timeout=60).status_code == 200
    seen = []
    try:
        with httpx.stream("GET", f"{proxied}gradio_api/queue/data?session_hash=reads", timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    message = json.loads(line.removeprefix("data: "))
                    seen.append((message["msg"], go_on.is_set()))
                    if message["msg"] == "process_starts":
                        go_on.set()
                    if message["msg"] == "process_completed":
                        assert message["success"]
                        break
    finally:
        go_on.set()
    assert ("process_starts", False) in seen and seen[-1] == ("process_completed", True)
