"""`abn inspect`: many pictures at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from abn.cli.errors import NOTHING_DONE, SOME_FAILED, STOPPED, require_known
from abn.cli.options import Baseline, Device, Dmb

if TYPE_CHECKING:
    from abn.app.bulk.summary import Row
    from abn.interpret.attribution.methods import Method


def _no_file(out: Path) -> Path:
    if os.path.exists(out) and not os.path.isdir(out):  # Path's own raise where a folder is forbidden
        raise typer.BadParameter(f"{out} is a file; name a folder.")
    return out


def inspect(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="picture, or folder with pictures")],
    out: Annotated[Path, typer.Option(callback=_no_file, help="folder to write to; made if missing")],
    baseline: Baseline = None,
    dmb: Dmb = None,
    device: Device = "auto",
    fit: Annotated[str, typer.Option(help="crop: the centre square; pad: all, with black bars")] = "crop",
    method: Annotated[str, typer.Option(help="attribution method; none attributes nothing")] = "saliency",
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="of the method, e.g. steps=64; repeatable")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="attributed class; what the second network says by default")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="attribute the target's logit minus this class's")
    ] = None,
    kinds: Annotated[
        str | None, typer.Option(metavar="LIST", help="files to write, such as json,csv; all by default")
    ] = None,
    zip: Annotated[bool, typer.Option("--zip", help="one zip a picture in place of a folder")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="pictures at once")] = 64,
) -> None:
    """Look into many pictures, a bundle of files each.

    Exit codes: 0 all pictures done, 1 some failed (they are listed), 2 nothing could be done or all failed, 130
    stopped.
    """
    from tqdm import tqdm

    from abn.app.bulk import run as bulk
    from abn.app.export import KINDS
    from abn.app.inspector.inspector import Inspector, require_other_class
    from abn.app.pictures.files import find_pictures
    from abn.app.pictures.fitting import FITS
    from abn.checkpoints.network import BASELINE, DMB, load_networks
    from abn.common.devices import choose_device
    from abn.common.memory import DeviceMemoryError
    from abn.interpret.attribution.methods import METHODS

    require_known(fit, list(FITS), "--fit")
    require_known(method, ["none", *METHODS], "--method")
    chosen = list(KINDS) if kinds is None else list(dict.fromkeys(filter(None, kinds.split(",")))) or [""]
    for kind in chosen:
        require_known(kind, list(KINDS), "--kinds")
    try:
        options = _options(method, option or [])
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="'--option'") from error
    try:
        networks = load_networks((baseline, dmb), (BASELINE, DMB))
        inspector = Inspector(*networks, choose_device(device))
        for name in filter(None, (target, against)):
            inspector.class_index(name)
        if target is not None:
            require_other_class(target, against)
    except (ValueError, DeviceMemoryError) as error:  # CheckpointError, ReferenceFileError, DeviceError among them
        _refuse(error)
    for network in inspector.networks:
        if network.notice:
            print(network.notice, file=sys.stderr)
    attributed = None if method == "none" else method
    job = bulk.Job(fit, target, against, attributed, options, chosen, zip, batch_size)
    found = list(find_pictures(pictures, leave_out=out))
    try:
        with tqdm(total=len(found), unit="picture") as bar:
            rows = bulk.run(inspector, found, out, job, bar.update)
    except OSError as error:
        _refuse(f"{out} cannot be written to ({error.strerror}); name another folder with --out")
    except KeyboardInterrupt:
        print(f"abn inspect: stopped; every bundle in {out} is whole", file=sys.stderr)
        raise typer.Exit(STOPPED) from None
    raise typer.Exit(_tell(rows))


def _options(method: str, given: list[str]) -> dict[str, Any]:
    """NAME=VALUE texts as the method's options, checked."""
    if method == "none":
        if given:
            raise ValueError(f"--option {given[0]} is given without a method; name one with --method")
        return {}
    from abn.interpret.attribution.methods import find_method

    chosen = find_method(method)
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--option is {text!r}; expected NAME=VALUE")
        options[name] = _typed(chosen, name, value)
    chosen.cost(**options)  # refuses options that do not go together
    return chosen.complete(options)


def _typed(method: Method, name: str, text: str) -> Any:
    """The text as the option's kind of value; left as it is where it is none, for the option to refuse."""
    kind = next((option.kind for option in method.options if option.name == name), None)
    if kind == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in ("int", "float"):
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _tell(rows: list[Row]) -> int:
    """Print what became of the pictures; returns the exit code."""
    from abn.app.bulk import summary

    written = [row for row in rows if not row.problem]
    failed = [row for row in rows if row.problem]
    if written:
        agreeing = sum(row.agree for row in written)
        print(summary.table(rows))
        print(f"\n{len(written)} of {len(rows)} pictures inspected; the networks agree on {agreeing} of them.")
    if failed:
        print(f"\n{len(failed)} of {len(rows)} failed:")
        for row in failed:
            print(f"  {row.shown}: {row.problem}")
    if not failed:
        return 0
    return SOME_FAILED if written else NOTHING_DONE


def _refuse(reason: object) -> NoReturn:
    print(f"abn inspect: {reason}", file=sys.stderr)
    raise typer.Exit(NOTHING_DONE)
