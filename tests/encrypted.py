"""Turns a private RabbitMQ or PostgreSQL of the tests to TLS, on the port it has, whichever way it is run.

What a configuration file would say is said to the running node, so that a container and a local node are alike.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg

from manyhands.tls import Files
from tests.nodes import Node
from tests.services import Postgres, RabbitMQ


def _write(node: Node, pem: Path) -> str:
    """A copy of a file where the node can read it, owned by the account that it runs as."""
    # under a new name each time, for Erlang remembers what it has read
    file = f"/tmp/manyhands-{uuid.uuid4().hex}"
    node.run("/bin/sh", "-c", f"umask 077; printf '%s' '{pem.read_text()}' > {file}")
    return file


def rabbitmq(server: RabbitMQ, own: Files, ca: Path, *, mutual: bool = False, host: str = "localhost") -> str:
    """Have the node speak nothing but TLS; the URL. With ``mutual`` it asks clients for a certificate, too."""
    assert own.cert is not None
    assert own.key is not None
    cert, key, trusted = (_write(server.node, pem) for pem in (own.cert, own.key, ca))
    return _listen(server, cert, key, trusted, mutual=mutual, host=host)


def rabbitmq_from_files(server: RabbitMQ, own: Files, ca: Path) -> str:
    """The same, mutually, from files that :func:`renew_rabbitmq` renews in their place."""
    return _listen(server, *_put(server, own, ca), mutual=True, host="localhost")


def renew_rabbitmq(server: RabbitMQ, own: Files, ca: Path) -> None:
    """New files in the place of those that the node has, as docs/operations.md says."""
    _put(server, own, ca)
    server.ctl("eval", "ssl:clear_pem_cache().")


def _put(server: RabbitMQ, own: Files, ca: Path) -> tuple[str, str, str]:
    assert own.cert is not None
    assert own.key is not None
    key = server.node.put("tls.key", own.key.read_bytes())
    return server.node.put("tls.crt", own.cert.read_bytes()), key, server.node.put("ca.crt", ca.read_bytes())


def _listen(server: RabbitMQ, cert: str, key: str, trusted: str, *, mutual: bool, host: str) -> str:
    verify = "verify_peer" if mutual else "verify_none"
    port = urlsplit(server.url).port
    inside = "5672" if server.how == "docker" else f'{{"127.0.0.1", {port}}}'
    server.ctl(
        "eval",
        f"rabbit_networking:stop_tcp_listener({inside}), "
        f'rabbit_networking:start_ssl_listener({inside}, [{{cacertfile, "{trusted}"}}, {{certfile, "{cert}"}}, '
        f'{{keyfile, "{key}"}}, {{verify, {verify}}}, {{fail_if_no_peer_cert, {str(mutual).lower()}}}, '
        "{versions, ['tlsv1.2', 'tlsv1.3']}], 10).",
    )
    parts = urlsplit(server.url)
    return parts._replace(scheme="amqps", netloc=f"{parts.username}:{parts.password}@{host}:{port}").geturl()


def postgres(server: Postgres, own: Files) -> None:
    """Have the server accept TLS."""
    assert own.cert is not None
    assert own.key is not None
    cert, key = _write(server.node, own.cert), _write(server.node, own.key)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name, value in (("ssl_cert_file", cert), ("ssl_key_file", key), ("ssl", "on")):
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")


def verified(url: str, ca: Path, *, host: str = "localhost") -> str:
    """The URL of a PostgreSQL that must show a certificate of this authority for this host."""
    parts = urlsplit(url)
    netloc = f"{parts.username}:{parts.password}@{host}:{parts.port}"
    query = urlencode({"sslmode": "verify-full", "sslrootcert": ca})
    return parts._replace(netloc=netloc, query=query).geturl()
