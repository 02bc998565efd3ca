"""How the lab's hosts look from a pod: whether DNS knows them, whether Traefik answers there, with which certificate.

The program sends this file into the cluster, and runs it there by itself: it imports nothing of the lab's, and takes
what to look at as JSON, its only argument. It prints what is wrong, a line of JSON a host, and ends with 1 if anything
is: a pod's last words are kept by Kubernetes only then.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys

WORDS = 140
MOST_ADDRESSES = 4


def look(host: str, port: int, seconds: float, authority: str | None) -> dict[str, object]:
    """Return what is wrong with a host, and where its name leads; no `fault` if all is well.

    Args:
        authority: certificates to trust, in PEM, beside the system's; None if the certificate does not matter yet.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return {"host": host, "fault": "dns", "words": str(error)[:WORDS]}
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    seen: dict[str, object] = {"host": host, "addresses": addresses[:MOST_ADDRESSES]}
    try:
        plain = socket.create_connection((host, port), seconds)
    except OSError as error:
        return {**seen, "fault": "route", "words": str(error)[:WORDS]}
    context = ssl.create_default_context()
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif authority:
        context.load_verify_locations(cadata=authority)
    try:
        with plain, context.wrap_socket(plain, server_hostname=host):
            return seen
    except ssl.SSLCertVerificationError as error:
        return {**seen, "fault": "certificate", "words": error.verify_message[:WORDS]}
    except OSError as error:
        return {**seen, "fault": "tls", "words": str(error)[:WORDS]}


def main(arguments: list[str]) -> int:
    """Look at every host; see the module."""
    asked = json.loads(arguments[0])
    seen = [look(host, asked["port"], asked["seconds"], asked["authority"]) for host in asked["hosts"]]
    wrong = [one for one in seen if "fault" in one]
    for one in wrong:
        sys.stdout.write(json.dumps(one, separators=(",", ":")) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
