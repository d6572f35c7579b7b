"""The Hub's address, as `HF_ENDPOINT` sets it; looked at without huggingface_hub, whose import fails for some."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

from abn.checkpoints.info import CheckpointError

NO_HUB = "there is no Hub at the address that is set here"
EXPECTED = "expected an address such as https://huggingface.co"


def is_address(address: str) -> bool:
    """Whether there can be a Hub: HTTP, a host, and nothing that no address has in it."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
    return usable and all(letter.isprintable() and not letter.isspace() for letter in address)


def without_login(address: str) -> str:
    """An address as it may be shown: without the name and the password of whoever set it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def import_problem() -> str | None:
    """What is to be done before huggingface_hub, and what imports it, can be imported; None where nothing is."""
    address = os.environ.get("HF_ENDPOINT", "")
    try:
        _ = urlsplit(address).port
    except ValueError:
        return f"HF_ENDPOINT is {without_login(address)!r}, {EXPECTED}; mend or unset it"
    return None


def require_importable(source: str) -> None:
    """To be called before huggingface_hub is imported.

    Args:
        source: what is wanted of the Hub, for messages.

    Raises:
        CheckpointError: where the import would fail.
    """
    problem = import_problem()
    if problem is not None:
        raise CheckpointError(f"{NO_HUB}; {problem}", source)
