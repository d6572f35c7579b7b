"""The command `abn`, one file of this folder a subcommand.

What a subcommand computes with is imported when it runs: `abn --help` waits for no PyTorch, and `abn train` runs
where neither Captum nor Gradio is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from abn import __version__
from abn.cli.app import app
from abn.cli.audit import audit
from abn.cli.awaken import awaken
from abn.cli.convert import convert
from abn.cli.inspect import inspect
from abn.cli.push import push
from abn.cli.recipe_search import recipe_search
from abn.cli.reference import reference
from abn.cli.replay import replay
from abn.cli.reproduce import reproduce
from abn.cli.train import train

# Plain help and plain tracebacks: they are read in logs and by other programs too.
cli = typer.Typer(
    name="abn", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
for command in (app, inspect, replay, train, reference, convert, push, reproduce, audit, awaken, recipe_search):
    cli.command()(command)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"abn {__version__}")
        raise typer.Exit


@cli.callback()
def abn(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Adaptive Bias Networks: train networks whose channels are rescaled for each image, and look into them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; always ends in `SystemExit`.

    Args:
        arguments: those of this process by default.
    """
    cli(arguments, prog_name="abn")
