"""Bytes that the server sends for one inspection, by the component that they are for.

    python -m benchmarks.payload [--top 20]

Starts the app, uploads a picture in Chromium, and counts what comes through the queue's stream until the page is
quiet: the stream is not compressed, so its bytes are the ones on the line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.page import BROWSER_OPTIONS, pictures
from benchmarks.server import served

# Reads a copy of every stream of the queue; `sent` is all that came.
LISTEN = """
window.sent = '';
const plain = window.fetch;
window.fetch = async (...what) => {
  const answer = await plain(...what);
  if (!String(what[0]?.url ?? what[0]).includes('queue/data')) return answer;
  const [mine, theirs] = answer.body.tee();
  (async () => {
    const reader = mine.getReader(), decoder = new TextDecoder();
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      window.sent += decoder.decode(value, {stream: true});
    }
  })();
  return new Response(theirs, {headers: answer.headers, status: answer.status});
};
"""
QUIET_MS = 4000


def labels(config: dict) -> dict[int, str]:
    """Component id → what it is called."""
    return {
        part["id"]: f"{part['type']} {part['props'].get('elem_id') or part['props'].get('label') or part['id']}"
        for part in config["components"]
    }


def sizes(stream: str, events: dict[str, int], config: dict) -> Counter:
    """Bytes by component, and what is left as the stream's own."""
    names = labels(config)
    outputs = {dependency["id"]: dependency["outputs"] for dependency in config["dependencies"]}
    counted: Counter = Counter()
    for line in stream.splitlines():
        if not line.startswith("data:"):
            continue
        message = json.loads(line[5:])
        parts = 0
        if message["msg"] == "process_completed" and message.get("event_id") in events:
            values = (message.get("output") or {}).get("data") or []
            for component, value in zip(outputs[events[message["event_id"]]], values, strict=False):
                size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
                counted[names[component]] += size
                parts += size
        counted[f"(around it: {message['msg']})"] += len(line.encode()) - parts
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.payload", description=__doc__.splitlines()[0])
    parser.add_argument("--top", type=int, default=20)
    args = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("no Chromium on the PATH: install Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        served("--device", "cpu") as server,
        sync_playwright() as playwright,
    ):
        path = pictures(Path(folder))[0]
        config = httpx.get(f"{server.url}config", timeout=120).json()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER_OPTIONS)
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.add_init_script(LISTEN)
        events: dict[str, int] = {}

        def joined(answer) -> None:
            if answer.url.split("?")[0].endswith("queue/join"):
                events[answer.json()["event_id"]] = answer.request.post_data_json["fn_index"]

        page.on("response", joined)
        page.goto(server.url)
        page.wait_for_selector("#factor-heatmap .js-plotly-plot")

        def all_sent() -> str:
            """The stream, once nothing has come for a while."""
            while True:
                before = page.evaluate("window.sent.length")
                page.wait_for_timeout(QUIET_MS)
                if page.evaluate("window.sent.length") == before:
                    return page.evaluate("window.sent")

        opened = all_sent()
        page.locator("#picture input[type=file]").first.set_input_files(path)
        page.wait_for_timeout(QUIET_MS)
        stream = all_sent()[len(opened) :]
        counted = sizes(stream, events, config)
        browser.close()
    print(f"one inspection: {len(stream.encode()) / 1000:.1f} kB over the queue's stream")
    print("| component | kB | share |")
    print("|---|---|---|")
    for name, size in counted.most_common(args.top):
        print(f"| {name} | {size / 1000:.1f} | {100 * size / counted.total():.0f} % |")


if __name__ == "__main__":
    main()
