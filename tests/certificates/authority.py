"""An authority for tests, and the files with what it signs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trustme

from swimring.certificates import TlsSettings
from swimring.testing import allow

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


class Authority:
    """Signs certificates into files of ``folder``."""

    @allow("its certificate is a file, too")
    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self.ca.cert_pem.write_to_path(self.file)

    @allow("its file is read anew")
    def trust_also(self, other: Authority) -> None:
        """Whoever has the file of this one also takes what ``other`` signs."""
        self.file.write_bytes(self.file.read_bytes() + other.file.read_bytes())

    @allow("nodes of a simulation read their certificates from files, as others do")
    def issue(self, name: str = "node", *hosts: str, **settings: Any) -> TlsSettings:
        """A certificate for ``hosts`` in the files of ``name``, which are overwritten if they are there."""
        expires = settings.pop("not_after", None)
        signed = self.ca.issue_cert(*(hosts or ("anybody.example",)), not_after=expires)
        cert, key = self.folder / f"{name}.cert.pem", self.folder / f"{name}.key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in signed.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(signed.private_key_pem.bytes())
        return TlsSettings(cert=cert, key=key, ca=settings.pop("ca", self.file), **settings)
