"""Uploads by the real huggingface_hub client to a local server that speaks the Hub's protocol."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants

from abn.checkpoints import push
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import open_network
from abn.checkpoints.push import FILES, TIED, push_checkpoint
from abn.checkpoints.store import load_checkpoint, save_checkpoint
from abn.interpret.reference.file import ReferenceFileError
from tests import hub_server
from tests.command import run_abn
from tests.conftest import awake
from tests.hub_server import READ_TOKEN, REPO, TOKEN, HubServer, status, use_endpoint
from tests.hub_uploads import ATTRIBUTES

NEW = "someone/new"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own


@pytest.fixture
def folder(checkpoints, tmp_path) -> Path:
    """A checkpoint with every file of the format, and one that is none of it."""
    folder = Path(shutil.copytree(checkpoints / "resnet-dmb", tmp_path / "checkpoint"))
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    (folder / "notes.txt").write_text("not for others")
    return folder


@pytest.fixture
def hub(hub, monkeypatch) -> HubServer:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


def ours(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def head(hub: HubServer, repo: str = NEW, revision: str = "main") -> dict[str, bytes]:
    """The files of a branch."""
    repository = hub.repositories[repo]
    return repository.commits[repository.revisions[revision]]


def asked(hub: HubServer, method: str, part: str = "") -> list[str]:
    return [path for how, path in hub.requests if how == method and part in path]


# What works.


def test_what_arrives_is_byte_for_byte_what_was_sent(hub, folder):
    assert push_checkpoint(folder, NEW, message="A first network") == f"{hub.endpoint}/{NEW}"
    assert head(hub) == ATTRIBUTES | ours(folder)
    assert hub.repositories[NEW].messages == ["A first network"]
    assert hub.created == [{"name": "new", "organization": "someone"}]  # public, unless the organisation says else
    assert not hub.repositories[NEW].private


def test_large_files_go_to_storage_which_never_sees_the_token(hub, folder):
    push_checkpoint(folder, NEW)
    large = [ours(folder)[name] for name in FILES if name.endswith(".safetensors")]
    stored = {f"/storage/{hashlib.sha256(content).hexdigest()}" for content in large}
    assert set(asked(hub, "PUT")) == stored
    assert all(hub.tokens[path] is None for path in stored)
    assert hub.tokens[f"/api/models/{NEW}/commit/main"] == f"Bearer {TOKEN}"
    assert asked(hub, "GET", "xet") == []


def test_what_was_pushed_is_what_loads(hub, folder):
    push_checkpoint(folder, NEW)
    ours, theirs = load_checkpoint(folder), load_checkpoint(NEW)
    images = torch.zeros(1, 3, 32, 32)
    assert torch.equal(theirs(images), ours(images))
    assert theirs.info.notice is None
    assert (theirs.info.folder / "reference.safetensors").read_bytes() == (
        folder / "reference.safetensors"
    ).read_bytes()


def test_a_second_push_of_unchanged_files_sends_none(hub, folder):
    address = push_checkpoint(folder, NEW)
    commits = dict(hub.repositories[NEW].commits)
    hub.requests.clear()
    assert push_checkpoint(folder, NEW) == address
    assert hub.repositories[NEW].commits == commits
    assert asked(hub, "PUT") == asked(hub, "POST", "/commit/") == []


def test_what_changed_is_sent_alone_and_other_files_stay(hub, folder):
    push_checkpoint(folder, NEW)
    hub.repositories[NEW].commit(head(hub) | {"LICENSE": b"theirs"})
    (folder / "log.jsonl").write_text('{"epoch": 2}\n')
    hub.requests.clear()
    push_checkpoint(folder, NEW)
    assert head(hub) == ATTRIBUTES | ours(folder) | {"LICENSE": b"theirs"}
    assert asked(hub, "PUT") == []


def test_a_reference_and_a_log_of_other_weights_do_not_stay(hub, folder):
    push_checkpoint(folder, NEW)
    for name in TIED:
        (folder / name).unlink()
    push_checkpoint(folder, NEW)
    assert set(TIED) < set(head(hub))  # the same weights
    other = save_checkpoint(awake("resnet-dmb", seed=9), folder.parent / "other")
    push_checkpoint(other, NEW)
    assert set(head(hub)) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert open_network(NEW).reference is None


def test_the_default_message_names_the_network(hub, folder):
    push_checkpoint(folder, NEW)
    assert hub.repositories[NEW].messages == ["Upload ResNet-DMB"]


def test_private_arrives_as_such(hub, folder, monkeypatch):
    push_checkpoint(folder, NEW, private=True)
    assert hub.created[0]["visibility"] == "private"
    assert hub.repositories[NEW].private
    push_checkpoint(folder, NEW, private=True)  # which it is already
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match="or it is private"):
        load_checkpoint(NEW)


def test_nothing_private_goes_into_a_public_repository(hub, folder):
    before = dict(head(hub, REPO))
    with pytest.raises(CheckpointError, match="is there already and is public.*make it private in its settings"):
        push_checkpoint(folder, REPO, private=True)
    assert head(hub, REPO) == before
    assert asked(hub, "PUT") == []


def test_a_branch(hub, folder):
    assert push_checkpoint(folder, NEW, revision="v1") == f"{hub.endpoint}/{NEW}/tree/v1"
    assert head(hub) == ATTRIBUTES
    assert head(hub, revision="v1") == ATTRIBUTES | ours(folder)
    push_checkpoint(folder, NEW, revision="v1")
    assert load_checkpoint(NEW, "v1").architecture == "resnet-dmb"


def test_a_missing_card_is_written_and_missing_extras_are_left_out(hub, folder):
    for name in ("README.md", "log.jsonl", "reference.safetensors"):
        (folder / name).unlink()
    push_checkpoint(folder, NEW)
    assert set(head(hub)) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert ModelCard(head(hub)["README.md"].decode()).data.license is None  # nobody said


def test_a_link_to_a_file_elsewhere_is_not_published(hub, folder, cache):
    (folder.parent / "secret").write_text("secret")
    (folder / "log.jsonl").unlink()
    (folder / "log.jsonl").symlink_to(folder.parent / "secret")
    assert "log.jsonl is a link to a file elsewhere; put a copy in its place" in refused(folder)
    assert hub.requests == []
    (folder / "log.jsonl").unlink()
    push_checkpoint(folder, NEW)
    snapshot = load_checkpoint(NEW).info.folder
    assert (snapshot / "model.safetensors").is_symlink()  # to a blob of the cache
    shared = cache / "blobs" / "ab" / "abcdef"  # where huggingface_hub keeps what it fetched by Xet
    shared.parent.mkdir(parents=True)
    blob = snapshot / (snapshot / "model.safetensors").readlink()
    shared.write_bytes(blob.read_bytes())
    blob.unlink()
    blob.symlink_to(shared)
    push_checkpoint(snapshot, "someone/copy")
    assert head(hub, "someone/copy")["model.safetensors"] == head(hub)["model.safetensors"]


@pytest.mark.parametrize(
    ("answer", "method", "part"),
    [
        (status(500), "POST", "/api/repos/create"),
        (status(503), "POST", "/preupload/"),
        (status(500), "PUT", "/storage/"),
        (status(403), "PUT", "/storage/"),  # an address that ran out
        (status(409), "POST", "/commit/"),
        (status(412), "POST", "/commit/"),
        (hub_server.close, "POST", "/commit/"),
        (status(429, {"Retry-After": "1"}), "POST", "/objects/batch"),
    ],
)
def test_a_failure_that_passes_is_survived(hub, folder, answer, method, part):
    hub.fail(answer, method, part, times=1)
    push_checkpoint(folder, NEW)
    assert head(hub) == ATTRIBUTES | ours(folder)
    assert len(hub.repositories[NEW].messages) == 1


# What fails: a sentence each, and nothing is changed.


def refused(folder: Path, repo: str = NEW, **options) -> str:
    """The reason for which nothing was pushed."""
    with pytest.raises(CheckpointError) as caught:
        push_checkpoint(folder, repo, **{"timeout": 5.0} | options)
    reason = caught.value.reason
    for secret in (str(folder.parent), TOKEN, READ_TOKEN, "hf_wrong", "Traceback", "\n"):
        assert secret not in reason
    assert len(reason) < 300
    return reason


quota = b'{"objects": [{"oid": "0", "size": 1, "error": {"code": 403, "message": "Storage quota is used up"}}]}'


@pytest.mark.parametrize(
    ("answer", "part", "words"),
    [
        (status(500), "", ["error of its own", "HTTP 500", "later"]),
        (status(503), "/commit/", ["HTTP 503", "later"]),
        (status(500), "/storage/", ["HTTP 500", "later"]),
        (status(403), "/storage/", ["storage did not take a file", "HTTP 403"]),
        (status(400), "/storage/", ["storage did not take a file", "HTTP 400"]),
        (status(429, {"Retry-After": "900"}), "", ["asked too often", "in 900 seconds"]),
        (status(429), "/preupload/", ["asked too often", "in some minutes"]),
        (status(400, {"X-Error-Message": "Invalid name: no"}), "/create", ["HTTP 400: Invalid name: no", "the name"]),
        (status(402, {"X-Error-Message": "Pay"}), "/create", ["HTTP 402: Pay", "your account"]),
        (status(413), "/commit/", ["HTTP 413", "your account"]),
        (status(404), "/preupload/", ["no model repository someone/new", "the token"]),
        (status(409), "/commit/", ["changed by another upload", "try again"]),
        (status(200, body=quota), "/objects/batch", ["takes no such file", "Storage quota is used up"]),
        (status(200, body=b"<html>log in</html>"), "", ["not as the Hub does", "log-in"]),
        (status(200, body=b"[]"), "/preupload/", ["not as the Hub does"]),
        (status(200, body=b"{}"), "/commit/", ["not as the Hub does"]),
        (status(200, body=b"{}"), "/objects/batch", ["not as the Hub does"]),
        (hub_server.close, "", ["broke the connection off", "try again"]),
        (hub_server.close, "/storage/", ["broke the connection off", "try again"]),
        (hub_server.circle, "", ["redirects in a circle"]),
    ],
)
def test_failures_of_the_hub(hub, folder, answer, part, words):
    hub.fail(answer, part=part)
    reason = refused(folder)
    for word in words:
        assert word in reason
    assert NEW not in hub.repositories or head(hub) == ATTRIBUTES
    once = [path for _, path in hub.requests if not path.endswith(("/preupload/main", "/objects/batch", "/verify"))]
    assert max(map(once.count, once)) <= 2  # one retry of ours, none of the client's


def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(hub, folder, monkeypatch):
    monkeypatch.setattr(push, "MOST_SECONDS", 0.5)
    hub.fail(hub_server.drip_head, "POST", "/preupload/")
    assert "had not sent everything after 0.5 seconds" in refused(folder)


@pytest.mark.parametrize(
    "part",
    ["/api/repos/create", "/preupload/", "/objects/batch", "/storage/", "/verify", "validate-yaml", "/commit/"],
)
def test_a_server_that_hangs_is_waited_for_a_bounded_time(hub, folder, part):
    hub.fail(hub_server.hang, part=part)
    reason = refused(folder, timeout=2.0)
    assert "did not answer within 2 seconds" in reason
    assert len(asked(hub, "POST", part) + asked(hub, "PUT", part)) == 1


def test_no_token(hub, folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    reason = refused(folder)
    assert "there is no access token; make one with write access" in reason
    assert "hf auth login" in reason
    assert hub.requests == []


def test_a_wrong_token(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "refuses the access token; log in anew" in refused(folder)


def test_a_token_that_can_be_none(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_“secret”")
    reason = refused(folder)
    assert "a letter that no token has (left double quotation mark); log in anew" in reason
    assert "secret" not in reason
    assert hub.requests == []


@pytest.mark.parametrize("repo", [NEW, REPO])
def test_a_token_that_may_only_read(hub, folder, monkeypatch, repo):
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    before = dict(hub.repositories[REPO].commits)
    assert "lets this token write nothing" in refused(folder, repo)
    assert hub.repositories[REPO].commits == before


def test_a_namespace_of_others(hub, folder):
    reason = refused(folder, "others/network")
    assert "lets this token write nothing to others/network; give one with write access to others" in reason


@pytest.mark.parametrize(
    "repo",
    ["network", "a/b/c", "some one/network", "someone/.x", "someone/a--b", "someone-/x", "someone./x", "/tmp/x", ""],
)
def test_a_name_that_can_be_none(hub, folder, repo):
    assert "the Hub takes no such names; expected user/repo" in refused(folder, repo)
    assert hub.requests == []


@pytest.mark.parametrize("revision", ["", "a b", "../x"])
def test_a_branch_that_can_be_none(hub, folder, revision):
    assert "can be no branch" in refused(folder, revision=revision)
    assert hub.requests == []


def test_front_matter_the_hub_does_not_take(hub, folder):
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    assert "refuses the front matter of README.md" in refused(folder)
    assert head(hub) == ATTRIBUTES


def test_no_connection_offline_and_no_address(hub, folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline mode is on; unset HF_HUB_OFFLINE" in refused(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.stop()
    reason = refused(folder)
    assert "cannot be reached" in reason
    assert "cached" not in reason
    use_endpoint(monkeypatch, "localhost:80")
    assert "HF_ENDPOINT is 'localhost:80'" in refused(folder)


def test_a_file_that_cannot_be_read(hub, folder):
    (folder / "log.jsonl").unlink()
    (folder / "log.jsonl").mkdir()
    with pytest.raises(CheckpointError, match="log.jsonl cannot be read .Is a directory.; look at the file"):
        push_checkpoint(folder, NEW)
    assert hub.requests == []


def test_a_folder_that_does_not_load_is_not_pushed(hub, folder):
    (folder / "reference.safetensors").write_bytes(b"other")
    with pytest.raises(ReferenceFileError):
        push_checkpoint(folder, NEW)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="no safetensors file, or is cut short"):
        push_checkpoint(folder, NEW)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        push_checkpoint(REPO, NEW)  # a folder of that name is meant, never the repository
    assert hub.requests == []


# The command.


def test_the_command_prints_the_address_alone(hub, folder, capfd):
    for _ in range(2):  # the second time there is nothing to send
        run_abn("push", folder, NEW, "--private", "--message", "Ours", "--revision", "v1")
        assert capfd.readouterr() == (f"{hub.endpoint}/{NEW}/tree/v1\n", "")
    assert hub.repositories[NEW].private
    assert hub.repositories[NEW].messages == ["Ours"]


def test_the_command_fails_with_one_line(hub, folder, capfd):
    with pytest.raises(SystemExit) as stopped:
        run_abn("push", folder, "others/network")
    assert stopped.value.code.startswith("abn push: others/network: ")
    assert "\n" not in stopped.value.code
    assert capfd.readouterr() == ("", "")
