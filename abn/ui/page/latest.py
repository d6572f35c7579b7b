"""Numbers for each visitor's requests, so that an older request's answer is never shown after a newer one's."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict


class Superseded(Exception):  # noqa: N818  (nothing went wrong)
    """A newer request of the same visitor has begun: discard this one's answer."""


class Latest:
    """A number for every request; safe under threads. The oldest of many visitors are forgotten."""

    def __init__(self, visitors: int = 10_000) -> None:
        self._visitors = visitors
        self._newest: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def begin(self, visitor: str | None, what: str = "") -> int:
        """A number for a request that begins now, higher than all before it.

        Args:
            what: is asked for, as `newest` tells it.
        """
        with self._lock:
            number = next(self._numbers)
            self._newest[visitor or ""] = number, what
            self._newest.move_to_end(visitor or "")
            if len(self._newest) > self._visitors:
                self._newest.popitem(last=False)
            return number

    def require(self, visitor: str | None, number: int) -> None:
        """Raise Superseded if the visitor has begun another request since."""
        with self._lock:
            if self._newest.get(visitor or "", (number, ""))[0] != number:
                raise Superseded

    def newest(self, visitor: str | None) -> str:
        """What the visitor's newest request asks for; "" where that was not said, or is forgotten."""
        with self._lock:
            return self._newest.get(visitor or "", (0, ""))[1]
