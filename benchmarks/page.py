"""What the page adds: its whole answer to an upload, against an empty Gradio event plus two forward passes.

    python -m benchmarks.page [--rounds 20]

Serves the page with the checkpoints in this repository and, beside it, a page whose one event does
nothing; then asks both in turns, by gradio_client and (where there is one) in Chromium. In the browser
the first result is there when the page says what the networks call the new picture, and the whole answer counts when
the heatmap shows its numbers. Each is given as p50 and p95 of the rounds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import gradio as gr
import numpy as np
import torch
from gradio_client import Client, handle_file

from abn.app.figures.drawing import block_factors
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import Pairs
from abn.app.pictures.fitting import enlarge, fit
from abn.app.pictures.reading import read_picture
from abn.checkpoints.network import BASELINE, DMB, load_network
from abn.common.data import normalise, to_pixels
from abn.common.devices import choose_device, describe_hardware
from abn.ui.page.build import build_page
from abn.ui.serving import free_port, launch
from abn.ui.words import agreement
from benchmarks.options import require_at_least_one
from benchmarks.timing import interleaved, ratio

HOST = "127.0.0.1"
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
EMPTY_TEXT = "() => document.querySelector('#count textarea').value"
FIRST_CELL = (
    "v => Math.abs((document.querySelector('#factor-heatmap .js-plotly-plot')?._fullData"
    "?.find(t => t.type === 'heatmap')?.z[0][0] ?? NaN) - v) < 1e-4"
)
FIRST_RESULT = "v => document.querySelector('#agreement')?.textContent.includes(v)"


def empty_page() -> gr.Blocks:
    """A page whose one event counts."""
    with gr.Blocks(analytics_enabled=False) as page:
        count = gr.Textbox("0", elem_id="count")
        gr.Button("go", elem_id="go").click(lambda text: str(int(text) + 1), count, count, api_name="empty")
    page.queue(api_open=False)
    return page


def pictures(folder: Path) -> list[Path]:
    """Four pictures of 256 × 256 pixels, made from noise."""
    random = np.random.default_rng(0)
    paths = []
    for index in range(4):
        paths.append(folder / f"{index}.png")
        enlarge(random.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(paths[-1])
    return paths


def two_forwards(inspector: Inspector, pixels: np.ndarray) -> None:
    images = normalise(to_pixels(pixels[None]).to(inspector.device))
    with torch.no_grad():
        for network in inspector.networks:
            network.model(images)


def by_client(url: str, empty_url: str, inspector: Inspector, path: Path, rounds: int) -> None:
    page, empty = Client(url, verbose=False), Client(empty_url, verbose=False)
    pixels = fit(read_picture(path)).pixels
    seconds = interleaved(
        {
            "page": lambda: page.predict(handle_file(str(path)), api_name="/inspect"),
            "empty": lambda: empty.predict("0", api_name="/empty"),
            "forwards": lambda: two_forwards(inspector, pixels),
        },
        rounds,
        inspector.device,
    )
    report("gradio_client, /inspect", seconds)


def by_browser(url: str, empty_url: str, inspector: Inspector, paths: list[Path], rounds: int) -> None:
    from playwright.sync_api import sync_playwright

    results = [inspector.inspect(fit(read_picture(path)).pixels) for path in paths]
    first_cells = [float(block_factors(result.dmb)[0].deviation[0]) for result in results]
    sentences = [agreement(result).replace("*", "") for result in results]
    if len(set(sentences)) < len(paths):
        raise RuntimeError("two pictures have the same sentence: which one is shown could not be told")
    seconds: dict[str, list[float]] = {"first": [], "page": [], "empty": [], "forwards": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER_OPTIONS)
        page, empty = browser.new_page(), browser.new_page()
        page.goto(url)
        page.wait_for_selector("#picture input[type=file]", state="attached", timeout=120_000)
        empty.goto(empty_url)
        empty.wait_for_selector("#go")
        for turn in range(rounds + 2):
            which = turn % len(paths)
            started = time.perf_counter()
            page.locator("#picture input[type=file]").first.set_input_files(paths[which])
            page.wait_for_function(FIRST_RESULT, arg=sentences[which], timeout=60_000)
            first = time.perf_counter()
            page.wait_for_function(FIRST_CELL, arg=first_cells[which], timeout=60_000)
            answered = time.perf_counter()
            page.wait_for_timeout(1500)  # the other plots of this answer
            clicked = time.perf_counter()
            empty.click("#go")
            empty.wait_for_function(f"v => ({EMPTY_TEXT})() === v", arg=str(turn + 1))
            counted = time.perf_counter()
            two_forwards(inspector, fit(read_picture(paths[which])).pixels)
            done = time.perf_counter()
            if turn >= 2:
                spans = (first - started, answered - started, counted - clicked, done - counted)
                for name, span in zip(seconds, spans, strict=True):
                    seconds[name].append(span)
        browser.close()
    report("Chromium, upload to first result", seconds | {"page": seconds["first"]})
    report("Chromium, upload to heatmap", seconds)


def report(name: str, seconds: dict[str, list[float]]) -> None:
    floor = [a + b for a, b in zip(seconds["empty"], seconds["forwards"], strict=True)]
    least = 1000 * statistics.median(floor)
    (whole, slow), (empty, empty_slow) = (
        1000 * np.percentile(values, [50, 95]) for values in (seconds["page"], seconds["empty"])
    )
    print(
        f"| {name} | {whole:.0f}, {slow:.0f} | {empty:.0f}, {empty_slow:.0f} | {least:.0f} | "
        f"{ratio(seconds['page'], seconds['empty']):.2f} | {ratio(seconds['page'], floor):.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    require_at_least_one(parser, args, "rounds")
    device = choose_device("auto")
    inspector = Inspector(load_network(None, BASELINE), load_network(None, DMB), device)
    page, empty = build_page(Pairs(inspector, folders=False), []), empty_page()
    url = launch(page, HOST, free_port(HOST))
    _, empty_url, _ = empty.launch(
        server_name=HOST, server_port=free_port(HOST), prevent_thread_lock=True, quiet=True
    )
    print(f"{describe_hardware(device)}, torch {torch.__version__}, gradio {gr.__version__}, {args.rounds} rounds")
    print("| answer | p50, p95, ms | empty event: p50, p95, ms | with two forwards, ms | ratio | ratio, with them |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder))
        by_client(url, empty_url, inspector, paths[0], args.rounds)
        if shutil.which("chromium"):
            by_browser(url, empty_url, inspector, paths, args.rounds)
        else:
            print("no Chromium on the PATH: the browser's row is left out")
    page.close()
    empty.close()


if __name__ == "__main__":
    main()
