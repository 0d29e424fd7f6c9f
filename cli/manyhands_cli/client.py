"""The APIs of producer and aggregator, as the command line calls them."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manyhands import tls
from manyhands.lean import without
from manyhands_cli.errors import NotThere, RequestRefused, ServiceAway

with without("rich"):
    import httpx

#: Seconds to connect; and to wait for an answer, which may take as long as the longest `wait` of the API.
CONNECT, ANSWER = 5.0, 70.0
#: Seconds for which a request is made again that the service says has come too soon.
PATIENT = 60.0


class Client:
    """One service's API; errors are sentences, the service's own where it said one."""

    def __init__(
        self, service: str, url: str, token: str | None, *, ca: Path | None = None, patience: float = ANSWER
    ) -> None:
        self._service, self._url = service, url
        token = (token or "").strip()  # the line's end of a file, say
        if not (token.isascii() and token.isprintable()):
            # said here, for whoever sends it would quote it
            raise RequestRefused("the token has characters that HTTP does not carry; look at MANYHANDS_API_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(patience, connect=min(patience, CONNECT))
        try:
            verify: ssl.SSLContext | bool = True if ca is None else tls.client_context(tls.Files(ca=ca))
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, verify=verify)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ServiceAway(self._away(error)) from error

    def call(self, method: str, path: str, **options: Any) -> Any:
        """A request, and its JSON; one that comes too soon is made again when the service says so.

        Raises:
            ServiceAway: nobody listens at its URL, somebody else does, or it is not ready.
            NotThere: it does not know the job or the dead letter.
            RequestRefused: anything else it said no to.
        """
        ends = time.monotonic() + PATIENT
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except (httpx.TransportError, httpx.InvalidURL) as error:
                raise ServiceAway(self._away(error)) from error
            after = answer.headers.get("Retry-After", "")
            if answer.status_code != 429 or not after.isdecimal() or time.monotonic() + int(after) > ends:
                break
            time.sleep(max(int(after), 0.1))
        self._raise(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise ServiceAway(self._away("what answers there is no Manyhands")) from error

    def stream(self, path: str) -> Iterator[bytes]:
        """A file, block by block; raises as :meth:`call`."""
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                self._raise(answer)
                yield from answer.iter_bytes()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServiceAway(self._away(error)) from error

    def _away(self, error: Exception | str) -> str:
        name = self._service
        if isinstance(error, Exception) and (said := _of_tls(error)) is not None:
            return f"{name} at {self._url}: {said}" + (" with --ca or MANYHANDS_CA" if "to trust" in said else "")
        return (
            f"no {name} at {self._url} ({error}); start `manyhands {name}`, "
            f"or say where it is with --{name} or MANYHANDS_{name.upper()}_URL"
        )

    def _raise(self, answer: httpx.Response) -> None:
        if not answer.is_error:
            return
        try:
            said = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            # our services say every error as {"error": ...}
            raise ServiceAway(self._away(f"what answers there says {answer.status_code}")) from None
        if answer.status_code == 404:
            raise NotThere(said)
        if answer.status_code == 503:
            raise ServiceAway(f"{self._service}: {said}")
        if answer.status_code == 401:
            raise RequestRefused("give the installation's token with --token or MANYHANDS_API_TOKEN")
        raise RequestRefused(f"{self._service}: {said}")


def _of_tls(error: BaseException | None) -> str | None:
    """What TLS stumbled over, from the chain of causes."""
    while error is not None:
        if (said := tls.words(error)) is not None:
            return said
        error = error.__cause__ or error.__context__
    return None
