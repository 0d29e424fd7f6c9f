"""Settings: named after their variables, typed, and silent about secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manyhands import settings
from manyhands.errors import SettingsError
from manyhands.settings import Settings, StoreSettings, load, store_url


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment of the test run."""
    import os

    for name in os.environ:
        if name.startswith("MANYHANDS_"):
            monkeypatch.delenv(name)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is the variable MANYHANDS_ and its name, typed."""
    for name, value in {
        "BROKER": "amqp://u:p@rabbit/", "NAMESPACE": "blue", "PARTITIONS": "8", "DECLARE": "false", "PORT": "8080",
        "GRACE": "2.5", "LOG_FORMAT": "text", "STORE": "postgresql://u:p@db/m",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"MANYHANDS_{name}", value)
    told = load(StoreSettings)
    assert told.broker.get_secret_value() == "amqp://u:p@rabbit/"
    assert (told.partitions, told.declare, told.port, told.grace, told.log_format) == (8, False, 8080, 2.5, "text")
    assert told.store.get_secret_value() == "postgresql://u:p@db/m"
    assert told.names.to_judge("svm") == ("blue.mh.tasks", "svm")
    assert told.names.partitions == 8


def test_defaults() -> None:
    """Everything has a default that works on one machine."""
    told = load(Settings)
    assert told.broker.get_secret_value() == "amqp://localhost:5672/"
    assert told.host == "127.0.0.1"
    assert told.api_token is None


def test_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line gives wins over the environment; what it leaves out does not."""
    monkeypatch.setenv("MANYHANDS_PORT", "8080")
    assert load(Settings, port=9090).port == 9090
    assert load(Settings, port=None).port == 8080


def test_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as compose files make them, is as good as none: no token, not an empty one."""
    monkeypatch.setenv("MANYHANDS_API_TOKEN", "")
    monkeypatch.setenv("MANYHANDS_PORT", "")
    told = load(Settings)
    assert (told.api_token, told.port) == (None, 0)


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr nor str nor a dump shows a password."""
    monkeypatch.setenv("MANYHANDS_BROKER", "amqp://u:hunter2@rabbit/")
    monkeypatch.setenv("MANYHANDS_STORE", "postgresql://u:hunter2@db/m")
    monkeypatch.setenv("MANYHANDS_API_TOKEN", "hunter2")
    told = load(StoreSettings)
    for shown in (repr(told), str(told), told.model_dump_json(), f"{told.broker} {told.store}"):
        assert "hunter2" not in shown
    assert "**" in repr(told)


def test_secrets_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file named like a variable in lower case is its value, of a secret or any setting; others are not read."""
    for name, text in {
        "manyhands_broker": "amqp://u:from-file@rabbit/\n", "manyhands_store": "postgresql://u:p@db/m\r\n",
        "manyhands_api_token": " spaces stay ", "MANYHANDS_PORT": "8080", "manyhands_grace": "\n", "other": "x",
        "manyhands_window": "5",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "..data").mkdir()  # as Kubernetes has it beside the files
    monkeypatch.setenv("MANYHANDS_SECRETS", str(tmp_path))
    told = load(StoreSettings)
    assert told.broker.get_secret_value() == "amqp://u:from-file@rabbit/"
    assert told.store.get_secret_value() == "postgresql://u:p@db/m"
    assert told.api_token is not None
    assert told.api_token.get_secret_value() == " spaces stay "
    assert (told.port, told.grace) == (8080, 25.0)


def test_what_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is given wins over variables, they over files; an empty variable is as good as none."""
    (tmp_path / "manyhands_port").write_text("1")
    monkeypatch.setenv("MANYHANDS_SECRETS", str(tmp_path))
    assert load(Settings).port == 1
    monkeypatch.setenv("MANYHANDS_PORT", "")
    assert load(Settings).port == 1
    monkeypatch.setenv("MANYHANDS_PORT", "2")
    assert load(Settings).port == 2
    assert load(Settings, port=3).port == 3


