"""The real huggingface_hub client against a local server that speaks the Hub's protocol."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import close_session, constants, get_session

import abn.checkpoints.hub.download
from abn import load_checkpoint, save_checkpoint
from abn.checkpoints.hub import watch as hub_watch
from abn.checkpoints.hub.address import without_login
from abn.checkpoints.hub.download import Request, fetch
from abn.checkpoints.hub.errors import LATER
from abn.checkpoints.info import CheckpointError
from abn.models import resnet
from tests import hub_server
from tests.hub_server import FILES, REPO, TOKEN, Repository, left_over, status, use_endpoint

REQUIRED = ("config.json", "model.safetensors")
OPTIONAL = ("reference.safetensors",)
ROOT = Path(__file__).parents[2]


def get(
    revision: str = "main", *, repo: str = REPO, timeout: float = 5.0, **more
) -> abn.checkpoints.hub.download.Fetched:
    return fetch(Request(repo, revision, REQUIRED, OPTIONAL, timeout, **more), repo)


def refused(revision: str = "main", **options) -> str:
    """The reason for which nothing could be fetched, one or two sentences without a path or a traceback."""
    with pytest.raises(CheckpointError) as caught:
        get(revision, **options)
    reason = caught.value.reason
    assert caught.value.source == options.get("repo", REPO)
    assert str(caught.value) == f"{caught.value.source}: {reason}"
    assert "Traceback" not in reason
    assert "\n" not in reason
    assert len(reason) < 300
    return reason


def snapshots(cache: Path) -> dict[str, set[str]]:
    """Commit → names of the files the cache holds of it."""
    return {path.name: {file.name for file in path.iterdir()} for path in cache.glob("models--*/snapshots/*")}


# What works.


def test_files_of_one_commit_are_downloaded(hub, cache):
    fetched = get()
    commit = hub.repositories[REPO].revisions["main"]
    assert fetched.commit == commit
    assert fetched.notice is None
    assert {path.name: path.read_bytes() for path in fetched.folder.iterdir()} == FILES
    assert snapshots(cache) == {commit: set(REQUIRED)}
    assert left_over(cache) == []


def test_only_the_named_files_are_asked_for(hub):
    hub.repositories[REPO].commit(FILES | {"run_me.py": b"print()", "pytorch_model.bin": b"\x80\x04"})
    get()
    assert {path.rpartition("/")[2] for path in hub.bodies() if "/resolve/" in path} == {"config.json"}
    assert not any("run_me" in path or "pytorch_model" in path for _, path in hub.requests)


def test_every_file_is_asked_for_by_the_commit(hub):
    get()
    commit = hub.repositories[REPO].revisions["main"]
    asked = [path for _, path in hub.requests if "/resolve/" in path]
    assert asked
    assert all(f"/resolve/{commit}/" in path for path in asked)


def test_large_files_come_by_no_way_that_nothing_here_bounds(hub, monkeypatch):
    """As huggingface_hub would choose where an earlier download of its own has left a list of the files."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    asked = []
    download = abn.checkpoints.hub.download.hf_hub_download
    monkeypatch.setattr(
        abn.checkpoints.hub.download,
        "hf_hub_download",
        lambda *a, **o: asked.append(constants.HF_HUB_DISABLE_XET) or download(*a, **o),
    )
    get()
    assert asked and all(asked)


def test_a_second_load_downloads_no_body(hub):
    first = get()
    hub.requests.clear()
    assert get() == first
    assert hub.bodies() == []
    assert hub.requests == [("GET", f"/api/models/{REPO}/revision/main")]


def test_a_cached_commit_needs_no_request(hub):
    commit = get().commit
    hub.repositories[REPO].commit(FILES | {"config.json": b"{}"})
    get(commit)
    hub.requests.clear()
    assert get(commit).commit == commit
    assert hub.requests == []


