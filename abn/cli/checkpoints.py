"""What `python -m abn.cli.checkpoints` can do: push a checkpoint to the Hub, convert official weights."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from abn.checkpoints.hub.address import require_importable
from abn.checkpoints.info import CheckpointError
from abn.common.data import MEAN, STD
from abn.interpret.reference.file import ReferenceFileError
from abn.models.resnet import ARCHITECTURES


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m abn.cli.checkpoints", description="Push or convert a checkpoint."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    push = commands.add_parser("push", help="upload a checkpoint to the Hub", description="Upload to the Hub.")
    push.add_argument("folder", type=Path, help="the checkpoint's folder")
    push.add_argument("repo", help="user/repo; made where there is none")
    push.add_argument("--private", action="store_true", help="readable with a token of its owners alone")
    push.add_argument("--message", help="of the commit")
    push.add_argument("--revision", default="main", help="a branch; made from main where there is none")
    push.add_argument("--timeout", type=float, default=60.0, help="seconds of silence allowed (default 60)")

    convert = commands.add_parser(
        "convert", help="make a checkpoint of official weights", description="Make a checkpoint of official weights."
    )
    convert.add_argument("file", type=Path, help=".pt, .pth or .safetensors with the official names")
    convert.add_argument("folder", type=Path, help="a new folder for the checkpoint")
    convert.add_argument("--entry", help="where in the file the weights stand, e.g. model_ema, if several do")
    convert.add_argument("--arch", choices=sorted(ARCHITECTURES), help="found by the names unless given")
    convert.add_argument(
        "--class-names", metavar="NAMES", help="a,b,c in the order of the logits; or a file, one a line"
    )
    convert.add_argument("--license", help="of the weights, as the Hub calls it, e.g. mit; left out unless given")
    for name, usual in (("mean", MEAN), ("std", STD)):
        convert.add_argument(
            f"--{name}", type=float, nargs=3, default=usual, metavar=("R", "G", "B"),
            help=f"the images' normalisation, on the scale 0…1 (default CIFAR-10's: {' '.join(map(str, usual))})",
        )  # fmt: skip
    args = parser.parse_args(argv)
    if args.command == "push" and not 0 < args.timeout < float("inf"):
        parser.error(f"--timeout is {args.timeout}; expected a positive number of seconds")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries: hints about a card, or about a file that is damaged
            print(_push(args) if args.command == "push" else _convert(args))
    except (CheckpointError, ReferenceFileError) as error:
        sys.exit(f"abn.checkpoints.store: {error}")
    except KeyboardInterrupt:
        sys.exit("abn.checkpoints.store: stopped; what was not finished has no effect")


def _push(args: argparse.Namespace) -> str:
    require_importable(args.repo)
    from huggingface_hub.utils import disable_progress_bars, logging

    from abn.checkpoints.push import push_checkpoint

    logging.set_verbosity_error()  # what it warns of is either meant, or said by us
    disable_progress_bars()  # it draws one for no files
    return push_checkpoint(
        args.folder, args.repo, private=args.private, message=args.message, revision=args.revision,
        timeout=args.timeout,
    )  # fmt: skip


def _convert(args: argparse.Namespace) -> str:
    from abn.checkpoints.convert import convert_checkpoint
    from abn.checkpoints.store import load_checkpoint

    names = None if args.class_names is None else read_class_names(args.class_names)
    folder = convert_checkpoint(
        args.file,
        args.folder,
        entry=args.entry,
        architecture=args.arch,
        class_names=names,
        mean=args.mean,
        std=args.std,
        license=args.license,
    )
    info = load_checkpoint(folder).info
    banks = f", K = {info.num_biases}" if info.num_biases else ""
    return f"{info.architecture}, {len(info.class_names)} classes ({', '.join(info.class_names)}){banks} in {folder}"


def read_class_names(given: str) -> list[str]:
    """Names from "a,b,c", or from a text file with one a line.

    Raises:
        CheckpointError: for a file that is no text.
    """
    try:
        text = Path(given).read_text(encoding="utf-8") if os.path.isfile(given) else given.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8"
        reason = f"the class names cannot be read ({why}); expected a text file, one name a line"
        raise CheckpointError(reason, given) from error
    return [name.strip() for name in text.splitlines() if name.strip()]


if __name__ == "__main__":
    main()
