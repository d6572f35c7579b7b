"""Where a checkpoint is: a folder here, or a repository on the Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from abn.checkpoints.info import CheckpointError

_REPO = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]*(?<![.-])/[A-Za-z0-9_][\w.-]*(?<![.-])(?<!\.git)", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+@-]{0,199}", re.ASCII)
LONGEST_REPO = 96  # characters, the Hub's rule

HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
"""Hosts whose addresses are read as Hub ids; the one that HF_ENDPOINT names is another."""

_SCHEMES = ("http", "https", "hf")
_OTHER_KINDS = ("datasets", "spaces", "buckets", "kernels", "collections", "papers")
"""First parts of the Hub's addresses that are of no model."""

_AT_REVISION = ("tree", "blob", "resolve", "raw", "commit", "commits", "blame", "edit")
"""What stands between a repository and a revision in the Hub's addresses."""


@dataclass(frozen=True)
class HubSource:
    """A revision (branch, tag or commit) of the model repository "user/repo"."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return self.repo if self.revision == "main" else f"{self.repo}@{self.revision}"


def locate(
    source: str | os.PathLike[str] | HubSource, revision: str | None = None, *, hub_only: bool = False
) -> Path | HubSource:
    """An existing folder, or what to ask the Hub for.

    Args:
        source: a folder; or "user/repo" or "user/repo@revision", also with a final slash; or the address of a
            repository's page, such as "https://huggingface.co/user/repo/tree/v1" or "hf.co/user/repo". What exists
            here, is a path object, starts with "/", "." or "~" or has more than one slash otherwise is a folder.
            A `HubSource` is itself.
        revision: instead of one in `source`; "main" where none is named.
        hub_only: never read `source` as a folder, nor look for one: a stranger is not told which paths exist here.

    Raises:
        CheckpointError: for what can be neither, and for a folder that is not there.
    """
    if isinstance(source, HubSource):
        if revision not in (None, source.revision):
            raise CheckpointError(f"two revisions are named, {source.revision} and {revision}; name one", str(source))
        return source
    name = os.fspath(source)
    if not name.strip():
        raise CheckpointError("no checkpoint is named; expected a folder, or user/repo on the Hub")
    if not hub_only and (not isinstance(source, str) or _there(Path(name))):
        return _folder(name, revision)
    address = _address(name)
    if address is not None:
        repo, named = _of_address(address, name)
        return HubSource(_checked_repo(repo, name), _one_revision(named, revision, name))
    repo, _, named = name.partition("@")
    repo = repo.rstrip("/")
    if hub_only:
        return HubSource(_checked_repo(repo, name), _one_revision(named, revision, name))
    if name.startswith(("/", ".", "~")) or "\\" in name or repo.count("/") != 1:
        return _folder(name, revision)
    chosen = _one_revision(named, revision, name)
    return HubSource(_checked_repo(repo, name, "there is no such folder, and "), chosen)


def _one_revision(named: str, asked: str | None, source: str) -> str:
    revisions = sorted({str(given) for given in (named, asked) if given})
    if len(revisions) > 1:
        raise CheckpointError(f"two revisions are named, {' and '.join(revisions)}; name one", source)
    chosen = revisions[0] if revisions else "main"
    if not is_revision(chosen):
        raise CheckpointError(f"{chosen!r} can be no revision; name a branch, tag or commit", source)
    return chosen


def _checked_repo(repo: str, source: str, no_folder: str = "") -> str:
    if is_repo(repo):
        return repo
    raise CheckpointError(
        f"{no_folder}the Hub has no such names (user/repo: letters, digits, single . - _); check the spelling", source
    )


def _address(name: str) -> SplitResult | None:
    """`name` as an address, with or without "https://"; None for what is none.

    Raises:
        CheckpointError: for an address that is not well formed.
    """
    text = name.strip()
    separator = "://" in text
    try:
        if separator:
            parts = urlsplit(text)
            _ = parts.port  # raises where it is no number
            return parts
        parts = urlsplit(f"https://{text}")
        return parts if parts.netloc.lower() in _hub_hosts() and parts.path.count("/") > 1 else None
    except ValueError as error:
        if not separator:
            return None
        reason = "this is no well-formed address; expected user/repo on the Hub"
        raise CheckpointError(reason, name) from error


def _hub_hosts() -> dict[str, str]:
    """Hosts of the Hub (with a port where one is named) → what stands before user/repo in their paths."""
    hosts = dict.fromkeys(HUB_HOSTS, "")
    try:
        endpoint = urlsplit(os.environ.get("HF_ENDPOINT", "").strip())
    except ValueError:  # reported where the Hub is asked
        return hosts
    if endpoint.hostname:
        hosts[endpoint.netloc.rpartition("@")[2].lower()] = endpoint.path.strip("/")
    return hosts


def _of_address(address: SplitResult, source: str) -> tuple[str, str]:
    """Repository and revision ("" where none is named) of an address on the Hub.

    Raises:
        CheckpointError: for one of another host, or of something else than a model's repository.
    """
    expected = "expected user/repo on the Hub, or an address such as https://huggingface.co/user/repo"
    if address.scheme not in _SCHEMES:
        raise CheckpointError(f"addresses of {address.scheme}:// are not read; {expected}", source)
    host = address.netloc.rpartition("@")[2].lower()
    if address.scheme == "hf":
        path, prefix = f"{host}/{address.path}", ""
    elif host in _hub_hosts():
        path, prefix = address.path, _hub_hosts()[host]
    else:
        raise CheckpointError(f"{host or 'this'} is not the Hub; {expected}", source)
    parts = [unquote(part) for part in path.strip("/").removeprefix(prefix).split("/") if part]
    if parts[:1] == ["models"] and address.scheme == "hf":
        parts = parts[1:]
    if parts and parts[0] in _OTHER_KINDS:
        raise CheckpointError(f"this address is of the Hub's {parts[0]}, not of a model; {expected}", source)
    if len(parts) < 2:
        raise CheckpointError(f"this address names no model's repository (user/repo); {expected}", source)
    repo, rest = "/".join(parts[:2]), parts[2:]
    if "@" in parts[1]:
        repo, _, named = repo.partition("@")
        return repo, named
    if len(rest) < 2 or rest[0] not in _AT_REVISION:
        return repo, ""
    # "refs/pr/1" is the one kind of revision whose slashes the Hub also takes unquoted.
    return repo, "/".join(rest[1:4]) if rest[1:3] in (["refs", "pr"], ["refs", "convert"]) else rest[1]


def is_repo(name: str) -> bool:
    """Whether a repository of the Hub can have this name, "user/repo"."""
    return _REPO.fullmatch(name) is not None and len(name) <= LONGEST_REPO


def is_revision(name: str) -> bool:
    """Whether a branch, tag or commit can have this name."""
    return _REVISION.fullmatch(name) is not None


def _folder(name: str, revision: str | None) -> Path:
    if revision is not None:
        raise CheckpointError(f"a folder has no revisions, but {revision!r} was asked for; leave it out", name)
    folder = Path(os.path.expanduser(name))
    if not _there(folder):
        raise CheckpointError("there is no such folder; name one that exists, or user/repo on the Hub", name)
    if not folder.is_dir():
        raise CheckpointError("this is a file; name the checkpoint's folder", name)
    return folder


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file
        return False
