"""Start-up to a served page, against importing the libraries that it stands on.

    python -m benchmarks.startup [--rounds 7]

Each is a process of its own, and they take turns: one that imports torch, gradio, plotly and captum, and `app.py`
until a client has the page's HTML. The first round, which fills the system's cache of files, does not count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median
from urllib.request import urlopen

import gradio as gr
import torch

from abn.common.devices import describe_hardware
from benchmarks.options import require_at_least_one
from benchmarks.server import served
from benchmarks.timing import interleaved, ratio

IMPORTS = "import torch, gradio, plotly.graph_objects, captum.attr"


def import_libraries() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def serve_page(seconds: list[float]) -> None:
    """Start the app, fetch the page, and note how long that took; ending the app does not count."""
    started = time.perf_counter()
    with served("--device", "cpu") as server:
        with urlopen(server.url, timeout=120) as page:
            if b"Adaptive Bias Networks" not in page.read():
                raise RuntimeError(f"{server.url} served another page")
        seconds.append(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    require_at_least_one(parser, args, "rounds")
    page: list[float] = []
    seconds = interleaved({"imports": import_libraries, "page": lambda: serve_page(page)}, args.rounds)
    imports, page = seconds["imports"], page[1:]
    print(f"{describe_hardware(torch.device('cpu'))}, torch {torch.__version__}, gradio {gr.__version__}")
    print("| imports, s | served page, s | ratio |")
    print("|---|---|---|")
    print(f"| {median(imports):.2f} | {median(page):.2f} | {ratio(page, imports):.2f} |")


if __name__ == "__main__":
    main()
