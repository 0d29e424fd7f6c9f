"""Settings from the environment: ``MANYHANDS_*``, typed, secrets masked whenever they are printed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from manyhands import logs, tls
from manyhands.errors import SettingsError
from manyhands.topology import Names

PREFIX = "MANYHANDS_"


class Settings(BaseSettings):
    """What every process is told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    secrets: Path | None = Field(
        default=None,
        description="Folder of files that hold settings: one called like a variable in lower case, such as "
        "manyhands_broker, is its value. A variable that is set wins over its file.",
    )
    broker: SecretStr = Field(
        default=SecretStr("amqp://localhost:5672/"),
        description="URL of the broker: amqp(s)://user:password@host:port/vhost.",
    )
    broker_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities that may have signed the broker's certificate (amqps://); "
        "the system's when unset.",
    )
    broker_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate, where the broker asks for one (mutual TLS)."
    )
    broker_key: Path | None = Field(
        default=None, description="PEM file of its private key; looked for in the certificate's file when unset."
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
    worker_user: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*(\{judge\})?[A-Za-z0-9._-]*$",
        description="The broker's user of each judge's workers, such as mh-worker-{judge}. With it RabbitMQ vouches "
        "for who sends judgments, and the aggregator takes a judge's from its own user alone; anybody's when unset.",
    )
    declare: bool = Field(
        default=True,
        description="Declare the topology when starting; false where `manyhands topology declare` does it.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which the process serves health, metrics and API.")
    port: int = Field(default=0, ge=0, le=65535, description="Its port; 0 takes a free one and logs it.")
    tls_cert: Path | None = Field(
        default=None,
        description="PEM file of the certificate, and of those above it, to serve health, metrics and API over HTTPS "
        "(TLS 1.2 or newer); plain HTTP when unset. A renewed file is used from the next connection on.",
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file of its private key; looked for in the certificate's file when unset."
    )
    api_token: SecretStr | None = Field(
        default=None,
        description="Bearer token that the API asks for, or any of several with commas between; none when unset.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: Literal["json", "text"] = Field(default="json", description="JSON for machines, text for eyes.")
    grace: float = Field(default=25.0, ge=0, description="Seconds from SIGTERM within which work in hand is finished.")
    body_limit: int = Field(default=1 << 20, ge=1024, description="Bytes that one message may have on the wire.")

    otlp: str = Field(
        default="",
        description="URL of an OpenTelemetry collector (OTLP over HTTP), such as http://collector:4318; "
        "empty: no traces are taken. Needs the extra `manyhands[tracing]`.",
    )
    trace_share: float = Field(
        default=0.01, ge=0, le=1, description="Share of the suites that are traced, from 0 to 1; the producer's counts."
    )

    def user_of(self, judge: str) -> str | None:
        """The broker's user of a judge's workers; None when anybody may be."""
        return self.worker_user.replace("{judge}", judge) or None

    @property
    def names(self) -> Names:
        """The names of this installation's exchanges and queues."""
        return Names(namespace=self.namespace, partitions=self.partitions)

    @property
    def broker_tls(self) -> tls.Files:
        """The files for ``amqps://``."""
        return tls.Files(ca=self.broker_ca, cert=self.broker_cert, key=self.broker_key)

    @property
    def http_tls(self) -> tls.Files | None:
        """The files for HTTPS; None to serve plain HTTP."""
        if self.tls_cert is None and self.tls_key is None:
            return None
        return tls.Files(cert=self.tls_cert, key=self.tls_key)

    @property
    def private(self) -> list[Path]:
        """Files and folders of our own that nobody else is to read: secrets and keys."""
        return [path for path in (self.secrets, self.broker_key, self.tls_key) if path is not None]

    def shown(self) -> dict[str, Any]:
        """Every setting that is not None, as it may be read by anybody: of a secret only a URL without its password."""
        return {name: _plain(value) for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given wins over variables, and they over files."""
        return init_settings, env_settings, _FromFiles(settings_cls)


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


class ApiSettings(StoreSettings):
    """What a process with a store and an API is told besides."""

    api_rate: float = Field(
        default=200.0,
        ge=0,
        description="Requests a second that one client address may make of the API; more get 429 and Retry-After. "
        "0 sets no limit.",
    )
    api_body: int = Field(
        default=64 << 20,
        ge=1024,
        description="Bytes of one request's body, at most; more gets 413. A body of JSON Lines may be longer: it is "
        "taken line by line.",
    )


class _FromFiles(PydanticBaseSettingsSource):
    """The files of the folder of secrets. Ours and not pydantic's: that one passes over what it cannot read."""

    def __call__(self) -> dict[str, Any]:
        found = from_files(os.environ)
        return {name: found[name] for name in self.settings_cls.model_fields if name in found}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: all fields are read at once."""
        raise NotImplementedError


def from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings in the files of the folder ``MANYHANDS_SECRETS``, by name; without the line's end, and no empty one.

    Raises:
        SettingsError: there is no such folder, or a file in it cannot be read.
    """
    folder = environment.get(f"{PREFIX}SECRETS")
    if not folder:
        return {}
    try:
        files = {
            file.name.lower(): file for file in Path(folder).iterdir() if file.name.lower().startswith(PREFIX.lower())
        }
    except OSError as error:
        raise SettingsError(f"{PREFIX}SECRETS: cannot read the folder {folder}: {error.strerror}") from None
    found = {}
    for name, file in files.items():
        try:
            value = file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsError(f"{PREFIX}SECRETS: cannot read {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{PREFIX}SECRETS: {file} is no text in UTF-8") from None
        if value:
            found[name.removeprefix(PREFIX.lower())] = value
    return found


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for who needs none of our secrets, such as a process that runs handlers."""
    fields = StoreSettings.model_fields.items()
    secret = {f"{PREFIX}{name}".upper() for name, field in fields if "SecretStr" in str(field.annotation)}
    return {name: value for name, value in environment.items() if name.upper() not in secret}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return logs.mask(secret) if "://" in secret else "***"
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | float) else logs.mask(str(value))


S = TypeVar("S", bound=Settings)


def load(kind: type[S], **given: Any) -> S:
    """Settings of the given kind: what is ``given`` (and not None) wins over the environment.

    Raises:
        SettingsError: names each variable that is not right, and what was expected.
    """
    try:
        return kind(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        said = (f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
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
