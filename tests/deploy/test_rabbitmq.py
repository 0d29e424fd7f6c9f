"""deploy/rabbitmq, as its README sets it up: a node of these settings has these users, and lets in nobody else."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
from pika.exceptions import AMQPError

from manyhands.broker import connect
from manyhands.errors import BrokerError
from manyhands.permissions import users
from manyhands.topology import Names
from tests.e2e.processes import ROOT, command
from tests.ports import free_ports
from tests.services import RabbitMQ, wait_until

DEPLOY = ROOT / "deploy" / "rabbitmq"
JUDGES = ("svm", "forest")


def made(script: str, *arguments: str) -> None:
    """Run a script of the folder."""
    done = subprocess.run([DEPLOY / script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_passwords_are_made_once(tmp_path: Path) -> None:
    """A random one for each user, for its owner's eyes only; one that is there stays."""
    made("passwords", str(tmp_path / "one"))
    made("passwords", str(tmp_path / "each"), *JUDGES)
    one, each = ({file.name: file.read_text() for file in (tmp_path / x).iterdir()} for x in ("one", "each"))
    assert set(one) == set(users(Names()))
    assert set(each) == set(users(Names(), JUDGES, user_per_judge=True))
    passwords = [*one.values(), *each.values()]
    assert len(set(passwords)) == len(passwords)
    assert all(len(password.strip()) >= 40 for password in passwords)
    for file in (tmp_path / "one").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made("passwords", str(tmp_path / "one"))
    assert {file.name: file.read_text() for file in (tmp_path / "one").iterdir()} == one


@pytest.mark.timeout(240, func_only=True)
def test_a_node_of_these_settings(private_rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """A node that starts empty has the users of its definitions, no guest, TLS alone, topology and policy."""
    broker, node = private_rabbitmq, private_rabbitmq.node
    in_docker = broker.how == "docker"
    where = urlsplit(broker.url)
    host = str(where.hostname)
    secrets, tls = tmp_path / "secrets", tmp_path / "tls"
    made("passwords", str(secrets))
    made("certificates", str(tls), host)
    exported = command("topology", "export", "--judges", ",".join(JUDGES), "--passwords", str(secrets))
    assert exported.returncode == 0, exported.stderr
    said = json.loads(exported.stdout)
    base = json.loads((DEPLOY / "definitions.json").read_text())
    assert base["policies"] == said["policies"]
    assert all(one in said[kind] for kind in ("vhosts", "exchanges", "queues", "bindings") for one in base[kind])

    # the container has one port open; a private node keeps that one for itself, and has no plugins
    port, inner = (where.port, 5672) if in_docker else (*free_ports(1),) * 2
    definitions = node.put("definitions.json", exported.stdout.encode())
    files = {name: node.put(name, (tls / name).read_bytes()) for name in ("ca.crt", "tls.crt", "tls.key")}
    for name in ("rabbitmq.conf", "tls.conf"):
        text = (DEPLOY / name).read_text()
        text = text.replace("/etc/rabbitmq/definitions.json", definitions).replace("= 5671", f"= {inner}")
        for file, path in files.items():
            text = text.replace(f"/etc/rabbitmq/tls/{file}", path)
        if not in_docker:
            text = "".join(
                line for line in text.splitlines(True) if not line.startswith(("management.", "prometheus."))
            )
        node.put(f"conf.d/{50 if name == 'rabbitmq.conf' else 60}-{name}", text.encode())
    node.stop()
    node.start()

    passwords = {user: (secrets / user).read_text().strip() for user in users(Names())}
    url = f"amqps://mh-admin:{passwords['mh-admin']}@{host}:{port}/manyhands?ca={tls / 'ca.crt'}"
    wait_until(lambda: answers(url), 120, "the node to come back with TLS")
    for step in ("stop_app", "reset", "start_app"):  # now it is as on its first start
        broker.ctl(step)
    wait_until(lambda: answers(url), 120, "the node to come back empty")

    listed = {line.split()[0] for line in broker.ctl("-q", "list_users", "--no-table-headers").splitlines() if line}
    assert listed == set(users(Names()))
    assert "mh-queues" in broker.ctl("-q", "list_policies", "-p", "manyhands")
    checked = command("topology", "check", "--judges", ",".join(JUDGES), env={"MANYHANDS_BROKER": url})
    assert checked.returncode == 0, checked.stdout + checked.stderr

    assert not answers(url.replace("mh-admin:", "guest:").replace(passwords["mh-admin"], "guest"))
    assert not answers(url.partition("?")[0])  # without our authority its certificate is nobody's
    if in_docker:
        with pytest.raises(AMQPError):
            pika.BlockingConnection(pika.URLParameters(broker.url))


def answers(url: str) -> bool:
    """Whether a broker lets in whom the URL names."""
    broker = connect(url)
    try:
        return broker.has_exchange("mh.tasks")
    except BrokerError:
        return False
