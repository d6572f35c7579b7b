"""The Hub's address, as `HF_ENDPOINT` sets it, read without huggingface_hub: some values make its import fail."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

from abn.checkpoints.info import CheckpointError

NO_HUB = "there is no Hub at the address that is set here"
EXPECTED = "expected an address such as https://huggingface.co"


def is_address(address: str) -> bool:
    """Whether this is an HTTP address with a host, a usable port, and neither spaces nor control characters."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
    return usable and all(letter.isprintable() and not letter.isspace() for letter in address)


def without_login(address: str) -> str:
    """The address without the user name and password in it, for messages."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def import_problem() -> str | None:
    """Why huggingface_hub cannot be imported, with the remedy; None where it can be."""
    address = os.environ.get("HF_ENDPOINT", "")
    try:
        _ = urlsplit(address).port
    except ValueError:
        return f"HF_ENDPOINT is {without_login(address)!r}, {EXPECTED}; mend or unset it"
    return None


def require_importable(source: str) -> None:
    """Check `HF_ENDPOINT` before huggingface_hub is imported.

    Args:
        source: the Hub id as the caller named it, for messages.

    Raises:
        CheckpointError: where the import would fail.
    """
    problem = import_problem()
    if problem is not None:
        raise CheckpointError(f"{NO_HUB}; {problem}", source)
