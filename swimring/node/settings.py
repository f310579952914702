"""What a node is told when it is opened, checked before anything runs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from swimring.builtin import NAMESPACE
from swimring.certificates import Certificates
from swimring.discovery import read_sources
from swimring.errors import ConfigError
from swimring.identity import Address, check_name
from swimring.mux import Limits
from swimring.net import DirectoryStore
from swimring.ring import MAX_WEIGHT
from swimring.security import Sealing, read_secret_file, require_seal, secret_keys
from swimring.service import Service
from swimring.swim import GATHERING_TAG, MAX_HOLD, PROFILES, Details, Metadata, Profile, Standing, while_gathering

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from swimring.certificates import TlsSettings
    from swimring.discovery import Seeds, Source
    from swimring.service import Store

_MAX_POINTS: Final = 65_536
_MAX_EXPECTED: Final = 65_535
_BOUNDS: Final = {
    "weight": (0, MAX_WEIGHT),
    "points": (1, _MAX_POINTS),
    "expect": (1, _MAX_EXPECTED),
    "restart_hold": (0, MAX_HOLD),
}
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._]+")
_MAX_HOST_IN_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A node's settings, complete and checked.

    Attributes:
        services: what this node answers; empty for a node that only asks.
        cluster: nodes of different clusters refuse each other.
        name: who this node is, over restarts; None for one made of its address.
        listen: where to bind; None for the first free of the loopback ports.
        advertise: the address told to others; None for the bound one.
        join: where to look for peers, for ever; empty for the loopback ports.
        expect: how many members make a cluster: before so many see each other, none of them owns anything.
        profile: the timings of membership.
        metadata: what this node tells the others about itself: services, weight, zone, version, tags.
        details: what it tells besides, too large for gossip.
        points: points on the ring per unit of weight; the same on every node of a cluster.
        drain_within: seconds that leaving waits for calls in flight; infinite for as long as they take, even for ever.
        gradual: whether keys are taken in steps; None for when there is state to move.
        hand_over_within: seconds that it takes before, at most, to bring the state of keys to their next owners.
        keys: the keys of a cluster with a secret, the primary one first.
        secret_file: where they were read; None if they were not in a file.
        sealing: what is sealed with them, and what is taken.
        certificates: what is shown to, and asked of, whoever connects; None for no TLS.
        unix_socket: where calls of this machine are taken as well; None for nowhere.
        limits: what its connections take.
        store: the files of this node; None for none.
    """

    services: tuple[Service, ...] = ()
    cluster: str
    name: str | None = None
    listen: Address | None = None
    advertise: Address | None = None
    join: tuple[Source, ...] = ()
    expect: int = 1
    profile: Profile
    metadata: Metadata
    details: Details = field(default_factory=Details)
    points: int = 128
    drain_within: float = 2.0
    gradual: bool | None = None
    hand_over_within: float = 30.0
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    secret_file: Path | None = None
    sealing: Sealing = Sealing.REQUIRE
    certificates: Certificates | None = None
    unix_socket: Address | None = None
    limits: Limits = field(default_factory=Limits)
    store: Store | None = None

    def __post_init__(self) -> None:
        _ = self.first_metadata  # raises if there is no room for what it adds

    @property
    def leaves_the_machine(self) -> bool:
        """Whether the node listens to other machines."""
        return self.listen is not None and not _is_loopback(self.listen)

    @property
    def first_metadata(self) -> Metadata:
        """What this node tells about itself before it has found the members it expects, or any that hold state.

        Those who hear of it first must not bring it all its keys at once: with state it begins with none.
        """
        if self.expect > 1:
            return while_gathering(self.metadata, expect=self.expect)
        stateful = any(service.owned is not None for service in self.services)
        if self.gradual is False or not (self.gradual or stateful):
            return self.metadata
        return self.metadata.with_standing(replace(self.metadata.standing, share=0))

    def checked(self) -> Settings:
        """These, if there is room for what they add to what others see.

        Raises:
            ConfigError: there is none.
        """
        _ = self.first_metadata
        return self

    def address_for(self, bound: Address) -> Address:
        """The address to tell others, for a node that is bound to ``bound``."""
        if self.advertise is None:
            return bound
        return self.advertise if self.advertise.port else Address(self.advertise.host, bound.port)


