"""The options of a command that runs a node: who it is, where it listens, whom it lets in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .access import PLAIN, Config, Secret, SecretFile, Tls

if TYPE_CHECKING:
    from swimring.node import NodeSettings


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a command says of the node it runs."""

    name: Annotated[str | None, Parameter(help="Who this node is, over restarts. Default: made of its address.")] = None
    cluster: Annotated[
        str | None,
        Parameter(help="Nodes of different clusters refuse each other. Default: the name of the service."),
    ] = None
    listen: Annotated[
        str | None,
        Parameter(help="IP:PORT to bind, for UDP and TCP. Default: the first free loopback port from 7979 to 7998."),
    ] = None
    advertise: Annotated[
        str | None,
        Parameter(help="HOST[:PORT] that others reach this node at. Default: what it listens on."),
    ] = None
    join: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="Where to look for other nodes, for ever: HOST:PORT, dns+HOST:PORT, dns+srv://NAME, file:PATH, "
            "multicast or multicast://GROUP:PORT; may be repeated. Default: this machine.",
        ),
    ] = ()
    expect: Annotated[
        int,
        Parameter(
            help="On a cold start wait until so many nodes have found each other: more than half of all, the same on "
            "each."
        ),
    ] = 1
    profile: Annotated[str, Parameter(help="The timings of membership: local, lan or wan.")] = "local"
    weight: Annotated[int, Parameter(help="How much of the ring this node takes; 0 for none.")] = 1
    zone: Annotated[str, Parameter(help="A label of where this node runs.")] = ""
    restart_hold: Annotated[
        int,
        Parameter(help="Seconds for which the others keep this node's place once it is gone, because it comes back."),
    ] = 0
    hand_over_within: Annotated[
        float,
        Parameter(help="Seconds to bring the state of keys to their next owners before this node leaves, at most."),
    ] = 30.0
    drain_within: Annotated[
        float, Parameter(help="Seconds that calls in flight have after that; inf for as long as they take.")
    ] = 2.0
    insecure: Annotated[bool, Parameter(negative="", help="Allow listening off loopback without a secret.")] = False
    secret: Secret = None
    secret_file: SecretFile = None
    seal: Annotated[str, Parameter(help="With a secret: require; on the way there first accept, then prefer.")] = (
        "require"
    )
    tls: Tls = PLAIN
    tls_mode: Annotated[
        str, Parameter(help="With certificates: require; on the way there first accept, then prefer.")
    ] = "require"
    unix_socket: Annotated[
        str | None,
        Parameter(help="Path of a Unix socket that takes calls as well, of this user only."),
    ] = None
    state: Annotated[
        str | None,
        Parameter(help="A directory of this node's own: its files, and its last generation."),
    ] = None

    workers: Annotated[
        int, Parameter(help="How many nodes, a process each, NAME-1 to NAME-N, on ports that follow one another.")
    ] = 1
    config: Config = None

    def settings(self) -> NodeSettings:
        """What these options say.

        Raises:
            ConfigError: some of those of TLS are missing.
        """
        return {
            "name": self.name,
            "cluster": self.cluster,
            "listen": self.listen,
            "advertise": self.advertise,
            "join": self.join,
            "expect": self.expect,
            "profile": self.profile,
            "weight": self.weight,
            "zone": self.zone,
            "restart_hold": self.restart_hold,
            "hand_over_within": self.hand_over_within,
            "drain_within": self.drain_within,
            "insecure": self.insecure,
            "secret": self.secret,
            "secret_file": self.secret_file,
            "seal": self.seal,
            "tls": self.tls.settings(self.tls_mode),
            "unix_socket": self.unix_socket,
            "state": self.state,
        }


LOOPBACK = NodeOptions()
"""Alone or with others on this machine."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """How the node that a command runs can be watched."""

    admin: Annotated[
        str,
        Parameter(help="HOST:PORT for health, metrics and the dashboard, or off. Default: a loopback port from 8079."),
    ] = "auto"
    admin_write: Annotated[
        bool,
        Parameter(
            negative="",
            help="Let the dashboard drain, cordon and evict nodes, for whoever has the token in --admin-token-file.",
        ),
    ] = False
    admin_token_file: Annotated[
        str | None,
        Parameter(help="File with that token, readable by its owner only."),
    ] = None
    log_level: Annotated[str, Parameter(help="What to log: debug, info, warning or error.")] = "info"
    log_format: Annotated[
        str, Parameter(help="human or json. Default: human on a terminal, JSON otherwise (auto).")
    ] = "auto"


QUIETLY = WatchOptions()
"""On this machine's loopback, and in the log."""
