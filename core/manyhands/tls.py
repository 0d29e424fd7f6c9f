"""TLS from PEM files: contexts for serving and for connecting, renewed files, dates of expiry, and errors in words."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manyhands import logs, metrics
from manyhands.errors import SettingsError

_log = logs.get(__name__)

#: What the peer says when TLS fails for a reason that lies with us, and what to do about it.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it asks for a client certificate, and none was given",
    "HANDSHAKE_FAILURE": "it asks for a client certificate, or for another kind of TLS",
    "UNKNOWN_CA": "it does not know the authority of our certificate",
    "BAD_CERTIFICATE": "it does not accept our certificate",
    "CERTIFICATE_EXPIRED": "our certificate has expired",
    "WRONG_VERSION_NUMBER": "what listens there does not speak TLS",
    "RECORD_LAYER_FAILURE": "what listens there does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS that is new enough (1.2)",
    "EOF occurred": "it ended the connection during the handshake; perhaps it asks for a client certificate",
    "PROTOCOL_VERSION": "it does not speak our versions of TLS (1.2 and 1.3)",
}

#: What OpenSSL calls it when nobody who is trusted has signed. Source: openssl-verification-options(1), X509_V_ERR_*.
_UNKNOWN_ISSUER = (18, 19, 20, 21)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The PEM files of one side: authorities to trust, own certificate (with those above it), its key.

    ``ca`` None trusts what the system trusts; ``key`` None looks for the key in the file of the certificate.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def client_context(files: Files, use: str | None = None) -> ssl.SSLContext:
    """For connecting: TLS 1.2 or newer, the chain and the host's name are always verified.

    With ``use``, every handshake notes in the metric of that label when the certificate expires: the peer's or our own,
    whichever comes first.

    Raises:
        SettingsError: a file cannot be read or is not right.
    """
    with _files(files):
        context = ssl.create_default_context(cafile=None if files.ca is None else _there(files.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        own = _load_own(context, files)
    if use is not None:
        context.sslsocket_class = _noting(use, own)
    return context


class Serving:
    """A server's side of TLS, 1.2 or newer; each handshake looks whether the files have changed.

    Renewed files are used from the next connection on. What cannot be used, such as a new certificate whose key has
    not been written yet, is left for the next look.

    Raises:
        SettingsError: a file cannot be read or is not right.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._current = self._load()
        #: What a server is given.
        self.context = self._load()
        self.context.sni_callback = self._chosen  # called in every handshake, also in those that name no server

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with _files(self._files):
            expires = _load_own(context, self._files)
        _note("http", [expires])
        return context

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        with contextlib.suppress(OSError):
            found = (file.stat() for file in (self._files.cert, self._files.key) if file is not None)
            return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)
        return ()

    def _chosen(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                try:
                    self._current = self._load()
                except SettingsError as error:
                    _log.warning("the renewed certificate cannot be used; the old one still is", error=str(error))
                else:
                    _log.info("certificate renewed", file=str(self._files.cert))
            connection.context = self._current


def words(error: BaseException) -> str | None:
    """What TLS stumbled over, in words; None if the error is none of TLS.

    Others' errors may tell of one of TLS in their text only.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "; name the authorities to trust" if error.verify_code in _UNKNOWN_ISSUER else ""
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}{hint}"
    text = str(error)
    if isinstance(error, ssl.SSLError) or "SSLError(" in text:
        return next((said for alert, said in _ALERTS.items() if alert in text), f"TLS failed: {text}")
    return None


def expires(pem: str) -> float:
    """When the first of the certificates in a PEM text expires, in seconds since 1970.

    Raises:
        ValueError: there is none in it.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    found = [f"{begin}{part.partition(end)[0]}{end}" for part in pem.split(begin)[1:]]
    if not found:
        raise ValueError("it holds no certificate")
    return min(_not_after(ssl.PEM_cert_to_DER_cert(each)) for each in found)


def _not_after(der: bytes) -> float:
    """The end of a certificate's validity. Source: RFC 5280, 4.1 (the fields and their order), 4.1.2.5 (dates)."""
    certificate = next(_fields(der))[1]
    fields = _fields(next(_fields(certificate))[1])
    # version (present unless 1, tagged 0xA0), serial number, signature, issuer, validity
    skipped = 4 if next(fields)[0] == 0xA0 else 3
    for _ in range(skipped - 1):
        next(fields)
    _start, (tag, end) = _fields(next(fields)[1])
    text = end.decode("ascii")
    if tag == 0x17:  # UTCTime has two digits of the year; 50 and above are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _fields(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The (tag, content) of one DER value after another."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:  # so many bytes hold the size
            count = size & 0x7F
            size, at = int.from_bytes(der[at : at + count], "big"), at + count
        yield tag, der[at : at + size]
        at += size


def _noting(use: str, own: float | None) -> type[ssl.SSLSocket]:
    class Noting(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            peer: Any = self.getpeercert()
            _note(use, [ssl.cert_time_to_seconds(peer["notAfter"]) if peer else None, own])

    return Noting


def _note(use: str, dates: Iterable[float | None]) -> None:
    """Note the first of the dates that are known; a metric of none would look like a date, so it has no series."""
    known = [date for date in dates if date is not None]
    if known:
        metrics.CERTIFICATE_EXPIRES.labels(use).set(min(known))


def _load_own(context: ssl.SSLContext, files: Files) -> float | None:
    """Load the own certificate, if there is one; when it expires."""
    if files.cert is None:
        if files.key is not None:
            raise SettingsError(f"there is a key {files.key} but no certificate; name its file as well")
        return None
    cert, key = _there(files.cert), None if files.key is None else _there(files.key)
    try:
        context.load_cert_chain(cert, key, password=_protected)
        return expires(files.cert.read_text(encoding="ascii", errors="replace"))
    except ssl.SSLError as error:
        hint = "the key is not that of the certificate" if "MISMATCH" in (error.reason or "") else "it is no such PEM"
        raise SettingsError(f"the certificate {cert} with the key {key or cert} cannot be used: {hint}") from None
    except ValueError as error:
        raise SettingsError(f"the certificate {cert} cannot be used: {error}") from None


def _there(file: Path) -> str:
    with file.open("rb"):
        return str(file)


def _protected() -> str:
    # without this, OpenSSL asks for the passphrase on the terminal
    raise SettingsError("the key of a certificate is protected by a passphrase; give one that is not")


@contextlib.contextmanager
def _files(files: Files) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError:  # which is an OSError, too
        raise SettingsError(f"{files.ca} is no PEM file of authorities") from None
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename}: {error.strerror}") from None
