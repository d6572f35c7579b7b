"""Environment variables with which Gradio, or what it imports, cannot even be imported."""

from __future__ import annotations

import os
from urllib.request import getproxies

NUMBERS = ("GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def environment_problem() -> str | None:
    """What is to be mended before Gradio can be imported, in one sentence; None where nothing is."""
    from abn.checkpoints.hub.address import import_problem

    for name in NUMBERS:
        value = os.environ.get(name)
        if value is not None and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
            return f"{name} is {value!r}; expected a whole number from 1 to 65535; mend or unset it"
    return import_problem() or _connection_problem()


def _connection_problem() -> str | None:
    """Why no HTTP client can be made, as Gradio makes one when it is imported."""
    import httpx

    from abn.checkpoints.hub.address import without_login

    try:
        httpx.Client().close()
    except FileNotFoundError:
        given = " and ".join(f"{name} is {os.environ[name]!r}" for name in CERTIFICATES if os.environ.get(name))
        return f"{given}, which is not there; name a file with certificates, or unset it"
    except OSError as error:  # ssl.SSLError among them
        given = " and ".join(f"{name} is {os.environ[name]!r}" for name in CERTIFICATES if os.environ.get(name))
        return f"{given}, which holds no certificates that can be read ({error}); name another, or unset it"
    except (ValueError, ImportError, httpx.InvalidURL):
        proxies = ", ".join(sorted({without_login(address) for address in getproxies().values()}))
        return (
            f"no connection can be made with the proxy that ALL_PROXY, HTTP_PROXY or HTTPS_PROXY names ({proxies}); "
            "expected an address such as http://host:3128 or socks5://host:1080; mend or unset it"
        )
    return None
