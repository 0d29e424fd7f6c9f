"""The topology as RabbitMQ's definitions."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from manyhands.errors import SettingsError
from manyhands.permissions import users
from manyhands.topology import Names, topology
from manyhands_cli.definitions import accounts, definitions, password_hash, policies, read_passwords


def test_definitions_name_everything() -> None:
    """Every exchange, queue and binding is in them, durable, with its arguments; bindings have both their ends."""
    wanted = topology(Names(namespace="x"), ["svm"])
    said = definitions(wanted, "v")
    exchanges = {e["name"] for e in said["exchanges"]}
    queues = {q["name"]: q for q in said["queues"]}
    assert exchanges == {e.name for e in wanted.exchanges}
    assert set(queues) == {q.name for q in wanted.queues}
    assert len(said["bindings"]) == len(wanted.bindings) > 0
    for binding in said["bindings"]:
        assert binding["source"] in exchanges
        assert binding["destination"] in queues
    for queue in wanted.queues:
        assert queues[queue.name]["arguments"] == queue.arguments
    assert all(one["durable"] is True for one in (*said["exchanges"], *said["queues"]))
    assert all(one["vhost"] == "v" for kind in said.values() for one in kind)


def test_the_hash_is_the_one_that_rabbitmq_documents() -> None:
    """The worked example of RabbitMQ's page on passwords: "test12" with the salt 908DC60A."""
    assert password_hash("test12", bytes.fromhex("908DC60A")) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_every_user_has_a_password_of_its_own(tmp_path: Path) -> None:
    """From the user's variable, else from the file of its name; the file's last line break is none of it."""
    names = users(Names())
    for user in names:
        (tmp_path / user).write_text(f"{user}-from-its-file\n")
    found = read_passwords(names, tmp_path, {"MANYHANDS_PASSWORD_MH_WORKER": "from-the-environment"})
    assert found["mh-worker"] == "from-the-environment"
    assert found["mh-producer"] == "mh-producer-from-its-file"
    made = {one["name"]: one for one in accounts(names, found)}
    assert made["mh-monitor"]["tags"] == ["monitoring"]
    assert all(one["tags"] == [] for name, one in made.items() if name != "mh-monitor")
    for name, one in made.items():
        salt = base64.b64decode(one["password_hash"])[:4]
        assert one["password_hash"] == password_hash(found[name], salt)
    assert len({one["password_hash"] for one in made.values()}) == len(names)


def test_there_is_no_default_password(tmp_path: Path) -> None:
    """A user without a password, or with a short one, is refused by name; nothing is said of the password."""
    (tmp_path / "mh-producer").write_text("guest")
    with pytest.raises(SettingsError) as refused:
        read_passwords(users(Names()), tmp_path, {})
    assert all(user in str(refused.value) for user in users(Names()))
    assert "guest" not in str(refused.value)


def test_the_policy_is_for_this_installation_alone() -> None:
    """Its pattern takes every queue of the namespace, judges to come included, and none of another."""
    for names in (Names(), Names(namespace="a-b")):
        (policy,) = policies(names, topology(names), "v")
        queues = [q.name for q in topology(names, ["svm"]).queues]
        assert all(re.search(policy["pattern"], queue) for queue in queues)
        assert not any(re.search(policy["pattern"], f"other.{queue}") for queue in queues)
