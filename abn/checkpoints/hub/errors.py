"""huggingface_hub's exceptions as sentences: what is wrong, and the remedy."""

from __future__ import annotations

import errno
import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, get_session
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
from huggingface_hub.utils import get_token_to_send

from abn.checkpoints.hub.address import EXPECTED, NO_HUB, is_address, without_login
from abn.checkpoints.hub.watch import RefusedError, TooLargeError, TooSlowError, Watch
from abn.checkpoints.info import PICKLE_REMEDY, PICKLE_SUFFIXES
from abn.common.texts import one_line, whole_number

MET = (RefusedError, TooLargeError, TooSlowError, HTTPError, OSError, EntryNotFoundError)
"""What huggingface_hub, its HTTP client and the disk raise when files cannot be fetched."""

LOG_IN = "HF_TOKEN, or hf auth login"
LATER = "try again later, or tell whoever runs this page"
PUBLIC = "name a checkpoint that anybody may read"

LONGEST_RETRY_AFTER = 3
"""Seconds a server may ask us to wait before we say so instead of waiting."""


@dataclass(frozen=True)
class Fault:
    """Why the Hub did not give the files.

    Attributes:
        cause: in words, without anything that is set on this machine.
        remedy: for whoever runs this.
        strangers: remedy for a visitor of the page, who can set nothing here; None where it is the same.
        unreachable: the Hub said nothing about the repository, so that a cached copy may stand in.
        passing: a new attempt may succeed.
        wait: seconds before it, as the server asked.
    """

    cause: str
    remedy: str
    strangers: str | None = None
    unreachable: bool = False
    passing: bool = False
    wait: int = 0

    def reason(self, to_stranger: bool = False) -> str:
        """Cause and remedy in one sentence."""
        return f"{self.cause}; {self.strangers if to_stranger and self.strangers else self.remedy}"


class FaultError(Exception):
    """Carries a fault up to where it becomes a message."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.cause)
        self.fault = fault


def hub_name() -> str:
    """Host of the Hub in use, e.g. "huggingface.co"."""
    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]


def endpoint_fault() -> Fault | None:
    """What is wrong with `HF_ENDPOINT`, or None."""
    if is_address(constants.ENDPOINT):
        return None
    remedy = f"HF_ENDPOINT is {without_login(constants.ENDPOINT)!r}, {EXPECTED}"
    return Fault(NO_HUB, remedy, LATER)


def client_fault() -> Fault | None:
    """What keeps the HTTP client from being made, or None: a proxy it cannot use, certificates it cannot read."""
    try:
        get_session()
    except (ImportError, OSError, ValueError):
        cause = "no connection can be made with the proxy or the certificates that are set here"
        remedy = "mend or unset HTTP_PROXY, HTTPS_PROXY, ALL_PROXY (http:// addresses), SSL_CERT_FILE, SSL_CERT_DIR"
        return Fault(cause, remedy, LATER, unreachable=True)
    return None


def token_fault() -> Fault | None:
    """What is wrong with the access token that would be sent, or None; the token itself is never told."""
    remedy = "log in anew (hf auth login), or mend HF_TOKEN"
    try:
        token = get_token_to_send(None) or ""
    except (OSError, ValueError):  # its file is another's, or no text
        return Fault("the access token cannot be read", remedy, LATER)
    odd = next((letter for letter in token if not "!" <= letter <= "~"), None)
    if odd is None:
        return None
    name = unicodedata.name(odd, f"U+{ord(odd):04X}").lower()
    return Fault(f"the access token has a letter that no token has ({name})", remedy, LATER)


def no_hub() -> Fault:
    """Something else answers in the Hub's place."""
    return Fault(
        f"{hub_name()} answers, but not as the Hub does",
        "check HF_ENDPOINT, and whether a proxy or a log-in page stands in between",
        LATER,
        unreachable=True,
    )


def not_public(repo: str) -> Fault:
    return Fault(f"{repo} is gated or private", PUBLIC)


def damaged(name: str) -> Fault:
    cause = f"{name} arrived damaged: its checksum does not match"
    return Fault(cause, "nothing of it was kept, try again later", passing=True)


def changed(repo: str) -> Fault:
    """The commit a branch meant is gone before all of its files were read."""
    return Fault(f"{repo} changed while it was read", "try again", passing=True)


def lacks(name: str, there: set[str]) -> Fault:
    """A repository without a file it needs, which holds the files `there`, as far as is known."""
    pickles = sorted(file for file in there if file.endswith(PICKLE_SUFFIXES))
    if name.endswith(".safetensors") and pickles:
        return Fault(f"the repository has no {name}, only {one_line(pickles[0], 80)}", PICKLE_REMEDY)
    return Fault(f"the repository has no {name}, so it holds no checkpoint of this kind", "name another one")


