"""A process with an API."""

from __future__ import annotations

from fastapi import FastAPI

from manyhands import logs
from manyhands.broker import Broker
from manyhands.process import Service, live
from manyhands.settings import Settings
from manyhands_service.access import at_home
from manyhands_service.web import WebServer

_log = logs.get(__name__)


def serve_with_api(name: str, settings: Settings, broker: Broker, service: Service, app: FastAPI) -> int:
    """Serve the application and run the service until a signal; the exit code.

    Raises:
        SettingsError: the address cannot be listened on, or a file for TLS is not right.
    """
    logs.configure(name, level=settings.log_level, format=settings.log_format)
    web = WebServer(app, settings.host, settings.port, settings.http_tls)
    _log.info("started", address=web.address, tls=settings.http_tls is not None, settings=settings.shown())
    if settings.api_token is None and not at_home(settings.host):
        _log.warning("whoever reaches the address may use the API: set MANYHANDS_API_TOKEN", address=web.address)
    return live(name, settings, broker, service, web.close)
