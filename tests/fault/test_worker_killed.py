"""A worker that is killed with -9: its children, and what they started, go with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.unit.worker.harness import TROUBLE
from tests.unit.worker.test_command import assert_gone
from tests.unit.worker.test_pool import wait_until

#: A process with a pool whose one child has a suite that never ends; then one of a program that never ends.
WORKER = """
import sys
from tests.unit.worker.harness import Results, delivery, pool, suite
begun, folder = sys.argv[1:3]
script = "echo $$ > program; exec sleep 600"
config = {"command": ["sh", "-c", script], "folder": folder, "version": "1", "time_limit": None}
with pool(sys.argv[3], children=2, commands={"c": config}) as made:
    made.handle([delivery(suite("file", [begun])), delivery(suite("c", ["a"]))], Results().finish)
    sys.stdin.read()
"""


def test_no_orphans(tmp_path: Path) -> None:
    """Children end with their worker, even in the middle of a handler that never returns, and so do their programs."""
    begun = tmp_path / "begun"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(begun), str(tmp_path), TROUBLE],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        program = tmp_path / "program"
        wait_until(lambda: begun.exists() and begun.read_text() and program.exists() and program.read_text())
        os.kill(worker.pid, signal.SIGKILL)
        assert_gone(int(begun.read_text()))
        assert_gone(int(program.read_text()))
    finally:
        worker.kill()
        worker.communicate()
