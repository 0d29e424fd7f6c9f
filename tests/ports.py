"""Ports for servers that must be told one before they start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

#: Below those that a system gives to whoever connects somewhere (from 32,768 on Linux): a server that is away for a
#: moment would find its port taken by a client.
PORTS = range(12_000, 32_000)

_chance = random.SystemRandom()  # and no seed of a test: others choose at the same time


def free_ports(count: int) -> list[int]:
    """As many ports of 127.0.0.1, all different, that nobody listens on now."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = _chance.choice(PORTS)
            with suppress(OSError):  # somebody listens there
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found
