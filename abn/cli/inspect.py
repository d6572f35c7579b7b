"""`abn inspect`: many pictures at once, and exports computed anew.

    abn inspect PICTURE_OR_FOLDER … --out DIR
    abn replay BUNDLE

Exit codes: 0 all done, or all reproduced; 1 some pictures failed, or some number differs; 2 nothing could be done, or
all pictures failed; 130 stopped by the keyboard.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from abn.app.bulk import replay, summary
from abn.app.bulk import run as bulk
from abn.app.export import KINDS
from abn.app.inspector.inspector import Inspector, require_other_class
from abn.app.pictures.files import find_pictures
from abn.app.pictures.fitting import FITS
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import BASELINE, CHECKPOINTS, DMB, load_networks
from abn.common.devices import DeviceError, choose_device
from abn.common.memory import DeviceMemoryError
from abn.common.options import require_at_least_one
from abn.interpret.attribution.methods import METHODS, Method, find_method
from abn.interpret.reference.file import ReferenceFileError

PROGRAM = "abn inspect"
SOME_FAILED, NOTHING_DONE, STOPPED = 1, 2, 130


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Of the inspection of pictures; exits with code 2 for nonsense."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Inspect any number of pictures with both networks, and write a bundle of files for each.",
        epilog=f"`{PROGRAM} replay BUNDLE` computes a bundle anew and compares (see its --help). Exit codes: 0 all "
        "pictures done, 1 some failed (they are listed), 2 nothing could be done or all failed, 130 stopped.",
    )
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="picture, or folder with pictures")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to; made if missing")
    _add_networks(parser, ("also ABN_BASELINE", "also ABN_DMB"))
    parser.add_argument("--fit", choices=list(FITS), default="crop", help="centre square, or all with black bars")
    methods = ["none", *METHODS]
    parser.add_argument("--method", choices=methods, default="saliency", help="attribution method (saliency)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the method, e.g. steps=64; repeatable"
    )
    parser.add_argument("--target", metavar="CLASS", help="attributed class (what the second network says)")
    parser.add_argument("--against", metavar="CLASS", help="attribute the target's logit minus this class's")
    parser.add_argument(
        "--kinds", default=",".join(KINDS), metavar="LIST", help=f"files to write ({','.join(KINDS)})"
    )
    parser.add_argument("--zip", action="store_true", help="one zip a picture in place of a folder")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="pictures at once (64)")
    args = parser.parse_args(argv)
    require_at_least_one(parser, args, "batch_size")
    args.kinds = list(dict.fromkeys(filter(None, args.kinds.split(","))))
    unknown = [kind for kind in args.kinds if kind not in KINDS]
    if unknown or not args.kinds:
        parser.error(f"--kinds names {unknown[0] if unknown else 'nothing'!r}; expected some of {','.join(KINDS)}")
    if os.path.exists(args.out) and not os.path.isdir(args.out):  # Path's own raise where a folder is forbidden
        parser.error(f"--out is {args.out}, which is a file; name a folder")
    try:
        args.options = _options(args.method, args.option)
    except ValueError as error:
        parser.error(str(error))
    return args


def _add_networks(parser: argparse.ArgumentParser, otherwise: tuple[str, str]) -> None:
    """Options for networks and device; `otherwise` says what is taken where no network is named."""
    source = "folder or Hub id (user/repo, user/repo@revision)"
    parser.add_argument("--baseline", metavar="SOURCE", help=f"first network: {source}; {otherwise[0]}")
    parser.add_argument("--dmb", metavar="SOURCE", help=f"second network, modulated: {source}; {otherwise[1]}")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")


def _options(method: str, given: list[str]) -> dict[str, Any]:
    """NAME=VALUE texts as the method's options, checked."""
    if method == "none":
        if given:
            raise ValueError(f"--option {given[0]} is given without a method; name one with --method")
        return {}
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