def test_a_changed_revision_is_fetched_and_shares_what_did_not_change(hub, cache):
    first = get()
    second_commit = hub.repositories[REPO].commit(FILES | {"config.json": b'{"a": 2}'})
    hub.requests.clear()
    second = get()
    assert second.commit == second_commit != first.commit
    assert (second.folder / "config.json").read_bytes() == b'{"a": 2}'
    assert (first.folder / "config.json").read_bytes() == b'{"a": 1}'
    assert hub.bodies() == [f"/{REPO}/resolve/{second_commit}/config.json"]
    assert len(snapshots(cache)) == 2


def test_a_branch_with_a_slash(hub):
    commit = hub.repositories[REPO].commit(FILES | {"config.json": b'{"b": 1}'}, revision="refs/pr/1")
    assert get("refs/pr/1").commit == commit


def test_the_optional_file_comes_along(hub):
    hub.repositories[REPO].commit(FILES | {"reference.safetensors": b"usual"})
    assert (get().folder / "reference.safetensors").read_bytes() == b"usual"


def test_a_failing_optional_file_is_a_notice(hub):
    hub.repositories[REPO].commit(FILES | {"reference.safetensors": b"usual"})
    hub.fail(status(500), part="reference.safetensors")
    fetched = get()
    assert "reference.safetensors could not be fetched" in fetched.notice
    assert "HTTP 500" in fetched.notice


