"""The process of one part of a run, started by :class:`~manyhands_cli.parts.Apart`.

Over a pipe it gets its settings, tells what it waits for whenever that changes, and gets the grace within which to
stop. When the pipe closes, the run is gone, and it ends at once: whatever it held goes back to its queues.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection

from manyhands import logs
from manyhands.errors import ManyhandsError
from manyhands.process import broker_of
from manyhands_cli.parts import waiting_for

#: Seconds between looks at what the service waits for.
LOOK = 0.05


def main(arguments: Sequence[str]) -> None:
    """The process: its one argument is the number of the pipe's file descriptor."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the run decides when its parts end
    fd = int(arguments[0])
    os.set_inheritable(fd, False)
    threading.Thread(target=_die_with_run, args=(fd,), name="run's end", daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        _serve(Connection(fd))


def _die_with_run(fd: int) -> None:
    """End the process when the run's end of the pipe closes, whatever it is about."""
    poll = select.poll()
    poll.register(fd, 0)  # no event but the hang-up, which is always told
    poll.poll()
    os._exit(1)


def _serve(line: Connection) -> None:
    sys.path[:] = line.recv()  # as the run's, so that a module means the same here
    build, settings = line.recv()
    logs.configure("run", level="warning", format="text")
    broker = broker_of(settings, f"manyhands-run {build.__name__.lower()}")
    try:
        service = build(settings, broker)
        service.start()
    except ManyhandsError as error:
        line.send((type(error).__name__, error.detail))
        return
    said = None
    while not line.poll(LOOK):
        if (now := waiting_for(service)) != said:
            said = now
            line.send(now)
    service.stop(line.recv())
    broker.close()


if __name__ == "__main__":
    main(sys.argv[1:])
