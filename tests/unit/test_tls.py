"""TLS: what is served and what is accepted, renewed files, dates, and errors in words."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from manyhands import tls
from manyhands.errors import SettingsError
from manyhands.ops import Ops, OpsServer
from manyhands.settings import ApiSettings
from manyhands.tls import Files, Serving, client_context
from manyhands_service.web import WebServer, application
from tests.unit.certificates import Authority

LONG = datetime(2038, 5, 17, 11, 30, 9, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that nobody else knows."""
    return Authority(tmp_path / "pki")


def app() -> FastAPI:
    """A service's application with nothing of its own."""
    return application("test", Ops({}), ApiSettings())


@pytest.fixture(params=["ops", "web"])
def serve(request: pytest.FixtureRequest) -> Iterator[object]:
    """Starts either of the servers, the worker's or the services', with files for TLS; its port."""
    with contextlib.ExitStack() as running:

        def start(files: Files) -> int:
            server: OpsServer | WebServer = (
                OpsServer(Ops({}), "127.0.0.1", 0, files)
                if request.param == "ops"
                else WebServer(app(), "127.0.0.1", 0, files)
            )
            running.callback(server.close)
            return int(server.address.rpartition(":")[2])

        yield start


def alive(port: int, trusted: Files, host: str = "127.0.0.1") -> bool:
    """Whether /healthz answers over verified TLS."""
    connection = http.client.HTTPSConnection(host, port, context=client_context(trusted), timeout=20)
    connection.request("GET", "/healthz")
    with contextlib.closing(connection):
        return connection.getresponse().status == 200


def noted(use: str) -> float | None:
    """The metric of expiry."""
    return REGISTRY.get_sample_value("manyhands_certificate_expires_timestamp_seconds", {"use": use})


def test_served(serve: object, authority: Authority) -> None:
    """Both servers answer over TLS, by name and by address, and say when their certificate expires."""
    assert callable(serve)
    port = serve(authority.issue("127.0.0.1", "localhost", until=LONG))
    assert alive(port, authority.trusted)
    assert alive(port, authority.trusted, "localhost")
    assert noted("http") == LONG.timestamp()


def test_what_has_no_date_has_no_series() -> None:
    """The first date that is known is noted; where none is, a 0 would look like a certificate of 1970."""
    for dates in ([], [None], [None, None]):
        tls._note("nothing", dates)
        assert noted("nothing") is None
    tls._note("something", [None, 7.0, 3.0])
    assert noted("something") == 3.0


def test_renewed_files_are_taken_up(serve: object, authority: Authority) -> None:
    """The next connection gets the renewed certificate, without a restart; a half-written pair waits."""
    assert callable(serve)
    files = authority.issue("127.0.0.1")
    port = serve(files)
    assert alive(port, authority.trusted)
    assert files.cert is not None
    assert files.key is not None
    files.cert.write_text("-----BEGIN CERTIFICATE-----\nhalf of it")
    assert alive(port, authority.trusted)
    authority.issue("127.0.0.1", until=LONG)
    assert alive(port, authority.trusted)
    assert noted("http") == LONG.timestamp()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # that it is old is the point
def test_plain_and_old_clients_are_turned_away(serve: object, authority: Authority) -> None:
    """Neither plain HTTP nor TLS 1.1 gets an answer, and others are answered meanwhile and afterwards."""
    assert callable(serve)
    port = serve(authority.issue("127.0.0.1"))
    with socket.create_connection(("127.0.0.1", port)) as silent:
        assert alive(port, authority.trusted)
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()
        old = client_context(authority.trusted)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", port)) as bare, pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(bare, server_hostname="127.0.0.1")
        silent.close()
    assert alive(port, authority.trusted)


