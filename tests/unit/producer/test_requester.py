"""Whoever has the token may order work, and nothing else: what a job file over the API tries, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from manyhands.broker import connect
from manyhands_producer.api import build
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings

SPEC: dict[str, Any] = {"name": "wish", "answer": {"type": "text"}, "stages": [{"judges": ["echo"]}]}


def nested(depth: int, opening: str, closing: str, inside: str = "1") -> str:
    """JSON so deep."""
    return opening * depth + inside + closing * depth


def ordered(**keys: Any) -> str:
    """A body that opens a job with these keys besides."""
    return json.dumps({"spec": {**SPEC, **keys}})


#: Bodies of POST /api/jobs; none of them may become a job. DATA and SECRETS are folders, DATA the one that may be read.
REFUSED: dict[str, str] = {
    **{
        f"to read {path}": ordered(source={"path": path, "format": "csv"})
        for path in (
            "SECRETS/manyhands_broker", "file://SECRETS/manyhands_api_token", "DATA/../secrets/manyhands_store",
            "DATA/secrets/manyhands_store", "/etc/passwd", "~root/.bashrc", "http://169.254.169.254/latest/meta-data",
            "s3://bucket/x.csv", "simplecache::http://169.254.169.254/x.csv", "DATA/link/passwd",
        )
    },
    "to read a folder of secrets": ordered(source={"path": "SECRETS", "format": "folder"}),
    "gold that lies elsewhere": ordered(source={"path": "DATA/rows.csv"}, gold={"path": "SECRETS/manyhands_store"}),
    "a path for an id": json.dumps({"spec": SPEC, "job": "../../etc/cron.d/x"}),
    "a path for a name": ordered(name="../x"),
    "a retry queue for a judge": ordered(stages=[{"judges": ["echo.1s"]}]),
    "everybody for a judge": ordered(stages=[{"judges": ["#"]}]),
    "arrays without an end": nested(100_000, "[", "]"),
    "maps without an end": '{"spec": ' + nested(100_000, '{"a":', "}") + "}",
    "a deep schema": ordered(answer={"type": "json", "schema": {"not": json.loads(nested(80, '{"not":', "}", "{}"))}}),
    "a deeper one": ordered(answer={"type": "json", "schema": "?"}).replace('"?"', nested(900, '{"not":', "}", "{}")),
    "a pattern that goes back": ordered(answer={"type": "json", "schema": {"pattern": r"(a)\1"}}),
    "no map": "[]",
    "no text": "\ud800",
    "a number that is none": '{"spec": NaN}',
}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """The API of a producer that may read the folder ``data``, and has its secrets in the folder ``secrets``."""
    data, secrets = tmp_path / "data", tmp_path / "secrets"
    for folder in (data, secrets):
        folder.mkdir()
    (data / "rows.csv").write_text("text\na\n")
    (data / "link").symlink_to("/etc")
    (data / "secrets").symlink_to(secrets)
    for name in ("broker", "store", "api_token"):
        (secrets / f"manyhands_{name}").write_text("id,answer\nhunter2,hunter2\n")
    broker = connect("memory://")
    settings = ProducerSettings(
        store=SecretStr(f"sqlite:///{tmp_path}/store.db"), source_roots=(str(tmp_path),), secrets=secrets
    )
    producer = Producer(settings, broker)
    producer.start()
    yield TestClient(build(producer, settings), raise_server_exceptions=False)
    producer.stop(5)
    broker.close()


@pytest.mark.parametrize("wish", REFUSED)
def test_what_is_refused(client: TestClient, tmp_path: Path, wish: str) -> None:
    """It is the requester's mistake, told in a sentence that holds nothing of what was to be read; there is no job."""
    body = REFUSED[wish].replace("DATA", f"{tmp_path}/data").replace("SECRETS", f"{tmp_path}/secrets")
    answer = client.post("/api/jobs", content=body.encode(errors="surrogatepass"))
    assert 400 <= answer.status_code < 500, answer.text[:500]
    said = answer.json()["error"]
    assert "hunter2" not in said
    assert len(said) < 2000
    assert client.get("/api/jobs").json() == []


def test_handlers_of_a_job_are_not_its_own(client: TestClient, tmp_path: Path) -> None:
    """A job over the API may name programs, modules and URLs, as job files do for `run`; nobody runs or asks them."""
    touched = tmp_path / "touched"
    (tmp_path / "evil.py").write_text(f"open({str(touched)!r}, 'w')")
    wished = {
        **SPEC, "handlers": f"{tmp_path}/evil.py", "commands": {"echo": {"command": ["touch", str(touched)]}},
        "http": {"echo": {"url": "http://169.254.169.254/"}},
    }  # fmt: skip
    opened = client.post("/api/jobs", json={"spec": wished, "tasks": [{"payload": "a"}], "seal": True})
    assert opened.status_code == 201
    assert not touched.exists()
