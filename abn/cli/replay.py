"""`abn replay`: an export computed anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from abn.cli.errors import NOTHING_DONE, SOME_FAILED
from abn.cli.options import SOURCE, Device

Network = Annotated[str | None, typer.Option(metavar="SOURCE", help=f"{SOURCE}; the export's own by default")]


def replay(
    bundle: Annotated[Path, typer.Argument(help="a bundle's folder, its zip, or its result.json")],
    baseline: Network = None,
    dmb: Network = None,
    device: Device = "auto",
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="share of a quantity's largest value; 0.0001 by default")
    ] = None,
) -> None:
    """Compute a bundle of files anew.

    From its pixels and options; prints the largest difference of every quantity. The weights are found by their
    hash among the checkpoints here, or on the Hub. Exit codes: 0 every number is reproduced within the tolerance,
    1 some are not, 2 nothing was computed.
    """
    from abn.app.bulk.replay import TOLERANCE, circumstances, differences, find_network, open_bundle, table
    from abn.app.bulk.replay import replay as compute_anew
    from abn.app.inspector.inspector import Inspector
    from abn.checkpoints.network import CHECKPOINTS
    from abn.common.devices import choose_device
    from abn.common.memory import DeviceMemoryError

    tolerance = TOLERANCE if tolerance is None else tolerance
    try:
        export = open_bundle(bundle)
        manifest = export.manifest
        inspector = Inspector(
            find_network(manifest.baseline, "baseline", baseline, CHECKPOINTS),
            find_network(manifest.dmb, "dmb", dmb, CHECKPOINTS),
            choose_device(device),
        )
        again, problem = compute_anew(export, inspector)
    except (ValueError, DeviceMemoryError) as error:  # ExportError, CheckpointError, DeviceError and others
        print(f"abn replay: {error}", file=sys.stderr)
        raise typer.Exit(NOTHING_DONE) from error
    found = differences(export, again)
    others = circumstances(manifest, again.manifest)
    name = manifest.picture.name or "a picture without a name"
    print(f"{name}, pixels {manifest.pixels_sha256[:12]}…, exported with abn {manifest.versions.get('abn')}")
    print("\n".join(["Other than then:", *(f"  {line}" for line in others)]) if others else "All is as it was then.")
    print(f"\n{table(found, tolerance)}\n")
    beyond = sum(not one.within(tolerance) for one in found)
    if problem is not None:
        print(f"The attribution could not be computed anew: {problem}.")
    limit = f"{tolerance:g} of its largest value"
    if beyond or problem is not None:
        print(f"Not reproduced: {beyond} of {len(found)} quantities, each by more than {limit}.")
        raise typer.Exit(SOME_FAILED)
    print(f"Reproduced: no quantity differs by more than {limit}.")