def explain(error: BaseException, repo: str, revision: str, watch: Watch) -> Fault:
    """An exception of `MET` as a fault.

    Args:
        repo: "user/repo".
        watch: of the load that met it.
    """
    hub = hub_name()
    asked = watch.host or hub  # storage is another host than the Hub
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, MET):
        error = error.__cause__  # LocalEntryNotFoundError, of what went wrong on the way
    match error:
        case OfflineModeIsEnabled():
            return Fault("offline mode is on", "unset HF_HUB_OFFLINE to reach the Hub", LATER, unreachable=True)
        case FileMetadataError():
            return no_hub()
        case GatedRepoError():
            return Fault(
                f"{repo} is gated",
                f"ask for access on its page at {hub}, then give a token of that account ({LOG_IN})",
                PUBLIC,
            )
        case RevisionNotFoundError():
            return Fault(f"{repo} has no revision {revision!r}", "name a branch, tag or commit it has")
        case RemoteEntryNotFoundError():
            return lacks(urlsplit(str(error.response.url)).path.rpartition("/")[2], set())
        case HfHubHTTPError():
            return _of_status(error, repo, hub)
        case TooLargeError():
            return _of_size(error, repo, watch)
        case _ if watch.expired:
            return Fault(
                f"{asked} had not sent everything after {watch.max_seconds:g} seconds",
                f"try again, or fetch it with: hf download {repo} --local-dir FOLDER, and name that folder",
                "try again later",
                unreachable=True,
            )
        case RefusedError(status=int()):
            return _of_overload(error, hub)
        case RefusedError():
            return _of_network(watch.failure or error, watch, asked)
    return _of_network(error, watch, asked)


def _of_status(error: HfHubHTTPError, repo: str, hub: str) -> Fault:
    status = error.response.status_code
    if status == 401 and "Invalid credentials" in error.response.headers.get("X-Error-Message", ""):
        return Fault(f"{hub} refuses the access token", "log in anew (hf auth login), or unset HF_TOKEN", LATER)
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return Fault(
            f"{hub} has no model repository {repo}, or it is private",
            f"check the spelling (there is no such folder here either), or give a token that may read it ({LOG_IN})",
            f"check the spelling, and {PUBLIC}",
        )
    if status == 403:
        return Fault(f"{hub} forbids access to {repo}", "give a token that may read it, or name another one", PUBLIC)
    cause = f"{hub} refuses the request for {repo} (HTTP {status})"
    return Fault(cause, "check the spelling and HF_ENDPOINT", "check the spelling")


def _of_overload(refused: RefusedError, hub: str) -> Fault:
    if refused.status != 429:
        return Fault(
            f"{hub} has an error of its own (HTTP {refused.status})",
            "try again later",
            unreachable=True,
            passing=True,
        )
    said = (refused.retry_after or "").strip()
    wait = whole_number(said)  # None where it is a date
    when = "in some minutes" if wait is None else f"in {wait} seconds"
    return Fault(
        f"{hub} is asked too often from here (HTTP 429)",
        f"try again {when}, or log in for a higher limit (hf auth login)",
        f"try again {when}",
        unreachable=True,
        passing=said == "" or (wait is not None and wait <= LONGEST_RETRY_AFTER),
        wait=wait or 0,
    )


def _of_size(error: TooLargeError, repo: str, watch: Watch) -> Fault:
    size = "more than was announced" if error.announced is None else f"{error.announced:,} bytes"
    return Fault(
        f"a file has {size}, and at most {watch.max_bytes:,} bytes are taken in all",
        f"name a smaller checkpoint, or fetch it with: hf download {repo} --local-dir FOLDER, and name that folder",
        "name a smaller checkpoint",
    )


def _of_network(error: BaseException, watch: Watch, host: str) -> Fault:
    # The HTTP client's exceptions and those of its core, which the watch is shown, share these names.
    name = type(error).__name__
    if name.endswith("Timeout"):
        cause = f"{host} did not answer within {watch.timeout:g} seconds"
        return Fault(cause, "try again, or check the network", LATER, unreachable=True)
    if name == "ProxyError":
        cause = "the proxy refuses the connection"
        return Fault(cause, "check HTTP_PROXY and HTTPS_PROXY", LATER, unreachable=True)
    if name == "ConnectError":
        cause = f"{host} cannot be reached ({_short(error)})"
        settings = "the network, HF_ENDPOINT and HTTPS_PROXY" if getproxies() else "the network and HF_ENDPOINT"
        return Fault(cause, f"check {settings}", LATER, unreachable=True)
    if name in ("RefusedError", "TooManyRedirects"):
        cause = f"{host} redirects in a circle"
        return Fault(cause, "check HF_ENDPOINT, or try again later", LATER, unreachable=True)
    if isinstance(error, OSError):
        return _of_disk(error)
    cause = f"{host} broke the connection off before everything had arrived"
    return Fault(cause, "try again", unreachable=True, passing=True)


def _of_disk(error: OSError) -> Fault:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault("the disk is full", "make room, or let HF_HOME name a folder on another disk", LATER)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        cause = "the folder for files from the Hub cannot be written to"
        return Fault(cause, "mend the permissions of the Hub's cache, or let HF_HOME name another one", LATER)
    if error.errno is None:  # huggingface_hub's own, of a length that is not the announced one
        return Fault("a file arrived with another length than announced", "try again", passing=True)
    cause = f"a file from the Hub could not be stored ({_short(error)})"
    return Fault(cause, "look at the disk of the Hub's cache (HF_HOME)", LATER)


def _short(error: BaseException) -> str:
    """The system's words, without a number or a path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.rpartition("] ")[2]
