"""Addresses to try first, and the convention that makes zero configuration work on one machine.

The loopback ports 7979 to 7998 are permanent seeds: a node takes the first that is free, and tries all others now and
then, so that the nodes of a machine find each other in whatever order they start.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from swimring.errors import ConfigError
from swimring.identity import DEFAULT_PORT, Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swimring.net import Binding, Network

logger = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
LOOPBACK_PORTS: Final = range(DEFAULT_PORT, DEFAULT_PORT + 20)

_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EACCES})  # EACCES: some systems reserve ranges of ports


@runtime_checkable
class Seeds(Protocol):
    """A source of addresses to try while a node is alone, and now and then afterwards.

    Write one and put an instance into ``join``: that is all it takes to find peers by whatever a site has.
    """

    async def addresses(self) -> Sequence[Address]:
        """The addresses now; empty if there are none at the moment.

        Hosts may be names, and this node's own address may be among them. It is called while the node is alone with
        pauses from 0.1 s up to 5 s, later once per ``heal_interval``. It has 5 s; when it takes longer or raises, what
        it said last counts, and the log says so once.
        """
        ...


class StaticSeeds:
    """The addresses a user wrote down. Host names are looked up again each time: names move in a container world."""

    def __init__(self, seeds: Iterable[Address], *, network: Network, own: Iterable[Address] = ()) -> None:
        """Resolve ``seeds`` by ``network``; leave out ``own``, the addresses this node is reached at."""
        self._seeds = tuple(seeds)
        self._network = network
        self._own = frozenset(own)

    def __repr__(self) -> str:
        return f"<StaticSeeds {', '.join(map(str, self._seeds)) or 'none'}>"

    async def addresses(self) -> tuple[Address, ...]:
        """All addresses that the names stand for, in the order they were written, each once."""
        found: dict[Address, None] = {}
        for seed in self._seeds:
            found.update(dict.fromkeys(await self._resolve(seed)))
        return tuple(address for address in found if address not in self._own)

    async def _resolve(self, seed: Address) -> Sequence[Address]:
        try:
            return await self._network.resolve(seed)
        except OSError as error:
            logger.debug("seed %s: %s", seed, error)
            return ()


def loopback_seeds(own: Address) -> tuple[Address, ...]:
    """The loopback ports where other nodes of this machine may be found."""
    return tuple(address for port in LOOPBACK_PORTS if (address := Address(LOOPBACK, port)) != own)


async def take_loopback_port(network: Network) -> Binding:
    """Bind the first loopback port from 7979 to 7998 that is free for datagrams and for streams.

    Raises:
        ConfigError: all of them are taken.
        OSError: this machine has no loopback to bind to.
    """
    for port in LOOPBACK_PORTS:
        try:
            return await network.bind(Address(LOOPBACK, port))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
    ports = f"{LOOPBACK}:{LOOPBACK_PORTS[0]} to {LOOPBACK_PORTS[-1]}"
    raise ConfigError(
        "listen", ports, "every one of these ports is taken: name an address of your own, port 0 finds one"
    )
