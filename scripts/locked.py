"""What ``uv.lock`` pins, as other tools read it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: The packages that are installed by themselves; the command line has all of them.
PACKAGES = ("manyhands-producer", "manyhands-worker", "manyhands-aggregator", "manyhands-cli")


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv in this folder: the one on the path, or the one that `make setup` fetched."""
    program = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv-uv" / "bin"))
    if program is None:
        sys.exit("uv is not there; `make setup` fetches it")
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def export(kind: str, package: str, *more: str) -> str:
    """The pinned dependencies of a package, without those that only work on it."""
    done = uv("export", "--frozen", "--quiet", "--no-dev", "--format", kind, "--package", package, *more)
    if done.returncode:
        sys.exit(f"uv export failed: {done.stderr.strip()}")
    return done.stdout
