"""One request to a chat endpoint: sent in its turn, sent again where that may help; errors by what may mend them.

httpx and not the ``openai`` package: for the one call that is made here that brings a dozen dependencies, and retries
of its own that know nothing of a suite's time.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from manyhands import backoff
from manyhands.clock import Clock, SystemClock
from manyhands.errors import HandBack, HandlerError, RejectTask, RetryTask
from manyhands.lean import without
from manyhands.spec import Llm
from manyhands_worker.http import CONTENT, LATER, expanded, post, retry_after, variables
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
#: Seconds to connect, at most; and no more than a fourth of what the request may take.
CONNECT = 10.0
#: Characters of what a server says that are told.
SAID = 300


class Misconfigured(RejectTask):
    """The judge can judge nothing until its configuration or its account is mended."""


class Trouble(RetryTask):
    """The server did not answer."""


class Client:
    """Sends the requests of one judge; any thread may."""

    def __init__(
        self, judge: str, llm: Llm, *, share: float, time_limit: float, clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep, environ: Mapping[str, str] = os.environ,
    ) -> None:  # fmt: skip
        """``share`` is this process's part of the worker's rate limits, ``time_limit`` the seconds for one request.

        Raises:
            HandlerError: a variable of the environment is not set, or holds what no header may have.
        """
        self._judge, self._llm, self._limit = judge, llm, time_limit
        self._clock, self._sleep = clock or SystemClock(), sleep
        self._url = llm.url if urlsplit(llm.url).path.endswith(PATH) else llm.url.rstrip("/") + PATH
        headers = dict(llm.headers)
        if llm.api_key_env is not None:
            headers["Authorization"] = f"Bearer ${{{llm.api_key_env}}}"
        values = {name: environ[name].strip() for name in variables(headers) if name in environ}
        try:
            filled = expanded(headers, values)
        except HandlerError as error:
            raise HandlerError(f"the judge {judge}: {error.detail}") from None
        if not all(value.isascii() and value.isprintable() for value in filled.values()):
            raise HandlerError(f"the judge {judge}: a header holds a character that none may; see its variables")
        self._secrets = sorted((value.encode() for value in values.values() if len(value) > 3), key=len, reverse=True)
        requests, tokens = (
            limit * share if limit else None for limit in (llm.requests_per_minute, llm.tokens_per_minute)
        )
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
            RejectTask: the server will never take this one.
            Trouble: the server did not answer, not in time, or not now.
            HandBack: the turn of this request did not come.
        """
        failures = 0
        while True:
            if not self._pace.enter(tokens, until):
                raise HandBack(f"the limits of {self._judge}, or its server, left no time for it in this suite")
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
                if failures > self._llm.retries or self._clock.monotonic() + wait > until:
                    raise
            finally:
                self._pace.leave(tokens, taken)
            self._sleep(wait)

    def _pause(self, seconds: float) -> None:
        self._pace.pause(min(seconds, LONGEST))

    def _once(self, body: bytes) -> bytes:
        try:
            status, headers, answer = post(self._http, self._url, body, self._limit)
        except httpx.HTTPError as error:
            # without the cause: the traceback of a dead letter would tell it unmasked
            raise Trouble(self._told(f"{type(error).__name__}: {error}")) from None
        answer = self._masked(answer)
        if status < 300:
            return answer
        said = self._told(f"it answered {status}: {_message(answer)}")
        if status == 429 and NO_MONEY in answer:
            raise Misconfigured(said)
        if status in LATER or status == 409 or status >= 500:
            after = retry_after(headers.get("retry-after"), self._clock.now())
            raise Trouble(said, after=0.0 if after is None and status == 429 else after)
        raise RejectTask(said) if status in CONTENT else Misconfigured(said)

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
