"""The ways to a RabbitMQ."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

from tests.nodes.container import Container, launch
from tests.nodes.node import NAME, Node
from tests.nodes.process import Process
from tests.nodes.recipe import Recipe
from tests.ports import free_ports

#: where RabbitMQ's Prometheus plugin serves its metrics
PLUGIN_PORT = 15692


def _container() -> tuple[str, Node]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of testcontainers' own, about itself
        from testcontainers.community.rabbitmq import RabbitMqContainer

    container = RabbitMqContainer(RABBITMQ.image, port=5672, username=NAME, password=NAME, vhost="/")
    container.with_exposed_ports(PLUGIN_PORT)
    host, port = launch(container, 5672)
    return f"amqp://{NAME}:{NAME}@{host}:{port}/%2F", Container(container, "rabbitmq", "/etc/rabbitmq")


def _program() -> Path | None:
    # the scripts themselves: Debian's wrapper on PATH changes the user and so the home folder and its cookie
    homes = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)
    on_path = shutil.which("rabbitmq-server")
    return next(iter(homes), Path(on_path) if on_path else None)


def _process(program: Path) -> tuple[str, Node]:
    folder = Path(tempfile.mkdtemp(prefix="manyhands-rabbitmq-"))
    port, distribution_port, epmd_port, plugin_port = free_ports(4)
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
    node = Process([program], folder, program.parent, environment, signal.SIGTERM, beside=beside, ports=ports)
    return f"amqp://{NAME}:{NAME}@127.0.0.1:{port}/%2F", node


RABBITMQ = Recipe(
    title="RabbitMQ",
    image="rabbitmq:4.3-management",
    package="rabbitmq-server",
    variable="MANYHANDS_TEST_AMQP_URL",
    container=_container,
    program=_program,
    process=_process,
)
