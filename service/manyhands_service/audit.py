"""The audit trail: who asked for what over the API, and what came of it.

One log line each, at every log level, with ``audit: true``: collect them by that field into a log of their own that
outlives the rest. A token is never in it, only a fingerprint that tells tokens apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, Request

from manyhands import logs

_log = logs.get(logs.AUDIT)


def audited(action: str, *query: str) -> Any:
    """A dependency for a route: notes the action when it is done, or refused, with its job or letter.

    ``query`` names the parameters behind the path that say what it is about; others are the client's own idea.
    """

    async def note(request: Request) -> AsyncIterator[None]:
        about(request, **{name: request.query_params.get(name) for name in query})
        try:
            yield
        except Exception as error:
            record(request, action, "refused", reason=str(error))
            raise
        record(request, action, "done")

    return Depends(note)


def about(request: Request, **what: Any) -> None:
    """Say what the action is about, where the path does not tell; what is None is left out."""
    known = getattr(request.state, "about", {})
    request.state.about = known | {name: value for name, value in what.items() if value is not None}


def record(request: Request, action: str, outcome: str, **more: Any) -> None:
    """Write one line of the trail."""
    told = {**request.path_params, **getattr(request.state, "about", {})}
    _log.info(
        "audit", audit=True, action=action, outcome=outcome, actor=fingerprint(request), client=client(request),
        object=told or request.url.path, **more,
    )  # fmt: skip


def given_token(request: Request) -> bytes:
    """The bearer token that came with a request, as it was sent; empty when none did."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def fingerprint(request: Request) -> str:
    """Who: the first 8 hex digits of the SHA-256 of the token that was given, or ``anonymous``."""
    token = given_token(request)
    return hashlib.sha256(token).hexdigest()[:8] if token else "anonymous"


def client(request: Request) -> str:
    """Where from: the address of the connection, or what a proxy says that ``FORWARDED_ALLOW_IPS`` names."""
    return request.client.host if request.client is not None else "unknown"
