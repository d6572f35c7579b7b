"""Whether what a process holds stays the same while it works."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from benchmarks.server import Server, Use

WARM_UP = 0.2
"""Share of the requests that warms up: caches fill, arenas grow, modules are loaded when first needed."""
MEMORY_GROWTH = 1.05
MORE_THREADS = 2
"""A pool's threads end when they were idle for a while: how many there are goes up and down."""
MORE_DESCRIPTORS = 4
"""What a connection that is just being opened or closed may add."""


@dataclass
class Watch:
    """Samples of a server's use; the first `WARM_UP` of them do not count."""

    server: Server
    samples: list[Use] = field(default_factory=list)

    def look(self) -> Use:
        self.samples.append(self.server.use())
        return self.samples[-1]

    def judge(self) -> list[str]:
        """Print the use after warming up and at the end; returns what grew, in words.

        Each is the median of a tenth of the samples: the tenth after warming up, and the last one.
        """
        counted = self.samples[int(WARM_UP * len(self.samples)) :]
        tenth = max(1, len(self.samples) // 10)
        first, last = (
            {
                name: statistics.median(getattr(use, name) for use in part)
                for name in ("memory", "threads", "descriptors")
            }
            for part in (counted[:tenth], counted[-tenth:])
        )
        ratio = last["memory"] / first["memory"]
        print(
            f"memory {first['memory']:.0f} → {last['memory']:.0f} MB (ratio {ratio:.3f}; at the start "
            f"{self.samples[0].memory:.0f}, at most {max(use.memory for use in self.samples):.0f}), threads "
            f"{first['threads']:.0f} → {last['threads']:.0f}, open files {first['descriptors']:.0f} → "
            f"{last['descriptors']:.0f}"
        )
        grown = []
        if ratio > MEMORY_GROWTH:
            grown.append(f"memory grew by {100 * (ratio - 1):.1f} %; accepted: {100 * (MEMORY_GROWTH - 1):.0f} %")
        if last["threads"] > first["threads"] + MORE_THREADS:
            grown.append("threads grew")
        if last["descriptors"] > first["descriptors"] + MORE_DESCRIPTORS:
            grown.append("open files grew")
        return grown
