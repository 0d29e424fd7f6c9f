"""The APIs of producer and aggregator, as the command line calls them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from manyhands.errors import ManyhandsError, UnknownJob


class ServiceAway(ManyhandsError):
    """The service cannot be reached."""


class RequestRefused(ManyhandsError):
    """The service refused the request."""


class Client:
    """One service's API; errors are the contract's, with the sentence that the service said."""

    def __init__(self, service: str, url: str, token: str | None) -> None:
        self._service, self._url = service, url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=70)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """A request, and its JSON.

        Raises:
            ServiceAway: nobody listens at its URL, or it is not ready.
            UnknownJob: it does not know the job.
            RequestRefused: anything else it said no to.
        """
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServiceAway(self._away(error)) from error
        self._raise(answer)
        return answer.json()

    def stream(self, path: str) -> Iterator[bytes]:
        """A file, block by block; raises as :meth:`call`."""
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                self._raise(answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise ServiceAway(self._away(error)) from error

    def _away(self, error: Exception) -> str:
        name = self._service
        return f"no {name} at {self._url} ({error}); start `manyhands {name}` or set MANYHANDS_{name.upper()}_URL"

    def _raise(self, answer: httpx.Response) -> None:
        if not answer.is_error:
            return
        try:
            body = answer.json()
            said = body.get("error") or body.get("detail") or answer.text
        except ValueError:
            said = answer.text or f"status {answer.status_code}"
        if answer.status_code == 404:
            raise UnknownJob(str(said).removeprefix("There is no such job: "))
        if answer.status_code == 503:
            raise ServiceAway(str(said))
        raise RequestRefused(f"{self._service}: {said}")
