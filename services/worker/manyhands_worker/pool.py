"""A worker's children, and a thread for each: takes a suite, has it judged, says what it caused."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manyhands import backoff, logs, metrics
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.clock import Clock, SystemClock
from manyhands.errors import HandlerError
from manyhands.runner import Finish, Outcome
from manyhands_worker import frames
from manyhands_worker.frames import Judged, Setup, Unit
from manyhands_worker.isolation import Isolation, Stopped
from manyhands_worker.process import Child, ChildDied
from manyhands_worker.report import Station, raw_letter

_log = logs.get(__name__)

#: Suites given to a child in one go: as many as take about this many seconds, for a round trip costs the more the less
#: they do; and never more bytes than this.
TOGETHER_SECONDS = 0.004
TOGETHER_MOST = 64
TOGETHER_BYTES = 1 << 20
#: Seconds between two looks at the hard limits.
WATCH = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When children are replaced: ``hard`` in seconds for a suite, then suites and MiB (0: never)."""

    hard: float = 600.0
    suites: int = 0
    mib: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A delivery in hand and who is told what it caused."""

    delivery: Delivery
    finish: Finish
