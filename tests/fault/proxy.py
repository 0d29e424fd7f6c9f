"""A TCP proxy between services and a server, that does what networks do: cut, stall, slow down, one way or both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Flag, auto
from typing import Any, Self
from urllib.parse import urlsplit

#: Bytes passed on in one go.
BLOCK = 1 << 16


class Way(Flag):
    """Towards the server, or back to the client."""

    UP = auto()
    DOWN = auto()
    BOTH = UP | DOWN


class Proxy:
    """Passes bytes between clients and the server behind ``url``; the faults may be called from any thread.

    Whatever stalls is kept and passed on later, as TCP does over a line that is cut for a while. A connection made
    meanwhile is taken and hears nothing: a black hole.
    """

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._to = (where.hostname or "127.0.0.1", where.port or 5672)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._open: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._rate: float | None = None
        self._gates = {way: asyncio.Event() for way in (Way.UP, Way.DOWN)}
        for gate in self._gates.values():
            gate.set()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        userinfo = where.netloc.rpartition("@")[0]
        #: The server's URL by way of the proxy.
        self.url = where._replace(netloc=f"{userinfo}@127.0.0.1:{port}" if userinfo else f"127.0.0.1:{port}").geturl()

    # -- faults --------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection and refuse new ones, until :meth:`mend`."""
        self._say(self._set, refusing=True)

    def reset(self) -> None:
        """Reset every connection; new ones are welcome."""
        self._say(self._reset)

    def stall(self, way: Way = Way.BOTH) -> None:
        """Pass on nothing that way, until :meth:`mend`: nobody is told."""
        self._say(self._set, stalled=way)

    def slow(self, rate: float) -> None:
        """Pass on no more than so many bytes a second each way of each connection, until :meth:`mend`."""
        self._say(self._set, rate=rate)

    def mend(self) -> None:
        """All is well again; what stalled goes on where it stopped."""
        self._say(self._set)

    @property
    def connections(self) -> int:
        """Clients that are connected."""
        return len(self._open) // 2

    # -- the loop's thread ---------------------------------------------------------------------------------------------

    def _set(self, refusing: bool = False, stalled: Way | None = None, rate: float | None = None) -> None:
        self._refusing, self._rate = refusing, rate
        for way, gate in self._gates.items():
            gate.clear() if stalled and way in stalled else gate.set()
        if refusing:
            self._reset()

    def _reset(self) -> None:
        for writer in self._open:
            raw = writer.get_extra_info("socket")
            if raw is not None:  # no polite end: the peer gets RST
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, up_writer)
        self._open.update(pair)
        for task in (self._pump(reader, up_writer, Way.UP), self._pump(up_reader, writer, Way.DOWN)):
            pump = self._loop.create_task(task)
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        try:
            while block := await reader.read(BLOCK if self._rate is None else 1 + int(self._rate / 20)):
                await self._gates[way].wait()
                if self._rate is not None:
                    await asyncio.sleep(len(block) / self._rate)
                writer.write(block)
                await writer.drain()
            await self._gates[way].wait()
        except OSError:
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    # -- from other threads --------------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _say(self, do: Any, **how: Any) -> None:
        async def work() -> None:
            do(**how)

        self._call(work())

    def close(self) -> None:
        """End it and every connection through it."""

        async def end() -> None:
            self._server.close()
            self._set(refusing=True)
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
