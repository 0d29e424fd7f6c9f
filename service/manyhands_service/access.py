"""Who may use an API: whoever has the token; and where there is none, no web page that somebody happens to look at."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from pydantic import SecretStr

from manyhands_service.audit import given_token, record


def guard(token: SecretStr | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency for everything under ``/api``.

    ``token`` may be several with commas between, while one takes the place of another; white space around them is none
    of theirs. They are compared in a time that tells nothing of them.
    """
    known = [each.strip().encode() for each in token.get_secret_value().split(",")] if token is not None else []

    async def check(request: Request) -> None:  # a plain function would be called on another thread
        # the path that was routed, and not request.url, which is put together with what the client calls its Host
        if not str(request.scope["path"]).startswith("/api"):
            return
        if token is None:
            if _by_a_page(request):
                record(request, "authenticate", "refused", reason="a web page of another site")
                said = "web pages of other sites may not use an API without a token; set MANYHANDS_API_TOKEN"
                raise HTTPException(403, said)
            return
        given = given_token(request)
        if not any(secrets.compare_digest(given, each) for each in known if each):
            record(request, "authenticate", "refused", reason="another token" if given else "no token")
            said = "send the installation's token: Authorization: Bearer …"
            raise HTTPException(401, said, headers={"WWW-Authenticate": "Bearer"})

    return check


def at_home(host: str) -> bool:
    """Whether an address, or the name of a host, is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _by_a_page(request: Request) -> bool:
    """Whether a browser asks for a page that is not ours, which needs no rights but those of who looks at it.

    A name that was made to lead to this machine after the page was there (DNS rebinding) shows in the ``Host``.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        return True
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    reached = (request.scope.get("server") or ("",))[0]
    return at_home(reached) and not _is_ours(host)


def _is_ours(host: str) -> bool:
    """Whether a ``Host`` is this machine's without asking a name server: an address, or localhost."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
