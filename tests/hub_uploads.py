"""The half of the Hub's protocol that uploads, for `tests.hub_server`, which has no Xet.

A repository is created, small files travel inside the commit, and safetensors by Git LFS: a batch request tells
where to put them, a PUT to another origin carries them, a request of its own verifies them, and the commit names
their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml

from tests import hub_server

if TYPE_CHECKING:
    from tests.hub_server import Repository, _Handler

OWN = "someone"  # the only namespace anybody may write to
ATTRIBUTES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}  # of a new repository


def put(handler: _Handler) -> None:
    """Storage: takes bytes under their hash from anybody who knows the address, of an announced length only."""
    oid = urlsplit(handler.path).path.rpartition("/")[2]
    if "Content-Length" not in handler.headers:
        handler.send(501, b"", {})
    elif hashlib.sha256(handler.body).hexdigest() != oid:
        handler.send(400, b"<Error><Code>BadDigest</Code></Error>", {})
    else:
        handler.hub.storage[oid] = handler.body
        handler.send(200, b"", {"ETag": f'"{hashlib.md5(handler.body).hexdigest()}"'})


def post(handler: _Handler) -> None:
    path = urlsplit(handler.path).path
    if path == "/api/validate-yaml":
        _validate(handler)
    elif not handler.token:
        handler.error(401, "Invalid username or password.")
    elif handler.token not in (hub_server.TOKEN, hub_server.READ_TOKEN):
        handler.error(401, "Invalid credentials in Authorization header")
    elif path == "/api/repos/create":
        _create(handler)
    elif match := re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git/info/lfs)?/(\w+.*)", path):
        name, rest = match[1], match[2].split("/")
        repository = handler.hub.repositories.get(name)
        if repository is None:
            handler.error(404, "Repository not found", "RepoNotFound")
        elif handler.token == hub_server.READ_TOKEN or name.split("/")[0] != OWN:
            handler.error(403, "Forbidden: you must use a write token to upload to a repository.")
        else:
            _STEPS[rest[0]](handler, name, repository, unquote(rest[-1]))


def _validate(handler: _Handler) -> None:
    content = json.loads(handler.body)["content"]
    try:
        fields = yaml.safe_load(content.split("---\n")[1])
    except (yaml.YAMLError, IndexError) as error:
        _say(handler, 400, {"errors": [{"message": str(error)}], "warnings": []})
    else:
        wrong = [] if isinstance(fields, dict) else [{"message": '"metadata" must be an object'}]
        _say(handler, 400 if wrong else 200, {"errors": wrong, "warnings": []})


def _create(handler: _Handler) -> None:
    asked = json.loads(handler.body)
    name = f"{asked['organization']}/{asked['name']}"
    address = {"url": f"{handler.hub.endpoint}/{name}"}
    handler.hub.created.append(asked)
    if handler.token == hub_server.READ_TOKEN or asked["organization"] != OWN:
        message = f'You don\'t have the rights to create a model under the namespace "{asked["organization"]}"'
        handler.error(403, message)
    elif name in handler.hub.repositories:
        _say(handler, 409, {"error": "You already created this model repo"} | address)
    else:
        repository = hub_server.Repository(private=asked.get("visibility") == "private")
        repository.commit(ATTRIBUTES)
        handler.hub.repositories[name] = repository
        _say(handler, 200, address)


def _branch(handler: _Handler, name: str, repository: Repository, branch: str) -> None:
    if branch in repository.revisions:
        _say(handler, 409, {"error": "Reference already exists"})
    else:
        repository.revisions[branch] = repository.revisions["main"]
        _say(handler, 200, {})


def _preupload(handler: _Handler, name: str, repository: Repository, revision: str) -> None:
    """How each file is to be sent, and what stands in its place."""
    if revision not in repository.revisions:
        handler.error(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return
    there, files = repository.commits[repository.revisions[revision]], []
    for file in json.loads(handler.body)["files"]:
        large = file["path"].endswith(".safetensors")
        content = there.get(file["path"])
        known = hub_server.git_hash if not large else (lambda content: hashlib.sha256(content).hexdigest())
        files.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": False,
                "oid": None if content is None else known(content),
            }
        )
    _say(handler, 200, {"files": files})


def _objects(handler: _Handler, name: str, repository: Repository, _: str) -> None:
    """Git LFS's batch request; what is stored already needs no action."""
    objects, hub = json.loads(handler.body)["objects"], handler.hub
    for item in objects:
        if item["oid"] not in hub.storage:
            item["actions"] = {
                "upload": {"href": f"http://localhost:{hub.port}/storage/{item['oid']}?signature=s"},
                "verify": {"href": f"{hub.endpoint}/{name}.git/info/lfs/verify"},
            }
    _say(handler, 200, {"transfer": "basic", "objects": objects})


def _verify(handler: _Handler, name: str, repository: Repository, _: str) -> None:
    asked = json.loads(handler.body)
    stored = handler.hub.storage.get(asked["oid"])
    _say(handler, 200 if stored is not None and len(stored) == asked["size"] else 404, {})


def _commit(handler: _Handler, name: str, repository: Repository, revision: str) -> None:
    """Lines of JSON: a header, then a file each, with its content or with the hash of what storage has."""
    lines = [json.loads(line) for line in handler.body.splitlines()]
    assert lines[0]["key"] == "header"
    assert handler.headers["Content-Type"] == "application/x-ndjson"
    files = dict(repository.commits[repository.revisions[revision]])
    for key, value in ((line["key"], line["value"]) for line in lines[1:]):
        if key == "deletedFile":
            del files[value["path"]]
            continue
        files[value["path"]] = (
            base64.b64decode(value["content"]) if "content" in value else handler.hub.storage[value["oid"]]
        )
    commit = repository.commit(files, revision)
    repository.messages.append(lines[0]["value"]["summary"])
    _say(handler, 200, {"commitUrl": f"{handler.hub.endpoint}/{name}/commit/{commit}", "commitOid": commit})


_STEPS = {
    "branch": _branch, "preupload": _preupload, "objects": _objects, "verify": _verify, "commit": _commit,
}  # fmt: skip


def _say(handler: _Handler, code: int, answer: dict) -> None:
    handler.send(code, json.dumps(answer).encode(), {"Content-Type": "application/json"})
