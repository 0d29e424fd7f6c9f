"""Debian packages of servers that are not installed yet."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def apt_install(package: str) -> str:
    """Install a Debian package without starting its service; return what stood in the way, or nothing."""
    if not shutil.which("apt-get"):
        return "not installed, and this is neither Debian nor Ubuntu"
    if os.geteuid() != 0:
        return "not installed, and only root may install it"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    with (Path(tempfile.gettempdir()) / "manyhands-tests-apt.lock").open("w") as turn:
        # tests run side by side, and package lists that are being fetched are empty
        fcntl.flock(turn, fcntl.LOCK_EX)
        return _apt_install(package, apt, environment)


def _apt_install(package: str, apt: Sequence[str], environment: Mapping[str, str]) -> str:
    with _no_service_starts():
        subprocess.run([*apt, "update"], env=environment, capture_output=True, check=False)
        command = [*apt, "install", "-y", "--no-install-recommends", package]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"apt-get install {package} failed: {done.stderr.strip()[-500:]}"


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep Debian from starting the service it installs: it would hold the standard port for nobody."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
