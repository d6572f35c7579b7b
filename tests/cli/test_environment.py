"""Started with an environment that Gradio cannot be imported in: one sentence, or it works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from abn.cli.environment import environment_problem
from abn.ui import serving
from tests.conftest import HOME

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


def test_an_ordinary_environment_has_no_problem(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert environment_problem() is None


def test_gradios_own_variables_say_where_a_port_is_looked_for(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_PORT", "18860")
    monkeypatch.setenv("GRADIO_NUM_PORTS", "50")
    assert serving.free_port("127.0.0.1") in range(18860, 18910)
