"""`python app.py` as a person starts it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

from abn.cli import launching
from abn.ui import serving
from abn.ui.page.picture_input import GuardedBlocks
from abn.ui.serving import FIRST_PORT, free_port
from tests.command import run_abn
from tests.conftest import HOME


def start(*arguments: str, cwd, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HOME / "app.py"), *arguments], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.mark.process
def test_starts_from_any_folder_and_prints_one_line_with_its_address(checkpoints, tmp_path):
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1"))) as taken:
        process = start(
            "--dmb", str(checkpoints / "resnet-dmb"), cwd=tmp_path, ABN_BASELINE=str(checkpoints / "resnet-s")
        )  # fmt: skip
        try:
            line = process.stdout.readline()
            address = re.fullmatch(r"Adaptive Bias Networks: (http://127\.0\.0\.1:(\d+)/?)\n", line)
            assert address, line + process.stderr.read()
            assert int(address[2]) != taken.getsockname()[1]
            assert "Adaptive Bias Networks" in urlopen(address[1], timeout=60).read().decode()
        finally:
            process.terminate()
            rest = process.communicate(timeout=60)
    assert rest[0] == ""


@pytest.mark.parametrize("host", ["::1", "::", "[::1]", "127.0.0.1:80"])
def test_a_host_that_is_none(capsys, host):
    with pytest.raises(SystemExit) as caught:
        run_abn("app", "--host", host)
    assert caught.value.code == 2
    assert f": {host}; expected an IPv4 address or a name, such as 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dmb", "/no/such/folder"], "no such folder"),
        (["--device", "tpu"], "device 'tpu' is not to be had"),
        (["--data", "/no/such/data"], "holds no cifar10.npz"),
    ],
)
def test_exits_with_one_sentence(checkpoints, monkeypatch, arguments, message):
    monkeypatch.setattr(launching, "BASELINE", checkpoints / "resnet-s")
    monkeypatch.setattr(launching, "DMB", checkpoints / "resnet-dmb")
    with pytest.raises(SystemExit) as caught:
        run_abn("app", *arguments)
    assert message in caught.value.code
    assert caught.value.code.startswith("abn app: ")
    assert "\n" not in caught.value.code


@pytest.mark.parametrize(
    ("arguments", "space", "folders"),
    [
        ([], False, True),
        (["--host", "localhost"], False, True),
        (["--public"], False, False),  # behind a proxy, which comes from this machine too
        (["--host", "0.0.0.0"], False, False),
        ([], True, False),
    ],
)
def test_folders_are_for_a_page_that_this_machine_alone_reaches(
    checkpoints, monkeypatch, tmp_path, arguments, space, folders
):
    served = []
    monkeypatch.setattr(launching, "BASELINE", checkpoints / "resnet-s")
    monkeypatch.setattr(launching, "DMB", checkpoints / "resnet-dmb")
    monkeypatch.setattr(launching, "use_own_folder", lambda: tmp_path)
    monkeypatch.setattr(launching, "build_page", lambda pairs, *_: pairs)
    monkeypatch.setattr(launching, "serve", lambda pairs, *_, **__: served.append(pairs.folders))
    for name in ("ABN_BASELINE", "ABN_DMB", "GRADIO_SERVER_NAME", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    if space:
        monkeypatch.setenv("SPACE_ID", "somebody/space")
    run_abn("app", *arguments)
    assert served == [folders]


def test_an_unusable_bundled_checkpoint_ends_it(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{")
    monkeypatch.setattr(launching, "BASELINE", tmp_path)
    with pytest.raises(SystemExit, match="config.json"):
        run_abn("app")


def test_a_free_port_is_found_beside_a_taken_one():
    first = free_port("127.0.0.1")
    assert first >= int(os.environ.get("GRADIO_SERVER_PORT", FIRST_PORT))
    with socket.create_server(("127.0.0.1", first)):
        assert free_port("127.0.0.1") > first


@pytest.fixture
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_proxy_before_the_apps_own_server_is_named(no_proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # the discard port, where nothing listens
    with GuardedBlocks(analytics_enabled=False, delete_cache=(60, 60)) as page:
        pass
    try:
        with pytest.raises(SystemExit, match=r"^app\.py: .* the proxy .*; set NO_PROXY=127\.0\.0\.1,localhost$"):
            serving.serve(page, "127.0.0.1", None)
    finally:
        page.close()


@pytest.mark.parametrize(
    ("environment", "host", "behind"),
    [
        ({}, "127.0.0.1", False),
        ({"HTTP_PROXY": "http://proxy"}, "0.0.0.0", True),
        ({"all_proxy": "http://proxy"}, "127.0.0.1", True),
        ({"HTTPS_PROXY": "http://proxy"}, "127.0.0.1", False),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "127.0.0.1,localhost"}, "127.0.0.1", False),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "127.0.0.1,localhost"}, "0.0.0.0", False),
    ],
)
def test_whether_a_proxy_stands_before_it(no_proxy, monkeypatch, environment, host, behind):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert serving.behind_proxy(host) == behind


@pytest.mark.parametrize(
    ("error", "mcp", "raised"),
    [
        (RuntimeError("can't start new thread"), False, RuntimeError),
        (RuntimeError("no tools"), True, SystemExit),
        (Exception("Couldn't start the app"), True, Exception),
    ],
)
def test_other_failures_are_not_blamed_on_a_proxy_or_on_mcp(no_proxy, monkeypatch, error, mcp, raised):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(serving, "launch", fail)
    monkeypatch.setattr(serving, "find_spec", lambda name: True)
    with pytest.raises(raised) as caught:
        serving.serve(None, "127.0.0.1", None, mcp=mcp)
    assert type(caught.value) is raised


def test_app_is_short():
    assert len((HOME / "app.py").read_text().splitlines()) < 100
