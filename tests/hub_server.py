"""A small local server that speaks as much of the Hub's protocol as huggingface_hub's downloads need.

`tests.hub_uploads` is the half that uploads need.

Small files are answered with their git hash as ETag; safetensors as the Hub answers large files: a redirect
to another origin (here: "localhost" in place of "127.0.0.1"), the SHA-256 as linked ETag, and the header
that offers Xet. Failures are switched on by `fail`.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from tests import hub_uploads

TOKEN = "hf_goodtoken"  # the only one that may write
READ_TOKEN = "hf_readonly"
REPO = "someone/network"
FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"weights" * 1000}


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let huggingface_hub, which reads HF_ENDPOINT when it is imported, ask there."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def left_over(cache: Path) -> list[str]:
    """What half-done work leaves in huggingface_hub's cache: scratch files, and blobs that are not what they are
    named after."""
    scratch = [path for path in cache.rglob("*") if path.name.endswith((".incomplete", ".tmp"))]
    blobs = [path for path in cache.glob("models--*/blobs/*") if path not in scratch]
    broken = [
        path
        for path in blobs
        if path.name not in (git_hash(path.read_bytes()), hashlib.sha256(path.read_bytes()).hexdigest())
    ]
    dangling = [path for path in cache.glob("models--*/snapshots/*/*") if not path.exists()]
    return [str(path) for path in scratch + broken + dangling]


@dataclass
class Repository:
    """Commits (hash → files) and branches or tags (name → hash)."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], revision: str = "main") -> str:
        """Add a commit of these files and let `revision` name it."""
        content = repr((len(self.commits), sorted(files.items()))).encode()
        commit = hashlib.sha1(content).hexdigest()
        self.commits[commit] = dict(files)
        self.revisions[revision] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        return self.revisions.get(revision, revision if revision in self.commits else None)


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, tuple]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, *_) -> None:
        pass  # a client that gives up is expected here


Answer = Callable[["_Handler"], None]


@dataclass
class _Failure:
    method: str
    part: str
    answer: Answer
    times: int