def inspect_pictures(argv: list[str]) -> int:
    """Returns the exit code."""
    args = parse_arguments(argv)
    try:
        sources = (args.baseline or os.environ.get("ABN_BASELINE"), args.dmb or os.environ.get("ABN_DMB"))
        networks = load_networks([source or None for source in sources], (BASELINE, DMB))
        inspector = Inspector(*networks, choose_device(args.device))
        for name in filter(None, (args.target, args.against)):
            inspector.class_index(name)
        if args.target is not None:
            require_other_class(args.target, args.against)
    except (CheckpointError, ReferenceFileError, DeviceError, DeviceMemoryError, ValueError) as error:
        return _refuse(error)
    for network in inspector.networks:
        if network.notice:
            print(network.notice, file=sys.stderr)
    job = bulk.Job(
        args.fit, args.target, args.against, None if args.method == "none" else args.method, args.options,
        args.kinds, args.zip, args.batch_size,
    )  # fmt: skip
    found = list(find_pictures(args.pictures, leave_out=args.out))
    try:
        with tqdm(total=len(found), unit="picture") as bar:
            rows = bulk.run(inspector, found, args.out, job, bar.update)
    except OSError as error:
        return _refuse(f"{args.out} cannot be written to ({error.strerror}); name another folder with --out")
    except KeyboardInterrupt:
        print(
            f"{PROGRAM}: stopped; every bundle in {args.out} is whole",
            file=sys.stderr,
        )
        return STOPPED
    return _tell(rows)


def _tell(rows: list[summary.Row]) -> int:
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


def replay_bundle(argv: list[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} replay",
        description="Compute a bundle anew from its pixels and options, and print the largest difference of every "
        "quantity. The weights are found by their hash among the checkpoints here, or on the Hub.",
        epilog="Exit codes: 0 every number is reproduced within the tolerance, 1 some are not, 2 nothing was "
        "computed.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, its zip, or its result.json")
    _add_networks(parser, ("the export's own", "the export's own"))
    parser.add_argument(
        "--tolerance", type=float, default=replay.TOLERANCE, metavar="SHARE",
        help=f"of a quantity's largest value ({replay.TOLERANCE:g})",
    )  # fmt: skip
    args = parser.parse_args(argv)
    if not args.tolerance >= 0:
        parser.error(f"--tolerance is {args.tolerance}; expected at least 0")
    try:
        export = replay.open_bundle(args.bundle)
        manifest = export.manifest
        inspector = Inspector(
            replay.find_network(manifest.baseline, "baseline", args.baseline, CHECKPOINTS),
            replay.find_network(manifest.dmb, "dmb", args.dmb, CHECKPOINTS),
            choose_device(args.device),
        )
        again, problem = replay.replay(export, inspector)
    except (
        ValueError,
        DeviceMemoryError,
    ) as error:  # ExportError, CheckpointError, DeviceError and others among them
        return _refuse(error)
    differences = replay.differences(export, again)
    others = replay.circumstances(manifest, again.manifest)
    name = manifest.picture.name or "a picture without a name"
    print(f"{name}, pixels {manifest.pixels_sha256[:12]}…, exported with abn {manifest.versions.get('abn')}")
    print("\n".join(["Other than then:", *(f"  {line}" for line in others)]) if others else "All is as it was then.")
    print(f"\n{replay.table(differences, args.tolerance)}\n")
    beyond = sum(not one.within(args.tolerance) for one in differences)
    if problem is not None:
        print(f"The attribution could not be computed anew: {problem}.")
    limit = f"{args.tolerance:g} of its largest value"
    if beyond or problem is not None:
        print(f"Not reproduced: {beyond} of {len(differences)} quantities, each by more than {limit}.")
        return SOME_FAILED
    print(f"Reproduced: no quantity differs by more than {limit}.")
    return 0


def _refuse(reason: object) -> int:
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    return NOTHING_DONE


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    # A picture called "replay" can be named "./replay".
    sys.exit(replay_bundle(argv[1:]) if argv[:1] == ["replay"] else inspect_pictures(argv))


if __name__ == "__main__":
    main()
