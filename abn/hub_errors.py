"""huggingface_hub's exceptions in plain words, each with its remedy."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from urllib.parse import urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from abn.checkpoint_info import PICKLE_REMEDY, PICKLE_SUFFIXES
from abn.hub_watch import RefusedError, TooLargeError, Watch

MET = (RefusedError, TooLargeError, HTTPError, OSError, EntryNotFoundError)
"""What huggingface_hub, its HTTP client and the disk raise when files cannot be fetched."""

LONGEST_RETRY_AFTER = 3
"""Seconds a server may ask us to wait before we say so instead of waiting."""


@dataclass(frozen=True)
class Fault:
    """Why the Hub did not give the files.

    Attributes:
        reason: in words, with the remedy.
        unreachable: the Hub said nothing about the repository, so that a cached copy may stand in.
        passing: a new attempt may succeed.
        wait: seconds before it, as the server asked.
    """

    reason: str
    unreachable: bool = False
    passing: bool = False
    wait: int = 0


class FaultError(Exception):
    """Carries a fault up to where it becomes a message."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


def hub_name() -> str:
    """Host of the Hub in use, e.g. "huggingface.co"."""
    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]


def endpoint_fault() -> Fault | None:
    """What is wrong with `HF_ENDPOINT`, or None."""
    try:
        address = urlsplit(constants.ENDPOINT)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if usable:
        return None
    return Fault(f"HF_ENDPOINT is {constants.ENDPOINT!r}; expected an address such as https://huggingface.co")


def no_hub() -> Fault:
    """Something else answers in the Hub's place."""
    return Fault(
        f"{hub_name()} answers, but not as the Hub does; check HF_ENDPOINT, and whether a proxy or a log-in "
        "page stands in between",
        unreachable=True,
    )


def not_public(repo: str) -> Fault:
    return Fault(f"{repo} is gated or private; name a checkpoint that anybody may read")


def damaged(name: str) -> Fault:
    return Fault(
        f"{name} arrived damaged: its checksum does not match; nothing of it was kept, try again later",
        passing=True,
    )


def changed(repo: str) -> Fault:
    """The commit a branch meant is gone before all of its files were read."""
    return Fault(f"{repo} changed while it was read; try again", passing=True)


def lacks(name: str, there: set[str]) -> Fault:
    """A repository without a file it needs, which holds the files `there`, as far as is known."""
    pickles = sorted(file for file in there if file.endswith(PICKLE_SUFFIXES))
    if name.endswith(".safetensors") and pickles:
        return Fault(f"the repository has no {name}, only {pickles[0]}; {PICKLE_REMEDY}")
    return Fault(f"the repository has no {name}, so it holds no checkpoint of this kind; name another one")


def explain(error: BaseException, repo: str, revision: str, watch: Watch) -> Fault:
    """An exception of `MET` as a fault.

    Args:
        repo: "user/repo".
        watch: of the load that met it.
    """
    hub = hub_name()
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, MET):
        error = error.__cause__  # LocalEntryNotFoundError, of what went wrong on the way
    match error:
        case OfflineModeIsEnabled():
            return Fault("offline mode is on (HF_HUB_OFFLINE); unset it to reach the Hub", unreachable=True)
        case FileMetadataError():
            return no_hub()
        case GatedRepoError():
            return Fault(
                f"{repo} is gated; ask for access on its page at {hub}, then give a token of that account "
                "(HF_TOKEN, or hf auth login)"
            )
        case RevisionNotFoundError():
            return Fault(f"{repo} has no revision {revision!r}; name a branch, tag or commit it has")
        case RemoteEntryNotFoundError():
            return lacks(urlsplit(str(error.response.url)).path.rpartition("/")[2], set())
        case HfHubHTTPError():
            return _of_status(error, repo, hub)
        case TooLargeError():
            return _of_size(error, watch)
        case RefusedError(status=int()):
            return _of_overload(error, hub)
        case RefusedError():
            return _of_network(watch.failure or error, watch, hub)
    return _of_network(error, watch, hub)


def _of_status(error: HfHubHTTPError, repo: str, hub: str) -> Fault:
    status = error.response.status_code
    if status == 401 and "Invalid credentials" in error.response.headers.get("X-Error-Message", ""):
        return Fault(f"{hub} refuses the access token; log in anew (hf auth login), or unset HF_TOKEN")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return Fault(
            f"{hub} has no model repository {repo}, or it is private (nor is there a folder of that name here); "
            "check the spelling, or give a token that may read it (HF_TOKEN, or hf auth login)"
        )
    if status == 403:
        return Fault(f"{hub} forbids access to {repo}; give a token that may read it, or name another one")
    return Fault(f"{hub} refuses the request for {repo} (HTTP {status}); check the spelling and HF_ENDPOINT")


def _of_overload(refused: RefusedError, hub: str) -> Fault:
    if refused.status != 429:
        return Fault(
            f"{hub} has an error of its own (HTTP {refused.status}); try again later",
            unreachable=True,
            passing=True,
        )
    said = refused.retry_after or ""
    wait = int(said) if said.isdecimal() else None  # not where it is a date
    when = "in some minutes" if wait is None else f"in {wait} seconds"
    return Fault(
        f"{hub} is asked too often from here (HTTP 429); try again {when}, or log in for a higher limit",
        unreachable=True,
        passing=said == "" or (wait is not None and wait <= LONGEST_RETRY_AFTER),
        wait=wait or 0,
    )


def _of_size(error: TooLargeError, watch: Watch) -> Fault:
    size = "more than was announced" if error.announced is None else f"{error.announced:,} bytes"
    return Fault(
        f"a file has {size}, and at most {watch.max_bytes:,} bytes are taken in all; name a smaller checkpoint, "
        "or allow more (max_bytes)"
    )


def _of_network(error: BaseException, watch: Watch, hub: str) -> Fault:
    # The HTTP client's exceptions and those of its core, which the watch is shown, share these names.
    name = type(error).__name__
    if name.endswith("Timeout"):
        return Fault(
            f"{hub} did not answer within {watch.timeout:g} seconds; try again, check the network, "
            "or allow a longer timeout",
            unreachable=True,
        )
    if name == "ProxyError":
        return Fault("the proxy refuses the connection; check HTTP_PROXY and HTTPS_PROXY", unreachable=True)
    if name == "ConnectError":
        reason = f"{hub} cannot be reached ({_short(error)}); check the network and HF_ENDPOINT"
        return Fault(reason, unreachable=True)
    if name in ("RefusedError", "TooManyRedirects"):
        reason = f"{hub} redirects in a circle; check HF_ENDPOINT, or try again later"
        return Fault(reason, unreachable=True)
    if isinstance(error, OSError):
        return _of_disk(error)
    return Fault(
        f"{hub} broke the connection off before everything had arrived; try again",
        unreachable=True,
        passing=True,
    )


def _of_disk(error: OSError) -> Fault:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault("the disk is full; make room, or let HF_HOME name a folder on another disk")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return Fault(
            "the Hub's cache folder cannot be written; mend its permissions, or let HF_HOME name another one"
        )
    if error.errno is None:  # huggingface_hub's own, of a length that is not the announced one
        return Fault("a file arrived with another length than announced; try again", passing=True)
    return Fault(f"a file could not be stored in the Hub's cache ({_short(error)}); look at its disk")


def _short(error: BaseException) -> str:
    """The system's words, without a number or a path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.rpartition("] ")[2]
