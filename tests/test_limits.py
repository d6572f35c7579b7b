import http.client
from urllib.parse import urlsplit

import pytest

from abn.ui.limits import MAX_REQUEST_BYTES


@pytest.mark.parametrize("path", ["/gradio_api/call/inspect", "/gradio_api/queue/join"])
def test_a_request_that_announces_too_much_is_refused_at_once(url, path):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(MAX_REQUEST_BYTES + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert b"larger than 30 MB" in response.read()


def test_a_request_that_does_not_announce_its_size_is_counted(url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    million = b"x" * 1_000_000
    body = (million for _ in range(MAX_REQUEST_BYTES // 1_000_000 + 2))
    try:
        connection.request("POST", "/gradio_api/call/inspect", body, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all of it was sent
    fresh = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    fresh.request("GET", "/config")
    assert fresh.getresponse().status == 200
