"""The topology and its users as RabbitMQ's definitions file has them.

Source of the format: https://www.rabbitmq.com/docs/definitions, and of the hashes
https://www.rabbitmq.com/docs/passwords#computing-password-hash
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manyhands.errors import SettingsError
from manyhands.permissions import TAGS, Permissions, Service
from manyhands.topology import Names, Topology

#: Fewer characters are guessed, and default passwords are mostly shorter.
SHORTEST = 16
#: Bytes at which a queue refuses more. Arguments limit the number of messages alike everywhere; how many bytes the
#: disks hold differs, so that this is a policy, which can be changed while it runs.
MAX_BYTES = 4 << 30
_SALT = 4


def definitions(wanted: Topology, vhost: str = "/") -> dict[str, list[dict[str, Any]]]:
    """The topology."""
    return {
        "exchanges": [
            {
                "name": e.name, "vhost": vhost, "type": e.kind, "durable": True, "auto_delete": False,
                "internal": False, "arguments": {"alternate-exchange": e.alternate} if e.alternate else {},
            }
            for e in wanted.exchanges
        ],
        "queues": [
            {"name": q.name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": q.arguments}
            for q in wanted.queues
        ],
        "bindings": [
            {
                "source": b.exchange, "vhost": vhost, "destination": b.queue, "destination_type": "queue",
                "routing_key": b.key, "arguments": {},
            }
            for b in wanted.bindings
        ],
    }  # fmt: skip


def policies(names: Names, wanted: Topology, vhost: str) -> list[dict[str, Any]]:
    """What may be changed while it runs: the bytes a queue may hold, and leaders spread over the nodes."""
    prefix = names.queue("")
    families = sorted({q.name.removeprefix(prefix).partition(".")[0] for q in wanted.queues} | {"tasks", "suspects"})
    return [
        {
            "vhost": vhost,
            "name": names.queue("mh-queues"),
            "pattern": f"^{re.escape(prefix)}(?:{'|'.join(families)})\\.",
            "apply-to": "queues",
            "priority": 0,
            "definition": {"max-length-bytes": MAX_BYTES, "queue-leader-locator": "balanced"},
        }
    ]


def rights(users: Mapping[str, tuple[Service, Permissions]], vhost: str) -> dict[str, list[dict[str, Any]]]:
    """What each user may do."""
    return {
        "permissions": [
            {"user": user, "vhost": vhost, "configure": may.configure, "write": may.write, "read": may.read}
            for user, (_, may) in users.items()
        ],
        "topic_permissions": [
            {"user": user, "vhost": vhost, "exchange": topic.exchange, "write": topic.write, "read": topic.read}
            for user, (_, may) in users.items()
            for topic in may.topics
        ],
    }


def accounts(users: Mapping[str, tuple[Service, Permissions]], passwords: Mapping[str, str]) -> list[dict[str, Any]]:
    """The users themselves, with the hashes of their passwords."""
    return [
        {
            "name": user,
            "password_hash": password_hash(passwords[user], os.urandom(_SALT)),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": list(TAGS.get(service, ())),
            "limits": {},
        }
        for user, (service, _) in users.items()
    ]


def password_hash(password: str, salt: bytes) -> str:
    """RabbitMQ's salted SHA-256 of a password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def read_passwords(users: Mapping[str, object], folder: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The password of each user: from its variable, or from the file of its name in the folder.

    Raises:
        SettingsError: names the users that have none, or too short a one.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    for user in users:
        file = folder / user if folder is not None else None
        try:
            password = environment.get(variable(user)) or (file.read_text(encoding="utf-8").strip() if file else "")
        except (OSError, UnicodeDecodeError):
            password = ""
        if len(password) < SHORTEST:
            wrong.append(f"{user} ({variable(user)}{f' or the file {file}' if file else ''})")
        found[user] = password
    if wrong:
        raise SettingsError(f"no password of at least {SHORTEST} characters for {', '.join(wrong)}")
    return found


def variable(user: str) -> str:
    """The environment variable with a user's password: of ``mh-producer`` it is ``MANYHANDS_PASSWORD_MH_PRODUCER``."""
    return f"MANYHANDS_PASSWORD_{re.sub(r'[^A-Z0-9]', '_', user.upper())}"
