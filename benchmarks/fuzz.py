"""Mutated files against the running app: no crash, no trace of the server in an answer, no empty error, flat memory.

    python -m benchmarks.fuzz [--files 2000] [--seed 0]

Files are mutations of good ones in every format, see `benchmarks.mutations`. Each is sent to a server started for
it, must be accepted exactly if it is in this process, and must be answered alike. Linux only: memory is read from
/proc, after every tenth file; the first fifth of the files warms up, and then it may grow by 5 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy as np

from abn.app.pictures.formats import PictureError
from abn.app.pictures.reading import read_picture
from benchmarks.mutations import TRACE, good_files, mutated
from benchmarks.server import served
from benchmarks.steady import Watch
from benchmarks.visitor import Answer, Visitor


def fault(answer: Answer, content: bytes) -> str | None:
    """What is wrong with an answer, or None."""
    if TRACE.search(answer.text):
        return "shows a trace of the server"
    try:
        read_picture(content)
    except PictureError as error:
        if answer.kind != "error":
            return f"was accepted; expected: {error}"
        return None if answer.content == str(error) else f"expected: {error}"
    return None if answer.kind == "complete" else "was refused, or lost"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not 10 <= args.files <= 100_000:
        parser.error(f"--files is {args.files}; expected 10 to 100000")
    random = np.random.default_rng(args.seed)
    files = good_files(random)
    faults, kinds = [], Counter()
    started = time.perf_counter()
    with served("--public", "--device", "cpu") as server:
        visitor, watch = Visitor(server.url), Watch(server)
        for number in range(args.files):
            name, content = mutated(random, files)
            endpoint = "attribute" if number % 10 == 0 else "inspect"
            answer = visitor.ask(endpoint, content, name)
            kinds[answer.kind] += 1
            if problem := fault(answer, content):
                faults.append(f"file {number} ({name}) {problem}: {answer.kind} {answer.text[:200]}")
            if not server.alive:
                faults.append(f"file {number} ({name}): the server has ended with {server.process.returncode}")
                break
            if number % 10 == 9:
                watch.look()
        took = time.perf_counter() - started
        traces = server.log.read_text().count("Traceback")
        faults += watch.judge() if server.alive else []
    if traces:
        faults.append(f"the server logged {traces} tracebacks")
    print(f"{sum(kinds.values())} files in {took:.0f} s, seed {args.seed}: {dict(kinds)}; {len(faults)} faults")
    print("\n".join(faults[:20]))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
