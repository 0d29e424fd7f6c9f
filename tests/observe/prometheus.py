"""A Prometheus of the tests' own: the program on the PATH, the Docker image, or the Debian package."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from tests.nodes import apt_install
from tests.ports import free_ports
from tests.services import wait_until

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
IMAGE, PACKAGE, OLDEST = "prom/prometheus:v3.5.3", "prometheus", (2, 40)
#: Seconds between two scrapes. Rates look back over some of them.
INTERVAL = 2
START_TIMEOUT = 60
#: The namespace under which everything is seen a second time.
TWIN = "twin"


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes and evaluates; ``how`` says where it comes from."""

    url: str
    how: str

    def get(self, path: str, **parameters: Any) -> Any:
        """What its API answers; `AssertionError` with its own words where it refuses."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=60)
        said = answer.json()
        assert said["status"] == "success", f"{said.get('error')}: {parameters}"
        return said["data"]

    def now(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an expression at one time: the last one unless another is given."""
        found: list[dict[str, Any]] = self.get("query", query=expression, **({} if at is None else {"time": at}))[
            "result"
        ]
        return found

    def between(self, expression: str, since: float, until: float, step: float = INTERVAL) -> list[dict[str, Any]]:
        """The series of an expression over a time."""
        found: list[dict[str, Any]] = self.get(
            "query_range", query=expression, start=since, end=until, step=step
        )["result"]  # fmt: skip
        return found


@contextmanager
def prometheus(
    folder: Path, targets: Mapping[str, Sequence[str]], secure: Mapping[str, Mapping[str, Any]]
) -> Iterator[Prometheus]:
    """A Prometheus with the project's rules and scrape configuration, in which only targets and times are others.

    It scrapes each target twice: once without a namespace, as in compose, and once as if it were a pod in one.
    ``targets`` are those of each job; ``secure`` has the TLS settings of some, whose files are in the folder.
    """
    (port,) = free_ports(1)
    configuration = folder / "prometheus.yml"
    with configuration.open("w", encoding="utf-8") as file:
        YAML().dump(_configuration(targets, secure), file)
    options = [
        f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    how, command = _found(folder)
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], cwd=folder, stdout=output, stderr=output)
    server = Prometheus(f"http://127.0.0.1:{port}", how)
    try:
        try:
            wait_until(lambda: _ready(server, process), START_TIMEOUT, f"Prometheus ({how}) to start")
        except (TimeoutError, RuntimeError) as error:
            error.add_note(log.read_text(errors="replace")[-4000:])
            raise
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _configuration(targets: Mapping[str, Sequence[str]], secure: Mapping[str, Mapping[str, Any]]) -> Any:
    configuration = YAML(typ="safe").load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    configuration["global"] |= {
        "scrape_interval": f"{INTERVAL}s", "scrape_timeout": f"{INTERVAL}s", "evaluation_interval": f"{INTERVAL}s",
    }  # fmt: skip
    configuration["rule_files"] = [str(FOLDER / name) for name in configuration["rule_files"]]
    del configuration["alerting"]  # there is nobody to tell
    for scrape in configuration["scrape_configs"]:
        for discovery in [key for key in scrape if key.endswith("_sd_configs")]:
            del scrape[discovery]
        found = list(targets[scrape["job_name"]])
        scrape["static_configs"] = [{"targets": found}, {"targets": found, "labels": {"namespace": TWIN}}]
        scrape |= secure.get(scrape["job_name"], {})
    return configuration


def _ready(server: Prometheus, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"Prometheus ({server.how}) ended with {process.returncode}")
    try:
        return httpx.get(f"{server.url}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _found(folder: Path) -> tuple[str, list[str]]:
    """Where a Prometheus is, and how it is started.

    Raises:
        RuntimeError: there is none, and none can be got; says what to install.
    """
    found = _on_path() or _in_docker(folder)
    if found is None:
        trouble = apt_install(PACKAGE)
        found = _on_path()
        if found is None:
            least = ".".join(map(str, OLDEST))
            raise RuntimeError(
                f"no Prometheus from {least} on: install the package {PACKAGE} (Debian, Ubuntu), or start Docker with"
                f" the image {IMAGE}. Package: {trouble or 'too old'}."
            )
    return found


def _on_path() -> tuple[str, list[str]] | None:
    program = shutil.which("prometheus")
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    version = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        return None
    return f"{program} {version[1]}.{version[2]}", [program]


def _in_docker(folder: Path) -> tuple[str, list[str]] | None:
    docker = shutil.which("docker")
    if docker is None:
        return None
    if subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True, timeout=30).returncode:
        return None
    user = folder.stat()
    # on the host's network, since what it scrapes listens on the host's own address only
    run = [docker, "run", "--rm", "--network=host", f"--user={user.st_uid}:{user.st_gid}"]
    mounts = ["-v", f"{folder}:{folder}", "-v", f"{FOLDER}:{FOLDER}:ro"]
    return IMAGE, [*run, *mounts, "--entrypoint=prometheus", IMAGE]
