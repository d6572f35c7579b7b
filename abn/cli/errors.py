"""How a subcommand ends where something that a person can mend went wrong: one sentence, and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

SOME_FAILED, NOTHING_DONE, STOPPED = 1, 2, 130
"""Exit codes of the subcommands that look into pictures."""


@contextmanager
def ends_in_a_sentence(
    command: str, *expected: type[Exception], stopped: str, unwritable: tuple[Path, str] | None = None
) -> Iterator[None]:
    """Turn expected errors and Ctrl+C into `SystemExit` with "<command>: <why>", which exits with code 1.

    Args:
        command: as it was called, such as "abn train".
        expected: errors whose message is the sentence; any other is a mistake of ours and keeps its traceback.
        stopped: what Ctrl+C left behind.
        unwritable: a folder that is written to, and what to do where the system does not let it be; for a
            subcommand that has this, every OSError is one of writing.
    """
    try:
        yield
    except expected as error:
        sys.exit(f"{command}: {error}")
    except OSError as error:
        if unwritable is None:
            raise
        folder, remedy = unwritable
        sys.exit(f"{command}: {error.filename or folder} cannot be written ({error.strerror or error}); {remedy}")
    except KeyboardInterrupt:
        sys.exit(f"{command}: stopped; {stopped}")


def require_known(value: str, known: Sequence[str], option: str) -> None:
    """Refuse, with exit code 2, what is not among `known`, which is looked up when the subcommand runs."""
    if value not in known:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}.", param_hint=f"'{option}'")
