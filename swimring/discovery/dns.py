"""Seeds in the DNS: the targets of SRV records (RFC 2782), by dnspython, which is the extra ``dns``.

Plain names need none of this: the network looks them up with the system's resolver, which knows /etc/hosts and search
domains. SRV records carry ports, which is what a scheduler that gives each node a port of its own needs.
"""

from __future__ import annotations

import logging
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

logger = logging.getLogger(__name__)

_KINDS: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)
_MOST_TARGETS: Final = 64
_ANSWER_WITHIN: Final = 2.0
"""Seconds for one question; two follow each other, and a source has 5 s."""


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

        A target that cannot be looked up is left out, as long as there are others.

        Raises:
            OSError: no name server gave an answer.
        """
        resolver = self._resolver()
        records = await _ask(resolver, self._name, dns.rdatatype.SRV)
        targets = sorted((srv.priority, -srv.weight, str(srv.target), srv.port) for srv in records)[:_MOST_TARGETS]
        hosts: dict[tuple[str, dns.rdatatype.RdataType], list[str]] = {}
        failures: list[OSError] = []

        async def look_up(target: str, kind: dns.rdatatype.RdataType) -> None:
            try:
                hosts[target, kind] = [one.address for one in await _ask(resolver, target, kind)]
            except OSError as error:
                logger.debug("a target of %s: %s", self._name, error)
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for target in dict.fromkeys(target for _, _, target, _ in targets):
                for kind in _KINDS:
                    nursery.start_soon(look_up, target, kind)
        found = [
            Address(host, port)
            for _, _, target, port in targets
            for kind in _KINDS
            for host in hosts.get((target, kind), ())
        ]
        if failures and not found:
            raise failures[0]
        return tuple(dict.fromkeys(found))

    def _resolver(self) -> dns.asyncresolver.Resolver:
        # A new one at each look: /etc/resolv.conf may have changed, and a cache would keep what has moved.
        resolver = dns.asyncresolver.Resolver(configure=self._server is None)
        if self._server is not None:
            resolver.nameservers = [self._server.host]
            resolver.port = self._server.port
        resolver.lifetime = _ANSWER_WITHIN
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
