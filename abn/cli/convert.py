"""`abn convert`: official weights as a checkpoint."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import ends_in_a_sentence, require_known

Normalisation = tuple[float, float, float]


def convert(
    file: Annotated[Path, typer.Argument(help=".pt, .pth or .safetensors with the official names")],
    folder: Annotated[Path, typer.Argument(help="a new folder for the checkpoint")],
    entry: Annotated[
        str | None, typer.Option(help="where in the file the weights stand, e.g. model_ema, if several do")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="found by the names unless given")] = None,
    class_names: Annotated[
        str | None, typer.Option(metavar="NAMES", help="a,b,c in the order of the logits; or a file, one a line")
    ] = None,
    license: Annotated[str | None, typer.Option(help="of the weights, as the Hub calls it, e.g. mit")] = None,
    mean: Annotated[
        Normalisation | None, typer.Option(help="the images' mean, on the scale 0…1; CIFAR-10's unless given")
    ] = None,
    std: Annotated[
        Normalisation | None, typer.Option(help="their standard deviation; CIFAR-10's unless given")
    ] = None,
) -> None:
    """Make a checkpoint of official weights.

    Of a state dict with the official implementation's names; runs no code from the file.
    """
    from abn.checkpoints.convert import convert_checkpoint
    from abn.checkpoints.info import CheckpointError
    from abn.checkpoints.store import load_checkpoint
    from abn.common.data import MEAN, STD
    from abn.models.registry import ARCHITECTURES

    if arch is not None:
        require_known(arch, sorted(ARCHITECTURES), "--arch")
    stopped = "what was not finished has no effect"
    with ends_in_a_sentence("abn convert", CheckpointError, stopped=stopped), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about a file that is damaged
        names = None if class_names is None else read_class_names(class_names)
        made = convert_checkpoint(
            file,
            folder,
            entry=entry,
            architecture=arch,
            class_names=names,
            mean=mean or MEAN,
            std=std or STD,
            license=license,
        )
        info = load_checkpoint(made).info
        banks = f", K = {info.num_biases}" if info.num_biases else ""
        classes = f"{len(info.class_names)} classes ({', '.join(info.class_names)})"
        print(f"{info.architecture}, {classes}{banks} in {made}")


def read_class_names(given: str) -> list[str]:
    """Names from "a,b,c", or from a text file with one a line.

    Raises:
        CheckpointError: for a file that is no text.
    """
    from abn.checkpoints.info import CheckpointError

    try:
        text = Path(given).read_text(encoding="utf-8") if os.path.isfile(given) else given.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8"
        reason = f"the class names cannot be read ({why}); expected a text file, one name a line"
        raise CheckpointError(reason, given) from error
    return [name.strip() for name in text.splitlines() if name.strip()]
