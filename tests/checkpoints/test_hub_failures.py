"""Every failure of the Hub as the app meets it.

Words on the page, the bundled checkpoint in its place, nothing half-written in the cache, the next start unharmed.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import Pairs
from abn.checkpoints.hub.download import ABANDONED
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import load_network, load_networks
from abn.checkpoints.store import save_checkpoint
from abn.cli import launching
from abn.common.data import CLASS_NAMES
from abn.models.resnet import resnet_dmb, resnet_s
from abn.ui.page.build import build_page
from tests import hub_server
from tests.command import run_abn
from tests.conftest import HOME
from tests.hub_server import REPO, TOKEN, HubServer, Repository, left_over, status

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    torch.manual_seed(0)
    folder = save_checkpoint(resnet_s(3), tmp_path_factory.mktemp("ck"), class_names=CLASSES)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def bundled(checkpoints) -> Path:
    return checkpoints / "resnet-s"


@pytest.fixture
def hub(hub, files) -> HubServer:
    restore(hub, files)
    return hub


def restore(hub: HubServer, files: dict[str, bytes]) -> None:
    hub.failures.clear()
    hub.sizes.clear()
    hub.repositories[REPO] = Repository()
    hub.repositories[REPO].commit(files)


def fail(answer: hub_server.Answer, method: str = "", part: str = "") -> Callable:
    return lambda hub, monkeypatch: hub.fail(answer, method, part)


def change(**fields: bool) -> Callable:
    return lambda hub, monkeypatch: vars(hub.repositories[REPO]).update(fields)


def wrong_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")


def upload(**changed: bytes | None) -> Callable:
    """Another commit, with these files in place of the checkpoint's."""

    def prepare(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        there = hub.repositories[REPO].commits[hub.repositories[REPO].revisions["main"]]
        there = there | {name.replace("_", "."): content for name, content in changed.items()}
        hub.repositories[REPO].commit({name: content for name, content in there.items() if content is not None})

    return prepare


def announce(size: int) -> Callable:
    return lambda hub, monkeypatch: hub.sizes.update({"model.safetensors": size})


def disk(target: str, number: int, name_part: str = "") -> Callable:
    """Let a function fail as the system does, where the path it is given contains `name_part`."""

    def prepare(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        home, _, function = target.rpartition(".")
        original = getattr(sys.modules[home], function)

        def failing(path, *rest, **named):
            if name_part in str(path):
                raise OSError(number, os.strerror(number), str(path))
            return original(path, *rest, **named)

        monkeypatch.setattr(target, failing)

    return prepare


class HalfFull:
    """A file on a disk with room for a thousand bytes."""

    def __init__(self, file) -> None:
        self.file = file

    def __enter__(self) -> HalfFull:
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(content[:1000])
        self.file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file.name)


def disk_full_while_writing(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def open_half_full(path, *rest, **named):
        file = opened(path, *rest, **named)
        return HalfFull(file) if path.name.endswith(".incomplete") else file

    monkeypatch.setattr(Path, "open", open_half_full)


def no_connection(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_server.use_endpoint(monkeypatch, "http://127.0.0.1:9")  # the discard port, where nothing listens


def new_history_at_every_look(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    there = hub.repositories[REPO].commits[hub.repositories[REPO].revisions["main"]]
    looks = itertools.count()

    def replace(handler):
        hub.repositories[REPO] = Repository()
        hub.repositories[REPO].commit(there | {"README.md": b"card %d" % next(looks)})
        handler.answer()

    hub.fail(replace, "HEAD", "model.safetensors")


FAILURES = {
    "private, no token": (change(private=True), ["or it is private", "give a token", "HF_TOKEN"]),
    "gated, no token": (change(gated=True), ["is gated", "ask for access", "HF_TOKEN"]),
    "a wrong token": (wrong_token, ["refuses the access token", "hf auth login"]),
    "no such repository": (lambda hub, monkeypatch: hub.repositories.clear(), ["no model repository", "spelling"]),
    "no connection": (no_connection, ["cannot be reached", "check the network"]),
    "a connection closed": (fail(hub_server.close), ["broke the connection off", "try again"]),
    "a body cut short": (fail(hub_server.cut, "GET", "/cdn/"), ["broke the connection off", "try again"]),
    "a config cut short": (fail(hub_server.cut, "GET", "config.json"), ["broke the connection off"]),
    "less than announced": (fail(status(200, body=b"?"), "GET", "/cdn/"), ["another length", "try again"]),
    "a wrong checksum": (fail(hub_server.damage, "GET", "/cdn/"), ["checksum does not match", "try again later"]),
    "a config's wrong checksum": (fail(hub_server.damage, "GET", "config.json"), ["config.json arrived damaged"]),
    "a redirect loop": (fail(hub_server.circle), ["redirects in a circle", "HF_ENDPOINT"]),
    "redirects without an end": (fail(hub_server.wander), ["redirects in a circle", "HF_ENDPOINT"]),
    "a redirect loop of storage": (fail(hub_server.circle, "GET", "/cdn/"), ["redirects in a circle"]),
    "429, for a minute": (fail(status(429, {"Retry-After": "60"})), ["asked too often", "in 60 seconds"]),
    "429, the Hub's way": (fail(status(429, {"RateLimit": '"api";r=0;t=60'})), ["asked too often", "in 60 seconds"]),
    "429, without a time": (fail(status(429)), ["asked too often", "in some minutes"]),
    "429 of storage": (fail(status(429), "GET", "/cdn/"), ["asked too often", "in some minutes"]),
    "500": (fail(status(500)), ["HTTP 500", "try again later"]),
    "503 of storage": (fail(status(503), "GET", "/cdn/"), ["HTTP 503", "try again later"]),
    "too large": (announce(500_000_000_000), ["500,000,000,000 bytes", "name a smaller checkpoint"]),
    "disk full while writing": (disk_full_while_writing, ["disk is full", "make room", "HF_HOME"]),
    "disk full at a folder": (disk("os.makedirs", errno.ENOSPC, "blobs"), ["disk is full", "make room"]),
    "disk full at the end": (disk("shutil.move", errno.ENOSPC, "blobs"), ["disk is full", "make room"]),
    "quota used up": (disk("shutil.move", errno.EDQUOT, "blobs"), ["disk is full", "make room"]),
    "a read-only disk": (disk("os.makedirs", errno.EROFS, "cache"), ["cannot be written", "permissions", "HF_HOME"]),
    "a cache of others": (disk("os.makedirs", errno.EACCES, "cache"), ["cannot be written", "permissions"]),
    "a broken disk": (disk("shutil.move", errno.EIO, "blobs"), ["could not be stored", "look at the disk"]),
    "changing all the time": (new_history_at_every_look, ["changed while it was read", "try again"]),
    "no weights": (upload(model_safetensors=None), ["no model.safetensors", "name another one"]),
    "no JSON": (upload(config_json=b"{"), ["config.json is not JSON"]),
    "a reference of nothing": (upload(reference_safetensors=b"?"), ["reference.safetensors"]),
}  # fmt: skip


@pytest.mark.parametrize(("prepare", "words"), FAILURES.values(), ids=FAILURES)
def test_the_bundled_checkpoint_is_shown_and_the_next_start_is_unharmed(hub, cache, files, bundled, prepare, words):
    with pytest.MonkeyPatch.context() as monkeypatch:
        prepare(hub, monkeypatch)
        shown = load_network(REPO, bundled)
    assert shown.model.info.class_names == CLASS_NAMES
    assert shown.reference is not None
    assert shown.notice.startswith(f"{REPO}: ")
    assert shown.notice.endswith("The checkpoint that came with this app is shown in its place.")
    for word in words:
        assert word in shown.notice
    for secret in (str(cache), "Traceback", "hf_wrong", "\n"):
        assert secret not in shown.notice
    assert left_over(cache) == []
    public = shown.public_notice
    assert public.startswith(f"{REPO}: ")
    assert public.endswith("The checkpoint that came with this app is shown in its place.")
    for own in ("HF_", "hf auth", "hf download", "permissions", "make room", "HTTP_PROXY", str(cache), "Traceback"):
        assert own not in public

    restore(hub, files)
    after = load_network(REPO, bundled)
    assert after.notice is None
    assert after.model.info.class_names == CLASSES
    assert after.model.info.commit == hub.repositories[REPO].revisions["main"]
    assert left_over(cache) == []


@pytest.mark.parametrize("failing", ["baseline", "dmb"])
def test_beside_a_network_of_other_classes_both_bundled_ones_are_shown(
    hub, checkpoints, tmp_path, monkeypatch, capsys, failing
):
    hub.fail(status(429))
    side = {"baseline": "dmb", "dmb": "baseline"}[failing]
    mine = save_checkpoint(resnet_dmb(3), tmp_path / "mine", class_names=CLASSES)
    shown = []
    monkeypatch.setattr(launching, "BASELINE", checkpoints / "resnet-s")
    monkeypatch.setattr(launching, "DMB", checkpoints / "resnet-dmb")
    monkeypatch.setattr(launching, "use_own_folder", lambda: tmp_path)
    monkeypatch.setattr(launching, "build_page", lambda pairs, *_: shown.append(pairs.own))
    monkeypatch.setattr(launching, "serve", lambda *_, **__: None)
    run_abn("app", f"--{failing}", REPO, f"--{side}", mine, "--device", "cpu")
    (inspector,) = shown
    assert [network.label for network in inspector.networks] == ["ResNet-S", "ResNet-DMB"]
    assert inspector.class_names == CLASS_NAMES
    assert capsys.readouterr().err.count("is shown in its place.") == 2  # whoever runs it is told too
    failed, other = (getattr(inspector, name).notice for name in (failing, side))
    assert failed.startswith(f"{REPO}: ") and "asked too often" in failed
    assert other.startswith("mine: it tells other classes apart")  # a name, no path
    assert other.endswith("So the other checkpoint that came with this app is shown in its place.")


def test_the_page_says_why_and_has_the_bundled_network(hub, checkpoints, examples):
    hub.fail(status(429))
    bundled = (checkpoints / "resnet-s", checkpoints / "resnet-dmb")
    inspector = Inspector(*load_networks((REPO, None), bundled), torch.device("cpu"))
    config = build_page(Pairs(inspector, folders=True), examples).get_config_file()
    shown = [component["props"] for component in config["components"]]
    (notice,) = [each["value"] for each in shown if "notice" in each.get("elem_classes", []) and each.get("value")]
    assert notice.startswith(f"{REPO}: ") and "asked too often" in notice
    assert [network.stands_in for network in inspector.networks] == [True, False]
    (card,) = [each for each in shown if each.get("elem_id") == "top-baseline"]
    assert card["label"] == "ResNet-S"


def test_two_networks_of_other_classes_are_an_error_where_the_hub_gave_what_was_named(hub, checkpoints):
    networks = load_networks((REPO, None), (checkpoints / "resnet-s", checkpoints / "resnet-dmb"))
    assert [network.stands_in for network in networks] == [False, False]
    with pytest.raises(CheckpointError, match="compared on the same classes"):
        Inspector(*networks, torch.device("cpu"))


@pytest.mark.parametrize("part", ["/api/models", "config.json", "/cdn/"])
def test_a_failure_that_passes_is_not_seen(hub, cache, bundled, part):
    hub.fail(status(500), part=part, times=1)
    shown = load_network(REPO, bundled)
    assert shown.notice is None
    assert shown.model.info.class_names == CLASSES
    assert left_over(cache) == []


def test_private_and_gated_with_a_token(hub, bundled, monkeypatch):
    change(private=True, gated=True)(hub, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load_network(REPO, bundled).model.info.class_names == CLASSES


def test_a_folder_that_cannot_be_used_is_an_error_not_a_notice(files, bundled, tmp_path):
    (tmp_path / "config.json").write_bytes(files["config.json"])
    with pytest.raises(CheckpointError, match="there is no model.safetensors"):
        load_network(str(tmp_path), bundled)


SCRIPT = """
import sys
import abn.checkpoints.hub.download  # which is imported late otherwise
from abn.checkpoints.network import load_network
print("ready", flush=True)
sys.stdin.readline()
print(load_network(sys.argv[1], sys.argv[2]).model.info.commit)
"""


PATIENCE = 300  # seconds for a process to import PyTorch on a busy machine


def start(hub: HubServer, cache: Path, bundled: Path) -> subprocess.Popen:
    """The same in another process, which waits for `begin`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(cache), "PYTHONPATH": str(HOME)}
    command = [sys.executable, "-c", SCRIPT, REPO, str(bundled)]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def begin(*processes: subprocess.Popen) -> None:
    """Have processes go on together, once each has imported what it needs."""
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.process
def test_two_apps_that_start_at_once_on_an_empty_cache(hub, cache, bundled):
    commit = hub.repositories[REPO].revisions["main"]
    both = threading.Barrier(2)

    def wait_for_the_other(handler) -> None:
        both.wait(timeout=PATIENCE)  # neither has stored anything before both have asked
        handler.answer()

    hub.fail(wait_for_the_other, "HEAD", "config.json", times=2)
    two = [start(hub, cache, bundled) for _ in range(2)]
    begin(*two)
    assert [process.communicate(timeout=PATIENCE)[0].strip() for process in two] == [commit, commit]
    assert not both.broken
    assert left_over(cache) == []


@pytest.mark.process
def test_a_start_that_is_killed_while_it_downloads_harms_no_later_one(hub, cache, bundled):
    hub.fail(hub_server.stall, "GET", "/cdn/", times=1)
    killed = start(hub, cache, bundled)
    begin(killed)
    deadline = time.monotonic() + PATIENCE
    while not any("/cdn/" in path for path in hub.bodies()):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=PATIENCE)
    (part,) = map(Path, left_over(cache))
    assert part.name.endswith(".incomplete")
    for age, left in ((ABANDONED - 60, [str(part)]), (ABANDONED + 60, [])):  # the first may still be written to
        os.utime(part, (time.time() - age,) * 2)
        later = load_network(REPO, bundled)
        assert later.notice is None
        assert later.model.info.commit == hub.repositories[REPO].revisions["main"]
        assert left_over(cache) == left


def test_a_complete_cache_that_cannot_be_written_is_read(hub, cache, bundled, monkeypatch):
    commit = load_network(REPO, bundled).model.info.commit
    for function in ("os.makedirs", "os.replace", "shutil.move"):
        disk(function, errno.EROFS, str(cache))(hub, monkeypatch)
    (cache / "models--someone--network" / "refs" / "main").write_text("0" * 40)  # so that there is something to write
    again = load_network(REPO, bundled)
    assert again.notice is None
    assert again.model.info.commit == commit


def test_an_update_that_fails_leaves_the_older_one_on_the_page(hub, cache, files, bundled):
    older = load_network(REPO, bundled).model.info.commit
    names = json.loads(files["config.json"]) | {"class_names": ["x", "y", "z"]}
    hub.repositories[REPO].commit(files | {"config.json": json.dumps(names).encode()})
    hub.fail(hub_server.cut, "GET", "config.json")
    hub.fail(status(500), "HEAD")
    with pytest.warns(UserWarning, match="the copy cached earlier is used"):
        shown = load_network(REPO, bundled)
    assert shown.model.info.commit == older
    assert f"commit {older[:7]}" in shown.notice
    assert left_over(cache) == []


def test_a_withdrawn_cache_folder_is_made_anew(hub, cache, bundled):
    load_network(REPO, bundled)
    shutil.rmtree(cache)
    assert load_network(REPO, bundled).notice is None
