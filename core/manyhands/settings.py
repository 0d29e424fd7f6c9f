"""Settings from the environment: ``MANYHANDS_*``, typed, secrets masked whenever they are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from manyhands.errors import SettingsError
from manyhands.topology import Names


class Settings(BaseSettings):
    """What every process is told."""

    model_config = SettingsConfigDict(env_prefix="MANYHANDS_", env_ignore_empty=True, extra="ignore", frozen=True)

    broker: SecretStr = Field(
        default=SecretStr("amqp://localhost:5672/"),
        description="URL of the broker: amqp(s)://user:password@host:port/vhost.",
    )
    namespace: str = Field(
        default="", pattern=r"^[a-z0-9-]*$", description="Keeps several installations apart on one broker."
    )
    partitions: int = Field(
        default=4,
        ge=1,
        le=256,
        description="Partitions of the judgments; never change it while jobs are open.",
    )
    declare: bool = Field(
        default=True,
        description="Declare the topology when starting; false where `manyhands topology declare` does it.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which the process serves health, metrics and API.")
    port: int = Field(default=0, ge=0, le=65535, description="Its port; 0 takes a free one and logs it.")
    api_token: SecretStr | None = Field(
        default=None, description="Bearer token that the API asks for; none when unset."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["json", "text"] = Field(default="json", description="JSON for machines, text for eyes.")
    grace: float = Field(default=25.0, ge=0, description="Seconds from SIGTERM within which work in hand is finished.")
    body_limit: int = Field(default=1 << 20, ge=1024, description="Bytes that one message may have on the wire.")

    @property
    def names(self) -> Names:
        """The names of this installation's exchanges and queues."""
        return Names(namespace=self.namespace, partitions=self.partitions)


class StoreSettings(Settings):
    """What a process with a store is told besides."""

    store: SecretStr = Field(
        default=SecretStr("sqlite:///manyhands.db"),
        description="URL of the store: sqlite:///file.db (each service keeps a file of its own beside it) or postgresql://…",
    )
    migrate: bool = Field(
        default=True,
        description="Bring the store's schema up to date when starting; false where `manyhands migrate` does it.",
    )


S = TypeVar("S", bound=Settings)


def load(kind: type[S], **given: Any) -> S:
    """Settings of the given kind: what is ``given`` (and not None) wins over the environment.

    Raises:
        SettingsError: names each variable that is not right, and what was expected.
    """
    try:
        return kind(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        said = (f"MANYHANDS_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError("; ".join(said)) from None  # the cause would print the values, secrets among them


def store_url(url: str, service: str) -> str:
    """The URL of one service's own store.

    An SQLite file takes one writer at a time, so each service gets its own: ``sqlite:///m.db`` becomes
    ``sqlite:///m-producer.db``. In PostgreSQL the services share a database; their tables bear their names.
    """
    if not url.startswith("sqlite:///") or url == "sqlite:///:memory:":
        return url
    file = Path(url.removeprefix("sqlite:///"))
    return f"sqlite:///{file.with_name(f'{file.stem}-{service}{file.suffix}')}"
