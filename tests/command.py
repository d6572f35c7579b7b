"""The command `abn`, run in the tests' own process."""

from __future__ import annotations

import pytest

from abn.cli.main import main


def run_abn(*arguments: object) -> None:
    """Run it; returns where it ends well.

    Raises:
        SystemExit: otherwise, with its exit code or its last sentence.
    """
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    if caught.value.code:
        raise caught.value
