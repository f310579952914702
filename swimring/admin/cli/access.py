"""The options that say which cluster is meant, how long to wait for it, and what opens its door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from swimring.certificates import TlsSettings
from swimring.errors import ConfigError
from swimring.security import read_secret_file

SecretFile = Annotated[
    str | None,
    Parameter(
        env_var="SWIMRING_SECRET_FILE",
        help="File with the secret of the cluster: one key a line, hex or base64, readable by its owner only.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Which certificates a command shows and asks for; none of these options, no TLS."""

    tls_cert: Annotated[
        str | None,
        Parameter(env_var="SWIMRING_TLS_CERT", help="File with this program's certificate, in PEM."),
    ] = None
    tls_key: Annotated[
        str | None,
        Parameter(env_var="SWIMRING_TLS_KEY", help="File with the key of that certificate, readable by nobody else."),
    ] = None
    tls_ca: Annotated[
        str | None,
        Parameter(
            env_var="SWIMRING_TLS_CA", help="File with the authority that signs who may connect, and nobody else."
        ),
    ] = None
    tls_check_host: Annotated[
        bool,
        Parameter(negative="", help="The certificate of whom we dial must name the host that we dialled."),
    ] = False

    def settings(self, mode: str = "require") -> TlsSettings | None:
        """What these options say; None for no TLS.

        Raises:
            ConfigError: some are missing.
        """
        found = {"tls-cert": self.tls_cert, "tls-key": self.tls_key, "tls-ca": self.tls_ca}
        missing = [name for name, path in found.items() if path is None]
        if self.tls_cert is None or self.tls_key is None or self.tls_ca is None:
            if len(missing) < len(found) or self.tls_check_host:
                raise ConfigError(missing[0], None, "TLS takes --tls-cert, --tls-key and --tls-ca")
            return None
        return TlsSettings(
            cert=self.tls_cert, key=self.tls_key, ca=self.tls_ca, mode=mode, check_host=self.tls_check_host
        )


PLAIN = Tls()
"""No certificates, no TLS."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What every command says that talks to a cluster as a client."""

    cluster: Annotated[
        str | None, Parameter(help="The cluster to talk to; needed only where several run on this machine.")
    ] = None
    join: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            help="A node to ask, HOST:PORT or unix:/PATH; may be repeated. Default: the nodes on this machine.",
        ),
    ] = ()
    secret_file: SecretFile = None
    tls: Tls = PLAIN
    within: Annotated[float, Parameter(help="Seconds to wait for the answer; also the deadline of the handler.")] = 10.0

    def secret(self) -> tuple[bytes, ...] | None:
        """The keys of the cluster, if it has a secret.

        Raises:
            ConfigError: the file cannot be used.
        """
        return None if self.secret_file is None else read_secret_file(self.secret_file)


ANY = Access()
"""Whatever is on this machine, without a secret."""
