"""The client: endpoints, retries and polling."""

from __future__ import annotations

import json
import os
import ssl
import time
import uuid
from base64 import b64encode
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

from . import protocol
from .errors import (
    NotFinishedError,
    RefusedError,
    ResponseError,
    TransportError,
    UnverifiedError,
)
from .protocol import Credentials, Mode, Protector, SignedRequest
from .results import Comparison
from .transport import Transport

#: The bytes of a photo, or the path of its file.
Photo = Union[bytes, str, "os.PathLike[str]"]

COMPARE = "/api/v1/zoloz/facecompare/compare"
ASYNC_COMPARE = "/api/v1/zoloz/facecompare/asynccompare"
ASYNC_CHECK_RESULT = "/api/v1/zoloz/facecompare/asynccheckresult"
TEST = "/api/v1/zoloz/authentication/test"
DELETE = "/api/v1/zoloz/privacyinfo/delete"

#: Pauses between polls: every second, after ten polls every five.
POLL_PAUSE, MANY_POLLS, LONG_POLL_PAUSE = 1.0, 10, 5.0
#: Pauses between attempts double from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.5, 8.0


class Client:
    """Calls the API of one server as one client. Safe to use from several threads.

    A call that gets no response, or is refused by a limit or an error of the server, is sent again
    with the same bytes and headers: one signed request is one transaction, however often it
    arrives.

    :param url: Scheme, host and port of the server.
    :param credentials: Those that `visavis client add` has written; `Credentials.from_file` reads
        them.
    :param mode: `plain`, `encrypted` or `aksk`.
    :param timeout: Seconds for one attempt.
    :param limit: Seconds for a call with all its attempts, pauses and polls.
    :param retries: Attempts after the first one.
    :param freshness: Seconds that Request-Time and Response-Time may be old, as `http.freshness_s`
        of the server; 0 disables the check of responses.
    :param aes_bits: Length of the AES keys in mode `encrypted`.
    :param ca_file: PEM file of the certificates to trust, instead of those of this machine.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        mode: Mode = "plain",
        timeout: float = 30.0,
        limit: float = 120.0,
        retries: int = 5,
        freshness: float = 900.0,
        aes_bits: int = 256,
        ca_file: Optional[str] = None,
    ) -> None:
        self._protector = Protector(credentials, mode, aes_bits, freshness)
        context = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self._transport = Transport(url, context)
        self._timeout, self._limit, self._retries = timeout, limit, retries
        # Long enough before the request would be refused, for its transfer and for other clocks.
        self._signature_age = freshness * 2 / 3 if freshness else float("inf")

    def test(self, members: Optional[Mapping[str, Any]] = None) -> Mapping[str, Any]:
        """Checks keys, clock and encryption: returns the members that were sent."""
        response = self._call(TEST, members or {}, self._deadline())
        return {name: value for name, value in response.items() if name != "result"}

    def compare(
        self,
        face1: Photo,
        face2: Photo,
        *,
        biz_id: Optional[str] = None,
        user_id: Optional[str] = None,
        source_of_face2: Optional[str] = None,
        rect1: Optional[str] = None,
        rect2: Optional[str] = None,
    ) -> Comparison:
        """Compares two photos, face1 being the one to verify, and waits for the outcome."""
        deadline = self._deadline()
        body = _faces(face1, face2, biz_id, user_id, source_of_face2, rect1, rect2)
        response = self._call(COMPARE, body, deadline)
        if response["result"]["resultCode"] == "PROCESSING":
            # A front end without workers had no outcome in time.
            return self._wait(_transaction_id(response), deadline, self._limit)
        return Comparison.from_members(response)

    def submit(
        self,
        face1: Photo,
        face2: Photo,
        *,
        biz_id: Optional[str] = None,
        user_id: Optional[str] = None,
        source_of_face2: Optional[str] = None,
        rect1: Optional[str] = None,
        rect2: Optional[str] = None,
    ) -> str:
        """`asynccompare`: stores the job and returns its transaction id."""
        body = _faces(face1, face2, biz_id, user_id, source_of_face2, rect1, rect2)
        return _transaction_id(self._call(ASYNC_COMPARE, body, self._deadline()))

    def check(self, transaction_id: str) -> Optional[Comparison]:
        """`asynccheckresult`: the outcome of a transaction, None if it has none yet."""
        return self._check(transaction_id, self._deadline())

    def wait(self, transaction_id: str, limit: Optional[float] = None) -> Comparison:
        """Polls until the transaction has an outcome, for `limit` seconds at most."""
        limit = self._limit if limit is None else limit
        return self._wait(transaction_id, time.monotonic() + limit, limit)

    def delete(self, transaction_id: str) -> None:
        """`privacyinfo/delete`: deletes a transaction with its outcome."""
        self._call(DELETE, {"transactionId": transaction_id}, self._deadline())

    def _deadline(self) -> float:
        return time.monotonic() + self._limit

    def _check(self, transaction_id: str, deadline: float) -> Optional[Comparison]:
        body = {"transactionId": transaction_id}
        response = self._call(ASYNC_CHECK_RESULT, body, deadline)
        if response["result"]["resultCode"] == "PROCESSING":
            return None
        outcome = Comparison.from_members(response)
        if outcome.transaction_id != transaction_id:
            raise ResponseError("the response is about another transaction: do not use it")
        return outcome

    def _wait(self, transaction_id: str, deadline: float, limit: float) -> Comparison:
        polls = 0
        while True:
            pause = POLL_PAUSE if polls < MANY_POLLS else LONG_POLL_PAUSE
            if time.monotonic() + pause >= deadline:
                raise NotFinishedError(transaction_id, limit)
            time.sleep(pause)
            try:
                outcome = self._check(transaction_id, deadline)
            except TransportError as error:
                # The server did respond before: this poll had no time left.
                if polls and time.monotonic() + LAST_PAUSE >= deadline:
                    raise NotFinishedError(transaction_id, limit) from error
                raise
            if outcome is not None:
                return outcome
            polls += 1

    def _call(self, path: str, body: Mapping[str, Any], deadline: float) -> Mapping[str, Any]:
        """Sends a request, and again as API.md describes under "Retries"."""
        plain = json.dumps(body).encode()
        request, signed_at = self._protector.sign(path, plain), time.monotonic()
        pause, attempts_left = FIRST_PAUSE, self._retries
        while True:
            try:
                return self._attempt(request, deadline)
            except (TransportError, RefusedError) as error:
                wait = _wait_before_retry(error, pause)
                now = time.monotonic()
                if wait is None or attempts_left == 0 or now + wait >= deadline:
                    raise
            time.sleep(wait)
            if now + wait - signed_at > self._signature_age:
                request, signed_at = self._protector.sign(path, plain), time.monotonic()
            pause, attempts_left = min(2 * pause, LAST_PAUSE), attempts_left - 1

    def _attempt(self, request: SignedRequest, deadline: float) -> Mapping[str, Any]:
        timeout = min(self._timeout, max(deadline - time.monotonic(), 0.001))
        headers, body = self._transport.post(request.path, request.headers, request.body, timeout)
        self._protector.verify(request, headers, body)
        is_encrypted = bool(headers.get("Encrypt"))
        response = _parsed(request, body, is_encrypted)
        status = response["result"]["resultStatus"]
        if status != "S":
            raise RefusedError(response, _seconds(headers.get("Retry-After")))
        if request.aes_key and not is_encrypted:
            # Refusals may be plain. A verdict is not: someone repeats that of another request.
            raise UnverifiedError(
                "the response to an encrypted request is plain: look for a proxy that changes"
                " responses"
            )
        return response


def _parsed(request: SignedRequest, body: bytes, is_encrypted: bool) -> Mapping[str, Any]:
    try:
        if is_encrypted and request.aes_key:
            # Visavis encrypts with the key of the request, so its own copy need not be unwrapped.
            body = protocol.decrypt(request.aes_key, body)
        response = json.loads(body)
        result = response["result"]
        if not all(
            isinstance(result[name], str)
            for name in ("resultCode", "resultStatus", "resultMessage")
        ):
            raise TypeError("a member of result is not a string")
    except (ValueError, KeyError, TypeError) as error:
        raise ResponseError(
            f"the response is signed, but it is not a result ({error}): compare the version of the"
            " server"
        ) from error
    members: Mapping[str, Any] = response
    return members


def _transaction_id(response: Mapping[str, Any]) -> str:
    transaction_id = response.get("transactionId")
    if not isinstance(transaction_id, str):
        raise ResponseError("the response has no transactionId: compare the version of the server")
    return transaction_id


def _wait_before_retry(error: Union[TransportError, RefusedError], pause: float) -> Optional[float]:
    """Seconds until the same request makes sense again; None if it never does."""
    if isinstance(error, TransportError):
        return pause
    is_limit = error.code in ("REQUEST_TRAFFIC_EXCEED_LIMIT", "PROCESS_TIMEOUT", "SYSTEM_ERROR")
    # With a transaction id, it has failed for good.
    if not is_limit or error.transaction_id is not None:
        return None
    return max(pause, error.retry_after or 0)


def _seconds(header: Optional[str]) -> Optional[float]:
    return float(header) if header and header.isascii() and header.isdigit() else None


def _faces(
    face1: Photo,
    face2: Photo,
    biz_id: Optional[str],
    user_id: Optional[str],
    source_of_face2: Optional[str],
    rect1: Optional[str],
    rect2: Optional[str],
) -> Mapping[str, Any]:
    # A unique id: two plain requests with the same bytes in one second are one transaction. 32
    # bytes, the documented length.
    body: Dict[str, Any] = {"bizId": biz_id or uuid.uuid4().hex}
    for name, photo, rect in (("face1", face1, rect1), ("face2", face2, rect2)):
        data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        body[name] = {"content": b64encode(data).decode()}
        if rect is not None:
            body[name]["rect"] = rect
    if user_id is not None:
        body["userId"] = user_id
    if source_of_face2 is not None:
        body["sourceOfFace2"] = source_of_face2
    return body
