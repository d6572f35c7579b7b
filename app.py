"""The app: joins two networks, the page and a server.

    python app.py [--baseline SOURCE] [--dmb SOURCE] [--data DIR] [--device auto] [--host 127.0.0.1] [--port 7860]

A SOURCE is a folder, or a Hub id such as user/repo or user/repo@revision.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from abn.checkpoints.hub.address import import_problem

if (problem := import_problem()) is not None:  # Gradio imports huggingface_hub
    sys.exit(f"app.py: {problem}")

from abn.app.inspector import zero_gpu
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import Pairs
from abn.checkpoints.network import BASELINE, DMB, load_networks
from abn.checkpoints.store import CheckpointError
from abn.common.data import DataError, load_cifar10
from abn.common.devices import DeviceError, choose_device, share_memory_pools
from abn.common.memory import DeviceMemoryError
from abn.experiment.folder import read_results
from abn.interpret.reference.file import ReferenceFileError
from abn.ui.page.build import KEEP_SECONDS, build_page
from abn.ui.serving import serve
from abn.ui.upload_folder import use_own_folder

HOME = Path(__file__).resolve().parent


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="app.py", description="Look inside two networks, picture by picture.")
    source = "folder or Hub id (user/repo, user/repo@revision)"
    parser.add_argument("--baseline", default=os.environ.get("ABN_BASELINE"), help=f"{source}; also ABN_BASELINE")
    parser.add_argument("--dmb", default=os.environ.get("ABN_DMB"), help=f"{source}; also ABN_DMB")
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10, to draw real test images from")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=int, help="the first free one from 7860 on, unless named")
    parser.add_argument(
        "--public", action="store_true",
        help="strangers reach the page, as through a proxy on this machine: they name Hub ids and no folder of it",
    )  # fmt: skip
    parser.add_argument(
        "--keep", type=int, default=KEEP_SECONDS, metavar="SECONDS", help="age at which a sweep deletes an upload"
    )
    parser.add_argument("--mcp", action="store_true", help="also serve the endpoints as MCP tools (gradio[mcp])")
    args = parser.parse_args(argv)
    if args.port is not None and not 1 <= args.port <= 65535:
        parser.error(f"--port is {args.port}; expected 1 to 65535")
    if ":" in args.host:
        parser.error(f"--host is {args.host}; expected an IPv4 address or a name, such as 127.0.0.1 or 0.0.0.0")
    if args.keep < 1:
        parser.error(f"--keep is {args.keep}; expected at least 1 second")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    share_memory_pools()
    try:
        make, device = Inspector, args.device
        if zero_gpu.is_lent():  # then this process has no GPU, though torch says so
            make, device = zero_gpu.BorrowingInspector, "cpu"
        networks = load_networks((args.baseline or None, args.dmb or None), (BASELINE, DMB))
        for network in networks:
            if network.stands_in:  # the page of a public server keeps to what its visitors can do about it
                print(f"app.py: {network.notice}", file=sys.stderr)
        inspector = make(*networks, choose_device(device))
        data = load_cifar10(args.data) if args.data else None
    except (CheckpointError, DataError, ReferenceFileError, DeviceError, DeviceMemoryError) as error:
        sys.exit(f"app.py: {error}")
    scratch = use_own_folder()
    examples = sorted((HOME / "assets" / "examples").glob("*.png"), key=lambda path: path.stem)
    # Strangers are not told what is on this machine: folders only where the page is served to this machine alone.
    local = args.host in ("127.0.0.1", "localhost") and not args.public and "SPACE_ID" not in os.environ
    pairs = Pairs(inspector, folders=local, scratch=scratch)
    page = build_page(pairs, examples, data, args.keep, read_results(HOME / "results"))
    serve(page, args.host, args.port, mcp=args.mcp, public=not local)


if __name__ == "__main__":
    main()