def test_private_and_gated_with_a_token_which_storage_never_sees(hub, monkeypatch):
    hub.repositories[REPO].private = hub.repositories[REPO].gated = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert (get().folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    carried = {path.split("/")[1]: token for path, token in hub.tokens.items()}
    assert carried["api"] == f"Bearer {TOKEN}"
    assert carried["cdn"] is None


def test_a_repository_that_changes_while_it_is_read_is_read_as_it_was(hub):
    first = hub.repositories[REPO].revisions["main"]

    def change(handler):
        hub.repositories[REPO].commit({name: b"other" + content for name, content in FILES.items()})
        handler.answer()

    hub.fail(change, "GET", "config.json", times=1)
    fetched = get()
    assert fetched.commit == first
    assert {path.name: path.read_bytes() for path in fetched.folder.iterdir()} == FILES


def test_a_repository_whose_history_is_replaced_while_it_is_read_is_read_anew(hub, cache):
    other = {name: b"other" + content for name, content in FILES.items()}

    def replace(handler):
        hub.repositories[REPO] = Repository()
        hub.repositories[REPO].commit(other)
        handler.answer()

    hub.fail(replace, "HEAD", "model.safetensors", times=1)
    fetched = get()
    assert {path.name: path.read_bytes() for path in fetched.folder.iterdir()} == other
    assert left_over(cache) == []


def test_an_error_that_passes_is_survived(hub):
    hub.fail(status(500), "GET", "/api/models", times=1)
    assert get().notice is None


@pytest.mark.parametrize(
    ("headers", "waited"),
    [({"Retry-After": "2"}, 2), ({"RateLimit": '"resolvers";r=0;t=3'}, 3), ({}, 0.01), ({"Retry-After": " "}, 0.01)],
)
def test_a_busy_server_is_asked_again_when_it_says(hub, monkeypatch, headers, waited):
    slept = []
    monkeypatch.setattr(abn.checkpoints.hub.download.time, "sleep", slept.append)
    hub.fail(status(429, headers), "HEAD", "config.json", times=1)
    assert get().notice is None
    assert slept == [waited]


def test_a_body_cut_short_once_is_fetched_anew(hub, cache):
    hub.fail(hub_server.cut, "GET", "/cdn/", times=1)
    assert (get().folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert left_over(cache) == []


# What fails: a message of its own each, and nothing half-written.


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda hub: hub.repositories.clear(), ["no model repository someone/network", "private", "HF_TOKEN"]),
        (lambda hub: vars(hub.repositories[REPO]).update(private=True), ["private", "HF_TOKEN", "spelling"]),
        (lambda hub: vars(hub.repositories[REPO]).update(gated=True), ["gated", "ask for access", "HF_TOKEN"]),
        (lambda hub: hub.repositories[REPO].commit({"config.json": b"{}"}), ["no model.safetensors"]),
        (lambda hub: hub.repositories[REPO].commit({"model.safetensors": b""}), ["no config.json"]),
        (
            lambda hub: hub.repositories[REPO].commit({"config.json": b"{}", "pytorch_model.bin": b"\x80"}),
            ["only pytorch_model.bin", "pickle", "run any code", "safetensors"],
        ),
        (lambda hub: hub.fail(status(500)), ["error of its own", "HTTP 500", "later", "nothing", "cached"]),
        (lambda hub: hub.fail(status(503), "HEAD"), ["HTTP 503", "later"]),
        (lambda hub: hub.fail(status(500), "GET", "/cdn/"), ["HTTP 500", "later"]),
        (lambda hub: hub.fail(status(429, {"Retry-After": "3600"})), ["too often", "in 3600 seconds"]),
        (lambda hub: hub.fail(status(429), "GET", "config.json"), ["too often", "HTTP 429", "minutes"]),
        (lambda hub: hub.fail(status(429, {"Retry-After": "900"}), "HEAD"), ["too often", "in 900 seconds"]),
        (lambda hub: hub.fail(status(429, {"RateLimit": '"api";r=0;t=55'})), ["too often", "in 55 seconds"]),
        (lambda hub: hub.fail(status(429, {"Retry-After": "Wed, 21 Oct 2037 07:28:00 GMT"})), ["in some minutes"]),
        (lambda hub: hub.fail(status(403)), ["forbids access", "token"]),
        (lambda hub: hub.fail(status(400)), ["HTTP 400", "HF_ENDPOINT"]),
        (lambda hub: hub.fail(status(200, body=b"<html>log in</html>")), ["not as the Hub does", "log-in"]),
        (lambda hub: hub.fail(status(200, body=b"[1]")), ["not as the Hub does"]),
        (lambda hub: hub.fail(status(200, body=b'{"id": "a/b"}')), ["not as the Hub does"]),
        (lambda hub: hub.fail(status(200), "HEAD"), ["not as the Hub does"]),
        (lambda hub: hub.fail(hub_server.circle, "HEAD"), ["redirects in a circle"]),
        (lambda hub: hub.fail(hub_server.circle, "GET"), ["redirects in a circle"]),
        (lambda hub: hub.fail(hub_server.wander), ["redirects in a circle"]),
        (lambda hub: hub.fail(hub_server.close), ["broke the connection off", "try again"]),
        (lambda hub: hub.fail(hub_server.close, "HEAD"), ["broke the connection off"]),
        (lambda hub: hub.fail(hub_server.cut, "GET", "/cdn/"), ["broke the connection off"]),
        (lambda hub: hub.fail(hub_server.damage, "GET", "/cdn/"), ["arrived damaged", "checksum"]),
        (lambda hub: hub.fail(hub_server.damage, "GET", "config.json"), ["config.json arrived damaged"]),
        (lambda hub: hub.fail(status(200, body=b"short"), "GET", "/cdn/"), ["another length"]),
    ],
)
def test_failures_of_the_hub(hub, cache, prepare, words):
    prepare(hub)
    reason = refused()
    assert max(hub.requests.count(asked) for asked in hub.requests) <= 2  # one retry of ours, none of the client's
    for word in words:
        assert word in reason
    assert left_over(cache) == []
    assert not any("model.safetensors" in names for names in snapshots(cache).values())
    hub.failures.clear()
    hub.repositories[REPO] = Repository()
    hub.repositories[REPO].commit(FILES)
    assert (get().folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_no_such_revision(hub):
    assert "no revision 'v9'" in refused("v9")
    assert "no revision" in refused("0" * 40)


def test_a_wrong_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    reason = refused()
    assert "refuses the access token" in reason
    assert "hf auth login" in reason
    assert "hf_wrong" not in reason


@pytest.mark.parametrize(
    ("token", "name"),
    [("hf_“secret”", "left double quotation mark"), ("hf_sec\x07ret", "u+0007"), ("hf sec", "space")],
)
@pytest.mark.parametrize("revision", ["main", "0" * 40])
def test_a_token_that_can_be_none(hub, monkeypatch, token, name, revision):
    monkeypatch.setenv("HF_TOKEN", token)
    reason = refused(revision)
    assert f"a letter that no token has ({name}); log in anew (hf auth login), or mend HF_TOKEN" in reason
    assert "sec" not in reason
    assert hub.requests == []


def test_a_token_file_that_is_no_text(hub):
    Path(constants.HF_TOKEN_PATH).write_bytes(b"\xff\xfe")
    assert "access token cannot be read; log in anew" in refused("0" * 40)


def test_a_token_that_can_be_none_is_no_matter_where_none_is_sent(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_“secret”")
    first = get(public=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get(first.commit).folder == first.folder


def test_no_repository_with_a_good_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "no model repository no/body" in refused(repo="no/body")


@pytest.mark.parametrize(
    ("method", "part", "answer"),
    [
        ("GET", "/api/models", hub_server.hang),
        ("HEAD", "config.json", hub_server.hang),
        ("GET", "config.json", hub_server.hang),
        ("GET", "/cdn/", hub_server.stall),
    ],
)
def test_a_server_that_hangs_is_waited_for_a_bounded_time(hub, cache, method, part, answer):
    hub.fail(answer, method, part)
    started = time.monotonic()
    reason = refused(timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 20  # left to itself, huggingface_hub goes on for minutes
    assert len(hub.requests) == len(set(hub.requests))
    assert "did not answer within 0.3 seconds" in reason
    assert "check the network" in reason
    assert left_over(cache) == []


def test_connection_refused(hub, cache):
    hub.stop()
    reason = refused()
    assert "cannot be reached" in reason
    assert "refused" in reason
    assert "nothing of it is cached" in reason


def test_offline_with_nothing_cached(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reason = refused()
    assert "HF_HUB_OFFLINE" in reason
    assert "nothing of it is cached" in reason
    assert hub.requests == []


def test_a_storage_that_refuses_connections_is_named_and_no_new_client_asks_it(hub, cache):
    get()
    client = get_session()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    hub.repositories[REPO].commit({name: content + b"2" for name, content in FILES.items()})
    hub.fail(status(302, {"Location": f"http://127.0.0.1:{port}/x"}), "GET", "/cdn/")
    assert f"127.0.0.1:{port} cannot be reached" in get().notice
    assert get_session() is client  # a new one would know no bounds


ENDPOINTS = [
    "localhost:80", "http://host:port", "http://", "ftp://huggingface.co", "http://[::1", "https://huggingface.co ",
    "https://hugging\x01face.co", "https://user:secret@huggingface.co:0",
]  # fmt: skip


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_that_is_no_address(cache, monkeypatch, endpoint):
    use_endpoint(monkeypatch, endpoint)
    reason = refused()
    assert "HF_ENDPOINT" in reason
    assert "https://huggingface.co" in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://huggingface.co/mirror", "https://huggingface.co/mirror"),
        ("https://me:secret@hub.example:8080/x", "https://hub.example:8080/x"),
        ("https://me:secret@[::1", "[::1"),
    ],
)
def test_an_address_is_shown_without_its_login(address, shown):
    assert without_login(address) == shown


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["app.py"], "app.py: HF_ENDPOINT is"),
        (
            ["-m", "abn", "push", "checkpoints/resnet-s", REPO],
            f"abn push: {REPO}: there is no Hub",
        ),
        (["-c", f"import abn; abn.load_checkpoint('{REPO}')"], f"CheckpointError: {REPO}: there is no Hub"),
    ],
)
@pytest.mark.parametrize("endpoint", ["http://me:secret@host:port", "http://me:secret@[::1"])
def test_an_endpoint_with_which_huggingface_hub_cannot_be_imported(command, said, endpoint):
    run = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | {"HF_ENDPOINT": endpoint}, timeout=240,
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 1
    line = run.stderr.splitlines()[-1]
    assert said in line
    assert line.endswith("expected an address such as https://huggingface.co; mend or unset it")
    assert "secret" not in run.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("ALL_PROXY", "ftp://localhost:1"), ("SSL_CERT_FILE", "/nowhere/certificates.pem")]
)
def test_settings_with_which_no_client_can_be_made(hub, monkeypatch, name, value):
    first = get()
    close_session()
    monkeypatch.setenv(name, value)
    fetched = get()
    assert fetched.commit == first.commit
    words = "no connection can be made with the proxy or the certificates that are set here"
    assert fetched.notice.startswith(f"{words}; mend or unset ")
    assert name in fetched.notice
    assert fetched.public_notice.startswith(f"{words}; {LATER}")
    shutil.rmtree(constants.HF_HUB_CACHE)
    assert words in refused()
    assert value not in refused()


