"""Seeds in the DNS: the targets of SRV records (RFC 2782), by dnspython, which is the extra ``dns``.

Plain names need none of this: the network looks them up with the system's resolver, which knows /etc/hosts and search
domains. SRV records carry ports, which is what a scheduler that gives each node a port of its own needs.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from swimring.errors import MissingExtra
from swimring.identity import Address

try:
    import dns.asyncbackend
    import dns.asyncresolver
    import dns.exception
    import dns.rdatatype
    import dns.resolver
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "dns":
        raise
    raise MissingExtra("dns", "dns") from error

_MOST_TARGETS: Final = 64


class SrvSeeds:
    """The targets of the SRV records of a name, asked for again each time."""

    def __init__(self, name: str, *, server: Address | None = None) -> None:
        """Ask ``server``, a numeric address; None for the name servers of this machine."""
        self._name = name
        self._server = server

    def __repr__(self) -> str:
        return f"<SrvSeeds {self._name}>"

    async def addresses(self) -> tuple[Address, ...]:
        """The numeric addresses of the targets: the first priority first, and within one the heavier first.

        No such name, or a name without SRV records, is an answer: nobody is there at the moment.

        Raises:
            OSError: no name server gave an answer.
        """
        resolver = self._resolver()
        records = await _ask(resolver, self._name, dns.rdatatype.SRV)
        targets = sorted((srv.priority, -srv.weight, str(srv.target), srv.port) for srv in records)[:_MOST_TARGETS]
        hosts: dict[str, list[str]] = {}

        async def look_up(target: str) -> None:
            for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
                hosts[target] += [one.address for one in await _ask(resolver, target, kind)]

        async with trio.open_nursery() as nursery:
            for target in dict.fromkeys(target for _, _, target, _ in targets):
                hosts[target] = []
                nursery.start_soon(look_up, target)
        found = (Address(host, port) for _, _, target, port in targets for host in hosts[target])
        return tuple(dict.fromkeys(found))

    def _resolver(self) -> dns.asyncresolver.Resolver:
        # A new one at each look: /etc/resolv.conf may have changed, and a cache would keep what has moved.
        resolver = dns.asyncresolver.Resolver(configure=self._server is None)
        if self._server is not None:
            resolver.nameservers = [self._server.host]
            resolver.port = self._server.port
        return resolver


async def _ask(resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
    """The records of one kind that ``name`` has; none if there is no such name.

    Raises:
        OSError: nobody answered that.
    """
    try:
        answer = await resolver.resolve(name, kind, backend=dns.asyncbackend.get_backend("trio"))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise OSError(f"{name}: {error}") from error
    return list(answer)
