import asyncio
import http.client
import tempfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from abn.ui.hardening import limits
from abn.ui.hardening.closed import CloseUnused, is_closed
from abn.ui.hardening.limits import MAX_MARKS, MAX_REQUEST_BYTES, LimitRequests
from abn.ui.page.picture_input import _admit_all
from tests.conftest import run_apart


@pytest.mark.parametrize("path", ["/gradio_api/call/inspect", "/gradio_api/queue/join"])
def test_a_request_that_announces_too_much_is_refused_at_once(url, path):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(MAX_REQUEST_BYTES + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert b"larger than 30 MB" in response.read()


def test_a_request_that_does_not_announce_its_size_is_counted(url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    million = b"x" * 1_000_000
    body = (million for _ in range(MAX_REQUEST_BYTES // 1_000_000 + 2))
    try:
        connection.request("POST", "/gradio_api/call/inspect", body, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all of it was sent
    fresh = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    fresh.request("GET", "/config")
    assert fresh.getresponse().status == 200


@pytest.mark.parametrize("path", ["/gradio_api/call/inspect", "/gradio_api/queue/join"])
@pytest.mark.parametrize("kinds", [["application/json"], ["application/json", "multipart/form-data; boundary=a"]])
def test_a_body_of_countless_values_is_refused_before_it_is_taken_apart(url, path, kinds):
    """Three million bytes of empty lists would be twenty times as many in memory."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    body = b'{"data": [' + b"[]," * 1_000_000 + b"0]}"
    try:
        connection.putrequest("POST", path)
        for kind in kinds:
            connection.putheader("Content-Type", kind)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        assert response.status == 413
        assert f"more than {MAX_MARKS:,} values".encode() in response.read()
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all of it was sent


@pytest.mark.parametrize("value", ["x" * 20_000, [""] * 20_000, {"a": ["b" * 300] * 50}])
@pytest.mark.parametrize("component", [gr.Radio, gr.Textbox, gr.Number, gr.Dropdown, gr.Dataframe])
def test_what_is_too_large_for_any_setting_does_not_reach_the_session(component, value):
    event = SimpleNamespace(inputs=[component()], component_prop_inputs=[])
    with pytest.raises(gr.Error, match="does not fit"):
        _admit_all(event, [value])
    assert _admit_all(event, ["crop"]) == ["crop"]


@pytest.mark.parametrize("route", ["upload_progress", "upload"])
def test_an_upload_has_a_short_name(url, route):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET" if "progress" in route else "POST", f"/gradio_api/{route}?upload_id=" + "x" * 65)
    response = connection.getresponse()
    assert (response.status, response.read()) == (400, b'{"error":"The upload\'s name is too long."}')


def test_so_much_may_be_on_its_way_in_all(monkeypatch):
    monkeypatch.setattr(limits, "MOST_COMING", 15)
    monkeypatch.setattr(limits, "SMALL", 0)
    form = (b"content-type", b"multipart/form-data; boundary=x")  # which a route that takes JSON reads all the same
    scope, sent = {"type": "http", "method": "POST", "path": "/queue/join", "headers": [form]}, []

    async def run():
        more = asyncio.Event()

        async def read(request):
            await request.stream().__anext__()
            await more.wait()
            return Response()

        async def receive():
            return {"type": "http.request", "body": b"x" * 10, "more_body": True}

        async def send(message):
            sent.append(message)

        limit = LimitRequests(Starlette(routes=[Route("/queue/join", read, methods=["POST"])]))
        first, second = (asyncio.create_task(limit(scope, receive, send)) for _ in range(2))
        await second  # both came in before either sent anything
        assert sent[0]["status"] == 503
        monkeypatch.setattr(limits, "SMALL", 10)
        third = asyncio.create_task(limit(scope, receive, send))  # a small one is taken
        await asyncio.sleep(0.05)
        assert not third.done()
        more.set()
        await first
        await third
        monkeypatch.setattr(limits, "SMALL", 0)
        monkeypatch.setattr(limits, "MOST_COMING", 15)
        sent.clear()
        await limit(scope, receive, send)  # nothing is counted of what has ended
        assert [message.get("status", 200) for message in sent] == [200, 200]

    run_apart(run())


def upload(url, parts, kind="multipart/form-data; boundary=a"):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    body = b"".join(b"--a\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--a--\r\n"
    connection.request("POST", "/gradio_api/upload", body, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, response.read().decode()


FILE = b'name="files"; filename="a.png"\r\n\r\nx'


def test_an_upload_is_of_few_files_and_nothing_else(url):
    """A field is held in memory, and each file is open until all are there."""
    status, said = upload(url, [FILE] * limits.MOST_FILES)
    assert status == 200 and said.count("a.png") == limits.MOST_FILES
    status, said = upload(url, [FILE] * (limits.MOST_FILES + 1))
    assert status == 400 and "Too many files. Maximum number of files is 10." in said
    status, said = upload(url, [b'name="a"\r\n\r\nx'])
    assert status == 400 and "Too many fields. Maximum number of fields is 0." in said


@pytest.mark.parametrize("charset", ["charset=punycode", "CharSet*=utf-8''idna"])
def test_a_form_is_not_read_in_an_encoding_of_the_senders_choice(url, charset):
    """Python's own for some takes hours for a megabyte, in which nobody is answered."""
    status, said = upload(url, [FILE], f"multipart/form-data; boundary=a; {charset}")
    assert status == 400 and "A form has no charset" in said


def test_what_is_no_upload_counts_though_it_says_so(monkeypatch):
    monkeypatch.setattr(limits, "MOST_COMING", 10)
    monkeypatch.setattr(limits, "SMALL", 5)

    async def run(path):
        answers, parts = [], [{"type": "http.request", "body": b"x" * 20, "more_body": True}]
        headers = [(b"content-type", b"multipart/form-data; boundary=a")]

        async def receive():
            return parts.pop()

        async def send(message):
            answers.append(message)

        async def read(request):
            await request.stream().__anext__()
            return Response()

        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        app = Starlette(routes=[Route("/{path:path}", read, methods=["POST"])])
        await LimitRequests(app)(scope, receive, send)
        return answers[0]["status"]

    assert run_apart(run("/gradio_api/upload")) == 200
    assert run_apart(run("/behind/a/proxy/gradio_api/upload")) == 200
    assert run_apart(run("/gradio_api/call/upload")) == 503


CLOSED = [
    ("POST", "process_recording"), ("POST", "component_server"), ("GET", "deep_link?session_hash=a"),
    ("GET", "proxy=https://a.hf.space/x"), ("GET", "file=http://127.0.0.1:1/x"), ("GET", "file=https:/127.0.0.1/x"),
    ("GET", "file/http://127.0.0.1:1/x"), ("POST", "stream/abc"), ("POST", "run-history/connect"), ("GET", "runs"),
    ("POST", "vibe-edit/"), ("GET", "vibe-code"), ("GET", "dev/reload"), ("GET", "profiling/summary"),
    ("GET", "custom_component/a/client/b/c"), ("POST", "login"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "route"), CLOSED)
def test_routes_that_the_page_has_no_use_for_are_not_there(url, method, route):
    left = set(Path(tempfile.gettempdir()).iterdir())
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    body = b'--a\r\nContent-Disposition: form-data; name="file"; filename="a.webm"\r\n\r\nx\r\n--a--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=a"}
    connection.request(method, f"/gradio_api/{route}", body if method == "POST" else None, headers)
    response = connection.getresponse()
    assert (response.status, response.read()) == (404, b"Not Found")
    assert {path for path in Path(tempfile.gettempdir()).iterdir() if path.suffix == ".webm"} <= left


@pytest.mark.parametrize(
    ("path", "status"), [("/dev/", 200), ("/dev/config", 200), ("/dev/gradio_api/deep_link", 404)]
)
def test_a_prefix_of_the_servers_own_closes_nothing(path, status):
    async def run():
        sent = []

        async def app(scope, receive, send):
            sent.append({"status": 200})

        async def send(message):
            sent.append(message)

        await CloseUnused(app)({"type": "http", "method": "GET", "path": path, "root_path": "/dev"}, None, send)
        return sent[0]["status"]

    assert run_apart(run()) == status


@pytest.mark.parametrize(
    ("path", "closed"),
    [
        ("/gradio_api/file=/tmp/gradio/monitoring/a.png", False),
        ("/gradio_api/file=C:/Users/me/a.png", False),
        ("/gradio_api/queue/join", False),
        ("/gradio_api/upload_progress", False),
        ("/gradio_api/startup-events", False),
        ("/", False),
        ("/login_check", False),
        ("/login", True),
        ("/login/", True),
        ("/monitoring/summary", True),
        ("/behind/a/proxy/gradio_api/process_recording", True),
        ("/gradio_api/FILE=HTTP://a/b", True),
    ],
)
def test_what_is_closed_is_told_by_its_path(path, closed):
    assert is_closed(path) is closed
