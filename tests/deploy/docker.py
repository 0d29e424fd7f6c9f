"""Docker as the tests of deployment use it: the command line, as a user has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = "python:3.13-slim"
#: What a container gets that is allowed nothing: the settings of `restricted` in Kubernetes.
RESTRICTED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:mode=1777")


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, timeout: float = 600, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout; fails with all it said."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True, text=True, timeout=timeout, cwd=ROOT, env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip
    if check and done.returncode:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def docker(*arguments: str | Path, check: bool = True) -> str:
    """Run ``docker`` and return what it printed."""
    return run("docker", *arguments, check=check).stdout.strip()


def quiet() -> bool:
    """Whether the machine does little else: on a busy one a time says how busy it is, and is printed only."""
    return os.getloadavg()[0] < (os.cpu_count() or 1)


@cache
def need_docker() -> None:
    """Fail, and never skip, where there is no Docker."""
    if not shutil.which("docker") or run("docker", "info", check=False).returncode:
        pytest.fail("these tests need Docker with compose and buildx: https://docs.docker.com/engine/install/")


@cache
def images() -> None:
    """Build the images of this checkout, as ``make images`` does."""
    need_docker()
    run("sh", "scripts/images", env={"PROGRESS": "plain"}, timeout=1800)


def image(name: str) -> str:
    """The tag of one of them."""
    images()
    return f"manyhands-{name}:{os.environ.get('VERSION', 'dev')}"


def inspect(what: str) -> dict[str, Any]:
    """All that Docker knows of a container or image."""
    (found,) = json.loads(docker("inspect", what))
    assert isinstance(found, dict)
    return found


@contextmanager
def container(name: str, *arguments: str, env: Mapping[str, str], options: Sequence[str] = ()) -> Iterator[str]:
    """A restricted container on the host's network; yields its id, and removes it."""
    variables = [part for key, value in env.items() for part in ("--env", f"{key}={value}")]
    started = docker("run", "--detach", "--network", "host", *RESTRICTED, *variables, *options, name, *arguments)
    try:
        yield started
    finally:
        docker("rm", "--force", started)