def test_a_cache_that_cannot_be_made(hub, cache):
    cache.write_text("in the way")
    reason = refused()
    assert "cannot be written" in reason
    assert "HF_HOME" in reason
    assert str(cache) not in reason


def full_disk(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), constants.HF_HUB_CACHE)

    monkeypatch.setattr("huggingface_hub.file_download._chmod_and_move", full)


def test_a_full_disk(hub, cache, monkeypatch):
    full_disk(monkeypatch)
    reason = refused()
    assert "disk is full" in reason
    assert str(cache) not in reason
    assert left_over(cache) == []


# Sizes.


def test_a_file_that_is_announced_too_large_is_not_begun(hub, cache):
    hub.sizes["model.safetensors"] = 500_000_000_000
    reason = refused()
    assert "a file has 500,000,000,000 bytes, and at most 1,000,000,000 bytes are taken" in reason
    assert f"hf download {REPO} --local-dir" in reason
    assert not any("/cdn/" in path for path in hub.bodies())
    assert left_over(cache) == []


def test_all_files_together_count(hub):
    whole = sum(map(len, FILES.values()))
    weights = f"{len(FILES['model.safetensors']):,} bytes"
    assert weights in refused(max_bytes=whole - 1)
    assert get(max_bytes=whole).notice is None


