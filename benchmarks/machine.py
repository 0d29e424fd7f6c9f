"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

LIBRARIES = (
    "manyhands",
    "pika",
    "msgpack",
    "zstandard",
    "SQLAlchemy",
    "celery",
    "kombu",
    "amqp",
    "dramatiq",
    "crowd-kit",
)


def machine() -> dict[str, str | int]:
    """Processor, cores, memory, system, and how busy it was when we began."""
    cpu = _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    kilobytes = int((_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": kilobytes // 1024,
        "system": platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": f"{os.getloadavg()[0]:.2f}",
    }


def versions(broker: str) -> dict[str, str]:
    """The broker, as it names itself, and the libraries."""
    return {"broker": broker, "sqlite": sqlite3.sqlite_version, **{name: version(name) for name in LIBRARIES}}


def _line(file: str, key: str) -> str | None:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
