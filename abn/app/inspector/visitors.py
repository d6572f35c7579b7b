"""Which two networks each visitor compares: loaded once, shared, and the least used forgotten."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from abn.app.inspector.inspector import Inspector, ready
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.network import Network, open_network
from abn.checkpoints.sources import HubSource, locate
from abn.common.memory import DeviceMemoryError
from abn.interpret.reference.file import ReferenceFileError

MOST_NETWORKS = 8  # kept beside the app's own; each is some tens of megabytes with its reference
MOST_AT_ONCE = 4  # loaded from the Hub; each takes a thread of the server for as long as the Hub takes
MOST_WAITING = 8  # for a network that another visitor's request is loading; each takes a thread as well
MOST_BYTES = 50_000_000  # of a checkpoint on the Hub; ours have 17 million
MOST_SECONDS = 120.0  # of fetching one, in which it keeps one of the few places
RENEW_EVERY = 300.0  # seconds, of a network that lacks something
Place = Path | HubSource


class BusyError(CheckpointError):
    """So many networks are being loaded, or waited for, that one more has no place: it has in a moment."""


@dataclass(frozen=True)
class Choice:
    """A network that was chosen: where it is, and with which weights."""

    place: Place
    weights_sha256: str


@dataclass(frozen=True)
class Pair:
    """What one visitor compares; None on a side is the network the app was started with."""

    baseline: Choice | None = None
    dmb: Choice | None = None


OWN = Pair()
"""The two networks the app was started with."""


class Pairs:
    """The inspectors of all visitors, safe under threads.

    A visitor's choice is a `Pair`, which is small and names no loaded network: what was forgotten meanwhile is loaded
    anew (for strangers only where nobody else waits), a Hub's checkpoint from the very commit it was chosen at, and a
    folder's only if its weights are still those that were chosen: no result mixes two networks.

    What strangers name from the Hub is kept in memory alone: its files are deleted once they are read, or found to
    be of no use. So strangers neither fill the disk nor touch the cache of whoever runs the server.
    """

    def __init__(
        self, own: Inspector, *, folders: bool, most: int = MOST_NETWORKS, scratch: Path | None = None
    ) -> None:
        """
        Args:
            own: of the networks the app was started with.
            folders: whether visitors may name folders of this machine; else they are strangers: Hub ids alone.
            most: networks kept beside the app's own.
            scratch: where strangers' networks are fetched to; None for the system's temporary folder.
        """
        self.own, self.folders = own, folders
        self._most, self._scratch = most, scratch
        self._loaded: OrderedDict[Place, Future[Network]] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._tried: dict[Place, float] = {}

    def choose(self, baseline: str, dmb: str, *, folders: bool = True) -> Pair:
        """Load what a visitor names.

        Args:
            baseline, dmb: a Hub id or, where allowed, a folder; empty for the app's own.
            folders: False for words that are not the visitor's own.

        Raises:
            BusyError: while too many others load or wait.
            CheckpointError: for what cannot be used, or two networks that cannot be compared.
            ReferenceFileError: for a reference that belongs to other weights.
        """
        pair = Pair(*(self._choice(name.strip(), folders and self.folders) for name in (baseline, dmb)))
        self.inspector(pair)
        return pair

    def inspector(self, pair: Pair, *, at_hand: bool = False) -> Inspector:
        """The inspector of a pair.

        Args:
            at_hand: fetch nothing from the Hub for strangers, which takes as long as the Hub does: whoever asks keeps
                others waiting.

        Raises:
            CheckpointError: as `choose` does, e.g. for a folder that is gone by now or has other weights; and for
                what was forgotten and is not fetched.
            ReferenceFileError: likewise.
        """
        if pair == OWN:
            return self.own
        baseline, dmb = (
            own if choice is None else self._chosen(choice, at_hand and not self.folders)
            for choice, own in zip((pair.baseline, pair.dmb), self.own.networks, strict=True)
        )
        return type(self.own)(baseline, dmb, self.own.device)

    def notices(self, inspector: Inspector) -> list[str]:
        """What visitors should know about how the two networks were loaded, in words that fit them."""
        networks = inspector.networks
        found = [network.notice if self.folders else network.public_notice for network in networks]
        return [notice for notice in found if notice]

    def _chosen(self, choice: Choice, at_hand: bool) -> Network:
        if at_hand:
            with self._lock:
                future = self._loaded.get(choice.place)
                if future is not None:
                    self._loaded.move_to_end(choice.place)
            if future is None or not future.done():
                raise CheckpointError(
                    "the server has forgotten it, to make room for other visitors' networks; load it again under "
                    "Compare other networks, and then choose the picture again",
                    str(choice.place),
                )
            network = future.result()  # and no second look: it may be forgotten by then
        else:
            network = self._network(choice.place, public_only=not self.folders)
        found = network.model.info.weights_sha256
        if found != choice.weights_sha256:
            raise CheckpointError(
                f"the weights are others than when it was chosen (SHA-256 {found[:12]}… and not "
                f"{choice.weights_sha256[:12]}…); choose the networks anew",
                network.name,
            )
        return network

    def _choice(self, name: str, folders: bool) -> Choice | None:
        if not name:
            return None
        place = locate(name, hub_only=not folders)
        if isinstance(place, Path):
            place = place.resolve()
            self._forget(place)  # it may have been trained on, or measured, since
        else:
            self._renew_lacking(place)
        info = self._network(place, public_only=not folders).model.info
        return Choice(
            HubSource(place.repo, info.commit) if isinstance(place, HubSource) else place, info.weights_sha256
        )

    def _network(self, place: Place, public_only: bool) -> Network:
        with self._lock:
            future = self._loaded.get(place)
            if mine := future is None:
                future = self._loaded[place] = Future()
            self._loaded.move_to_end(place)
        if mine:
            try:
                network = self._open(place, public_only)
                ready(network, self.own.device)  # before anybody has it, who might compute with it meanwhile
            except BaseException as error:
                self._forget(place, future)
                future.set_exception(error)
                raise
            if isinstance(place, HubSource):
                # Kept under its commit alone: the next to ask for the branch gets what it then means.
                self._forget(place, future)
                place = HubSource(place.repo, network.model.info.commit)
            future.set_result(network)
            self._keep(place, future)
        elif not future.done():
            with _place_in(self._waiting, place):
                return future.result()
        return future.result()

    def _open(self, place: Place, public_only: bool) -> Network:
        if not isinstance(place, HubSource):
            return open_network(place)
        # A name that is not taken, and no folder yet: what stops its making is among the failures that are explained.
        own_cache = Path(self._scratch or tempfile.gettempdir()) / f"hub-{uuid4().hex}" if public_only else None
        with _place_in(self._loading, place):
            try:
                return open_network(
                    place, max_bytes=MOST_BYTES, max_seconds=MOST_SECONDS, public_only=public_only, cache=own_cache
                )
            finally:
                if own_cache is not None:
                    shutil.rmtree(own_cache, ignore_errors=True)

    def _forget(self, place: Place, only: Future[Network] | None = None) -> None:
        """
        Args:
            only: forget this load, and no newer one of the same place.
        """
        with self._lock:
            if only is None or self._loaded.get(place) is only:
                self._loaded.pop(place, None)

    def _renew_lacking(self, place: HubSource) -> None:
        """Load anew what was loaded with something to tell of it, as that its reference could not be had just then.

        Others keep what there is until that has succeeded. It is tried now and then: what lacks may do so for good.
        """
        with self._lock:
            future = self._loaded.get(place)
            self._tried = {kept: when for kept, when in self._tried.items() if kept in self._loaded}
            if (
                future is None
                or not future.done()
                or future.exception() is not None
                or not future.result().notice
                or time.monotonic() - self._tried.get(place, -math.inf) < RENEW_EVERY
            ):
                return
            self._tried[place] = time.monotonic()
        with suppress(CheckpointError, ReferenceFileError, DeviceMemoryError):
            network = self._open(place, not self.folders)
            ready(network, self.own.device)
            renewed: Future[Network] = Future()
            renewed.set_result(network)
            self._keep(place, renewed)

    def _keep(self, place: Place, future: Future[Network]) -> None:
        with self._lock:
            if isinstance(place, Path) and self._loaded.get(place) is not future:
                return  # chosen anew since: the folder may hold other weights by now
            self._loaded[place] = future
            while len(self._loaded) > self._most:
                self._loaded.popitem(last=False)


@contextmanager
def _place_in(few: threading.BoundedSemaphore, wanted: Place) -> Iterator[None]:
    if not few.acquire(blocking=False):
        raise BusyError("other networks are being loaded just now; try again in a minute", str(wanted))
    try:
        yield
    finally:
        few.release()
