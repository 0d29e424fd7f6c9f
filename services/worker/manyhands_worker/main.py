"""The worker as a process."""

from __future__ import annotations

from manyhands import logs
from manyhands.ops import Ops, OpsServer
from manyhands.process import live, shared_broker
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings

_log = logs.get(__name__)


def serve(settings: WorkerSettings) -> int:
    """Work until SIGTERM or SIGINT, then stop within the grace; a second signal ends at once. Returns the exit code.

    Raises:
        ManyhandsError: the handlers or the settings are not right; one sentence.
    """
    logs.configure("worker", level=settings.log_level, format=settings.log_format)
    broker = shared_broker(settings, f"manyhands-worker {settings.worker_id}")
    worker = Worker(settings, broker)
    server = OpsServer(Ops(worker.checks), settings.host, settings.port, settings.http_tls)
    _log.info("started", address=server.address, tls=settings.http_tls is not None, settings=settings.shown())
    return live("worker", settings, broker, worker, server.close)
