"""Certificates for tests: an authority of their own, and what it signs, as PEM files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import trustme

from manyhands.tls import Files


class Authority:
    """An authority whose files are in a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder, self._authority = folder, trustme.CA()
        folder.mkdir(parents=True, exist_ok=True)
        self.pem = folder / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.pem))

    @property
    def trusted(self) -> Files:
        """What a client that trusts it is given."""
        return Files(ca=self.pem)

    def issue(self, *hosts: str, name: str = "server", until: datetime | None = None) -> Files:
        """Write a certificate and its key; again under the same name to renew it."""
        until = until or datetime(2040, 1, 1, tzinfo=UTC)
        begin = datetime(2020, 1, 1, tzinfo=UTC)
        issued = self._authority.issue_cert(*hosts, common_name=hosts[0], not_before=begin, not_after=until)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return Files(cert=cert, key=key)