def test_secrets_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing folder, a file that cannot be read, and a value that is not right, are one sentence each."""
    monkeypatch.setenv("MANYHANDS_SECRETS", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"MANYHANDS_SECRETS: cannot read the folder .*none: No such file"):
        load(Settings)
    monkeypatch.setenv("MANYHANDS_SECRETS", str(tmp_path))
    (tmp_path / "manyhands_port").write_text("hunter2")
    with pytest.raises(SettingsError, match=r"MANYHANDS_PORT: .*valid integer") as caught:
        load(Settings)
    assert "hunter2" not in str(caught.value)
    (tmp_path / "manyhands_broker").mkdir()
    with pytest.raises(SettingsError, match=r"MANYHANDS_SECRETS: cannot read .*manyhands_broker: Is a directory"):
        load(Settings)
    (tmp_path / "manyhands_broker").rmdir()
    (tmp_path / "manyhands_broker").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="manyhands_broker is no text in UTF-8"):
        load(Settings)


def test_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged is plain values: of a secret no more than a URL without its password."""
    monkeypatch.setenv("MANYHANDS_BROKER", "amqps://u:hunter2@rabbit/")
    monkeypatch.setenv(
        "MANYHANDS_STORE", "postgresql://u@db/m?sslmode=verify-full&password=hunter2&sslpassword=hunter2"
    )
    monkeypatch.setenv("MANYHANDS_API_TOKEN", "hunter2")
    monkeypatch.setenv("MANYHANDS_BROKER_CA", "/etc/ca.pem")
    shown = load(StoreSettings).shown()
    assert shown["broker"] == "amqps://u:***@rabbit/"
    assert shown["store"] == "postgresql://u@db/m?sslmode=verify-full&password=***&sslpassword=***"
    assert (shown["api_token"], shown["broker_ca"], shown["port"]) == ("***", "/etc/ca.pem", 0)
    assert "tls_cert" not in shown
    assert json.loads(json.dumps(shown)) == shown


def test_without_secrets() -> None:
    """Whoever runs the code of others is told no secret; everything else stays."""
    told = {"MANYHANDS_BROKER": "b", "MANYHANDS_STORE": "s", "MANYHANDS_API_TOKEN": "t"}
    others = {"PATH": "p", "MANYHANDS_GRACE": "1", "MANYHANDS_BROKER_CA": "c"}
    assert settings.without_secrets({**told, **others}) == others


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "http", "valid integer"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("PARTITIONS", "0", "greater than or equal to 1"),
        ("DECLARE", "perhaps", "valid boolean"),
        ("LOG_LEVEL", "loud", "'debug', 'info'"),
        ("NAMESPACE", "Blue!", "match pattern"),
    ],
)
def test_wrong(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    """An error names the variable and what was expected."""
    monkeypatch.setenv(f"MANYHANDS_{name}", value)
    with pytest.raises(SettingsError, match=f"MANYHANDS_{name}: .*{said}"):
        load(Settings)


def test_an_error_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error about one variable tells nothing of another's value, not even through its cause."""
    monkeypatch.setenv("MANYHANDS_API_TOKEN", "hunter2")
    monkeypatch.setenv("MANYHANDS_PORT", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after the start."""
    with pytest.raises(ValueError, match="frozen"):
        load(Settings).port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///manyhands.db", "sqlite:///manyhands-producer.db"),
        ("sqlite:////var/lib/m.db", "sqlite:////var/lib/m-producer.db"),
        ("sqlite:///data/m.v2.sqlite", "sqlite:///data/m.v2-producer.sqlite"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://u:p@db/m", "postgresql://u:p@db/m"),
    ],
)
def test_store_url(url: str, expected: str) -> None:
    """Each service gets an SQLite file of its own; a server is shared."""
    assert store_url(url, "producer") == expected


def test_every_setting_is_described() -> None:
    """The page of settings is made of these descriptions."""
    for name, field in settings.StoreSettings.model_fields.items():
        assert field.description, name