def test_an_optional_file_that_is_too_large_is_a_notice(hub):
    hub.repositories[REPO].commit(FILES | {"reference.safetensors": b"usual" * 100})
    fetched = get(max_bytes=sum(map(len, FILES.values())) + 499)
    assert "reference.safetensors could not be fetched: a file has 500 bytes" in fetched.notice


@pytest.mark.parametrize(
    ("answer", "part", "words"),
    [
        (hub_server.longer, "/cdn/", "a file has 1,400,000 bytes"),
        (hub_server.endless, "/cdn/", "a file has more than was announced"),
        (hub_server.endless, "config.json", "a file has more than was announced"),
    ],
)
def test_a_server_that_sends_more_than_it_announced_is_cut_off(hub, cache, answer, part, words):
    hub.fail(answer, "GET", part)
    assert words in refused(max_bytes=10_000)
    assert hub.sent < 50_000_000  # a piece of huggingface_hub's has ten million; the rest is the network's buffers
    assert left_over(cache) == []
    hub.failures.clear()
    assert get().notice is None


@pytest.mark.parametrize("part", ["/api/models", "config.json", "/cdn/"])
def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(hub, cache, part):
    hub.fail(hub_server.drip, "GET", part)
    reason = refused(max_seconds=0.5)
    assert "had not sent everything after 0.5 seconds; try again, or fetch it with: hf download" in reason
    assert reason.endswith("nothing of it is cached on this machine")
    assert left_over(cache) == []
    hub.failures.clear()
    assert get().notice is None


def test_a_copy_stands_in_for_what_drips(hub):
    first = get()
    hub.repositories[REPO].commit({name: content + b"2" for name, content in FILES.items()})
    hub.fail(hub_server.drip, "GET", "/cdn/")
    later = get(max_seconds=0.5)
    assert later.commit == first.commit
    assert "after 0.5 seconds" in later.notice


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "60"])
def test_seconds_that_make_no_sense(hub, seconds):
    with pytest.raises(CheckpointError, match="max_seconds is .*; expected a positive number of seconds"):
        load_checkpoint(REPO, max_seconds=seconds)


