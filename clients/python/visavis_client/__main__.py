"""Compares two photos. `python -m visavis_client --help` describes the arguments."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import Client, Credentials, CredentialsError, RefusedError, VisavisError


def _credentials_from_environment() -> Credentials:
    client_id = os.environ.get("VISAVIS_CLIENT_ID")
    if not client_id:
        raise CredentialsError("no client: give --client FILE, or set VISAVIS_CLIENT_ID")
    return Credentials(
        client_id=client_id,
        merchant_private_key=os.environ.get("VISAVIS_MERCHANT_PRIVATE_KEY"),
        server_public_key=os.environ.get("VISAVIS_SERVER_PUBLIC_KEY"),
    )


def main() -> int:
    """0 if resultStatus of the response is S, 1 if it is F or U, 2 without a valid response."""
    parser = argparse.ArgumentParser(
        prog="python -m visavis_client",
        description="Compares two photos and prints the JSON of the response. Exit code: 0 if"
        " resultStatus is S, 1 if it is F or U, 2 without a valid response.",
        epilog="Without --client, the keys come from the variables VISAVIS_CLIENT_ID,"
        " VISAVIS_MERCHANT_PRIVATE_KEY and VISAVIS_SERVER_PUBLIC_KEY.",
    )
    parser.add_argument("photos", nargs=2, metavar="PHOTO")
    parser.add_argument("--client", metavar="FILE", help="file of visavis client add --out")
    parser.add_argument(
        "--url",
        default=os.environ.get("VISAVIS_URL") or "http://127.0.0.1:8080",
        help="scheme, host and port of the server [default: VISAVIS_URL, or http://127.0.0.1:8080]",
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--encrypt", action="store_true", help="encrypt request and response")
    modes.add_argument("--aksk", action="store_true", help="sign with access key and secret key")
    parser.add_argument(
        "--async", dest="is_async", action="store_true", help="submit the photos, then poll"
    )
    parser.add_argument("--ca", metavar="FILE", help="PEM file of the certificates to trust")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS")
    arguments = parser.parse_args()
    try:
        credentials = (
            Credentials.from_file(arguments.client)
            if arguments.client
            else _credentials_from_environment()
        )
        client = Client(
            arguments.url,
            credentials,
            mode="encrypted" if arguments.encrypt else "aksk" if arguments.aksk else "plain",
            limit=arguments.limit,
            ca_file=arguments.ca,
        )
        if arguments.is_async:
            members = client.wait(client.submit(*arguments.photos)).members
        else:
            members = client.compare(*arguments.photos).members
    except RefusedError as error:
        print(json.dumps(error.members))
        return 1
    except (VisavisError, OSError, ValueError) as error:
        parser.exit(2, f"visavis_client: {error}\n")
    print(json.dumps(members))
    return 0


if __name__ == "__main__":
    sys.exit(main())
