"""`abn push`: a checkpoint to the Hub."""

from __future__ import annotations

import math
import warnings
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence
from abn.cli.options import Checkpoint


def _seconds(timeout: float) -> float:
    if not (math.isfinite(timeout) and timeout > 0):
        raise typer.BadParameter(f"{timeout} is not a positive number of seconds.")
    return timeout


def push(
    folder: Checkpoint,
    repo: Annotated[str, typer.Argument(help="user/repo; made where there is none")],
    private: Annotated[bool, typer.Option("--private", help="readable with a token of its owners alone")] = False,
    message: Annotated[str | None, typer.Option(help="of the commit")] = None,
    revision: Annotated[str, typer.Option(help="a branch; made from main where there is none")] = "main",
    timeout: Annotated[float, typer.Option(callback=_seconds, help="seconds of silence allowed")] = 60.0,
) -> None:
    """Upload a checkpoint to the Hub; prints its address."""
    from abn.checkpoints.hub.address import require_importable
    from abn.checkpoints.info import CheckpointError
    from abn.interpret.reference.file import ReferenceFileError

    expected = (CheckpointError, ReferenceFileError)
    stopped = "what was not finished has no effect"
    with ends_in_a_sentence("abn push", *expected, stopped=stopped), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries: hints about a card, or about a file that is damaged
        require_importable(repo)
        from huggingface_hub.utils import disable_progress_bars, logging

        from abn.checkpoints.push import push_checkpoint

        logging.set_verbosity_error()  # what it warns of is either meant, or said by us
        disable_progress_bars()  # it draws one for no files
        address = push_checkpoint(folder, repo, private=private, message=message, revision=revision, timeout=timeout)
        print(address)