class HubServer:
    """Serves `repositories` on a free port of this machine.

    Attributes:
        requests: (method, path) of every request, in order.
        tokens: what the requests carried for each path.
        sizes: of files by name, where other ones are announced than they have.
        sent: bytes of bodies without an end.
        created: what was asked for where a repository was to be created.
        storage: large files that were uploaded, by their hash.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: dict[str, str | None] = {}
        self.failures: list[_Failure] = []
        self.sizes: dict[str, int] = {}
        self.sent = 0
        self.created: list[dict] = []
        self.storage: dict[str, bytes] = {}
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[HubServer]:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop listening, and close what is open: connections are refused from here on."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._server.connections:
            with suppress(OSError):  # closed by the client
                connection.shutdown(socket.SHUT_RDWR)

    def fail(self, answer: Answer, method: str = "", part: str = "", times: int = 10**6) -> None:
        """Answer requests of this method, whose path contains `part`, with `answer`; the last set first."""
        self.failures.insert(0, _Failure(method, part, answer, times))

    def bodies(self) -> list[str]:
        """Paths whose content was sent."""
        return [path for method, path in self.requests if method == "GET" and not path.startswith("/api/")]

    def failure(self, method: str, path: str) -> Answer | None:
        for failure in self.failures:
            if failure.times > 0 and failure.method in ("", method) and failure.part in path:
                failure.times -= 1
                return failure.answer
        return None


# What a request may be answered with instead.


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    return lambda handler: handler.send(code, body, headers or {})


def hang(handler: _Handler) -> None:
    """Accept the request and never answer."""
    handler.hub.released.wait(60)
    handler.close_connection = True


def stall(handler: _Handler) -> None:
    """Announce a body, send a part of it, and go silent."""
    handler.send_head(200, {"Content-Length": "100000", "ETag": '"part"'})
    handler.wfile.write(b"x" * 1000)
    handler.wfile.flush()
    hang(handler)


def drip(handler: _Handler) -> None:
    """Announce a body, and send a byte of it now and then."""
    handler.send_head(200, {"Content-Length": "100000", "ETag": '"part"'})
    handler.close_connection = True
    with suppress(OSError):  # the client has had enough
        while not handler.hub.released.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()


def drip_head(handler: _Handler) -> None:
    """Send a head without an end, a byte now and then."""
    handler.close_connection = True
    with suppress(OSError):  # the client has had enough
        handler.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not handler.hub.released.wait(0.05):
            handler.connection.sendall(b"x")


def cut(handler: _Handler) -> None:
    """Announce a body, send a part of it, and close the connection."""
    handler.send_head(200, {"Content-Length": "100000"})
    handler.wfile.write(b"x" * 1000)
    handler.close_connection = True


def endless(handler: _Handler) -> None:
    """Send a body that no length was announced of, for as long as it is taken; `sent` counts."""
    handler.send_head(200, {"Transfer-Encoding": "chunked"})
    piece = b"x" * 1_000_000
    handler.close_connection = True
    while not handler.hub.released.is_set():
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.hub.sent += len(piece)


def longer(handler: _Handler) -> None:
    """Send more than was announced before, with an honest length."""
    handler.send(200, (handler.content_of_path() or b"") * 200, {})


def close(handler: _Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def circle(handler: _Handler) -> None:
    """Redirect to the same address."""
    handler.send(302, b"", {"Location": f"{handler.hub.endpoint}{handler.path}"})


def wander(handler: _Handler) -> None:
    """Redirect to ever new addresses."""
    handler.send(302, b"", {"Location": f"{handler.hub.endpoint}{handler.path}/on"})


def damage(handler: _Handler) -> None:
    """Send the announced number of bytes, but others."""
    content = bytearray(handler.content_of_path() or b"")
    content[len(content) // 2] ^= 1
    handler.send(200, bytes(content), {})


def _sibling(name: str, content: bytes, details: bool) -> dict:
    if not details:
        return {"rfilename": name}
    large = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
    lfs = {"lfs": large} if name.endswith(".safetensors") else {}
    return {"rfilename": name, "size": len(content), "blobId": git_hash(content)} | lfs


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def send_head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_head(code, {"Content-Length": str(len(body))} | headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, code: int, message: str, name: str | None = None, commit: str | None = None) -> None:
        headers = {"X-Error-Message": message}
        headers |= {"X-Error-Code": name} if name else {}
        headers |= {"X-Repo-Commit": commit} if commit else {}
        self.send(code, b"", headers)

    def content_of_path(self) -> bytes | None:
        """The file an address of /cdn or /resolve means."""
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[0] == "cdn":
            every = (c for r in self.hub.repositories.values() for f in r.commits.values() for c in f.values())
            return next((c for c in every if hashlib.sha256(c).hexdigest() == parts[1]), None)
        repository = self.hub.repositories["/".join(parts[:2])]
        return repository.commits[repository.resolve(unquote(parts[3]))].get(parts[4])

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        if path == "/api/agent-harnesses":
            self.send(200, b'{"standardEnvVars": [], "harnesses": {}}', {})
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append((self.command, path))
        self.hub.tokens[path] = self.headers.get("Authorization")
        failure = self.hub.failure(self.command, path)
        if failure is not None:
            failure(self)
        else:
            self.answer()

    def answer(self) -> None:
        """As the Hub does."""
        path = urlsplit(self.path).path
        if self.command == "POST":
            hub_uploads.post(self)
        elif self.command == "PUT":
            hub_uploads.put(self)
        elif path.startswith("/cdn/"):
            self.send(200, self.content_of_path(), {"ETag": '"storage"'})
        else:
            self._answer_repository(path)

    def _answer_repository(self, path: str) -> None:
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        parts = parts[2:] if is_api else parts
        repository = self.hub.repositories.get("/".join(parts[:2]))
        token = self.token
        if token and token not in (TOKEN, READ_TOKEN):
            self.error(401, "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and not token):
            if token:
                self.error(404, "Repository not found", "RepoNotFound")
            else:
                self.error(401, "Invalid username or password.")
        else:
            revision = unquote(parts[3]) if len(parts) > 3 else "main"
            commit = repository.resolve(revision)
            if commit is None:
                self.error(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            elif is_api:
                details = "blobs=true" in urlsplit(self.path).query.lower()
                siblings = [_sibling(name, content, details) for name, content in repository.commits[commit].items()]
                about = {"private": repository.private, "gated": "auto" if repository.gated else False}
                info = {"id": "/".join(parts[:2]), "sha": commit, "siblings": siblings} | about
                self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})
            elif repository.gated and not token:
                self.error(401, "Access to this model is restricted.", "GatedRepo")
            else:
                self._answer_file(repository.commits[commit].get(parts[4]), parts[4], commit)

    def _answer_file(self, content: bytes | None, name: str, commit: str) -> None:
        if content is None:
            self.error(404, "Entry not found", "EntryNotFound", commit)
        elif name.endswith(".safetensors"):
            sha256 = hashlib.sha256(content).hexdigest()
            headers = {
                "X-Repo-Commit": commit,
                "X-Linked-ETag": f'"{sha256}"',
                "X-Linked-Size": str(self.hub.sizes.get(name, len(content))),
                "X-Xet-Hash": sha256,
                "X-Xet-Refresh-Route": f"{self.hub.endpoint}/api/xet-token",
                "Location": f"http://localhost:{self.hub.port}/cdn/{sha256}",
            }
            self.send(302, b"", headers)
        else:
            headers = {"X-Repo-Commit": commit, "ETag": f'"{git_hash(content)}"'}
            self.send(200, content, headers)
