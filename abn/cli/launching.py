"""The app put together: two networks, the page and a server."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from abn.app.inspector import zero_gpu
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import Pairs
from abn.checkpoints.network import BASELINE, DMB, load_networks
from abn.checkpoints.store import CheckpointError
from abn.common.bundled import bundled
from abn.common.data import DataError, load_cifar10
from abn.common.devices import DeviceError, choose_device, share_memory_pools
from abn.common.memory import DeviceMemoryError
from abn.experiment.folder import read_results
from abn.interpret.reference.file import ReferenceFileError
from abn.ui.page.build import KEEP_SECONDS, build_page
from abn.ui.serving import free_port, launch, serve
from abn.ui.upload_folder import use_own_folder


@dataclass(frozen=True)
class Settings:
    """What `abn app` takes.

    Attributes:
        baseline, dmb: folders or Hub ids; None for the checkpoints that come with the code.
        data: folder with CIFAR-10, or None.
        port: None for the first free one.
        public: whether strangers reach the page though its server listens to this machine alone.
        keep: seconds after which an upload is deleted.
        mcp: whether the endpoints are served as MCP tools too.
    """

    baseline: str | None = None
    dmb: str | None = None
    data: Path | None = None
    device: str = "auto"
    host: str = "127.0.0.1"
    port: int | None = None
    public: bool = False
    keep: int = KEEP_SECONDS
    mcp: bool = False

    @property
    def local(self) -> bool:
        """Whether this machine alone reaches the page; strangers are not told what is on it, so no folders then."""
        return self.host in ("127.0.0.1", "localhost") and not self.public and "SPACE_ID" not in os.environ


def make_page(settings: Settings, program: str) -> gr.Blocks:
    """The page with its networks, not served yet.

    Args:
        program: named where a network is replaced by another, which is told on stderr.

    Raises:
        CheckpointError, ReferenceFileError, DataError, DeviceError, DeviceMemoryError: for what cannot be had.
    """
    make, device = Inspector, settings.device
    if zero_gpu.is_lent():  # then this process has no GPU, though torch says so
        make, device = zero_gpu.BorrowingInspector, "cpu"
    networks = load_networks((settings.baseline, settings.dmb), (BASELINE, DMB))
    for network in networks:
        if network.stands_in:  # the page of a public server keeps to what its visitors can do about it
            print(f"{program}: {network.notice}", file=sys.stderr)
    inspector = make(*networks, choose_device(device))
    data = load_cifar10(settings.data) if settings.data else None
    scratch = use_own_folder()
    examples = sorted(bundled("assets/examples").glob("*.png"), key=lambda path: path.stem)
    pairs = Pairs(inspector, folders=settings.local, scratch=scratch)
    return build_page(pairs, examples, data, settings.keep, read_results(bundled("results")))


def launch_app(**settings: Any) -> str:
    """Serve the app in the background and return its address: for a notebook, or beside a running event loop.

        from abn.cli.launching import launch_app
        address = launch_app(device="cpu")

    The server runs in threads of its own until the process ends.

    Args:
        settings: fields of `Settings`.

    Raises:
        CheckpointError, ReferenceFileError, DataError, DeviceError, DeviceMemoryError: for what cannot be had.
        OSError: where no port is free.
    """
    chosen = Settings(**settings)
    page = make_page(chosen, "launch_app")
    port = free_port(chosen.host) if chosen.port is None else chosen.port
    return launch(page, chosen.host, port, mcp=chosen.mcp, public=not chosen.local)


def serve_app(settings: Settings, program: str) -> None:
    """Serve until interrupted; what a person can mend ends in `SystemExit` with one sentence that names `program`."""
    share_memory_pools()
    try:
        page = make_page(settings, program)
    except (CheckpointError, DataError, ReferenceFileError, DeviceError, DeviceMemoryError) as error:
        sys.exit(f"{program}: {error}")
    serve(page, settings.host, settings.port, mcp=settings.mcp, public=not settings.local)
