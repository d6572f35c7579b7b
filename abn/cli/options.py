"""Options that several subcommands take, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SOURCE = "folder or Hub id (user/repo, user/repo@revision)"

Device = Annotated[str, typer.Option("--device", help="auto, cuda, cuda:1, mps or cpu")]
_data = typer.Option("--data", help="folder with cifar10.npz or torchvision's CIFAR-10")
Data = Annotated[Path, _data]
OptionalData = Annotated[Path | None, _data]
Download = Annotated[bool, typer.Option("--download", help="fetch CIFAR-10 into --data if it is not there")]
Checkpoint = Annotated[Path, typer.Argument(help="a checkpoint's folder")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="images at once, instead of what suits the device")
]

Baseline = Annotated[
    str | None, typer.Option("--baseline", envvar="ABN_BASELINE", metavar="SOURCE", help=f"first network: {SOURCE}")
]
Dmb = Annotated[
    str | None, typer.Option("--dmb", envvar="ABN_DMB", metavar="SOURCE", help=f"second network: {SOURCE}")
]

Recipe = Annotated[str, typer.Option("--recipe", help="paper, quick or strong")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="instead of the recipe's number")]
EvaluateEvery = Annotated[int, typer.Option("--evaluate-every", min=1, help="epochs between evaluations")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="of the weights and the batches")]
Compile = Annotated[
    bool, typer.Option("--compile", help="torch.compile the network (faster; needs a C++ compiler on a CPU)")
]
Results = Annotated[Path, typer.Option("--out", help="folder of the results, to be committed")]
Runs = Annotated[Path, typer.Option("--runs", help="folder of the runs' states")]
