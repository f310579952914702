"""All sources of a node together: asked at the same time, each within a bound, and never a reason to stop."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import ConfigError
from swimring.identity import Address

from .file import FileSeeds
from .forms import MulticastGroup, SeedFile, SrvName
from .multicast import MulticastSeeds
from .seeds import StaticSeeds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from swimring.net import Datagrams, Host, Network

    from .forms import Source
    from .seeds import Seeds

logger = logging.getLogger(__name__)

ANSWERS_WITHIN: Final = 5.0
"""Seconds that a source has for one answer; longer, and what it answered last counts."""
MOST_SEEDS: Final = 1024
"""The most addresses that count of one source; what is beyond is not tried."""


class Finder:
    """Where peers may be now, by the word of all sources. What a source answered last counts while it fails."""

    def __init__(self, sources: Iterable[Seeds], *, network: Network, own: Iterable[Address]) -> None:
        """Look host names up by ``network``; leave out ``own``, the addresses this node is reached at."""
        self._sources = tuple(sources)
        self._last: list[tuple[Address, ...]] = [()] * len(self._sources)
        self._failing: set[int] = set()
        self._network = network
        self._own = tuple(own)

    def __repr__(self) -> str:
        return f"<Finder {', '.join(map(repr, self._sources)) or 'of nobody'}>"

    async def addresses(self) -> tuple[Address, ...]:
        """Numeric addresses, each once, in the order of the sources, without our own."""
        own: set[Address] = set()

        async def find_own(address: Address) -> None:
            own.update({address, *await self._resolve(address)})

        async with trio.open_nursery() as nursery:
            for number in range(len(self._sources)):
                nursery.start_soon(self._look, number)
            for address in self._own:
                nursery.start_soon(find_own, address)
        found = dict.fromkeys(address for answer in self._last for address in answer)
        return tuple(address for address in found if address not in own)

    async def _look(self, number: int) -> None:
        with trio.move_on_after(ANSWERS_WITHIN) as patience:
            try:
                names = await self._sources[number].addresses()
                self._last[number] = await self._numeric(names[:MOST_SEEDS])
            except Exception as error:  # noqa: BLE001 - a source may be a user's; whatever ails it, peers may be elsewhere
                self._failed(number, error)
            else:
                self._failing.discard(number)
        if patience.cancelled_caught:
            self._failed(number, TimeoutError(f"no answer within {ANSWERS_WITHIN:g} s"))

    def _failed(self, number: int, error: Exception) -> None:
        level = logging.DEBUG if number in self._failing else logging.WARNING  # one line for one failure, however long
        self._failing.add(number)
        logger.log(level, "%r fails, what it said last counts: %s", self._sources[number], error)

    async def _numeric(self, names: Sequence[Address]) -> tuple[Address, ...]:
        found: dict[int, Sequence[Address]] = {}

        async def look_up(place: int, name: Address) -> None:
            found[place] = await self._resolve(name)

        async with trio.open_nursery() as nursery:
            for place, name in enumerate(names):
                nursery.start_soon(look_up, place, name)
        return tuple(dict.fromkeys(address for place in sorted(found) for address in found[place]))

    async def _resolve(self, name: Address) -> Sequence[Address]:
        try:
            return await self._network.resolve(name)
        except OSError as error:
            logger.debug("seed %s: %s", name, error)
            return ()


@asynccontextmanager
async def open_finder(
    sources: Iterable[Source],
    *,
    network: Network,
    host: Host,
    cluster: str,
    bound: Address,
    advertised: Address,
) -> AsyncIterator[Finder]:
    """Find peers of ``cluster`` at ``sources`` while the block runs.

    Args:
        sources: as `read_sources` reads them; addresses, files, names, groups, and whatever has ``addresses()``.
        network: for looking names up and for multicast.
        host: for dice.
        cluster: whose members are looked for.
        bound: where this node listens; multicast uses the same interface.
        advertised: where others reach it.

    Raises:
        ConfigError: a group cannot be joined.
        MissingExtra: SRV records need the extra ``dns``.
    """
    async with AsyncExitStack() as stack:

        async def open_group(group: Address) -> Seeds:
            datagrams = await _join_group(network, group, bound)
            stack.callback(datagrams.close)
            seeds = MulticastSeeds(group=group, datagrams=datagrams, cluster=cluster, address=advertised, rng=host.rng)
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            nursery.start_soon(seeds.run, name=f"swimring multicast {group}")
            return seeds

        opened: list[Seeds] = []
        for source in sources:
            match source:
                case MulticastGroup(group=group):
                    opened.append(await open_group(group))
                case Address():
                    opened.append(StaticSeeds([source], network=network))
                case SeedFile(path=path):
                    opened.append(FileSeeds(path))
                case SrvName(name=name, server=server):
                    opened.append(_srv_seeds(name, server))
                case _:
                    opened.append(source)
        yield Finder(opened, network=network, own=(bound, advertised))


async def _join_group(network: Network, group: Address, bound: Address) -> Datagrams:
    try:
        return await network.join_group(group, interface=bound.host)
    except OSError as error:
        raise ConfigError("join", f"multicast://{group}", f"cannot be joined: {error.strerror or error}") from error


def _srv_seeds(name: str, server: Address | None) -> Seeds:
    from .dns import SrvSeeds  # noqa: PLC0415 - needs an extra, which only this source shall ask for

    return SrvSeeds(name, server=server)
