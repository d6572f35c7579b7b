"""What a page needs before strangers reach it (`--public`, and on a Space), beyond Gradio's own options.

`harden` is the one entry. A page on one's own machine runs on plain Gradio. What a reverse proxy does (slow bodies,
connections and requests an address) is not done here again: `docs/public-server.md` has a tested configuration.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gradio as gr
from gradio import route_utils
from starlette.middleware import Middleware

from abn.ui.hardening.closed import CloseUnused
from abn.ui.hardening.failures import limit_logs
from abn.ui.hardening.internals import require_internals
from abn.ui.hardening.limits import LimitRequests, UploadParser
from abn.ui.hardening.lines import keep_places
from abn.ui.hardening.queue_guard import guard
from abn.ui.hardening.upkeep import upkeep


def harden(page: gr.Blocks, slow: Collection[str]) -> dict[str, Any]:
    """Guard a page against strangers.

    Args:
        page: with its queue, not launched yet.
        slow: the `concurrency_id` of each line that is slow, which may not fill the queue for everybody.

    Returns:
        What its `launch` needs in `app_kwargs`.

    Raises:
        NotHardenedError: where Gradio lacks something that is replaced here; nothing has been replaced then.
    """
    require_internals(page)
    limit_logs()
    route_utils.GradioMultiPartParser = UploadParser
    guard(page)
    keep_places(page, frozenset(slow))
    return {"middleware": [Middleware(CloseUnused), Middleware(LimitRequests)], "lifespan": upkeep(page)}
