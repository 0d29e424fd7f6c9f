"""promtool and amtool, wherever they are: on the PATH, in the Docker image, or in the Debian package."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.nodes import apt_install

PROMETHEUS = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


@dataclass(frozen=True)
class Tool:
    """A program that is run in ``deploy/prometheus``; ``where`` says which it is."""

    where: str
    command: Sequence[str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it; its output has the errors, too."""
        return subprocess.run(
            [*self.command, *arguments], cwd=PROMETHEUS, text=True, timeout=500,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


@cache
def found(name: str, image: str, package: str, oldest: tuple[int, int]) -> list[Tool]:
    """Every tool of this name that is at hand and not too old, or the package's once it is installed.

    Raises:
        RuntimeError: there is none, and none can be got; says what to install.
    """
    tools = [tool for tool in (_on_path(name, oldest), _in_docker(name, image)) if tool is not None]
    if not tools:
        trouble = apt_install(package)
        tools = [tool for tool in (_on_path(name, oldest),) if tool is not None]
        if not tools:
            least = ".".join(map(str, oldest))
            raise RuntimeError(
                f"no {name} from {least} on: install the package {package} (Debian, Ubuntu), or start Docker with the"
                f" image {image}. Package: {trouble or 'too old'}."
            )
    return tools


def promtool() -> list[Tool]:
    """The promtools."""
    return found("promtool", "prom/prometheus:v3.5.3", "prometheus", (2, 40))


def amtool() -> list[Tool]:
    """The amtools; before 0.26 no address could stand in a file."""
    return found("amtool", "prom/alertmanager:v0.33.1", "prometheus-alertmanager", (0, 26))


def _on_path(name: str, oldest: tuple[int, int]) -> Tool | None:
    program = shutil.which(name)
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    version = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    if version is None or (int(version[1]), int(version[2])) < oldest:
        return None
    return Tool(f"{program} {version[1]}.{version[2]}", [program])


def _in_docker(name: str, image: str) -> Tool | None:
    docker = shutil.which("docker")
    if docker is None:
        return None
    if subprocess.run([docker, "image", "inspect", image], capture_output=True, timeout=120).returncode:
        return None
    mount = f"{PROMETHEUS}:/rules:ro"
    return Tool(
        image, [docker, "run", "--rm", "--network=none", "-v", mount, "-w", "/rules", "--entrypoint", name, image]
    )
