"""Launching: a free port, one line with the address, and what keeps the server closed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from importlib.util import find_spec
from urllib.request import getproxies, proxy_bypass

import gradio as gr
from starlette.middleware import Middleware

from abn.ui import mcp_tools
from abn.ui.hardening.failures import EXCEPTION_HANDLERS
from abn.ui.hardening.harden import harden
from abn.ui.hardening.internals import NotHardenedError
from abn.ui.names import NAMES
from abn.ui.page import networks
from abn.ui.page.link import MOST_LINKS
from abn.ui.page.picture_input import MAX_BYTES
from abn.ui.page.preview import ShowPictures
from abn.ui.style import CSS, HEAD
from abn.ui.tabs import take_away
from abn.ui.tabs.attribution_controls import SLOW_QUEUE
from abn.ui.theme import THEME

FIRST_PORT, PORTS = 7860, 100
MOST_WAITING = 200  # events; each keeps what was sent with it in memory
MOST_SESSIONS = 1000  # of about 0.2 MB, a copy of the page's configuration
MOST_AT_ONCE = MOST_LINKS + 39
"""Events; any number but 40 gives them threads of their own, which are not those of other requests."""
# After every event Gradio's queue would make a table of the last ten thousand, for a page that is switched off here.
NO_STATISTICS = {"GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000", "GRADIO_ANALYTICS_MAX_EVENTS": "1"}


def free_port(host: str) -> int:
    """The first port that nobody listens on, from GRADIO_SERVER_PORT or else 7860 on.

    Raises:
        OSError: if none of the GRADIO_NUM_PORTS or else hundred is free, or there is no such host.
    """
    first = int(os.environ.get("GRADIO_SERVER_PORT", FIRST_PORT))
    ports = range(first, first + int(os.environ.get("GRADIO_NUM_PORTS", PORTS)))
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise  # no such host: no port of it will be free
                continue
            return port
    raise OSError(f"no port from {ports[0]} to {ports[-1]} is free")


def behind_proxy(host: str) -> bool:
    """Whether the environment lets a request to a server on this host go to a proxy."""
    asked = "localhost" if host == "0.0.0.0" else host  # as Gradio does
    return bool(getproxies().keys() & {"http", "all"}) and not proxy_bypass(asked)


def launch(page: gr.Blocks, host: str, port: int, *, mcp: bool = False, public: bool = False) -> str:
    """Start serving in the background.

    Args:
        public: strangers reach the page, which is hardened against them; otherwise plain Gradio serves it.

    Returns:
        The address.

    Raises:
        NotHardenedError: where `public` and Gradio is not as the hardening expects it.
    """
    os.environ.update(NO_STATISTICS)
    # api_open=False: no endpoint outside the queue, so no caller escapes its limits.
    page.queue(api_open=False, default_concurrency_limit=4, max_size=MOST_WAITING)
    hardened = harden(page, (SLOW_QUEUE, networks.QUEUE, take_away.QUEUE)) if public else {}
    hardened.setdefault("middleware", []).append(Middleware(ShowPictures))
    if mcp:
        hardened["middleware"].append(Middleware(mcp_tools.EitherSlash))
    _, address, _ = page.launch(
        server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, show_error=False, share=False,
        css=CSS, head=HEAD, js=NAMES, theme=THEME, ssr_mode=False, footer_links=[], run_history=False,
        max_file_size=MAX_BYTES, state_session_capacity=MOST_SESSIONS, allowed_paths=[], mcp_server=mcp,
        enable_monitoring=False, max_threads=MOST_AT_ONCE,
        app_kwargs={"exception_handlers": EXCEPTION_HANDLERS, **hardened},
    )  # fmt: skip
    mcp_tools.adapt(page)
    return address


def serve(page: gr.Blocks, host: str, port: int | None, *, mcp: bool = False, public: bool = False) -> None:
    """Serve until interrupted.

    Args:
        port: None for the first free one.
        public: as in `launch`.
    """
    if mcp and find_spec("mcp") is None:
        sys.exit("app.py: --mcp needs the package mcp; install it with: pip install 'gradio[mcp]'")
    try:
        address = launch(page, host, free_port(host) if port is None else port, mcp=mcp, public=public)
    except NotHardenedError as error:
        sys.exit(f"app.py: {error}")
    except OSError as error:
        wanted = f"{host}:{port}" if port is not None else host
        sys.exit(f"app.py: cannot listen on {wanted} ({error}); name another --port or --host")
    except Exception as error:  # Gradio's for a server of its own that it cannot reach has no narrower type
        if behind_proxy(host):
            sys.exit(
                f"app.py: Gradio asks for its own server on {host} by way of the proxy that HTTP_PROXY or ALL_PROXY "
                "names, which does not reach it; set NO_PROXY=127.0.0.1,localhost"
            )
        if mcp and isinstance(error, RuntimeError):
            sys.exit(f"app.py: --mcp: {error}")
        raise
    # As a container or a service manager ends it: then uploads are deleted as after Ctrl+C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"Adaptive Bias Networks: {address}", flush=True)
    page.block_thread()
