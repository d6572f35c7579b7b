"""Exceptions of uploads as sentences: what is wrong, and the remedy."""

from __future__ import annotations

from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from abn.checkpoints.hub.errors import LOG_IN, MET, Fault, explain, hub_name, no_hub
from abn.checkpoints.hub.watch import Watch

MET_PUSHING = (*MET, RuntimeError, ValueError, KeyError, TypeError, AttributeError)
"""What huggingface_hub raises besides: around a file that storage does not take, and for an answer it cannot read."""

LONGEST_WORDS = 150  # characters of the server's own that a message quotes


def is_public(repo: str) -> Fault:
    cause = f"{repo} is there already and is public, so nothing in it would be private"
    return Fault(cause, "make it private in its settings, or name another one")


def explain_push(error: BaseException, repo: str, revision: str, watch: Watch) -> Fault:
    """An exception of `MET_PUSHING` as a fault.

    Args:
        repo: "user/repo".
        revision: the branch written to.
        watch: of the step that met it.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, MET_PUSHING):
        error = error.__cause__  # of the upload of one large file
    match error:
        case RevisionNotFoundError():
            return Fault(f"{repo} has no branch {revision!r}, and none can be made", "name another one")
        case HfHubHTTPError():
            return _of_status(error, repo)
        case ValueError() if "README.md" in str(error):
            words = _shortened(str(error).partition("README.md.")[2])
            cause = f"{hub_name()} refuses the front matter of README.md ({words})"
            return Fault(cause, "mend it, or remove the file")
        case ValueError() if "LFS batch API returned errors" in str(error):
            words = _shortened(str(error).rpartition("`")[2])
            return Fault(f"{hub_name()} takes no such file ({words})", "look at your account's storage there")
        case ValueError() | KeyError() | TypeError() | AttributeError():
            return no_hub()
    return explain(error, repo, revision, watch)


def _of_status(error: HfHubHTTPError, repo: str) -> Fault:
    hub, status = hub_name(), error.response.status_code
    if error.response.request.method == "PUT":
        return Fault(f"{hub}'s storage did not take a file (HTTP {status})", "try again later", passing=True)
    if status == 401:
        remedy = "log in anew (hf auth login), or give another one (HF_TOKEN)"
        return Fault(f"{hub} refuses the access token", remedy)
    if status == 403:
        return Fault(
            f"{hub} lets this token write nothing to {repo}",
            f"give one with write access to {repo.split('/')[0]} ({LOG_IN}), or name a repository of your own",
        )
    if status == 404:
        cause = f"{hub} has no model repository {repo} that this token may see"
        return Fault(cause, "check the name and the token")
    if status in (409, 412):
        return Fault(f"{repo} was changed by another upload at the same time", "try again", passing=True)
    words = _shortened(error.server_message or "")
    said = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    return Fault(f"{hub} refuses the upload to {repo} ({said})", "check the name, and your account there")


def _shortened(text: str) -> str:
    """The server's words on one line."""
    line = " ".join(text.split()).strip("-. ")
    return line if len(line) <= LONGEST_WORDS else f"{line[: LONGEST_WORDS - 1]}…"
