"""Started with an environment that Gradio cannot be imported in: one sentence, or it works."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from urllib.request import urlopen

import pytest
import torch

from abn.cli import launching
from abn.cli.environment import environment_problem
from abn.common import devices
from abn.ui import serving
from tests.command import run_abn
from tests.conftest import HOME, run_apart

NAMES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "HF_ENDPOINT")


def start(**environment: str) -> subprocess.CompletedProcess:
    """`abn app` with a device that no machine has, at which it ends once everything is imported."""
    known = {name: value for name, value in os.environ.items() if name.upper() not in NAMES}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "abn", "app", "--device", "none"], cwd=HOME, env=known | environment,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ALL_PROXY": "socks://me:secret@127.0.0.1:9"}, "(socks://127.0.0.1:9); expected an address such as http"),
        ({"HTTPS_PROXY": "nonsense"}, "device 'none' is not to be had"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE is '/nowhere/ca.pem', which is not there"),
        ({"SSL_CERT_FILE": __file__}, "which holds no certificates that can be read"),
        ({"GRADIO_SERVER_PORT": "http"}, "GRADIO_SERVER_PORT is 'http'; expected a whole number from 1 to 65535"),
        ({"GRADIO_SERVER_PORT": ""}, "GRADIO_SERVER_PORT is ''; expected a whole number"),
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "device 'none' is not to be had"),
        ({"HTTP_PROXY": "http://127.0.0.1:9"}, "device 'none' is not to be had"),
    ],
)
def test_it_starts_or_says_in_one_sentence_what_to_mend(environment, said):
    done = start(**environment)
    assert done.returncode == 1
    assert done.stderr.startswith("abn app: ") and done.stderr.count("\n") == 1
    assert said in done.stderr and "secret" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--arch", "resnet-s", "--out", "out"),
        ("reproduce",),
        ("awaken",),
        ("recipe-search",),
    ],
)
def test_a_missing_compiler_is_told_before_the_data_are_read(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SystemExit) as caught:
        run_abn(*command, "--data", tmp_path / "nowhere", "--device", "cpu", "--compile")
    assert caught.value.code.startswith(f"abn {command[0]}: --compile needs a C++ compiler, and there is no no-such")
    assert "\n" not in caught.value.code


def test_a_user_without_a_name_has_a_cache_for_compiled_code(monkeypatch, tmp_path):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    devices.compiled(torch.nn.Identity(), torch.device("cpu"))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "torchinductor_987654")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


def test_a_notebook_launches_the_app_beside_its_running_loop(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(launching, "use_own_folder", lambda: tmp_path)

    async def cell() -> str:
        return launching.launch_app(
            baseline=str(checkpoints / "resnet-s"), dmb=str(checkpoints / "resnet-dmb"), device="cpu"
        )

    address = run_apart(cell())
    assert "Adaptive Bias Networks" in urlopen(address, timeout=60).read().decode()


def test_an_ordinary_environment_has_no_problem(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert environment_problem() is None


def test_gradios_own_variables_say_where_a_port_is_looked_for(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_PORT", "18860")
    monkeypatch.setenv("GRADIO_NUM_PORTS", "50")
    assert serving.free_port("127.0.0.1") in range(18860, 18910)
