#!/opt/manyhands/bin/python -IS
"""healthcheck [PATH]: exit code 0 if this container's process answers PATH (/healthz) with 200, in plain HTTP or TLS.

It is a program of the standard library alone, for it starts every few seconds. A certificate is not looked at: the
question is whether the process lives, and it is asked from within.
"""

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

#: Seconds for one attempt.
TIMEOUT = 2.0


def main() -> int:
    """Ask, and say what was wrong."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104  what it listens on
        listens := os.environ.get("MANYHANDS_HOST", ""), listens
    )
    port = int(os.environ.get("MANYHANDS_PORT") or 0)
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    said = ""
    for connection in (
        HTTPConnection(host, port, timeout=TIMEOUT),
        HTTPSConnection(host, port, timeout=TIMEOUT, context=unchecked),
    ):
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            said = f"{answer.status} {answer.read(500).decode(errors='replace')}"
            if answer.status == 200:
                return 0
        except (HTTPException, OSError) as error:
            said = said or str(error)
        finally:
            connection.close()
    print(f"{host}:{port}{path}: {said}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
