"""One request to a chat endpoint: sent in its turn, sent again where that may help; errors by what may mend them.

httpx and not the ``openai`` package: for the one call that is made here that brings a dozen dependencies, and retries
of its own that know nothing of a suite's time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manyhands import backoff
from manyhands.clock import Clock, SystemClock
from manyhands.errors import HandBack, HandlerError, RejectTask, RetryTask
from manyhands.lean import without
from manyhands.spec import Llm
from manyhands_worker.http import CONTENT, LATER, expanded, post, retry_after, variables
from manyhands_worker.llm import limits
from manyhands_worker.llm.answer import Reply
from manyhands_worker.llm.pace import Pace

with without("rich"):
    import httpx

#: The path that follows the API's base.
PATH = "/chat/completions"
#: Said by a server that is out of money and not of time, under a status that means the latter.
NO_MONEY = b"insufficient_quota"
#: Seconds that a server may have us pause, at most: it may be wrong about the rest.
LONGEST = 600.0
#: What says that nobody is let in, whatever he asks: no key, or a wrong one; no money.
ACCOUNT = frozenset({401, 402})
#: Seconds for which a server is left alone that lets this judge do nothing.
BARRED = 30.0
#: Bytes of an answer that are read: so many, and for each token that it may have so many more, for its alternatives.
ANSWER, ANSWER_TOKEN = 1 << 20, 4 << 10
#: Characters that a secret has at least: what is shorter may stand in any answer, and would be masked there.
SECRET = 8
#: Seconds to connect, at most; and no more than a fourth of what the request may take.
CONNECT = 10.0
#: Characters of what a server says that are told.
SAID = 300


class Misconfigured(HandBack):
    """The judge can judge nothing until its key or its account is mended."""


class Declined(RetryTask):
    """The server does not take this request, and perhaps no other: its address, model or rights may be wrong."""


class Trouble(RetryTask):
    """The server did not answer."""


class Client:
    """Sends the requests of one judge; any thread may."""

    def __init__(
        self, judge: str, llm: Llm, *, share: float, time_limit: float, clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep, environ: Mapping[str, str] = os.environ,
    ) -> None:  # fmt: skip
        """``share`` is this process's part of the worker's rate limits, ``time_limit`` the seconds for one request.

        Raises:
            HandlerError: a variable of the environment is not set, or what it holds is nothing that a header may have.
        """
        self._judge, self._llm, self._limit = judge, llm, time_limit
        self._clock, self._sleep = clock or SystemClock(), sleep
        self._url = llm.url if urlsplit(llm.url).path.endswith(PATH) else llm.url.rstrip("/") + PATH
        headers = dict(llm.headers)
        if llm.api_key_env is not None:
            headers["Authorization"] = f"Bearer ${{{llm.api_key_env}}}"
        try:
            values = _values(variables(headers), environ)
            filled = expanded(headers, values)
        except HandlerError as error:
            raise HandlerError(f"the judge {judge}: {error.detail}") from None
        if not all(value.isascii() and value.isprintable() for value in filled.values()):
            raise HandlerError(f"the judge {judge}: a header holds a character that none may; see its variables")
        self._secrets = sorted(
            (value.encode() for value in values.values() if len(value) >= SECRET), key=len, reverse=True
        )
        requests, tokens = (
            limit * share if limit else None for limit in (llm.requests_per_minute, llm.tokens_per_minute)
        )
        self._most = ANSWER + ANSWER_TOKEN * llm.max_tokens
        self._closed = self._well = False
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._barred: tuple[float, str] | None = None
        self._pace = Pace(requests, tokens, self._clock, sleep)
        self._http = httpx.Client(
            headers={"content-type": "application/json", **filled},
            timeout=httpx.Timeout(time_limit, connect=min(time_limit / 4, CONNECT)),
            limits=httpx.Limits(max_connections=llm.concurrency, max_keepalive_connections=llm.concurrency),
        )

    def ask(self, body: bytes, tokens: int, until: float, read: Callable[[bytes], Reply]) -> Reply:
        """What ``read`` makes of the answer to a request, which takes so many ``tokens`` at most.

        What may help is tried again, and waited for, ``until`` then (of ``clock.monotonic``).

        Raises:
            Misconfigured: no request of this judge can succeed.
            Declined: this one has not, and perhaps none can.
            RejectTask: the server will never take this one.
            Trouble: the server did not answer, not in time, or not now.
            HandBack: the turn of this request did not come.
        """
        failures = 0
        while True:
            if not self._pace.enter(tokens, until):
                raise HandBack(self._why_not())
            taken = 0
            try:
                reply = read(self._once(body))
                taken = reply.input + reply.output
                return reply
            except Trouble as trouble:
                failures += 1
                wait = backoff.reconnect_delay(failures, random.random, base=0.5, cap=8.0)
                if trouble.after is not None:  # that concerns whatever is asked
                    wait = max(wait, trouble.after)
                    self._pause(wait)
                if self._closed:
                    raise HandBack(self._why_not()) from None
                if failures > self._llm.retries or self._clock.monotonic() + wait > until:
                    raise
            finally:
                self._pace.leave(tokens, taken)
            self._sleep(wait)

    def _why_not(self) -> str:
        if self._closed:
            return "the worker stops"
        return f"the limits of {self._judge}, or its server, left no time for it in this suite"

    def barred(self) -> HandBack | None:
        """Why nothing is to be asked now: the server lets this judge do nothing; it is seen again in a while."""
        if self._barred is None or (left := self._barred[0] - self._clock.monotonic()) <= 0:
            return None
        return HandBack(self._barred[1], after=left)

    @property
    def trouble(self) -> str:
        """Why the judge can judge nothing, as far as is known; empty when it can."""
        return "" if self._barred is None else self._barred[1]

    def stop(self) -> None:
        """Begin no more requests."""
        self._closed = True
        self._pace.close()

    def _pause(self, seconds: float) -> None:
        self._pace.pause(min(seconds, LONGEST))

    def _once(self, body: bytes) -> bytes:
        try:
            status, headers, answer = post(self._http, self._url, body, self._limit, self._most, self._note)
        except httpx.HTTPError as error:
            # without the cause: the traceback of a dead letter would tell it unmasked
            raise Trouble(self._told(f"{type(error).__name__}: {error}")) from None
        answer = self._masked(answer)
        if 200 <= status < 300:
            self._well, self._barred = True, None
            return answer
        said = self._told(f"it answered {status}: {_message(answer)}")
        if status in ACCOUNT or (status == 429 and NO_MONEY in answer):
            self._bar(said)
            raise Misconfigured(said, after=BARRED)
        if status in LATER or status == 409 or status >= 500:
            now = self._clock.now()
            if status == 429:
                raise Trouble(said, after=limits.wait(headers, now) or 0.0)
            raise Trouble(said, after=retry_after(headers.get("retry-after"), now))
        if status in CONTENT or self._well:  # where others are answered it is this task's
            self._well = self._well and status in CONTENT
            raise RejectTask(said)
        self._bar(said)
        raise Declined(said, after=BARRED)

    def _note(self, step: str, said: Mapping[str, Any]) -> None:
        if step in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._sockets.add(said["return_value"].get_extra_info("socket"))

    def cut(self) -> None:
        """End whatever is under way: httpx bounds each read, and a head that comes byte by byte has no end."""
        for one in tuple(self._sockets):
            with contextlib.suppress(OSError):  # it has ended already
                one.shutdown(socket.SHUT_RDWR)

    def _bar(self, why: str) -> None:
        self._barred = (self._clock.monotonic() + BARRED, why)

    def _told(self, what: str) -> str:
        return f"the judge {self._judge} at {self._url}: {self._masked(what.encode(errors='replace')).decode()}"

    def _masked(self, text: bytes) -> bytes:
        """A server may say what it was sent, and so may a library that does not like a header."""
        for secret in self._secrets:
            text = text.replace(secret, b"***")
        return text

    def close(self) -> None:
        """End the connections."""
        self._http.close()


def _values(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by their names; one that is not set is what stands in the file that NAME_FILE names.

    Raises:
        HandlerError: such a file cannot be read.
    """
    values = {}
    for name in names:
        if name in environ:
            values[name] = environ[name].strip()
        elif file := environ.get(f"{name}_FILE"):
            try:
                values[name] = Path(file).read_text().strip()
            except (OSError, ValueError) as error:
                raise HandlerError(f"the file that {name}_FILE names cannot be read: {type(error).__name__}") from None
    return values


def _message(answer: bytes) -> str:
    """What the server says is wrong: the ``error.message`` of the protocol, or else the start of whatever it said."""
    try:
        error = json.loads(answer)["error"]
        said = error["message"] if isinstance(error, dict) else error
        if isinstance(said, str):
            return said[:SAID]
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return answer[:SAID].decode(errors="replace")
