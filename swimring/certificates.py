"""Certificates of a cluster: files in, TLS contexts out, read again when a file has changed.

One authority of the cluster's own (``ca``) signs everybody: whoever has a certificate from it may connect, as a node or
as a client, and both sides of every connection show theirs. That is the whole of what is checked, unless ``check_host``
asks for more. So the authority must sign nobody else: with a public one, every customer of it could come in.
"""

from __future__ import annotations

import enum
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from swimring.errors import ConfigError

_log = logging.getLogger("swimring.certificates")

_Stamp = tuple[tuple[int, int, int] | None, ...]


class TlsMode(enum.Enum):
    """What a node takes on its port, and how it dials; in the order in which a cluster goes from plain to TLS."""

    ACCEPT = "accept"
    """Dials plain; takes both."""
    PREFER = "prefer"
    """Dials with TLS; takes both."""
    REQUIRE = "require"
    """Dials with TLS, and takes nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Where the certificates are, and what they are used for.

    Attributes:
        cert: file with our certificate, in PEM, followed by those between it and the authority.
        key: file with the key of that certificate, in PEM, without a passphrase; others must not be able to read it.
        ca: file with the authority that signs whoever may connect, in PEM; with several, each of them may.
        mode: ``"require"``; on the way from a plain cluster first ``"accept"``, then ``"prefer"``.
        check_host: the certificate of whom we dial has to name the host we dialled: members say which by `advertise`.
    """

    cert: str | Path
    key: str | Path
    ca: str | Path
    mode: TlsMode | str = TlsMode.REQUIRE
    check_host: bool = False


