"""The worker's process."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from manyhands import logs
from manyhands.broker import connect
from manyhands.ops import Ops, OpsServer
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings

_log = logs.get(__name__)


def serve(settings: WorkerSettings) -> int:
    """Work until SIGTERM or SIGINT, then stop within the grace; a second signal ends at once. Returns the exit code.

    Raises:
        ManyhandsError: the handlers or the settings are not right; one sentence.
    """
    logs.configure("worker", level=settings.log_level, format=settings.log_format)
    told = threading.Event()

    def tell(_signal: int, _frame: FrameType | None) -> None:
        if told.is_set():
            os._exit(1)  # what is in hand comes again, and the children end with their pipes
        told.set()

    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, tell)
    broker = connect(settings.broker.get_secret_value(), name=f"manyhands worker {settings.worker_id}")
    worker = Worker(settings, broker)
    server = OpsServer(Ops(worker.checks), settings.host, settings.port)
    try:
        _log.info("listening", address=server.address)
        worker.start()
        told.wait()
        worker.stop(settings.grace)
    finally:
        server.close()
        broker.close()
    return 0
