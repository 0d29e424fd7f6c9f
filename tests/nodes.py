"""How a test server is run: in Docker, or as a private process of the installed program.

`provide` goes through the ways in the order that `tests.services` documents.
"""

from __future__ import annotations

import fcntl
import io
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

#: user, password and database of every server started here
NAME = "manyhands"
#: where RabbitMQ's Prometheus plugin serves its metrics
PLUGIN_PORT = 15692


class NoServiceError(RuntimeError):
    """A server that the tests need can be had in none of the ways."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All the ways to one kind of server; the ways return its URL and its node, not yet started or not yet ready."""

    title: str
    image: str
    package: str
    variable: str
    container: Callable[[], tuple[str, Node]]
    program: Callable[[], Path | None]
    process: Callable[[Path], tuple[str, Node]]


def provide(recipe: Recipe) -> tuple[str, str, Node]:
    """Return URL, way ("docker" or "local node") and node of a fresh server, or raise `NoServiceError`."""
    wanted = os.environ.get("MANYHANDS_TEST_SERVICES", "")
    if wanted not in ("", "docker", "local"):
        raise NoServiceError(f"MANYHANDS_TEST_SERVICES is {wanted!r}; it may be 'docker' or 'local'")
    no_docker = "not wanted (MANYHANDS_TEST_SERVICES=local)" if wanted == "local" else _why_not_docker(recipe.image)
    if not no_docker:
        url, node = recipe.container()
        return url, "docker", node
    if wanted == "docker":
        raise NoServiceError(f"no {recipe.title}: MANYHANDS_TEST_SERVICES=docker, but {no_docker}")
    program, no_package = recipe.program(), ""
    if not program:
        no_package = apt_install(recipe.package)
        program = recipe.program()
    if not program:
        raise NoServiceError(
            f"no {recipe.title}: install the package {recipe.package} (Debian, Ubuntu), or start Docker with the"
            f" image {recipe.image}, or set {recipe.variable} to a server's URL."
            f" Docker: {no_docker}. Package: {no_package}."
        )
    url, node = recipe.process(program)
    return url, "local node", node


class Node(Protocol):
    """One server, as a container or as a process; it keeps its data and port until it is closed."""

    @property
    def running(self) -> bool:
        """Whether the container or process is alive, ready or not."""

    def start(self) -> None:
        """Start it unless it is running; return at once."""

    def kill(self) -> None:
        """End it with SIGKILL."""

    def stop(self) -> None:
        """End it in its own orderly way."""

    def close(self) -> None:
        """End it, whatever its state, and remove its data; a second time does nothing."""

    def log(self) -> str:
        """Return the end of what it printed."""

    def run(self, *command: str) -> str:
        """Run one of the server's own programs beside it and return what that prints."""

    def put(self, name: str, content: bytes) -> str:
        """Write a file into the server's folder of settings and return its path there."""

    def port(self, inner: int) -> int:
        """Return the port under which one of the server's usual ones can be reached from here."""


@dataclass
class _Container:
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


