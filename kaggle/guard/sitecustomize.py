"""Put first on PYTHONPATH by a rehearsal: every Python process started there refuses, and notes, the network.

Cutting the network makes an attempt fail; this makes one visible even where the caller swallows the failure.
"""

import errno
import os
import socket
import sys
from typing import Any

HERE = {"", "localhost", "0.0.0.0", "::", "::1", socket.gethostname()}


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        endpoint, address = arguments
        if endpoint.family not in (socket.AF_INET, socket.AF_INET6) or address is None:
            return
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    host = host.decode(errors="replace") if isinstance(host, bytes) else host
    if host is None or host in HERE or host.startswith("127."):
        return
    with open(os.environ["TINYARC_GUARD_LOG"], "a") as log:
        log.write(f"{event} {host} by {' '.join(sys.argv)}\n")
    raise OSError(errno.ENETUNREACH, f"a rehearsal has no network: {event} {host}")


sys.addaudithook(_watch)
