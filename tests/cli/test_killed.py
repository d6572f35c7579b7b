"""A server that is killed in the middle of work starts again clean."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from benchmarks.server import served
from benchmarks.visitor import Answer, Visitor
from tests.conftest import HOME

SHIP = (HOME / "assets" / "examples" / "ship.png").read_bytes()

pytestmark = pytest.mark.skipif(os.name != "posix", reason="asks the system for processes, in the way of POSIX")


def uploads(temporary: Path) -> dict[str, list[Path]]:
    """The upload folder of each process, with the files in it that a visitor sent."""
    folders = temporary.glob(f"adaptive-bias-networks-{os.getuid()}/*")
    return {folder.name: list(folder.rglob("ship.png")) for folder in folders if folder.is_dir()}


@pytest.mark.process
def test_killed_with_requests_in_flight_it_starts_again_clean(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    networks = ("--baseline", str(checkpoints / "resnet-s"), "--dmb", str(checkpoints / "resnet-dmb"))
    answers: list[Answer] = []
    with served(*networks, temporary=tmp_path) as server:
        first = server.process.pid
        (folder,) = uploads(tmp_path)
        visitors = [Visitor(server.url, timeout=60) for _ in range(3)]

        def ask(visitor: Visitor) -> None:
            slow = {"method": "integrated_gradients", "steps": 512}
            answers.append(visitor.ask("attribute", SHIP, "ship.png", **slow))

        threads = [threading.Thread(target=ask, args=(visitor,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        while len(uploads(tmp_path)[folder]) == 0:
            assert any(thread.is_alive() for thread in threads)
        os.kill(first, signal.SIGKILL)
        for thread in threads:
            thread.join(120)
        assert server.process.wait(60) == -signal.SIGKILL
    assert [answer.kind for answer in answers] == ["lost"] * 3
    assert len(uploads(tmp_path)[folder]) > 0, "a killed process cannot have swept its folder"
    with served(*networks, temporary=tmp_path) as server:
        (again,) = uploads(tmp_path)
        assert again != folder and uploads(tmp_path) == {again: []}
        answer = Visitor(server.url).ask("inspect", SHIP, "ship.png")
        assert answer.kind == "complete"
        assert set(answer.content) >= {"picture", "agree", "baseline", "dmb"}
        assert len(uploads(tmp_path)[again]) == 1
    assert uploads(tmp_path) == {}