class NodeSettings(TypedDict, total=False):
    """What `open_node` can be told; each has a default.

    Attributes:
        cluster: nodes of different clusters refuse each other; default: the name of the first service.
        name: who this node is, over restarts; default: made of its address.
        listen: IP:PORT to bind, for datagrams and streams; port 0 takes any free one.
        advertise: HOST[:PORT] that others reach this node at; default: what it listens on.
        join: where to look for nodes, for ever: HOST:PORT, another form, or a `Seeds`; default: the loopback ports.
        expect: entering the block waits until so many nodes have found each other, or one that had; 1: no waiting.
        profile: the timings of membership, ``"local"`` (the default), ``"lan"``, ``"wan"`` or a `Profile`.
        weight: how much of the ring this node takes; 0 for none; default: 1.
        zone: a label of where this node runs.
        version: of the application; other nodes see it.
        tags: labels that other nodes see, at most 512 bytes with the rest of the metadata.
        details: larger things that other nodes can ask for (`Node.details`), at most 64 KiB.
        points: points on the ring per unit of weight; the same on every node of a cluster; default: 128.
        insecure: allow binding off loopback without a secret.
        drain_within: seconds that leaving waits for calls in flight; infinite for as long as they take; default: 2.
        gradual: whether this node takes its keys in steps when it joins others; default: if there is state to move.
        restart_hold: seconds for which the others keep this node's place once it is gone, because it comes back.
        hand_over_within: seconds that it takes before, at most, to bring the state of keys to their next owners;
            default: 30.
        secret: the key of the cluster, or several, or their text; it seals gossip and is proved by every connection.
        secret_file: the same in a file: one key a line, hex or base64, the primary one first.
        seal: ``"require"``; on the way from a cluster without a secret first ``"accept"``, then ``"prefer"``.
        tls: the certificates of this node; every connection is then encrypted, and both sides show theirs.
        unix_socket: path of a Unix socket that takes calls of this user of this machine as well.
        limits: sizes, counts and patience of connections, as `swimring.mux.Limits`; each side says its own.
        state: a directory of this node's own, or a `Store`: for `Node.store` and for the order of its lives.
    """

    cluster: str | None
    name: str | None
    listen: str | None
    advertise: str | None
    join: Iterable[str | Address | Seeds]
    expect: int
    profile: Profile | str
    weight: int
    zone: str
    version: str
    tags: Mapping[str, str] | None
    details: Mapping[str, object] | None
    points: int
    insecure: bool
    drain_within: float
    gradual: bool | None
    restart_hold: int
    hand_over_within: float
    secret: bytes | str | Sequence[bytes] | None
    secret_file: str | Path | None
    seal: str
    tls: TlsSettings | None
    unix_socket: str | Path | None
    limits: Limits | None
    state: str | Path | Store | None


DEFAULTS: Final[NodeSettings] = {
    "cluster": None, "name": None, "listen": None, "advertise": None, "join": (), "expect": 1, "profile": "local",
    "weight": 1, "zone": "", "version": "", "tags": None, "details": None, "points": 128, "insecure": False,
    "drain_within": 2.0, "gradual": None, "restart_hold": 0, "hand_over_within": 30.0, "secret": None,
    "secret_file": None, "seal": "require", "tls": None, "unix_socket": None, "limits": None,
    "state": None,
}  # fmt: skip


def check_settings(services: tuple[Service, ...], **settings: Unpack[NodeSettings]) -> Settings:
    """Read what the user wrote: `NodeSettings`.

    Raises:
        ConfigError: a setting is wrong; the text says which, what was found and what is allowed.
        TypeError: there is no such setting.
    """
    if unknown := settings.keys() - DEFAULTS.keys():
        raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
    told: NodeSettings = {**DEFAULTS, **settings}
    names = _names_of(services)
    _check_numbers(told)
    bound, advertised = _addresses(told)
    keys, sealing = _secret(told["secret"], told["secret_file"]), _sealing(told["seal"])
    _check_reach(bound, advertised, secure=told["insecure"] or (bool(keys) and sealing is Sealing.REQUIRE))
    details = Details.of(told["details"] or {})
    return Settings(
        services=services,
        cluster=_cluster(told["cluster"], names),
        name=None if told["name"] is None else check_name(told["name"]),
        listen=bound,
        advertise=advertised,
        join=read_sources(told["join"], setting="join"),
        expect=told["expect"],
        profile=_profile(told["profile"]),
        metadata=_metadata(told, names, details),
        details=details,
        points=told["points"],
        drain_within=told["drain_within"],
        gradual=told["gradual"],
        hand_over_within=told["hand_over_within"],
        keys=keys,
        secret_file=None if told["secret_file"] is None else Path(told["secret_file"]),
        sealing=sealing,
        certificates=None if told["tls"] is None else Certificates(told["tls"]),
        unix_socket=_unix_socket(told["unix_socket"]),
        limits=told["limits"] or Limits(),
        store=_store(told["state"]),
    )


def _addresses(told: NodeSettings) -> tuple[Address | None, Address | None]:
    listen, advertise = told["listen"], told["advertise"]
    bound = None if listen is None else Address.parse(listen, setting="listen")
    return bound, None if advertise is None else Address.parse(advertise, default_port=0, setting="advertise")


def _unix_socket(path: str | Path | None) -> Address | None:
    return None if path is None else Address.unix(str(path), setting="unix_socket")


def _store(state: str | Path | Store | None) -> Store | None:
    return DirectoryStore(Path(state)) if isinstance(state, str | Path) else state


def _metadata(told: NodeSettings, names: list[str], details: Details) -> Metadata:
    metadata = Metadata(
        services=tuple(names),
        weight=told["weight"],
        zone=told["zone"],
        version=told["version"],
        tags=told["tags"] or {},
        details=details.digest,
    )
    return metadata.with_standing(Standing(hold=told["restart_hold"]))


