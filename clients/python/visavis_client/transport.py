"""One HTTP exchange, within a time limit."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Mapping, Optional, Tuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from .errors import TransportError

#: Responses have a few hundred bytes; that of authentication/test has those of its request, twice.
MAX_RESPONSE_BYTES = 1 << 20


class _NoRedirects(HTTPRedirectHandler):
    """A redirected POST would become a GET, to a host that is not configured."""

    def redirect_request(self, *_: object) -> None:
        return None


class Transport:
    """Sends requests to one server. Uses the proxies of the environment, as urllib does."""

    def __init__(self, url: str, context: Optional[ssl.SSLContext]) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} has no scheme: begin it with https:// or http://")
        self._url = url.rstrip("/")
        self._opener = build_opener(_NoRedirects, HTTPSHandler(context=context))

    def post(
        self, path: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Tuple[Mapping[str, str], bytes]:
        """The headers and the body of the response."""
        deadline = time.monotonic() + timeout
        url = self._url + path
        request = Request(url, data=body, headers=dict(headers), method="POST")
        try:
            with self._opener.open(request, timeout=timeout) as response:
                if response.status != 200:
                    raise TransportError(f"{url} returned HTTP status {response.status}")
                return response.headers, _read(response, deadline)
        except HTTPError as error:
            error.close()
            raise TransportError(
                f"{url} returned HTTP status {error.code}: look for a proxy in between"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise TransportError(
                f"{url} gives no response ({error}): check the address, and that the server runs"
            ) from error


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    body = bytearray()
    while chunk := response.read1(65_536):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise ValueError(f"it has more than {MAX_RESPONSE_BYTES} bytes")
        # A socket's timeout begins again with every byte.
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    if response.length:
        raise ValueError(f"{response.length} bytes are missing")
    return bytes(body)
