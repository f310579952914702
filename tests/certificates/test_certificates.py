"""Which certificates a program starts with, and when it reads them again."""

from __future__ import annotations

import dataclasses
import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from swimring.certificates import Certificates, TlsMode
from swimring.errors import ConfigError
from tests.certificates.authority import LONG_AGO, Authority

if TYPE_CHECKING:
    from pathlib import Path


def serial(certificates: Certificates) -> int:
    """The serial number of the certificate that is shown to who dials."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates.accepting(there, back)
    client = certificates.dialling(back, there, "anybody.example")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


@pytest.mark.parametrize(("mode", "dials", "required"), [("accept", 0, 0), ("prefer", 1, 0), ("require", 1, 1)])
def test_the_mode_says_how_to_dial_and_what_is_refused(tmp_path: Path, mode: str, dials: bool, required: bool) -> None:
    certificates = Certificates(Authority(tmp_path).issue(mode=mode))
    assert (certificates.dials, certificates.required) == (dials, required)
    assert certificates.mode is TlsMode(mode)


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use accept, prefer, require"):
        Certificates(Authority(tmp_path).issue(mode="sometimes"))


@pytest.mark.parametrize("which", ["cert", "key", "ca"])
def test_a_file_that_is_missing_or_no_pem_is_named(tmp_path: Path, which: str) -> None:
    settings = Authority(tmp_path).issue()
    files: dict[str, Any] = {which: tmp_path / "nowhere"}
    with pytest.raises(ConfigError, match=f"tls-{which}: .*no such file"):
        Certificates(dataclasses.replace(settings, **files))
    (tmp_path / "rubbish").write_text("rubbish")
    (tmp_path / "rubbish").chmod(0o600)
    files = {which: tmp_path / "rubbish"}
    with pytest.raises(ConfigError, match=r"tls-.*rubbish.*PEM"):
        Certificates(dataclasses.replace(settings, **files))


def test_a_key_that_others_may_read_is_refused_and_the_remedy_named(tmp_path: Path) -> None:
    settings = Authority(tmp_path).issue()
    (tmp_path / "node.key.pem").chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode 0644.*chmod 600"):
        Certificates(settings)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(ConfigError, match=r"the key that belongs to .*one\.cert"):
        Certificates(dataclasses.replace(one, key=other.key))


def test_a_key_with_a_passphrase_is_refused_instead_of_asking_for_it(tmp_path: Path) -> None:
    settings = Authority(tmp_path).issue()
    path = tmp_path / "node.key.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"sesame")
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption)
    )
    with pytest.raises(ConfigError, match="without a passphrase"):
        Certificates(settings)


def test_a_certificate_that_no_peer_would_accept_is_refused_at_the_start(tmp_path: Path) -> None:
    authority, foreign = Authority(tmp_path), Authority(tmp_path, "foreign")
    with pytest.raises(ConfigError, match="has expired"):
        Certificates(authority.issue(not_after=LONG_AGO))
    with pytest.raises(ConfigError, match=r"signed by .*unable to get local issuer"):
        Certificates(authority.issue(ca=foreign.file))


def test_a_renewed_certificate_is_used_by_the_next_handshake(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificates = Certificates(authority.issue())
    first = serial(certificates)
    assert serial(certificates) == first
    authority.issue()
    second = serial(certificates)
    assert second != first
    authority.issue()
    certificates.reload()
    assert serial(certificates) not in {first, second}


def test_files_that_cannot_be_used_change_nothing_and_are_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    certificates = Certificates(authority.issue())
    first = serial(certificates)
    other = authority.issue("other")  # as if the certificate had been renewed, and its key not yet
    (tmp_path / "node.cert.pem").write_bytes((tmp_path / "other.cert.pem").read_bytes())
    with caplog.at_level(logging.INFO, logger="swimring.certificates"):
        assert serial(certificates) == serial(certificates) == first
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        (tmp_path / "node.key.pem").write_bytes((tmp_path / "other.key.pem").read_bytes())
        assert serial(certificates) == serial(Certificates(other))
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    (tmp_path / "node.cert.pem").unlink()
    with pytest.raises(ConfigError, match="no such file"):
        certificates.reload()
    assert serial(certificates) == serial(Certificates(other))
