"""Files of one commit from the Hub, through huggingface_hub: its cache, token, `HF_ENDPOINT`, offline mode.

A cached file is used only if it has the hash it is named by, and `refs/<branch>` is written only when all files of
the commit are cached; huggingface_hub checks neither.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HTTPError, RemoteEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.file_download import REGEX_COMMIT_HASH, repo_folder_name

from abn.checkpoints.hub.errors import (
    MET,
    Fault,
    FaultError,
    changed,
    client_fault,
    damaged,
    endpoint_fault,
    explain,
    lacks,
    no_hub,
    not_public,
    token_fault,
)
from abn.checkpoints.hub.watch import Metered, Watch, watched
from abn.checkpoints.info import CheckpointError
from abn.common.files import replace_file

RETRY_WAITS = (0.5, 2.0)
"""Seconds before each new attempt after a failure that may pass: a busy server, a file cut short."""


ABANDONED = 3600
"""Seconds after its last byte at which a download in the cache counts as abandoned, by whatever program."""


@dataclass(frozen=True)
class Request:
    """Files of one revision of a model repository.

    Attributes:
        repo: "user/repo".
        revision: branch, tag or commit.
        required, optional: names of files at the repository's root.
        timeout: seconds without a byte after which a request fails.
        max_bytes: of all files together, announced or sent.
        max_seconds: for all requests of one attempt together.
        public: send no token, refuse a gated or private repository, and use no cached copy without asking the Hub.
        cache: folder to fetch into; None for huggingface_hub's own cache.
    """

    repo: str
    revision: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    timeout: float = 10.0
    max_bytes: int = 10**9
    max_seconds: float = 600.0
    public: bool = False
    cache: Path | None = None

    @property
    def token(self) -> bool | None:
        """huggingface_hub's argument: False to send no token, None for the one that is logged in."""
        return False if self.public or constants.is_offline_mode() else None

    @property
    def folder(self) -> Path:
        """The repository's folder in the cache."""
        return Path(self.cache or constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.repo, repo_type="model")


@dataclass(frozen=True)
class Fetched:
    """A folder of the cache with the files, all of one commit.

    Attributes:
        notice: why these may not be the newest files, or lack an optional one; None where neither is so.
            `public_notice` is the same without remedies on this machine, for visitors of a public page.
    """

    folder: Path
    commit: str
    notice: str | None = None
    public_notice: str | None = None


def fetch(request: Request, source: str) -> Fetched:
    """Fetch what is not cached; where the Hub cannot be reached, take what was cached earlier.

    Args:
        source: the repository as the caller named it, for messages.

    Raises:
        CheckpointError: for every failure a message of its own, with the remedy.
    """
    fault = endpoint_fault() or (token_fault() if request.token is None else None) or client_fault()
    for wait in () if fault else (*RETRY_WAITS, None):
        try:
            return _from_hub(request)
        except FaultError as error:
            fault = error.fault
        if wait is None or not fault.passing:
            break
        time.sleep(max(wait, fault.wait))
    if not fault.unreachable or request.public:
        raise _refusal(fault, request, source)
    commits = _cached_commits(request)
    if len(commits) != 1:
        raise _refusal(fault, request, source, f"; {_which_are_cached(request, commits)}")
    cached = Fetched(request.folder / "snapshots" / commits[0], commits[0])
    if constants.is_offline_mode():  # what was asked for
        return cached
    stale = f"; the copy cached earlier is used (commit {cached.commit[:7]})"
    return replace(cached, notice=fault.reason() + stale, public_notice=fault.reason(to_stranger=True) + stale)


def _refusal(fault: Fault, request: Request, source: str, more: str = "") -> CheckpointError:
    to_strangers = fault.reason(to_stranger=True) + more
    reason = to_strangers if request.public else fault.reason() + more
    return CheckpointError(reason, source, to_strangers=to_strangers)


def _from_hub(request: Request) -> Fetched:
    commit = None
    # Where an earlier download left a list of the files, huggingface_hub would fetch large ones by Xet, which takes
    # no limits. This is its own setting, which it reads anew for every file.
    constants.HF_HUB_DISABLE_XET = True
    with watched(request.timeout, request.max_bytes, request.max_seconds) as watch:
        try:
            commit, there = _resolve(request)
            for name in request.required:
                if there is not None and name not in there:
                    raise FaultError(lacks(name, there))
                path = _download(request, commit, name)
        except MET as error:
            if isinstance(error, RevisionNotFoundError) and commit not in (None, request.revision):
                raise FaultError(changed(request.repo)) from error
            raise FaultError(explain(error, request.repo, request.revision, watch)) from error
        missed = [(name, _fetch_optional(request, commit, name, there, watch)) for name in request.optional]
    _remember(request, commit)
    _sweep(request)
    fetched = Fetched(path.parent, commit)
    for name, fault in missed:
        if fault is not None:
            what = f"{name} could not be fetched: "
            notice = what + fault.reason(request.public)
            return replace(fetched, notice=notice, public_notice=what + fault.reason(to_stranger=True))
    return fetched