@pytest.mark.parametrize("case", ["another authority", "another name", "expired"])
def test_what_a_client_refuses(serve: object, authority: Authority, tmp_path: Path, case: str) -> None:
    """A certificate that nobody trusted has signed, of another host, or of the past, is told in words."""
    assert callable(serve)
    trusted, hosts, until, said = {
        "another authority": (Authority(tmp_path / "b").trusted, "127.0.0.1", LONG, "unable to get local issuer"),
        "another name": (authority.trusted, "else.where", LONG, "IP address mismatch"),
        "expired": (authority.trusted, "127.0.0.1", datetime(2021, 1, 1, tzinfo=UTC), "has expired"),
    }[case]
    port = serve(authority.issue(hosts, until=until))
    with pytest.raises(ssl.SSLError) as caught:
        alive(port, trusted)
    words = tls.words(caught.value)
    assert words is not None
    assert words.startswith("its certificate is not accepted: ")
    assert said in words


def test_client_context_notes_the_earlier_date(authority: Authority) -> None:
    """Each handshake notes when the peer's certificate expires, or ours, whichever comes first."""
    early = datetime(2031, 1, 1, tzinfo=UTC)
    for ours, expected in ((LONG, early), (datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))):
        server = Serving(authority.issue("127.0.0.1", until=early)).context
        own = authority.issue("us", name="client", until=ours)
        left, right = socket.socketpair()
        with left, right:
            thread = threading.Thread(target=lambda s=server, a=left: s.wrap_socket(a, server_side=True).close())
            thread.start()
            context = client_context(replace(own, ca=authority.pem), "test")
            context.wrap_socket(right, server_hostname="127.0.0.1").close()
            thread.join()
        assert noted("test") == expected.timestamp()


def test_dates_of_a_chain(authority: Authority) -> None:
    """The earliest date of all certificates in a file counts; dates from 2050 on are written in another way."""
    for until in (LONG, datetime(2077, 1, 1, tzinfo=UTC)):
        files = authority.issue("a", until=until)
        assert files.cert is not None
        ca = tls.expires(authority.pem.read_text())
        assert tls.expires(files.cert.read_text()) == until.timestamp()
        assert tls.expires(files.cert.read_text() + authority.pem.read_text()) == min(ca, until.timestamp())
    with pytest.raises(ValueError, match="no certificate"):
        tls.expires("a key, say")


def test_files_that_are_not_right(authority: Authority, tmp_path: Path) -> None:
    """Each is one sentence that names the file."""
    good, other = authority.issue("a", name="good"), authority.issue("a", name="other")
    text = tmp_path / "text"
    text.write_text("no PEM")
    for files, said in (
        (replace(good, cert=tmp_path / "none"), f"cannot read {tmp_path / 'none'}: No such file"),
        (replace(good, key=tmp_path), f"cannot read {tmp_path}: Is a directory"),
        (replace(good, key=other.key), "the key is not that of the certificate"),
        (replace(good, cert=text), f"the certificate {text} with the key {good.key} cannot be used"),
        (replace(good, cert=None), "but no certificate"),
        (Files(ca=text), f"{text} is no PEM file of authorities"),
        (Files(ca=tmp_path / "gone"), f"cannot read {tmp_path / 'gone'}: No such file"),
    ):
        with pytest.raises(SettingsError) as caught:
            client_context(files)
        assert said in str(caught.value), files


def test_a_passphrase_is_not_asked_for(authority: Authority, tmp_path: Path) -> None:
    """A key under a passphrase is an error, where OpenSSL would wait for somebody to type."""
    from cryptography.hazmat.primitives import serialization as s

    files = authority.issue("a")
    assert files.key is not None
    key = s.load_pem_private_key(files.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    how = s.BestAvailableEncryption(b"hunter2")
    locked.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, how))
    with pytest.raises(SettingsError, match="protected by a passphrase"):
        Serving(replace(files, key=locked))


def test_words_of_other_errors() -> None:
    """Only TLS's errors are put in its words."""
    assert tls.words(OSError("disk")) is None
    assert tls.words(ssl.SSLError(1, "[SSL] what (x.c:1)")) is not None
