"""Reading the JSON of a results folder: each field is what it should be, or a message names it."""

from __future__ import annotations

from typing import TypeVar

from abn.common.documents import DocumentError, read_document

T = TypeVar("T")


class ResultsError(ValueError):
    """A results file that cannot be used; the message names it, what was expected, and the remedy."""


def read_results_document(kind: type[T], content: str | bytes, where: str, remedy: str) -> T:
    """A file, or one line of it, as a dataclass.

    Args:
        kind: as `abn.common.documents.read_document` takes it.
        where: the document's place, for the message.
        remedy: what a person can do about it.

    Raises:
        ResultsError: for what is no such document.
    """
    try:
        return read_document(kind, content)
    except DocumentError as error:
        place = f": {error.place}" if error.place else ""
        raise ResultsError(f"{where}{place} {error.problem}; {remedy}") from error


def shown(name: str) -> str:
    """A file's name for people and pages: on many systems it may be bytes that are no text in UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
