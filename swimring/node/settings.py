"""What a node is told when it is opened, checked before anything runs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swimring.errors import ConfigError
from swimring.identity import Address, check_name
from swimring.ring import MAX_WEIGHT
from swimring.swim import PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swimring.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A node's settings, complete and checked.

    Attributes:
        services: what this node answers; empty for a node that only asks.
        cluster: nodes of different clusters refuse each other.
        name: who this node is, over restarts; None for one made of its address.
        listen: where to bind; None for the first free of the loopback ports.
        advertise: the address told to others; None for the bound one.
        join: addresses to try first, tried again for as long as this node is alone.
        profile: the timings of membership.
        weight: how much of the ring this node takes; 0 for none.
        zone: a label of where this node runs.
        version: of the application.
        tags: labels that other nodes see.
        points: points on the ring per unit of weight; the same on every node of a cluster.
        drain_within: seconds that leaving waits for calls in flight.
    """

    services: tuple[Service, ...] = ()
    cluster: str
    name: str | None = None
    listen: Address | None = None
    advertise: Address | None = None
    join: tuple[Address, ...] = ()
    profile: Profile
    weight: int = 1
    zone: str = ""
    version: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    points: int = 128
    drain_within: float = 2.0

    def address_for(self, bound: Address) -> Address:
        """The address to tell others, for a node that is bound to ``bound``."""
        if self.advertise is None:
            return bound
        return self.advertise if self.advertise.port else Address(self.advertise.host, bound.port)


def check_settings(
    services: tuple[Service, ...],
    *,
    cluster: str | None,
    name: str | None,
    listen: str | None,
    advertise: str | None,
    join: Iterable[str | Address],
    profile: Profile | str,
    weight: int,
    zone: str,
    version: str,
    tags: Mapping[str, str],
    points: int,
    insecure: bool,
    drain_within: float,
) -> Settings:
    """Read what the user wrote.

    Raises:
        ConfigError: a setting is wrong; the text says which, what was found and what is allowed.
    """
    if cluster is None and not services:
        raise ConfigError("cluster", None, "name the cluster: a node without a service has none to take the name from")
    if not 0 <= weight <= MAX_WEIGHT:
        raise ConfigError("weight", weight, f"a weight is a whole number from 0 to {MAX_WEIGHT}")
    if not 1 <= points <= 65_536:
        raise ConfigError("points", points, "use 1 to 65536 points")
    bound = None if listen is None else Address.parse(listen)
    told = None if advertise is None else Address.parse(advertise, default_port=0)
    if bound is not None:
        _check_reach(bound, told, insecure=insecure)
    return Settings(
        services=services,
        cluster=check_name(cluster or services[0].name, setting="cluster"),
        name=None if name is None else check_name(name),
        listen=bound,
        advertise=told,
        join=tuple(address if isinstance(address, Address) else Address.parse(address) for address in join),
        profile=_profile(profile),
        weight=weight,
        zone=zone,
        version=version,
        tags=dict(tags),
        points=points,
        drain_within=drain_within,
    )


def name_of(address: Address) -> str:
    """The name of a node that was given none: its host and port, the same after a restart."""
    host = address.host.replace(":", "-").strip("-") or "any"
    return f"{host}-{address.port}"


def _profile(profile: Profile | str) -> Profile:
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ConfigError("profile", profile, f"use {', '.join(PROFILES)}, or a Profile of your own")
    return PROFILES[profile]


def _check_reach(bound: Address, advertise: Address | None, *, insecure: bool) -> None:
    if not _ip_is("is_loopback", bound.host) and bound.host != "localhost" and not insecure:
        raise ConfigError(
            "listen",
            str(bound),
            "gossip is not sealed yet: bind to loopback, or accept that with insecure (--insecure)",
        )
    told_nothing = advertise is None or _ip_is("is_unspecified", advertise.host)
    if _ip_is("is_unspecified", bound.host) and told_nothing:
        raise ConfigError(
            "advertise",
            None if advertise is None else str(advertise),
            f"bound to every interface ({bound.host}), a node must say which address others reach it at: "
            "set advertise (--advertise HOST[:PORT])",
        )


def _ip_is(property_name: str, host: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), property_name))
    except ValueError:
        return False
