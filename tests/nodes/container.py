"""A server as a container."""

# ruff: noqa: D102  its methods are those of Node, which documents them

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.ports import free_ports


@dataclass
class Container:
    """A testcontainers container on a fixed port, so that it comes back where it was."""

    container: Any
    user: str
    settings: str

    @property
    def running(self) -> bool:
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return bool(wrapped.status == "running")

    def start(self) -> None:
        if not self.running:
            self.container.get_wrapped_container().start()

    def kill(self) -> None:
        wrapped = self.container.get_wrapped_container()
        wrapped.kill("SIGKILL")
        wrapped.wait(timeout=60)

    def stop(self) -> None:
        self.container.get_wrapped_container().stop(timeout=30)

    def freeze(self) -> None:
        self.container.get_wrapped_container().pause()

    def thaw(self) -> None:
        self.container.get_wrapped_container().unpause()

    def close(self) -> None:
        if self.container._container is not None:
            self.container.stop()
            self.container._container = None

    def log(self) -> str:
        return str(self.container.get_wrapped_container().logs(tail=40).decode(errors="replace"))

    def put(self, name: str, content: bytes) -> str:
        entry, packed = tarfile.TarInfo(name), io.BytesIO()
        entry.size, entry.mode = len(content), 0o644
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(entry, io.BytesIO(content))
        if not self.container.get_wrapped_container().put_archive(self.settings, packed.getvalue()):
            raise RuntimeError(f"{name} could not be put into {self.settings}")
        return f"{self.settings}/{name}"

    def port(self, inner: int) -> int:
        return int(self.container.get_exposed_port(inner))

    def run(self, *command: str) -> str:
        code, output = self.container.get_wrapped_container().exec_run(list(command), user=self.user)
        text = str(output.decode(errors="replace"))
        if code:
            raise RuntimeError(f"{' '.join(command)} ended with {code}: {text}")
        return text


@cache
def why_not_docker(image: str) -> str:
    """Return why `image` cannot be run in Docker here, or nothing if it can."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.docker_client import DockerClient

    try:
        images = DockerClient().client.images
        local = {tag for found in images.list() for tag in found.tags}
        if image not in local:
            images.pull(image)
    except Exception as problem:  # noqa: BLE001 - whatever it is (no socket, no right, no registry), Docker is no way
        return f"{type(problem).__name__}: {problem}"
    # the helper that removes forgotten containers is worth having, but not worth failing for
    if testcontainers_config.ryuk_image not in local:
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    return ""


def launch(container: Any, inner: int) -> tuple[str, int]:
    """Start a container with `inner` on a fixed free port: a port Docker chose would change at a restart."""
    (outer,) = free_ports(1)
    try:
        container.with_bind_ports(inner, outer).start()
        host = container.get_container_host_ip()
        return ("127.0.0.1" if host == "localhost" else host), container.get_exposed_port(inner)
    except BaseException:
        container.stop()
        raise
