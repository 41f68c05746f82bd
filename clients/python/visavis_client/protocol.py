"""Keys, signatures and encryption, over bytes: nothing here uses the network."""

from __future__ import annotations

import hmac
import json
import os
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Callable, Dict, Literal, Mapping, Optional, Protocol, TypeVar, Union
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from .errors import CredentialsError, UnverifiedError

#: How requests are signed: key pair, key pair with an encrypted body, access key and secret key.
Mode = Literal["plain", "encrypted", "aksk"]

Key = TypeVar("Key", RSAPrivateKey, RSAPublicKey)

#: Request-Time and Response-Time, as they are sent.
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S+0000"


@dataclass(frozen=True)
class Credentials:
    """What `visavis client add NAME --out FILE` writes. Keys are PEM, base64 of DER, or base64 of
    PEM."""

    client_id: str
    merchant_private_key: Optional[str] = field(default=None, repr=False)
    server_public_key: Optional[str] = None
    access_key: Optional[str] = None
    secret_key: Optional[str] = field(default=None, repr=False)

    @classmethod
    def from_file(cls, path: Union[str, "os.PathLike[str]"]) -> "Credentials":
        """Reads such a file. If the app keeps its own key pair, add its private key with
        `dataclasses.replace`."""
        try:
            with open(path, encoding="utf-8") as file:
                members = json.load(file)
            client_id = members["clientId"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CredentialsError(
                f"{os.fspath(path)} is not a file of visavis client add --out: {error}"
            ) from error
        return cls(
            client_id=client_id,
            merchant_private_key=members.get("merchantPrivateKey"),
            server_public_key=members.get("serverPublicKey"),
            access_key=members.get("accessKey"),
            secret_key=members.get("secretKey"),
        )


def key_der(text: str) -> bytes:
    """The DER of a key: the text is PEM, with or without line breaks, base64 of DER, or base64 of
    PEM."""
    found = re.search(r"-----BEGIN ([A-Z ]+)-----([^-]*)-----END", text)
    if found and "ENCRYPTED" in found[1] + found[2]:
        raise ValueError("the key has a passphrase: remove it with openssl pkey")
    der = b64decode("".join((found[2] if found else text).split()), validate=True)
    return key_der(der.decode()) if der.startswith(b"-----BEGIN") else der


def _private_key(der: bytes) -> RSAPrivateKey:
    key = load_der_private_key(der, None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the key is not an RSA key")
    return key


def _public_key(der: bytes) -> RSAPublicKey:
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the key is not an RSA key")
    return key


def _needed(credentials: Credentials, name: str) -> str:
    value = getattr(credentials, name)
    if not isinstance(value, str) or not value.strip():
        raise CredentialsError(f"{name} is missing: this mode needs it")
    return value


def _key(credentials: Credentials, name: str, load: Callable[[bytes], Key]) -> Key:
    text = _needed(credentials, name)
    try:
        return load(key_der(text))
    except (ValueError, TypeError) as error:
        raise CredentialsError(
            f"{name} is not an RSA key as PEM or base64: copy it whole ({error})"
        ) from error


class Signer(Protocol):
    """Signs requests and verifies responses in one mode."""

    def headers(self, content: bytes) -> Dict[str, str]:
        """The headers with the signature over the content."""

    def is_valid(self, header: str, content: bytes) -> bool:
        """Whether the Signature header of a response is valid for the content."""


class KeyPairSigner:
    """RSASSA-PKCS1-v1_5 with SHA-256."""

    def __init__(self, credentials: Credentials) -> None:
        self._private = _key(credentials, "merchant_private_key", _private_key)
        self._server = _key(credentials, "server_public_key", _public_key)

    def headers(self, content: bytes) -> Dict[str, str]:
        signature = self._private.sign(content, PKCS1v15(), hashes.SHA256())
        return {"Signature": f"algorithm=RSA256, signature={_header_value(signature)}"}

    def is_valid(self, header: str, content: bytes) -> bool:
        found = re.search(r"(?:^|[,\s])signature=([^,\s]*)", header)
        try:
            signature = b64decode(unquote(found[1] if found else ""), validate=True)
            self._server.verify(signature, content, PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True

    def wrap(self, aes_key: bytes) -> str:
        """The Encrypt header for an AES key."""
        wrapped = self._server.encrypt(aes_key, PKCS1v15())
        return f"algorithm=RSA_AES, symmetricKey={_header_value(wrapped)}"


class SecretKeySigner:
    """HMAC-SHA-256 with the secret key."""

    def __init__(self, credentials: Credentials) -> None:
        self._access_key = _needed(credentials, "access_key")
        secret = _needed(credentials, "secret_key").strip().rstrip("=")
        if not re.fullmatch("[A-Za-z0-9_-]+", secret) or len(secret) % 4 == 1:
            raise CredentialsError("secret_key is not base64url: copy it whole")
        self._secret = urlsafe_b64decode(secret + "=" * (-len(secret) % 4))

    def _mac(self, content: bytes) -> str:
        mac = hmac.digest(self._secret, content, "sha256")
        return urlsafe_b64encode(mac).rstrip(b"=").decode()

    def headers(self, content: bytes) -> Dict[str, str]:
        return {
            "Auth-Type": "AKSK",
            "Access-Key": self._access_key,
            "Signature": self._mac(content),
        }

    def is_valid(self, header: str, content: bytes) -> bool:
        return hmac.compare_digest(self._mac(content).encode(), header.encode())


def _header_value(value: bytes) -> str:
    # Percent-encoded, because some parser on the way reads a bare + as a space.
    return quote(b64encode(value), safe="")


@dataclass(frozen=True)
class SignedRequest:
    """A request as it is sent; a retry sends the same one."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    aes_key: Optional[bytes]


class Protector:
    """Makes signed requests out of bodies, and bodies out of verified responses."""

    def __init__(
        self, credentials: Credentials, mode: Mode, aes_bits: int, freshness: float
    ) -> None:
        if mode not in ("plain", "encrypted", "aksk"):
            raise ValueError(f"the mode is {mode!r}: use plain, encrypted or aksk")
        if aes_bits not in (128, 192, 256):
            raise ValueError(f"an AES key has {aes_bits} bits: use 128, 192 or 256")
        self._client_id = _needed(credentials, "client_id")
        self._aes_bytes = aes_bits // 8 if mode == "encrypted" else 0
        self._freshness = freshness
        self._key_pair = None if mode == "aksk" else KeyPairSigner(credentials)
        self._signer: Signer = self._key_pair or SecretKeySigner(credentials)

    def _content(self, path: str, time: str, body: bytes) -> bytes:
        # The body as it is sent: parsed and printed again it would be another text.
        return f"POST {path}\n{self._client_id}.{time}.".encode() + body

    def sign(self, path: str, body: bytes) -> SignedRequest:
        """Encrypts the body, if this is the mode, and signs it."""
        time = datetime.now(timezone.utc).strftime(TIME_FORMAT)
        kind = "text/plain" if self._aes_bytes else "application/json"
        headers = {
            "Client-Id": self._client_id,
            "Request-Time": time,
            "Content-Type": f"{kind}; charset=UTF-8",
        }
        aes_key = None
        if self._key_pair and self._aes_bytes:
            aes_key = os.urandom(self._aes_bytes)
            body = _encrypt(aes_key, body)
            headers["Encrypt"] = self._key_pair.wrap(aes_key)
        headers.update(self._signer.headers(self._content(path, time, body)))
        return SignedRequest(path, headers, body, aes_key)

    def verify(self, request: SignedRequest, headers: Mapping[str, str], body: bytes) -> None:
        """Raises `UnverifiedError` unless the server of these credentials has signed the response
        for this client and this endpoint recently."""
        time, signature = headers.get("Response-Time") or "", headers.get("Signature") or ""
        is_valid = self._signer.is_valid(signature, self._content(request.path, time, body))
        # With a shared key, a request that is sent back would verify too.
        if not is_valid or signature == request.headers["Signature"]:
            raise UnverifiedError(
                "the signature of the response is not valid: take Client-Id and keys from one"
                " client file, check that the client exists, and look for a proxy that changes"
                " responses"
            )
        if self._freshness and not self._is_recent(time):
            raise UnverifiedError(
                f"the response is of {time}, which is more than {self._freshness:g} s from the"
                " clock of this machine: set the clocks; otherwise someone repeats responses"
            )

    def _is_recent(self, time: str) -> bool:
        try:
            sent = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z")
        except ValueError:
            return False
        return abs((datetime.now(timezone.utc) - sent).total_seconds()) <= self._freshness


def _encrypt(aes_key: bytes, plain: bytes) -> bytes:
    padder, encryptor = PKCS7(128).padder(), Cipher(AES(aes_key), ECB()).encryptor()
    return b64encode(encryptor.update(padder.update(plain) + padder.finalize()))


def decrypt(aes_key: bytes, body: bytes) -> bytes:
    """The plain text of a response that is encrypted with the key of its request."""
    unpadder, decryptor = PKCS7(128).unpadder(), Cipher(AES(aes_key), ECB()).decryptor()
    return unpadder.update(decryptor.update(b64decode(body, validate=True))) + unpadder.finalize()
