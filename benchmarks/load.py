"""The app under load: a seeded mix of requests, every answer compared with the one computed alone.

    python -m benchmarks.load [--clients 8] [--requests 1000] [--alone 200] [--url http://127.0.0.1:7860] [--seed 0]

Starts the app as a process of its own, or uses one of this machine, which must serve the checkpoints of this
repository. First one client sends the first `--alone` requests, then all clients send all of them. Prints latency
percentiles for each kind of request and the throughput, of one client and of many; ends with status 1 if an answer
is lost, wrong, or another request's.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from itertools import islice

import numpy as np
import torch

from abn.app.inspector.inspector import Inspector
from abn.checkpoints.network import BASELINE, DMB, load_network
from abn.common.devices import describe_hardware
from benchmarks.mutations import good_files
from benchmarks.options import require_at_least_one
from benchmarks.requests import TOLERANCE, Request, difference, mix
from benchmarks.server import served
from benchmarks.visitor import Answer, Visitor, require_loopback

MOST_REQUESTS, MOST_CLIENTS = 20_000, 64


def send(url: str, requests: list[Request], clients: int, seconds: float) -> tuple[dict[int, Answer], float]:
    """Have several clients send requests, each its next one as soon as it has its answer.

    Returns:
        Answers by the number of the request, and the seconds that all took; after `seconds` no more are sent.
    """
    visitors = [Visitor(url, session=f"load-{clients}-{number}") for number in range(clients)]
    answers: dict[int, Answer] = {}
    left, lock = iter(enumerate(requests)), threading.Lock()
    started = time.perf_counter()

    def visit(visitor: Visitor) -> None:
        while time.perf_counter() - started < seconds:
            with lock:
                number, request = next(left, (None, None))
            if request is None:
                return
            answers[number] = visitor.ask(request.endpoint, request.content, request.name, **request.values)

    threads = [threading.Thread(target=visit, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    for visitor in visitors:
        visitor.http.close()
    return answers, took


def report(requests: list[Request], one: dict[int, Answer], many: dict[int, Answer], clients: int) -> None:
    """The table of latencies, in ms, by kind of request."""
    print(f"| kind of request | n | 1 client: p50, p95 | {clients} clients: p50, p95, p99 | p50, ratio |")
    print("|---|---|---|---|---|")
    kinds: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for side, answers in enumerate((one, many)):
        for number, answer in answers.items():
            for kind in (requests[number].kind, "all"):
                kinds[kind][side].append(1000 * answer.seconds)
    for kind, (alone, together) in sorted(kinds.items(), key=lambda item: (item[0] == "all", item[0])):
        first = np.percentile(alone, [50, 95]) if alone else [np.nan, np.nan]
        then = np.percentile(together, [50, 95, 99]) if together else [np.nan] * 3
        print(
            f"| {kind} | {len(alone)} + {len(together)} | {first[0]:.0f}, {first[1]:.0f} | "
            f"{then[0]:.0f}, {then[1]:.0f}, {then[2]:.0f} | {then[0] / first[0]:.2f} |"
        )


def check(requests: list[Request], answers: dict[int, Answer], expected: list, what: str) -> bool:
    """Say how many answers are right, and show the first that are not."""
    wrong, largest, exact = [], 0.0, 0
    for number, request in enumerate(requests):
        if number not in answers:  # the time was up
            continue
        answer = answers[number]
        off = difference(answer, expected[number])
        if off is None or off > TOLERANCE:
            wrong.append(f"  {number} {request.kind} {request.name} {request.values}: {off}, {answer.text[:200]}")
        else:
            largest, exact = max(largest, off), exact + (off == 0)
    lost = sum(answer.kind == "lost" for answer in answers.values())
    print(
        f"{what}: {len(answers)} of {len(requests)} sent, {lost} lost, {len(wrong)} other than computed alone; "
        f"{exact} exactly the same, the largest difference is {largest:.1e} of the largest value (accepted: "
        f"{TOLERANCE:.0e})"
    )
    print("\n".join(wrong[:10]), end="\n" if wrong else "")
    return not wrong and len(answers) == len(requests)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=200, help="requests that one client sends beforehand")
    parser.add_argument("--url", help="of a running app on this machine; by default one is started")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30, help="after which a phase sends no more")
    args = parser.parse_args()
    require_at_least_one(parser, args, "alone")
    if not (1 <= args.clients <= MOST_CLIENTS and 1 <= args.requests <= MOST_REQUESTS):
        parser.error(f"expected 1 to {MOST_CLIENTS} clients and 1 to {MOST_REQUESTS} requests")
    try:
        url = require_loopback(args.url) if args.url else None
    except ValueError as error:
        parser.error(f"--url: {error}")
    device = torch.device("cpu")
    inspector = Inspector(load_network(None, BASELINE), load_network(None, DMB), device)
    files = good_files(np.random.default_rng(args.seed))
    requests = list(islice(mix(args.seed, inspector.class_names, files), args.requests))
    started = time.perf_counter()
    expected = [request.expected(inspector) for request in requests]
    computed = time.perf_counter() - started
    print(f"{describe_hardware(device)}, torch {torch.__version__}; {args.requests} requests, seed {args.seed}")
    print(f"computed alone, in process: {len(requests) / computed:.1f} requests/s")
    few = requests[: args.alone]
    with ExitStack() as stack:
        if url is None:
            url = stack.enter_context(served("--public", "--device", "cpu")).url
        send(url, few[:10], 1, 60)  # the first requests of a process load what is loaded late
        one, took_one = send(url, few, 1, 60 * args.minutes)
        many, took_many = send(url, requests, args.clients, 60 * args.minutes)
    report(requests, one, many, args.clients)
    throughput = len(one) / took_one, len(many) / took_many
    print(
        f"requests/s: 1 client {throughput[0]:.2f}, {args.clients} clients {throughput[1]:.2f}, "
        f"ratio {throughput[1] / throughput[0]:.2f}"
    )
    right = [
        check(few, one, expected, "1 client"),
        check(requests, many, expected, f"{args.clients} clients"),
    ]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
