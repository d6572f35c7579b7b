"""Two hours' worth of requests in one go: what a server holds must not grow, and what was sent must go.

    python -m benchmarks.soak [--requests 3600] [--seed 0]

A request every two seconds makes 3,600 in two hours. They are the mix of `benchmarks.load`, by visitors who
come, load the page, ask twenty times and go; now and then an upload breaks off or is too large. Memory, threads and
open files are read from /proc after every twentieth request, the first fifth of which warms up. The server keeps
uploads for 20 s instead of an hour; when its sweeps are over, its temporary folder must hold what it held before.
Linux only.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from itertools import islice
from urllib.parse import urlsplit

import httpx
import numpy as np

from abn.common.data import CLASS_NAMES
from benchmarks.mutations import good_files
from benchmarks.requests import mix
from benchmarks.server import Server, served
from benchmarks.steady import Watch
from benchmarks.visitor import Visitor

KEEP_SECONDS = 20
A_VISIT = 20
TORCHS_OWN = "torchinductor_"
"""Torch makes a cache folder of that name, once, when torchvision is first needed: for a blurred baseline."""


def break_off(server: Server) -> None:
    """Begin to upload a picture, and hang up."""
    where = urlsplit(server.url)
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + b"\x89PNG" + bytes(5000)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(head.encode() + body)
        time.sleep(0.05)


def send_too_much(server: Server) -> None:
    """Upload a file that is larger than is accepted."""
    content = bytes(21_000_000)
    with httpx.Client(timeout=120) as http:
        answer = http.post(f"{server.url}gradio_api/upload", files={"files": ("a.png", content)})
    if answer.status_code != 413:
        raise RuntimeError(f"a file of 21 MB was answered with status {answer.status_code}; expected 413")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not A_VISIT <= args.requests <= 1_000_000:
        parser.error(f"--requests is {args.requests}; expected {A_VISIT} to 1000000")
    requests = islice(mix(args.seed, CLASS_NAMES, good_files(np.random.default_rng(args.seed))), args.requests)
    faults: list[str] = []
    started = time.perf_counter()
    with served("--public", "--device", "cpu", "--keep", str(KEEP_SECONDS)) as server:
        watch, visitor = Watch(server), None
        before = set(server.temporary.rglob("*"))
        for number, request in enumerate(requests):
            if number % A_VISIT == 0:
                if visitor is not None:
                    visitor.http.close()
                visitor = Visitor(server.url, session=f"visit-{number}")
                for page in ("", "config"):
                    httpx.get(server.url + page, timeout=120).raise_for_status()
            if number % 50 == 10:
                break_off(server)
            if number % 200 == 30:
                send_too_much(server)
            answer = visitor.ask(request.endpoint, request.content, request.name, **request.values)
            if answer.kind == "lost":
                faults.append(f"request {number} ({request.kind}) was lost: {answer.content}")
            if not server.alive:
                sys.exit(f"the server has ended with {server.process.returncode}, at request {number}")
            if number % A_VISIT == A_VISIT - 1:
                watch.look()
        visitor.http.close()
        took = time.perf_counter() - started
        faults += watch.judge()
        time.sleep(5 * KEEP_SECONDS)  # files go at once to twice their age, and their folders as long after them
        after = set(server.temporary.rglob("*"))
        left = sorted(str(path.relative_to(server.temporary)) for path in after - before)
        left = [path for path in left if not path.startswith(TORCHS_OWN)]
    print(f"temporary files and folders {len(before)} → {len(after)}")
    faults += [f"{path} is left" for path in left]
    print(f"{args.requests} requests in {took:.0f} s, seed {args.seed}; {len(faults)} faults")
    print("\n".join(faults[:20]))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
