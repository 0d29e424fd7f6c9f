"""Logs: one JSON object a line, whoever logs, and no passwords in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from manyhands import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before the test."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    noisy = {
        n: logging.getLogger(n).level
        for n in ("pika", "alembic", "uvicorn.access", "uvicorn.error", "httpx", "kombu", "amqp")
    }
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, before in noisy.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged, each line by itself."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A line has time, level, logger, service, what was bound and what happened."""
    logs.configure("producer")
    logs.get("manyhands.some").bind(job="j", suite=3).info("published", ünicode="中文")
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "published", "level": "info", "logger": "manyhands.some", "service": "producer",
        "job": "j", "suite": 3, "ünicode": "中文",
    }  # fmt: skip


def test_a_thread_of_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever thread logs, the line says of which service."""
    logs.configure("worker")
    thread = threading.Thread(target=lambda: logs.get("manyhands.some").info("judged"))
    thread.start()
    thread.join()
    (line,) = lines(capsys)
    assert (line["event"], line["service"]) == ("judged", "worker")


def test_other_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    """The standard library's loggers go the same way; chatty libraries only from warnings on, pika never."""
    logs.configure("worker")
    logging.getLogger("handlers.mine").info("loaded %s", "model")
    logging.getLogger("alembic").info("chat")
    logging.getLogger("alembic.runtime").warning("lost")
    logging.getLogger("pika.adapters").error("what our own line says better")
    assert [(line["event"], line["service"]) for line in lines(capsys)] == [
        ("loaded model", "worker"),
        ("lost", "worker"),
    ]


@pytest.mark.parametrize("own", [True, False])
def test_exceptions(capsys: pytest.CaptureFixture[str], own: bool) -> None:
    """An exception's traceback stands in its line, not below it."""
    logs.configure("worker")
    try:
        raise ValueError("cannot reach amqp://u:hunter2@rabbit/")
    except ValueError:
        if own:
            logs.get("a").exception("failed")
        else:
            logging.getLogger("a").exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: cannot reach amqp://u:***@rabbit/" in line["exception"]


def test_level(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below the level is not logged."""
    logs.configure("worker", level="warning")
    logs.get("a").info("quiet")
    logs.get("a").warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The format for eyes has the same in it, masked too."""
    logs.configure("worker", format="text")
    logs.get("a").info("connecting", url="amqp://u:hunter2@rabbit/")
    said = capsys.readouterr().err
    assert "connecting" in said
    assert "amqp://u:***@rabbit/" in said
    with pytest.raises(json.JSONDecodeError):
        json.loads(said)


def test_what_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that JSON does not know is shown by its repr."""
    logs.configure("worker")
    logs.get("a").info("odd", value={1, 2}.__class__)
    assert lines(capsys)[0]["value"] == "<class 'set'>"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("amqp://guest:hunter2@rabbit:5672/vhost", "amqp://guest:***@rabbit:5672/vhost"),
        (
            "a postgresql+psycopg://u:hunter2@db/m and amqps://v:hunter2@r/",
            "a postgresql+psycopg://u:***@db/m and amqps://v:***@r/",
        ),
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("amqp://u:hunt@er2@rabbit/", "amqp://u:***@rabbit/"),
        ("amqp://rabbit:5672/", "amqp://rabbit:5672/"),
        ("amqp://u@rabbit:5672/", "amqp://u@rabbit:5672/"),
        ("http://host:80/a:b@c", "http://host:80/a:b@c"),
        ("no url, a@b:c", "no url, a@b:c"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    """Passwords in URLs are replaced, whatever is around them; nothing else is."""
    assert logs.mask(text) == masked


def test_passwords_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """No value and no message shows a password, from whichever logger."""
    logs.configure("worker")
    logs.get("a").info("connecting to amqp://u:hunter2@rabbit/", url="amqp://u:hunter2@rabbit/")
    logging.getLogger("b").warning("cannot open %s", "postgresql://u:hunter2@db/m")
    said = capsys.readouterr().err
    assert "hunter2" not in said
    assert said.count("u:***@") == 3


def test_rich_is_not_taken_along() -> None:
    """Who only logs does not pay for coloured tracebacks; who wants rich for something else still gets it."""
    code = "import sys; from manyhands import logs; print('rich' in sys.modules); import rich.text; print('got it')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "got it"]
