"""The options that say which cluster is meant, how long to wait for it, and what opens its door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from swimring.certificates import TlsSettings
from swimring.errors import ConfigError
from swimring.security import read_secret_file, secret_keys

from .suggesting import member_names, service_names

AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for programs instead of words.")]
"""Every command takes it, and prints nothing but JSON then: a document, or one a line."""
Target = Annotated[str, Parameter(help="The service, MODULE:NAME or FILE.py:NAME, such as hello:app.")]
MemberName = Annotated[str, Parameter(help="Its name, as `swimring members` shows it.", completer=member_names)]
OfService = Annotated[
    str | None,
    Parameter(help="The service whose ring is meant. Default: the only one there is.", completer=service_names),
]

SecretFile = Annotated[
    str | None,
    Parameter(
        help="File with the secret of the cluster: one key a line, hex or base64, readable by its owner only.",
    ),
]


Secret = Annotated[str | None, Parameter(show=False)]
"""In the environment only: a command line can be read by everybody, and `sources` refuses it there."""
Config = Annotated[
    str | None,
    Parameter(help="File with settings. Default: swimring.toml, or [tool.swimring] in pyproject.toml, of this folder."),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Which certificates a command shows and asks for; none of these options, no TLS."""

    tls_cert: Annotated[
        str | None,
        Parameter(help="File with this program's certificate, in PEM."),
    ] = None
    tls_key: Annotated[
        str | None,
        Parameter(help="File with the key of that certificate, readable by nobody else."),
    ] = None
    tls_ca: Annotated[
        str | None,
        Parameter(help="File with the authority that signs who may connect, and nobody else."),
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
    secret: Secret = None
    secret_file: SecretFile = None
    tls: Tls = PLAIN
    config: Config = None
    within: Annotated[float, Parameter(help="Seconds to wait for the answer; also the deadline of the handler.")] = 10.0

    def keys(self) -> tuple[bytes, ...] | None:
        """The keys of the cluster, if it has a secret.

        Raises:
            ConfigError: the file cannot be used, or holds no key.
        """
        if self.secret_file is not None:
            return read_secret_file(self.secret_file)
        return secret_keys(self.secret) or None

    def check(self) -> None:
        """Whether there is time for anything.

        Raises:
            ConfigError: there is none.
        """
        if not self.within > 0:
            raise ConfigError("within", self.within, "a number of seconds above 0")


ANY = Access()
"""Whatever is on this machine, without a secret."""
