"""How a user writes down where peers are: addresses, a file, a name of the DNS, a group on the LAN.

| form | means |
|---|---|
| ``HOST:PORT``, ``[IPV6]:PORT``, ``dns+HOST:PORT`` | all addresses of the host, looked up again each time |
| ``dns+srv://NAME`` | the targets of the SRV records of NAME |
| ``dns+srv://SERVER:PORT/NAME`` | the same, asked of that name server |
| ``file:PATH`` | one HOST:PORT in each line, read again each time |
| ``multicast``, ``multicast://GROUP:PORT`` | who answers on this network |
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from swimring.errors import ConfigError
from swimring.identity import Address

from .seeds import Seeds

if TYPE_CHECKING:
    from collections.abc import Iterable

MULTICAST_GROUP: Final = Address("239.192.79.79", 7978)
"""The group of ``multicast``: of the range that RFC 2365 leaves to organisations, on a port beside that of nodes."""

_DNS_PORT: Final = 53
_FORMS: Final = (
    "write HOST:PORT, dns+HOST:PORT, dns+srv://NAME, dns+srv://SERVER:PORT/NAME, file:PATH, multicast "
    "or multicast://GROUP:PORT"
)


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file with addresses."""

    path: Path

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, slots=True)
class SrvName:
    """A name with SRV records, and the name server to ask; None for those of this machine."""

    name: str
    server: Address | None = None

    def __str__(self) -> str:
        return f"dns+srv://{self.server}/{self.name}" if self.server else f"dns+srv://{self.name}"


@dataclass(frozen=True, slots=True)
class MulticastGroup:
    """A multicast group, an IPv4 address, and its port."""

    group: Address

    def __str__(self) -> str:
        return f"multicast://{self.group}"


Source: TypeAlias = "Address | SeedFile | SrvName | MulticastGroup | Seeds"
"""One place where peers may be found."""


def read_source(written: object, *, setting: str) -> Source:
    """What one entry of ``join`` means.

    Raises:
        ConfigError: it is none of the forms, and not a `Seeds` either.
    """
    match written:
        case Address():
            return written
        case str():
            return _read_text(written, setting)
        case Seeds():
            return written
        case _:
            raise ConfigError(setting, written, f"{_FORMS}, or give an Address or an object with addresses()")


def read_sources(written: Iterable[object], *, setting: str) -> tuple[Source, ...]:
    """What all entries of ``join`` mean.

    Raises:
        ConfigError: one of them is wrong, or they are one text instead of several.
    """
    if isinstance(written, str):
        raise ConfigError(setting, written, "give a list of addresses, even if it is one")
    return tuple(read_source(one, setting=setting) for one in written)


def _read_text(text: str, setting: str) -> Source:
    if text == "multicast":
        return MulticastGroup(MULTICAST_GROUP)
    scheme, has_scheme, rest = text.partition("://")
    if has_scheme and scheme == "multicast":
        return _read_group(rest, text, setting)
    if has_scheme and scheme == "dns+srv":
        return _read_srv(rest, text, setting)
    if text.startswith("file:"):
        return _read_path(text, setting)
    if has_scheme:
        raise ConfigError(setting, text, _FORMS)
    return Address.parse(text.removeprefix("dns+"), setting=setting)


def _read_group(rest: str, text: str, setting: str) -> MulticastGroup:
    group = Address.parse(rest, default_port=MULTICAST_GROUP.port, setting=setting)
    try:
        multicast = ipaddress.IPv4Address(group.host).is_multicast
    except ValueError:
        multicast = False
    if not multicast or not group.port:
        raise ConfigError(setting, text, "a multicast group is an IPv4 address from 224.0.0.0 to 239.255.255.255")
    return MulticastGroup(group)


def _read_srv(rest: str, text: str, setting: str) -> SrvName:
    server, slash, name = rest.rpartition("/")
    if not name or "/" in server or (slash and not server):
        raise ConfigError(setting, text, "write dns+srv://NAME or dns+srv://SERVER:PORT/NAME")
    return SrvName(name, Address.parse(server, default_port=_DNS_PORT, setting=setting) if server else None)


def _read_path(text: str, setting: str) -> SeedFile:
    path = text.removeprefix("file:").removeprefix("//")
    if not path:
        raise ConfigError(setting, text, "write file:PATH")
    return SeedFile(Path(path))