def _resolve(request: Request) -> tuple[str, set[str] | None]:
    """The commit a revision means, and the names of its files (None where the Hub need not be asked)."""
    if REGEX_COMMIT_HASH.fullmatch(request.revision) and not request.public:
        return request.revision, None
    try:
        info = HfApi(token=request.token).model_info(request.repo, revision=request.revision, timeout=request.timeout)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        if isinstance(error, (OSError, HTTPError)):  # an error status 400 is a ValueError too
            raise
        raise FaultError(no_hub()) from error  # a body that is not the API's JSON
    if not isinstance(info.sha, str) or not REGEX_COMMIT_HASH.fullmatch(info.sha):
        raise FaultError(no_hub())
    if request.public and (info.gated or info.private):
        raise FaultError(not_public(request.repo))
    return info.sha, {sibling.rfilename for sibling in info.siblings or ()}


def _download(request: Request, commit: str, name: str) -> Path:
    fetched = hf_hub_download(
        request.repo,
        name,
        revision=commit,
        cache_dir=request.cache,
        etag_timeout=request.timeout,
        token=request.token,
        tqdm_class=Metered,
    )
    path = Path(fetched)
    if not _is_intact(path):
        _forget(path)
        raise FaultError(damaged(name))
    return path


def _fetch_optional(request: Request, commit: str, name: str, there: set[str] | None, watch: Watch) -> Fault | None:
    """Fetch a file that may be missing; answer with the fault where it exists and cannot be had."""
    known = try_to_load_from_cache(request.repo, name, cache_dir=request.cache, revision=commit)
    known_absent = known is not None and not isinstance(known, str)
    if known_absent or (there is not None and name not in there):
        return None
    try:
        _download(request, commit, name)
    except RemoteEntryNotFoundError:
        return None
    except MET as error:
        fault = explain(error, request.repo, request.revision, watch)
    except FaultError as error:
        fault = error.fault
    else:
        return None
    return None if constants.is_offline_mode() else fault


def _cached_commits(request: Request) -> list[str]:
    """Commits, cached complete and intact, that may be the revision: several only where no record says which is.

    Caches copied from another machine often lack `refs/main`, or hold one that an editor ended with a newline.
    """
    snapshots, ref = request.folder / "snapshots", request.folder / "refs" / request.revision
    try:
        if REGEX_COMMIT_HASH.fullmatch(request.revision):
            commits = [request.revision]
        elif ref.exists():
            commits = [ref.read_bytes().strip().decode("ascii", "replace")]
        else:
            there = request.revision == constants.DEFAULT_REVISION and snapshots.is_dir()
            commits = sorted(folder.name for folder in snapshots.iterdir()) if there else []
        commits = [commit for commit in commits if REGEX_COMMIT_HASH.fullmatch(commit)]
        return [commit for commit in commits if _is_complete(snapshots / commit, request.required)]
    except OSError:  # in a cache that is another's
        return []


def _which_are_cached(request: Request, commits: list[str]) -> str:
    if not commits:
        return "nothing of it is cached on this machine"
    return (
        f"{len(commits)} commits of it are cached on this machine, with no record of which is {request.revision}; "
        f"name one, such as {request.repo}@{commits[0]}"
    )


def _is_complete(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).is_file() and _is_intact(folder / name) for name in names)


def _remember(request: Request, commit: str) -> None:
    """Write the commit to the cache's `refs/<revision>`, once all of its files are there.

    huggingface_hub would write it first, and an update that breaks off would then leave no complete copy to use.
    """
    if request.revision == commit:
        return
    ref = request.folder / "refs" / request.revision
    with suppress(OSError):  # a cache that cannot be written can still be read
        if not ref.is_file() or ref.read_bytes() != commit.encode():
            ref.parent.mkdir(parents=True, exist_ok=True)
            replace_file(ref, lambda path: path.write_text(commit))


def _sweep(request: Request) -> None:
    """Delete partial files of this repository that a killed download left: no later download resumes them."""
    oldest = time.time() - ABANDONED
    for part in (request.folder / "blobs").glob("*.incomplete"):
        with suppress(OSError):  # gone meanwhile, or in a cache that cannot be written
            if part.stat().st_mtime < oldest:
                part.unlink()


def _is_intact(path: Path) -> bool:
    """Whether a cached file has the hash it is named by; True where its name is no hash."""
    if not path.is_symlink():  # a plain copy, on systems without links
        return True
    name = path.readlink().name
    if not set(name) <= set("0123456789abcdef") or len(name) not in (40, 64):
        return True
    content = path.read_bytes()
    if len(name) == 64:  # how the Hub names large files
        return hashlib.sha256(content).hexdigest() == name
    # How it names small ones: as git does. Some mirrors take the plain SHA-1.
    as_git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return name in (as_git, hashlib.sha1(content).hexdigest())


def _forget(path: Path) -> None:
    """Remove a damaged file from the cache, so that the next attempt fetches it anew."""
    blob = path.parent / path.readlink()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)
