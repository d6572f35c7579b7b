"""Where a checkpoint is: a folder here, or a repository on the Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from abn.checkpoints.info import CheckpointError

_REPO = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]*(?<![.-])/[A-Za-z0-9_][\w.-]*(?<![.-])(?<!\.git)", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+@-]{0,199}", re.ASCII)
LONGEST_REPO = 96  # characters, the Hub's rule


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
        source: a folder, or "user/repo" or "user/repo@revision". What exists here, is a path object, starts
            with "/", "." or "~" or has more than one slash is a folder. A `HubSource` is itself.
        revision: instead of one in `source`; "main" where none is named.
        hub_only: no folder is meant, and none is looked for: a stranger is not told which paths exist here.

    Raises:
        CheckpointError: for what can be neither, and for a folder that is not there.
    """
    if isinstance(source, HubSource):
        if revision not in (None, source.revision):
            raise CheckpointError(f"two revisions are named, {source.revision} and {revision}; name one", str(source))
        return source
    name = os.fspath(source)
    repo, _, named = name.partition("@")
    if not name.strip():
        raise CheckpointError("no checkpoint is named; expected a folder, or user/repo on the Hub")
    is_path = not isinstance(source, str) or name.startswith(("/", ".", "~")) or "\\" in name
    if not hub_only and (is_path or repo.count("/") != 1 or _there(Path(name))):
        if revision is not None:
            raise CheckpointError(f"a folder has no revisions, but {revision!r} was asked for; leave it out", name)
        return _folder(name)
    revisions = sorted({str(given) for given in (named, revision) if given})
    if len(revisions) > 1:
        raise CheckpointError(f"two revisions are named, {' and '.join(revisions)}; name one", name)
    chosen = revisions[0] if revisions else "main"
    if not is_revision(chosen):
        raise CheckpointError(f"{chosen!r} can be no revision; name a branch, tag or commit", name)
    if not is_repo(repo):
        missing = "" if hub_only else "there is no such folder, and "
        raise CheckpointError(
            f"{missing}the Hub has no such names (user/repo: letters, digits, single . - _); check the spelling", name
        )
    return HubSource(repo, chosen)


def is_repo(name: str) -> bool:
    """Whether a repository of the Hub can have this name, "user/repo"."""
    return _REPO.fullmatch(name) is not None and len(name) <= LONGEST_REPO


def is_revision(name: str) -> bool:
    """Whether a branch, tag or commit can have this name."""
    return _REVISION.fullmatch(name) is not None


def _folder(name: str) -> Path:
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