# Sources that strangers name.


def test_a_public_repository_is_had_without_our_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    first = get(public=True)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == FILES
    assert get(first.commit, public=True) == first
    assert set(hub.tokens.values()) == {None}


@pytest.mark.parametrize(
    ("kind", "words"), [("private", "no model repository"), ("gated", "someone/network is gated or private")]
)
def test_what_our_token_may_read_is_not_given_to_strangers(hub, monkeypatch, kind, words):
    vars(hub.repositories[REPO])[kind] = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    commit = get().commit  # and lies in the cache from here on
    for revision in ("main", commit):
        assert words in refused(revision, public=True)
    hub.stop()
    for revision in ("main", commit):
        assert "cannot be reached" in refused(revision, public=True)
    assert get(commit).commit == commit  # to us it is there


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda hub, patch: hub.repositories.clear(), "name a checkpoint that anybody may read"),
        (
            lambda hub, patch: vars(hub.repositories[REPO]).update(gated=True),
            "name a checkpoint that anybody may read",
        ),
        (lambda hub, patch: hub.fail(status(403)), "name a checkpoint that anybody may read"),
        (lambda hub, patch: hub.fail(status(400)), "check the spelling"),
        (lambda hub, patch: hub.fail(status(500)), "try again later"),
        (lambda hub, patch: hub.fail(status(429, {"Retry-After": "60"})), "try again in 60 seconds"),
        (lambda hub, patch: hub.fail(status(200, body=b"[1]")), LATER),
        (lambda hub, patch: hub.fail(hub_server.circle), LATER),
        (lambda hub, patch: hub.fail(hub_server.hang), LATER),
        (lambda hub, patch: hub.stop(), LATER),
        (lambda hub, patch: hub.sizes.update({"model.safetensors": 500_000_000_000}), "name a smaller checkpoint"),
        (lambda hub, patch: patch.setattr(constants, "HF_HUB_OFFLINE", True), LATER),
        (lambda hub, patch: use_endpoint(patch, "localhost:80"), LATER),
        (lambda hub, patch: full_disk(patch), LATER),
        (lambda hub, patch: Path(constants.HF_HUB_CACHE).write_text("in the way"), LATER),
    ],
)
def test_a_stranger_reads_no_remedy_that_is_the_hosts(hub, monkeypatch, prepare, words):
    prepare(hub, monkeypatch)
    reason = refused(public=True, timeout=5.0)
    assert reason.endswith((f"; {words}", f", and {words}"))
    for hosts in ("HF_", "hf ", "PROXY", "folder of", "such folder", "log in", "token", "max_bytes", "timeout"):
        assert hosts not in reason


# When the Hub cannot be reached and an older load left a copy.


@pytest.mark.parametrize("answer", [status(500), status(429, {"Retry-After": "60"}), hub_server.hang])
def test_the_cache_stands_in_and_it_is_said(hub, answer):
    first = get()
    hub.fail(answer)
    fetched = get(timeout=0.3)
    assert fetched.folder == first.folder
    assert f"the copy cached earlier is used (commit {first.commit[:7]})" in fetched.notice


def test_the_cache_stands_in_for_a_hub_that_refuses_connections(hub):
    first = get()
    hub.stop()
    fetched = get()
    assert fetched.folder == first.folder
    assert "cannot be reached" in fetched.notice


def test_offline_uses_the_cache_without_a_notice(hub, monkeypatch):
    first = get()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert get() == first
    assert get(first.commit) == first
    assert hub.requests == []


def test_an_update_that_breaks_off_leaves_the_older_copy_in_use(hub, cache, monkeypatch):
    first = get()
    hub.repositories[REPO].commit({name: content + b"2" for name, content in FILES.items()})
    hub.fail(hub_server.stall, "GET", "/cdn/")
    fetched = get(timeout=0.3)
    assert fetched.commit == first.commit
    assert "did not answer" in fetched.notice
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get().commit == first.commit
    assert left_over(cache) == []


