"""What a call raises. Every message is what is wrong, and what to do."""

from __future__ import annotations

from typing import Any, Mapping, Optional


class VisavisError(Exception):
    """The base class of all errors of this package."""


class CredentialsError(VisavisError, ValueError):
    """A key or an id is missing or malformed. Nothing was sent."""


class TransportError(VisavisError):
    """No response arrived, or none of the API: a broken connection, a timeout, a proxy's error."""


class UnverifiedError(VisavisError):
    """A response arrived whose signature is not valid. Nothing in it was used."""


class ResponseError(VisavisError):
    """A response was verified, but it is not one that this client understands."""


class NotFinishedError(VisavisError):
    """The time limit has passed and the transaction has no outcome yet."""

    def __init__(self, transaction_id: str, limit: float) -> None:
        super().__init__(
            f"transaction {transaction_id} is not finished after {limit:g} s: raise the limit, or"
            " call wait again later"
        )
        self.transaction_id = transaction_id


class RefusedError(VisavisError):
    """A verified response with `resultStatus` F or U."""

    def __init__(self, members: Mapping[str, Any], retry_after: Optional[float]) -> None:
        result = members["result"]
        self.code: str = result["resultCode"]
        self.status: str = result["resultStatus"]
        self.message: str = result["resultMessage"]
        #: The transaction that failed for good; None if no outcome was stored.
        self.transaction_id: Optional[str] = members.get("transactionId")
        #: Seconds until a retry makes sense, if the server named them.
        self.retry_after = retry_after
        #: The whole response.
        self.members = members
        super().__init__(f"{self.code}: {self.message}")
