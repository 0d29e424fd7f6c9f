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


def audited(action: str) -> Any:
    """A dependency for a route: notes the action when it is done, or refused, with its job or letter."""

    async def note(request: Request) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            record(request, action, "refused", reason=str(error))
            raise
        record(request, action, "done")

    return Depends(note)


def about(request: Request, **what: Any) -> None:
    """Say what the action is about, where the path does not tell; what is None is left out."""
    request.state.about = {name: value for name, value in what.items() if value is not None}


def record(request: Request, action: str, outcome: str, **more: Any) -> None:
    """Write one line of the trail."""
    told = {**request.query_params, **request.path_params, **getattr(request.state, "about", {})}
    told = {name: told[name] for name in ("job", "letter", "letters", "code") if name in told}
    _log.info(
        "audit", audit=True, action=action, outcome=outcome, actor=fingerprint(request), client=client(request),
        object=told or request.url.path, **more,
    )  # fmt: skip


def fingerprint(request: Request) -> str:
    """Who: the first 8 hex digits of the SHA-256 of the token that was given, or ``anonymous``."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    return hashlib.sha256(token.encode()).hexdigest()[:8] if token else "anonymous"


def client(request: Request) -> str:
    """Where from: the address of the connection, or what a proxy on this machine says."""
    return request.client.host if request.client is not None else "unknown"
