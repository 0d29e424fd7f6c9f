"""Settings: named after their variables, typed, and silent about secrets."""

from __future__ import annotations

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
