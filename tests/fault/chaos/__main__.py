"""``python -m tests.fault.chaos``: the drill for everybody; one line of JSON, and a failure when a law was broken."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time

from tests.fault.chaos.drill import Plan, good, run


def main() -> int:
    """Run a drill as the command line says."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what was started, as Ctrl-C does
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault.chaos",
        description="Runs a job while its processes, broker and store are killed, stopped, frozen and cut off; then "
        "checks every answer. Starts all that it needs, in Docker or as local programs.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long the storm lasts (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of the job (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides on killers and faults (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no faults but the killers: what the digest must be")
    asked = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:7.1f} s  {text}\n")

    line = run(Plan(seconds=asked.seconds, tasks=asked.tasks, seed=asked.seed, quiet=asked.quiet), say)
    sys.stdout.write(json.dumps(line) + "\n")
    return 0 if good(line) else 1


if __name__ == "__main__":
    sys.exit(main())