class Certificates:
    """The TLS contexts made of `TlsSettings`; a handshake gets what the files hold by then.

    What changed is read by the next handshake. If it cannot be used (a key that does not belong to the certificate yet,
    because the files change one after the other), a warning says so and the contexts of before go on.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files, which blocks a moment.

        Raises:
            ConfigError: a file cannot be read or used, or no peer with the same authority would accept the certificate.
        """
        self._settings = settings
        self.mode = _mode(settings.mode)
        self._stamp = self._look()
        self._listening, self._dialling = _contexts(settings)

    def __repr__(self) -> str:
        return f"<Certificates {self._settings.cert}, {self.mode.value}>"

    @property
    def dials(self) -> bool:
        """Whether we use TLS where we dial."""
        return self.mode is not TlsMode.ACCEPT

    @property
    def required(self) -> bool:
        """Whether a plain connection is refused."""
        return self.mode is TlsMode.REQUIRE

    def accepting(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """The side of a connection that was dialled by somebody else."""
        self._refresh()
        return self._listening.wrap_bio(incoming, outgoing, server_side=True)

    def dialling(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, host: str) -> ssl.SSLObject:
        """The side of a connection that dialled ``host``."""
        context, name = self.for_dialling(host)
        return context.wrap_bio(incoming, outgoing, server_hostname=name)

    def for_dialling(self, host: str) -> tuple[ssl.SSLContext, str | None]:
        """The context for a connection that dials ``host``, and the name that the other certificate has to have."""
        self._refresh()
        return self._dialling, host if self._settings.check_host else None

    def reload(self) -> None:
        """Read the files again, whether they changed or not.

        Raises:
            ConfigError: they cannot be used; the contexts of before go on.
        """
        self._stamp = self._look()
        self._listening, self._dialling = _contexts(self._settings)

    def _refresh(self) -> None:
        if self._look() == self._stamp:
            return
        try:
            self.reload()
        except ConfigError as error:
            _log.warning(
                "the certificates changed and cannot be used, those of before go on: %s",
                error,
                extra={"event": "certificates.refused"},
            )
        else:
            _log.info(
                "the certificates changed: connections from now on use the new ones",
                extra={"event": "certificates.reloaded"},
            )

    def _look(self) -> _Stamp:
        return tuple(_stamp(path) for path in (self._settings.cert, self._settings.key, self._settings.ca))


def tls_failure(error: BaseException) -> str:
    """What went wrong with TLS, for a person, and whose fault it is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted here: {error.verify_message}"
    reason = (getattr(error, "reason", None) or type(error).__name__).lower().replace("_", " ")
    if reason == "peer did not return a certificate":
        return "it shows no certificate"
    if " alert " in f" {reason}":
        what = reason.partition("alert ")[2]
        if "cert" in what or what in {"unknown ca", "access denied"}:
            return f"it does not accept our certificate: {what}"
        return f"it gave up the TLS handshake: {what}"
    if reason in {"wrong version number", "http request", "record layer failure", "unexpected message"}:
        return "what it sends is not TLS"
    return f"TLS failed: {reason}"


def is_end(error: ssl.SSLError) -> bool:
    """Whether ``error`` says that the connection below has ended."""
    # Which of the two depends on the version of OpenSSL.
    return isinstance(error, ssl.SSLEOFError) or "UNEXPECTED_EOF_WHILE_READING" in (error.strerror or "")


# ------------------------------------------------------------------------------------------------------- reading


def _mode(mode: TlsMode | str) -> TlsMode:
    try:
        return TlsMode(mode)
    except ValueError:
        raise ConfigError("tls-mode", mode, f"use {', '.join(each.value for each in TlsMode)}") from None


def _stamp(path: str | Path) -> tuple[int, int, int] | None:
    try:
        found = Path(path).expanduser().stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _contexts(settings: TlsSettings) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    for setting, path in (("tls-cert", settings.cert), ("tls-key", settings.key), ("tls-ca", settings.ca)):
        _check_readable(setting, path)
    listening = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    # A ticket is sent when the handshake is over, perhaps to somebody who never reads: the connection would be reset.
    listening.num_tickets = 0
    dialling = _context(ssl.PROTOCOL_TLS_CLIENT, settings)
    _shake_hands(listening, dialling, settings)
    dialling.check_hostname = settings.check_host
    return listening, dialling


def _check_readable(setting: str, path: str | Path) -> None:
    place = Path(path).expanduser()
    try:
        with place.open("rb") as file:
            file.read(1)
        mode = place.stat().st_mode
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(setting, str(path), f"a PEM file that can be read; this one: {reason}") from error
    if setting == "tls-key" and mode & 0o007:
        raise ConfigError(
            setting, f"{path} with mode {mode & 0o777:04o}", f"others must not reach it: chmod 600 {place}"
        )


def _context(protocol: int, settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # all peers are ours: there is nobody old to be kind to
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    cert, key, ca = (str(Path(path).expanduser()) for path in (settings.cert, settings.key, settings.ca))
    try:
        context.load_verify_locations(ca)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError("tls-ca", str(settings.ca), "a file with certificates in PEM") from error
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except _KeyIsEncrypted:
        raise ConfigError(
            "tls-key", str(settings.key), "a key without a passphrase: nobody is there to type it"
        ) from None
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise ConfigError("tls-key", str(settings.key), f"the key that belongs to {settings.cert}") from error
        raise ConfigError(
            "tls-cert", f"{settings.cert} and {settings.key}", "a certificate and its key in PEM"
        ) from error
    return context


class _KeyIsEncrypted(Exception):
    pass


def _no_passphrase() -> str:
    # Without this OpenSSL would ask for one on the terminal, and wait.
    raise _KeyIsEncrypted


def _shake_hands(listening: ssl.SSLContext, dialling: ssl.SSLContext, settings: TlsSettings) -> None:
    """Connect to ourselves in memory: what fails here would fail with every peer, and say less.

    Raises:
        ConfigError: a peer with the same authority would not accept our certificate, from whichever side.
    """
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = listening.wrap_bio(there, back, server_side=True)
    client = dialling.wrap_bio(back, there)
    try:
        for side in (client, server, client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLError as error:
        found = getattr(error, "verify_message", None) or tls_failure(error)
        raise ConfigError(
            "tls-cert", str(settings.cert), f"one that others accept, signed by {settings.ca}: {found}"
        ) from error
