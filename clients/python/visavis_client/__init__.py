"""Client of Visavis, the self-hosted face compare service with the ZOLOZ Face Compare API."""

from .client import Client, Photo
from .errors import (
    CredentialsError,
    NotFinishedError,
    RefusedError,
    ResponseError,
    TransportError,
    UnverifiedError,
    VisavisError,
)
from .protocol import Credentials, Mode
from .results import Comparison, Quality

__all__ = [
    "Client",
    "Comparison",
    "Credentials",
    "CredentialsError",
    "Mode",
    "NotFinishedError",
    "Photo",
    "Quality",
    "RefusedError",
    "ResponseError",
    "TransportError",
    "UnverifiedError",
    "VisavisError",
]
