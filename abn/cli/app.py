"""`abn app`: the page, served; `python app.py` is the same."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from abn.cli.environment import environment_problem
from abn.cli.options import Baseline, Device, Dmb, OptionalData


def _host(name: str) -> str:
    if ":" in name:
        raise typer.BadParameter(f"{name}; expected an IPv4 address or a name, such as 127.0.0.1 or 0.0.0.0.")
    return name


def app(
    context: typer.Context,
    baseline: Baseline = None,
    dmb: Dmb = None,
    data: OptionalData = None,
    device: Device = "auto",
    host: Annotated[str, typer.Option(envvar="GRADIO_SERVER_NAME", callback=_host)] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="the first free one from 7860 (or GRADIO_SERVER_PORT) on, unless named"),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="strangers reach the page, as through a proxy on this machine; they name Hub ids, no folder of it",
        ),
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=1, metavar="SECONDS", help="age at which a sweep deletes an upload; an hour by default"),
    ] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="also serve the endpoints as MCP tools (gradio[mcp])")] = False,
) -> None:
    """Look into two networks in the browser."""
    program = context.command_path
    if (problem := environment_problem()) is not None:
        sys.exit(f"{program}: {problem}")
    from abn.cli.launching import KEEP_SECONDS, Settings, serve_app

    serve_app(Settings(baseline, dmb, data, device, host, port, public, keep or KEEP_SECONDS, mcp), program)


def main(arguments: list[str] | None = None) -> None:
    """`python app.py`, with the options of `abn app`; always ends in `SystemExit`."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command()(app)
    alone(arguments, prog_name="app.py")
