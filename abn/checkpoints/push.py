"""Upload a checkpoint's folder to the Hub, through huggingface_hub: its token, its `HF_ENDPOINT`.

Large files are sent by Git LFS. huggingface_hub's default, Xet, takes no limits on waits and retries, and reports
every failure alike.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token

from abn.checkpoints.card import model_card
from abn.checkpoints.folder import CARD_FILE, FILES, TIED, WEIGHTS_FILE
from abn.checkpoints.hub import download as hub
from abn.checkpoints.hub.address import without_login
from abn.checkpoints.hub.errors import FaultError, client_fault, endpoint_fault, token_fault
from abn.checkpoints.hub.push_errors import MET_PUSHING, explain_push, is_public
from abn.checkpoints.hub.watch import watched
from abn.checkpoints.info import CheckpointError, CheckpointInfo
from abn.checkpoints.network import open_network
from abn.checkpoints.sources import is_repo, is_revision
from abn.models.registry import label_of

Answer = TypeVar("Answer")

TIMEOUT = 60.0  # seconds without a byte; storage answers only when it has the whole file
MOST_SECONDS = 3600.0  # of one step, such as the upload of one file


def push_checkpoint(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    private: bool = False,
    message: str | None = None,
    revision: str = "main",
    timeout: float = TIMEOUT,
) -> str:
    """Upload a checkpoint, as one commit, into a repository that is made where there is none.

    Files that are there unchanged are not sent again. Files of the repository that the folder lacks stay, but for a
    reference and a log of other weights (`TIED`): with those the checkpoint would not load.

    Args:
        repo: "user/repo", or "organisation/repo".
        private: make a new repository private; one that exists has to be private already. If False, a new one is
            public, unless the organisation's own setting makes it private.
        message: of the commit.
        revision: a branch; made from "main" where there is none of that name.
        timeout: seconds without a byte after which a request fails.

    Returns:
        The address of the repository's page.

    Raises:
        CheckpointError: for a folder that does not load, and for every failure of the Hub, with the remedy.
        ReferenceFileError: for a reference that belongs to other weights or other blocks.
    """
    info = open_network(Path(folder)).model.info
    _require_names(repo, revision)
    files = _read(info)
    fault = endpoint_fault() or token_fault() or client_fault()
    if fault is not None:
        raise CheckpointError(fault.reason(), repo)
    if get_token() is None:
        reason = "there is no access token; make one with write access in your settings there, then give it"
        raise CheckpointError(f"{reason} (hf auth login, or HF_TOKEN)", repo)
    message = message or f"Upload {label_of(info.architecture)}"
    for wait in (*hub.RETRY_WAITS, None):
        try:
            return _Upload(repo, revision, timeout).push(files, private, message)
        except FaultError as error:
            fault = error.fault
        if wait is None or not fault.passing:
            break
        time.sleep(max(wait, fault.wait))
    raise CheckpointError(fault.reason(), repo)


def _require_names(repo: str, revision: str) -> None:
    if not is_repo(repo):
        raise CheckpointError(
            "the Hub takes no such names; expected user/repo, of at most 96 letters, digits and single . - _", repo
        )
    if not is_revision(revision):
        raise CheckpointError(f"{revision!r} can be no branch; leave it out for main, or name another one", repo)


def _read(info: CheckpointInfo) -> dict[str, bytes]:
    """The files as they are now, so that what was checked is what is sent; a card that is missing is made."""
    files = {CARD_FILE: model_card(info).encode()}
    # The Hub's own cache links each file to one of its blobs, large ones by way of a folder that all repositories
    # share; any other link would publish a file from elsewhere.
    allowed = (info.folder.resolve(), (info.folder / ".." / ".." / "blobs").resolve())
    shared = (info.folder / ".." / ".." / ".." / "blobs").resolve()
    for name in FILES:
        path = info.folder / name
        real = Path(os.path.realpath(path)).parent
        if path.is_symlink() and real not in allowed and real.parent != shared:
            raise CheckpointError(f"{name} is a link to a file elsewhere; put a copy in its place", info.source)
        try:
            files[name] = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"{name} cannot be read ({error.strerror}); look at the file and its permissions"
            raise CheckpointError(reason, info.source) from error
    return files


class _Upload:
    """One attempt. Each step has limits of its own, since two of them may ask the same address."""

    def __init__(self, repo: str, revision: str, timeout: float) -> None:
        self.api, self.repo, self.revision, self.timeout = HfApi(endpoint=constants.ENDPOINT), repo, revision, timeout

    def push(self, files: dict[str, bytes], private: bool, message: str) -> str:
        self._step(self.api.create_repo, private=True if private else None, exist_ok=True)
        if private and not self._step(self.api.model_info).private:
            raise FaultError(is_public(self.repo))
        if self.revision != "main":
            self._step(self.api.create_branch, branch=self.revision, exist_ok=True)
        # Of bytes, or a path, huggingface_hub would send large files by Xet.
        additions = [CommitOperationAdd(name, io.BytesIO(content)) for name, content in files.items()]
        for addition in additions:  # one by one: several at once are sent by threads, which are not watched
            self._step(self.api.preupload_lfs_files, additions=[addition], revision=self.revision, free_memory=False)
        operations = [*additions, *map(CommitOperationDelete, self._outdated(files))]
        self._step(self.api.create_commit, operations=operations, commit_message=message, revision=self.revision)
        address = f"{without_login(self.api.endpoint)}/{self.repo}"
        return address if self.revision == "main" else f"{address}/tree/{self.revision}"

    def _outdated(self, files: dict[str, bytes]) -> list[str]:
        """Names of the repository's files that belong to the weights these files replace."""
        if all(name in files for name in TIED):
            return []
        info = self._step(self.api.model_info, revision=self.revision, files_metadata=True)
        there = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        stored = getattr(there.get(WEIGHTS_FILE), "lfs", None)
        if stored is not None and stored.sha256 == hashlib.sha256(files[WEIGHTS_FILE]).hexdigest():
            return []
        return [name for name in TIED if name in there and name not in files]

    def _step(self, call: Callable[..., Answer], **arguments: object) -> Answer:
        with watched(self.timeout, max_seconds=MOST_SECONDS) as watch:
            try:
                return call(self.repo, **arguments)
            except MET_PUSHING as error:
                raise FaultError(explain_push(error, self.repo, self.revision, watch)) from error
