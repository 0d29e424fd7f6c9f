"""JSON logs with structlog, on standard error; the standard library's loggers go the same way."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from manyhands.lean import without

with without("rich"):
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

#: The logger of the audit trail, which no log level silences.
AUDIT = "manyhands.audit"

#: A password in a URL, wherever it turns up: before the host, or as a parameter.
_PASSWORD = re.compile(r"(?<=://)([^/:@\s]*):([^/\s]+)@")
_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&\s\"']+")


def mask(text: str) -> str:
    """The text with every password in a URL replaced."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def _masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[key] = mask(value)
    return event


def _of(service: str) -> Processor:
    """Puts the service into a line, whichever thread it comes from: what is bound to a context stays in its thread."""

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def configure(service: str, *, level: str = "info", format: str = "json") -> None:  # noqa: A002  the setting's name
    """Set up logging for the process; ``service`` is in every line."""
    shared: list[Any] = [
        _of(service),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _masked,
    ]
    rendered = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, rendered],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # alembic and the web server tell at INFO what our own lines already say
    for noisy in ("alembic", "uvicorn.access", "uvicorn.error", "httpx", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    # and at ERROR, with tracebacks, every attempt to connect while a broker is away, which is one line of ours
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for a module; bind job, suite, stage, judge and attempt where they are known."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
