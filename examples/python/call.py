#!/usr/bin/env python3
"""Compares two photos: a signed and, if wanted, encrypted call to Visavis in Python 3.9 or later.

    pip install cryptography
    python call.py A.jpg B.jpg [--encrypt]

The keys come from the environment, see ../README.md. The response's JSON goes to stdout. Exit code:
0 when resultStatus is S, 1 when it is F or U, 2 if no valid response arrived.
"""

import argparse
import http.client
import json
import os
import re
import sys
import uuid
from base64 import b64decode, b64encode
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

URI = "/api/v1/zoloz/facecompare/compare"
TIMEOUT_SECONDS = 30


class CallError(Exception):
    """No valid response; the text names the remedy."""


def setting(name, default=None):
    if value := os.environ.get(name) or default:
        return value
    raise CallError(f"{name} is not set: export it from the client file, see README.md")


def key(name, load):
    try:
        return load(b64decode(setting(name), validate=True))
    except ValueError as error:
        raise CallError(f"{name} is no key: copy it whole from the client file") from error


def request_json(photos):
    try:
        contents = [b64encode(Path(photo).read_bytes()).decode() for photo in photos]
    except OSError as error:
        raise CallError(f"{error.filename} cannot be read ({error.strerror}): check the path") from error
    faces = {f"face{i}": {"content": content} for i, content in enumerate(contents, start=1)}
    # bizId is at most 32 bytes by the documents: a UUID without hyphens.
    return json.dumps({"bizId": uuid.uuid4().hex, **faces}).encode()


def content_to_be_signed(client_id, time, body):
    # The body as bytes, exactly as on the wire: parsed and printed again it would be another text.
    return f"POST {URI}\n{client_id}.{time}.".encode() + body


def sign(private_key, content):
    signature = private_key.sign(content, PKCS1v15(), hashes.SHA256())
    # Percent-encoded, because some parser on the way reads a bare + as a space and loses a bare =.
    return f"algorithm=RSA256, signature={quote(b64encode(signature), safe='')}"


def verify(public_key, header, content):
    found = re.search(r"signature=([^,]*)", header)
    try:
        signature = b64decode(unquote(found[1]) if found else "", validate=True)
        public_key.verify(signature, content, PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError) as error:
        cure = "take VISAVIS_CLIENT_ID and VISAVIS_SERVER_PUBLIC_KEY from the same client file"
        raise CallError(f"the response's signature does not verify: {cure}") from error


def wrap(public_key, aes_key):
    wrapped = public_key.encrypt(aes_key, PKCS1v15())
    return f"algorithm=RSA_AES, symmetricKey={quote(b64encode(wrapped), safe='')}"


def encrypt(aes_key, plain):
    padder, encryptor = PKCS7(128).padder(), Cipher(AES(aes_key), ECB()).encryptor()
    return b64encode(encryptor.update(padder.update(plain) + padder.finalize()))


def decrypt(aes_key, body):
    unpadder, decryptor = PKCS7(128).unpadder(), Cipher(AES(aes_key), ECB()).decryptor()
    return unpadder.update(decryptor.update(b64decode(body))) + unpadder.finalize()


def post(url, headers, body):
    try:
        request = Request(url, data=body, headers=headers, method="POST")
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return response.headers, response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CallError(f"{url} gives no response ({error}): check VISAVIS_URL and the server") from error


def call(photos, encrypted):
    url = setting("VISAVIS_URL", "http://127.0.0.1:8080").rstrip("/") + URI
    client_id = setting("VISAVIS_CLIENT_ID")
    merchant_key = key("VISAVIS_MERCHANT_PRIVATE_KEY", lambda der: load_der_private_key(der, None))
    server_key = key("VISAVIS_SERVER_PUBLIC_KEY", load_der_public_key)

    body = request_json(photos)
    time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")
    kind = "text/plain" if encrypted else "application/json"
    headers = {"Client-Id": client_id, "Request-Time": time, "Content-Type": f"{kind}; charset=UTF-8"}
    aes_key = os.urandom(32)
    if encrypted:  # first, so that the signature covers what is sent
        body = encrypt(aes_key, body)
        headers["Encrypt"] = wrap(server_key, aes_key)
    headers["Signature"] = sign(merchant_key, content_to_be_signed(client_id, time, body))

    response, body = post(url, headers, body)
    signed = content_to_be_signed(client_id, response.get("Response-Time", ""), body)
    verify(server_key, response.get("Signature", ""), signed)
    # A refusal can be in clear even if the request was not. What is encrypted is so under the key
    # that was sent: Visavis always reuses it, and the own copy of the response need not be
    # unwrapped.
    try:
        text = (decrypt(aes_key, body) if "Encrypt" in response else body).decode()
        return text, json.loads(text)["result"]["resultStatus"]
    except (ValueError, KeyError, TypeError) as error:
        raise CallError("the response is signed but no result: compare the server's version") from error


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs=2, metavar="PHOTO")
    parser.add_argument("--encrypt", action="store_true")
    arguments = parser.parse_args()
    try:
        text, status = call(arguments.photos, arguments.encrypt)
    except CallError as error:
        parser.exit(2, f"call.py: {error}\n")
    print(text)
    return 0 if status == "S" else 1


if __name__ == "__main__":
    sys.exit(main())