def test_a_withdrawn_repository_is_not_taken_from_the_cache(hub):
    get()
    hub.repositories.clear()
    assert "no model repository" in refused()


@pytest.mark.parametrize("ref", [b"\xff\xfe", b"", b"../../x", b"main"])
def test_a_damaged_record_of_what_a_branch_means(hub, cache, ref):
    commit = get().commit
    (record,) = cache.glob("models--*/refs/main")
    record.write_bytes(ref)
    hub.fail(status(500))
    assert "nothing of it is cached" in refused()
    hub.failures.clear()
    assert get().commit == commit
    assert record.read_text() == commit


def copied_cache(cache: Path, links: bool) -> Path:
    """The cache as a copy has it on another machine, perhaps on a file system without links."""
    there = cache.rename(cache.with_name("original"))
    shutil.copytree(there, cache, symlinks=links)
    return cache


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("ref", [None, "{}\n", "{}\r\n", " {} "])
def test_a_cache_copied_to_a_machine_that_is_offline(hub, cache, monkeypatch, ref, offline, links):
    commit = get().commit
    copied_cache(cache, links)
    (record,) = cache.glob("models--*/refs/main")
    if ref is None:
        shutil.rmtree(record.parent)
    else:
        record.write_text(ref.format(commit), newline="")
    if offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.stop()
    fetched = get()
    assert fetched.commit == commit
    assert (fetched.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert (fetched.notice is None) == offline


def test_a_copied_cache_of_several_commits_does_not_say_which_one_is_meant(hub, cache, monkeypatch):
    older = get().commit
    hub.repositories[REPO].commit(FILES | {"config.json": b"{}"})
    newer = get().commit
    shutil.rmtree(next(cache.glob("models--*/refs")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = refused()
    assert "2 commits of it are cached on this machine, with no record of which is main" in found
    assert f"name one, such as {REPO}@{min(older, newer)}" in found
    assert get(older).commit == older


def test_a_copied_cache_without_refs_stands_in_for_main_alone(hub, cache, monkeypatch):
    commit = get().commit
    (cache / "models--someone--network" / "snapshots" / ("0" * 40)).mkdir()  # of a load that broke off
    shutil.rmtree(next(cache.glob("models--*/refs")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get().commit == commit
    assert "nothing of it is cached" in refused("v1")


def test_a_damaged_file_in_the_cache_is_fetched_anew(hub):
    folder = get().folder
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(b"x" * len(FILES["model.safetensors"]))
    assert (get().folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


# Other users of huggingface_hub in this process.


def test_calls_outside_keep_their_own_ways(hub):
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    get()
    for _ in range(2):  # no request is refused for being a repetition
        assert HfApi().model_info(REPO).sha == hub.repositories[REPO].revisions["main"]
    hub.fail(status(500), "GET")
    with pytest.raises(HfHubHTTPError):
        HfApi().model_info(REPO)


# Whole checkpoints.


@pytest.fixture(scope="module")
def checkpoint_files(tmp_path_factory) -> dict[str, bytes]:
    torch.manual_seed(0)
    folder = save_checkpoint(resnet.resnet_s(3), tmp_path_factory.mktemp("ck"), class_names=("a", "b", "c"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_load_checkpoint_from_the_hub(hub, checkpoint_files):
    old = hub.repositories[REPO].commit(checkpoint_files)
    other = json.loads(checkpoint_files["config.json"]) | {"class_names": ["x", "y", "z"]}
    new = hub.repositories[REPO].commit(checkpoint_files | {"config.json": json.dumps(other).encode()}, "v2")
    model = load_checkpoint(REPO)
    assert (model.info.commit, model.info.source) == (old, REPO)
    assert model.info.class_names == ("a", "b", "c")
    assert model.info.notice is None
    assert not model.training
    assert "README.md" not in {path.name for path in model.info.folder.iterdir()}
    for named in (load_checkpoint(f"{REPO}@v2"), load_checkpoint(REPO, "v2"), load_checkpoint(f"{REPO}@{new}")):
        assert named.info.commit == new
        assert named.info.class_names == ("x", "y", "z")


def test_load_checkpoint_from_an_address(hub, checkpoint_files, monkeypatch):
    commit = hub.repositories[REPO].commit(checkpoint_files, "v2")
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    for address in (f"{hub.endpoint}/{REPO}/tree/v2", f"https://huggingface.co/{REPO}/blob/v2/config.json"):
        info = load_checkpoint(address).info
        assert (info.commit, info.source) == (commit, f"{REPO}@v2")


def test_load_checkpoint_warns_when_the_cache_stands_in(hub, checkpoint_files):
    hub.repositories[REPO].commit(checkpoint_files)
    load_checkpoint(REPO)
    hub.stop()
    with pytest.warns(UserWarning, match="the copy cached earlier is used"):
        model = load_checkpoint(REPO)
    assert "cannot be reached" in model.info.notice


class Trap:
    """Its pickle makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_from_the_hub_is_never_opened(hub, checkpoint_files, tmp_path):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    hub.repositories[REPO].commit(checkpoint_files | {"model.safetensors": trap})
    with pytest.raises(CheckpointError, match="model.safetensors is a pickle under another name"):
        load_checkpoint(REPO)
    hub.repositories[REPO].commit({"config.json": checkpoint_files["config.json"], "pytorch_model.bin": trap})
    with pytest.raises(CheckpointError, match="only pytorch_model.bin; a pickle can run any code"):
        load_checkpoint(REPO)
    assert not sprung.exists()
    pickle.loads(trap)
    assert sprung.exists()  # the trap works


def test_a_checkpoint_that_is_none_names_the_source_not_the_cache(hub, checkpoint_files, cache):
    hub.repositories[REPO].commit(checkpoint_files | {"config.json": b"no json"})
    with pytest.raises(CheckpointError, match="config.json is not JSON") as caught:
        load_checkpoint(REPO)
    assert caught.value.source == REPO
    assert str(cache) not in str(caught.value)


SCRIPT = """
import sys, warnings
from abn.checkpoints.hub.download import Request, fetch
from abn.checkpoints.info import CheckpointError
try:
    print(fetch(Request(sys.argv[1], "main", ("config.json", "model.safetensors"), timeout=300), sys.argv[1]).commit)
except CheckpointError as error:
    print(error)
"""


@pytest.mark.process
def test_the_environment_is_obeyed_and_two_processes_may_start_at_once(hub, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, REPO]

    def start(**more: str) -> subprocess.Popen:
        return subprocess.Popen(
            command, env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )

    commit = hub.repositories[REPO].revisions["main"]
    both = Barrier(2)

    def wait_for_the_other(handler):
        both.wait(timeout=300)  # neither has stored anything before both have asked
        handler.answer()

    hub.fail(wait_for_the_other, "HEAD", "config.json", times=2)
    two = [start(), start()]
    assert [process.communicate(timeout=300)[0].strip() for process in two] == [commit, commit]
    assert left_over(tmp_path / "home") == []
    hub.requests.clear()
    offline = start(HF_HUB_OFFLINE="1")
    assert offline.communicate(timeout=300)[0].strip() == commit
    empty = start(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
    assert "nothing of it is cached" in empty.communicate(timeout=300)[0]
    assert hub.requests == []


def test_first_loads_at_once_set_each_hook_once(monkeypatch):
    class SlowList(list):
        def __contains__(self, hook):
            found = super().__contains__(hook)
            time.sleep(0.02)  # time for every other thread to have looked too
            return found

    hooks = {"request": SlowList(), "response": SlowList()}
    monkeypatch.setattr(hub_watch, "get_session", lambda: SimpleNamespace(event_hooks=hooks))

    def load(_):
        with hub_watch.watched(1):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, range(4)))
    assert [len(hooks[kind]) for kind in hooks] == [1, 1]
