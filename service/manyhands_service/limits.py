"""What one client may ask of an API: how often, and with how large a body."""

from __future__ import annotations

import ipaddress
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

#: Seconds' worth of requests that may come at once, after as long a silence.
BURST = 2.0
#: Clients that are remembered; the one that has been silent longest is forgotten first.
CLIENTS = 10_000
#: Seconds that sums of fractions of a second may be off.
_ROUNDING = 1e-6
#: Bodies of this kind are taken as they come, never whole: they have no limit here.
STREAMED = "application/x-ndjson"


class Buckets:
    """Token buckets, one a client, each as the time at which it will be full again.

    Source: the generic cell rate algorithm, ITU-T I.371. ``rate`` is in requests a second.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._each, self._clock = 1 / rate, clock
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one; 0, or the seconds after which to ask again."""
        now = self._clock()
        full = max(now, self._full.get(client, now)) + self._each
        if (wait := full - now - max(BURST, self._each)) > _ROUNDING:
            return wait
        self._full[client] = full
        self._full.move_to_end(client)
        if len(self._full) > CLIENTS:
            self._full.popitem(last=False)
        return 0.0


def neighbourhood(client: str) -> str:
    """What counts as one client: an address, and of IPv6 its /64, since whoever has one address there has all of it."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


class Limits:
    """Middleware over ``/api``; health and metrics are always answered.

    429 with ``Retry-After`` for a client, known by its address, that asks too often; 413 for a body that is announced
    as too large. A body without a length is counted by who reads it.
    """

    def __init__(self, app: ASGIApp, *, rate: float, body: int) -> None:
        self._app, self._body = app, body
        self._buckets = Buckets(rate) if rate else None
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or not scope["path"].startswith("/api"):
            await self._app(scope, receive, send)
            return
        client = neighbourhood((scope.get("client") or ("unknown",))[0])
        if self._buckets is not None and (wait := self._buckets.take(client)):
            said = f"more than {self._rate:g} requests a second; ask again later"
            await _refuse(send, 429, said, ((b"retry-after", str(math.ceil(wait)).encode()),))
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        streamed = headers.get("content-type", "").partition(";")[0].strip().lower() == STREAMED
        if not streamed and length.isdecimal() and int(length) > self._body:
            # the connection is closed, for the body is still on its way
            said = f"the body has {int(length):,} bytes, and {self._body:,} are the most"
            await _refuse(send, 413, said, ((b"connection", b"close"),))
            return
        await self._app(scope, receive, send)


async def _refuse(send: Send, status: int, said: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    body = json.dumps({"error": said}).encode()
    head = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers)
    await send({"type": "http.response.start", "status": status, "headers": list(head)})
    await send({"type": "http.response.body", "body": body})
