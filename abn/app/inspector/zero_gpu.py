"""ZeroGPU: on such a Space a GPU is lent for some seconds, to a process that is forked for it.

Only there CUDA exists. The app's own process looks at pictures on the CPU, which takes a moment, and borrows a GPU
for every attribution: a backward pass in the app's process, even on the CPU, would settle in torch's autograd engine
that there is no GPU, and the forked process would inherit that.

What goes there and comes back is bytes: no tensor whose memory is shared, no function, and errors as values, since
ZeroGPU passes on no message of an exception.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from abn.app.inspector.attribution_pair import AttributionPair
from abn.app.inspector.inspector import Inspector
from abn.checkpoints.network import Network
from abn.common.devices import choose_device
from abn.common.memory import DeviceMemoryError
from abn.interpret.attribution.attribute import METHODS
from abn.interpret.attribution.methods import find_method

SECONDS = 20  # that a GPU is asked for


def is_lent() -> bool:
    """Whether this is a Space on ZeroGPU, by the variable that its package reads."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def _attribute(task: bytes) -> bytes:
    """In the process that has the GPU."""
    networks, arguments = pickle.loads(task)
    try:
        pairs = Inspector(*networks, choose_device("auto")).attribute_many(*arguments)
    except (ValueError, DeviceMemoryError) as error:
        return pickle.dumps(error)
    return pickle.dumps(pairs)  # whose tensors are on the CPU


if is_lent():
    import spaces  # it counts the functions that it was given before the page is launched

    _attribute = spaces.GPU(duration=SECONDS)(_attribute)


class BorrowingInspector(Inspector):
    """An inspector on the CPU that borrows a GPU for every attribution, which is therefore slow to begin."""

    methods: ClassVar = {name: replace(method, slow=True) for name, method in METHODS.items()}

    @property
    def hardware(self) -> str:
        return f"{super().hardware}; attribution on a GPU lent by ZeroGPU"

    def attribute_many(
        self,
        pixels: np.ndarray,
        target: str,
        against: str | None,
        method: str,
        options: dict[str, Any],
        progress: Callable[[float], None] | None = None,
    ) -> list[AttributionPair]:
        """As `Inspector.attribute_many`; `progress` is told 0 and 1 alone."""
        self.goal(target, against)
        options = find_method(method).complete(options)  # what is refused borrows no GPU
        told = progress or (lambda share: None)
        told(0)
        networks = [Network(network.label, network.model) for network in self.networks]
        found = pickle.loads(_attribute(pickle.dumps((networks, (pixels, target, against, method, options)))))
        if isinstance(found, Exception):
            raise found
        told(1)
        return found
