#!/usr/bin/env python3
"""Compares two photos with a client that openapi-python-client generates, in Python 3.11 or later.

    pip install cryptography openapi-python-client
    visavis openapi > openapi.json
    openapi-python-client generate --path openapi.json --meta none --output-path visavis_generated
    PYTHONPATH=. python generated.py A.jpg B.jpg [--encrypt]

The transport below encrypts if wanted and signs what the generated client sends, and verifies what
comes back. The keys come from the environment, see ../README.md. The response's JSON goes to
stdout. Exit code: 0 with a verdict, 1 without one, 2 if no valid response arrived.
"""

import argparse
import json
import os
import re
import sys
import uuid
from base64 import b64decode, b64encode
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from visavis_generated import Client
from visavis_generated.api.face_compare import compare
from visavis_generated.models import CompareFinished, CompareRequest, Face


class SignedTransport(httpx.BaseTransport):
    """Sends requests of one client to Visavis."""

    def __init__(self, client_id, merchant_key, server_key, encrypted):
        self.client_id, self.merchant_key, self.server_key = client_id, merchant_key, server_key
        self.encrypted = encrypted
        self.plain = httpx.HTTPTransport()

    def handle_request(self, request):
        body, path = request.read(), request.url.path
        time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")
        headers = {"Client-Id": self.client_id, "Request-Time": time, "Content-Type": "application/json"}
        aes_key = os.urandom(32)
        if self.encrypted:  # first, so that the signature covers what is sent
            body = encrypt(aes_key, body)
            wrapped = escaped(self.server_key.encrypt(aes_key, PKCS1v15()))
            headers |= {"Encrypt": f"algorithm=RSA_AES, symmetricKey={wrapped}", "Content-Type": "text/plain"}
        signature = self.merchant_key.sign(self.signed(path, time, body), PKCS1v15(), hashes.SHA256())
        headers["Signature"] = f"algorithm=RSA256, signature={escaped(signature)}"
        sent = httpx.Request("POST", request.url, headers=headers, content=body, extensions=request.extensions)
        response = self.plain.handle_request(sent)
        body, found = response.read(), response.headers
        signed = self.signed(path, found.get("Response-Time", ""), body)
        self.verify(found.get("Signature", ""), signed)
        # The response is encrypted with the key of the request.
        body = decrypt(aes_key, body) if "Encrypt" in found else body
        return httpx.Response(response.status_code, headers={"Content-Type": "application/json"}, content=body)

    def signed(self, path, time, body):
        return f"POST {path}\n{self.client_id}.{time}.".encode() + body

    def verify(self, header, signed):
        value = re.search(r"signature=([^,]*)", header)
        signature = b64decode(unquote(value[1]) if value else "")
        self.server_key.verify(signature, signed, PKCS1v15(), hashes.SHA256())

    def close(self):
        self.plain.close()


def escaped(value):
    return quote(b64encode(value), safe="")


def encrypt(aes_key, plain):
    padder, encryptor = PKCS7(128).padder(), Cipher(AES(aes_key), ECB()).encryptor()
    return b64encode(encryptor.update(padder.update(plain) + padder.finalize()))


def decrypt(aes_key, body):
    unpadder, decryptor = PKCS7(128).unpadder(), Cipher(AES(aes_key), ECB()).decryptor()
    return unpadder.update(decryptor.update(b64decode(body))) + unpadder.finalize()


def call(photos, encrypted):
    transport = SignedTransport(
        os.environ["VISAVIS_CLIENT_ID"],
        load_der_private_key(b64decode(os.environ["VISAVIS_MERCHANT_PRIVATE_KEY"]), None),
        load_der_public_key(b64decode(os.environ["VISAVIS_SERVER_PUBLIC_KEY"])),
        encrypted,
    )
    url = os.environ.get("VISAVIS_URL", "http://127.0.0.1:8080")
    face1, face2 = (Face(content=b64encode(Path(photo).read_bytes()).decode()) for photo in photos)
    request = CompareRequest(biz_id=uuid.uuid4().hex, face1=face1, face2=face2)
    with Client(base_url=url, timeout=httpx.Timeout(30), httpx_args={"transport": transport}) as client:
        return compare.sync(client=client, body=request)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", nargs=2, metavar="PHOTO")
    parser.add_argument("--encrypt", action="store_true")
    arguments = parser.parse_args()
    try:
        response = call(arguments.photos, arguments.encrypt)
    except KeyError as error:
        parser.exit(2, f"generated.py: {error} is not set: export it from the client file, see README.md\n")
    except InvalidSignature:
        cure = "take VISAVIS_CLIENT_ID and VISAVIS_SERVER_PUBLIC_KEY from the same client file"
        parser.exit(2, f"generated.py: the response's signature does not verify: {cure}\n")
    except (OSError, ValueError, httpx.HTTPError) as error:
        parser.exit(2, f"generated.py: no valid response: {error}\n")
    print(json.dumps(response.to_dict()))
    # A Failure has no verdict, nor has Processing, which a front end without workers may return.
    return 0 if isinstance(response, CompareFinished) else 1


if __name__ == "__main__":
    sys.exit(main())