def changed_metadata(
    metadata: Metadata,
    *,
    tags: Mapping[str, str] | None,
    weight: int | None,
    zone: str | None,
    version: str | None,
    details: Details,
) -> Metadata:
    """What a node with ``metadata`` says after a change; None leaves as it is.

    Raises:
        ConfigError: one of them is wrong, or all together are too large.
    """
    if weight is not None:
        _check_number("weight", weight, least=0, most=MAX_WEIGHT)
    if tags is not None and GATHERING_TAG in tags:
        raise ConfigError("tags", GATHERING_TAG, "this tag is swimring's own")
    return replace(
        metadata,
        tags=metadata.tags if tags is None else tags,
        weight=metadata.weight if weight is None else weight,
        zone=metadata.zone if zone is None else zone,
        version=metadata.version if version is None else version,
        details=details.digest,
    )


def read_addresses(addresses: Iterable[str | Address], *, setting: str) -> tuple[Address, ...]:
    """Addresses as a user writes them: each HOST:PORT.

    Raises:
        ConfigError: one of them is no address, or they are one text instead of several.
    """
    if isinstance(addresses, str):
        raise ConfigError(setting, addresses, "give a list of addresses, even if it is one")
    return tuple(
        address if isinstance(address, Address) else Address.parse(address, setting=setting) for address in addresses
    )


def name_of(address: Address) -> str:
    """The name of a node that was given none: its host and port, the same after a restart."""
    host = _NOT_IN_NAMES.sub("-", address.host)[-_MAX_HOST_IN_NAME:].strip("-._") or "any"
    return f"{host}-{address.port}"


def _names_of(services: tuple[Service, ...]) -> list[str]:
    names: list[str] = []
    for service in services:
        if not isinstance(service, Service):
            raise ConfigError("services", service, "each is a swimring.Service")
        if service.name == NAMESPACE:
            raise ConfigError("services", service.name, f"every node has a service {NAMESPACE!r} already")
        if service.name in names:
            raise ConfigError("services", service.name, "each name once: the name is the namespace of its messages")
        names.append(service.name)
    return names


def _cluster(cluster: str | None, names: list[str]) -> str:
    if cluster is None and not names:
        raise ConfigError("cluster", None, "name the cluster: a node without a service has none to take the name from")
    return check_name(names[0] if cluster is None else cluster, setting="cluster")


def _check_numbers(told: NodeSettings) -> None:
    found: Mapping[str, object] = {**told}
    for setting, (least, most) in _BOUNDS.items():
        _check_number(setting, found[setting], least=least, most=most)
    for setting, seconds in (("drain_within", told["drain_within"]), ("hand_over_within", told["hand_over_within"])):
        if not seconds >= 0:
            raise ConfigError(setting, seconds, "seconds, 0 or more")
    if told["gradual"] not in {True, False, None}:
        raise ConfigError("gradual", told["gradual"], "true, false, or None for when there is state to move")


def _check_number(setting: str, found: object, *, least: int, most: int) -> None:
    if type(found) is not int or not least <= found <= most:
        raise ConfigError(setting, found, f"a whole number from {least} to {most}")


def _profile(profile: Profile | str) -> Profile:
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ConfigError("profile", profile, f"use {', '.join(PROFILES)}, or a Profile of your own")
    return PROFILES[profile]


def _secret(secret: bytes | str | Sequence[bytes] | None, secret_file: str | Path | None) -> tuple[bytes, ...]:
    if secret_file is None:
        keys = secret_keys(secret)
    elif secret is None:
        keys = read_secret_file(secret_file)
    else:
        raise ConfigError("secret_file", str(secret_file), "give the secret or a file with it, not both")
    if keys:
        require_seal()
    return keys


def _sealing(seal: str) -> Sealing:
    try:
        return Sealing(seal)
    except ValueError:
        raise ConfigError("seal", seal, f"use {', '.join(each.value for each in Sealing)}") from None


def _check_reach(bound: Address | None, advertise: Address | None, *, secure: bool) -> None:
    if advertise is not None and _ip_is("is_unspecified", advertise.host):
        raise ConfigError("advertise", str(advertise), "an address that others can dial, which this is not")
    if bound is None:
        return
    if not (secure or _is_loopback(bound)):
        raise ConfigError(
            "listen",
            str(bound),
            "whoever reaches this address could join: give the cluster a secret (--secret-file) and require it, "
            "bind to loopback, or accept that with insecure (--insecure)",
        )
    if _ip_is("is_unspecified", bound.host) and advertise is None:
        raise ConfigError(
            "advertise",
            None,
            f"bound to every interface ({bound.host}), a node must say which address others reach it at: "
            "set advertise (--advertise HOST[:PORT])",
        )


def _is_loopback(address: Address) -> bool:
    return address.host == "localhost" or _ip_is("is_loopback", address.host)


def _ip_is(property_name: str, host: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), property_name))
    except ValueError:
        return False