@dataclass
class _Process:
    """A server process in its own process group and folder; `beside` is a helper that outlives its restarts."""

    command: Sequence[str | Path]
    folder: Path
    programs: Path
    environment: dict[str, str]
    end: signal.Signals
    account: dict[str, Any] = field(default_factory=dict)
    beside: Sequence[str] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None
    _helper: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        if self.beside and self._helper is None:
            self._helper = self._spawn(self.beside)
        if not self.running:
            self._child = self._spawn(self.command)

    def kill(self) -> None:
        self._end(self._child, signal.SIGKILL)

    def stop(self) -> None:
        self._end(self._child, self.end)

    def close(self) -> None:
        self._end(self._child, self.end)
        self._end(self._helper, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-4000:]

    def put(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def port(self, inner: int) -> int:
        return self.ports[inner]

    def run(self, *command: str) -> str:
        argv = [str(self.programs / command[0]), *command[1:]]
        done = subprocess.run(
            argv, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120, **self.account
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return str(done.stdout)

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self.account,
            )

    @staticmethod
    def _end(child: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
        if child is None or child.poll() is not None:
            return
        os.killpg(child.pid, how)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(30)


# --- RabbitMQ -------------------------------------------------------------------------------------------------


def _rabbitmq_container() -> tuple[str, Node]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of testcontainers' own, about itself
        from testcontainers.community.rabbitmq import RabbitMqContainer

    container = RabbitMqContainer(RABBITMQ.image, port=5672, username=NAME, password=NAME, vhost="/")
    container.with_exposed_ports(PLUGIN_PORT)
    host, port = _launch(container, 5672)
    return f"amqp://{NAME}:{NAME}@{host}:{port}/%2F", _Container(container, "rabbitmq", "/etc/rabbitmq")


def _rabbitmq_program() -> Path | None:
    # the scripts themselves: Debian's wrapper on PATH changes the user and so the home folder and its cookie
    homes = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)
    on_path = shutil.which("rabbitmq-server")
    return next(iter(homes), Path(on_path) if on_path else None)


def _rabbitmq_process(program: Path) -> tuple[str, Node]:
    folder = Path(tempfile.mkdtemp(prefix="manyhands-rabbitmq-"))
    port, distribution_port, epmd_port, plugin_port = _free_ports(4)
    (folder / "plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text(
        f"default_user = {NAME}\ndefault_pass = {NAME}\ndisk_free_limit.absolute = 50MB\n"
        f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {plugin_port}\n"  # for when the plugin is wanted
    )
    (folder / "none.conf").touch()
    ours = {
        "HOME": str(folder),  # the Erlang cookie is made here
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"{NAME}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
    # an own epmd in the foreground: the one that Erlang would start by itself outlives everybody
    epmd = shutil.which("epmd")
    beside = [epmd, "-port", str(epmd_port), "-address", "127.0.0.1"] if epmd else []
    environment = inherited | ours
    ports = {5672: port, PLUGIN_PORT: plugin_port}
    node = _Process([program], folder, program.parent, environment, signal.SIGTERM, beside=beside, ports=ports)
    return f"amqp://{NAME}:{NAME}@127.0.0.1:{port}/%2F", node


# --- PostgreSQL -----------------------------------------------------------------------------------------------


def _postgres_container() -> tuple[str, Node]:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(POSTGRES.image, username=NAME, password=NAME, dbname=NAME, driver=None)
    host, port = _launch(container, 5432)
    return f"postgresql://{NAME}:{NAME}@{host}:{port}/{NAME}", _Container(container, "postgres", "/tmp")


def _postgres_program() -> Path | None:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin/postgres") if (path.parent / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0)
    on_path = shutil.which("postgres")
    program = Path(on_path).resolve() if on_path else None
    return program if program and (program.parent / "initdb").exists() else None


def _postgres_process(program: Path) -> tuple[str, Node]:
    folder = Path(tempfile.mkdtemp(prefix="manyhands-postgres-"))
    (port,) = _free_ports(1)
    (folder / "password").write_text(NAME)
    account = _unprivileged_account()
    if account:
        for path in (folder, folder / "password"):
            os.chown(path, account["user"], account["group"])
    data = folder / "data"
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    environment = os.environ | {"LC_ALL": "C.UTF-8", "HOME": str(folder)}
    node = _Process([program, "-D", data, *options], folder, program.parent, environment, signal.SIGINT, account)
    initdb = ["-D", str(data), "-U", NAME, "-E", "UTF8", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
    try:
        node.run("initdb", *initdb, "--no-sync")
    except BaseException:
        node.close()
        raise
    # initdb makes no database of our own name; the one that is always there does
    return f"postgresql://{NAME}:{NAME}@127.0.0.1:{port}/postgres", node


def _unprivileged_account() -> dict[str, Any]:
    """Return what `subprocess` needs to leave root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    names = {account.pw_name: account for account in pwd.getpwall()}
    account = names.get("postgres") or names["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@cache
def _why_not_docker(image: str) -> str:
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


def _launch(container: Any, inner: int) -> tuple[str, int]:
    """Start a container with `inner` on a fixed free port: a port Docker chose would change at a restart."""
    (outer,) = _free_ports(1)
    try:
        container.with_bind_ports(inner, outer).start()
        host = container.get_container_host_ip()
        return ("127.0.0.1" if host == "localhost" else host), container.get_exposed_port(inner)
    except BaseException:
        container.stop()
        raise


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


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


RABBITMQ = Recipe(
    title="RabbitMQ",
    image="rabbitmq:4.3-management",
    package="rabbitmq-server",
    variable="MANYHANDS_TEST_AMQP_URL",
    container=_rabbitmq_container,
    program=_rabbitmq_program,
    process=_rabbitmq_process,
)
POSTGRES = Recipe(
    title="PostgreSQL",
    image="postgres:18",
    package="postgresql",
    variable="MANYHANDS_TEST_POSTGRES_URL",
    container=_postgres_container,
    program=_postgres_program,
    process=_postgres_process,
)
