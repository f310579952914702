"""Where to send: what the host names of members stand for, looked up off the path of the datagrams.

The first look at a name is waited for, a second at most. From then on what was found last counts, and a task asks again
now and then: a resolver that is slow or down delays nobody, and makes nobody unreachable who was found before.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.net import Network

_log = logging.getLogger("swimring.gossip")
_FOUND_FOR: Final = 60.0
_UNKNOWN_FOR: Final = 10.0
_LOOK_UP_WITHIN: Final = 1.0
_KEPT: Final = 4096
_WAITING: Final = 64


@dataclass(slots=True)
class _Known:
    """What a name stood for when it was found last, if ever, and when to ask again."""

    address: Address | None
    until: float


class Names:
    """The names of members, each looked up once a minute, or every 10 s while nobody tells it.

    Keeps 4,096; beyond that the one found first is looked up anew. 64 wait to be asked again; a further one asks later.
    """

    def __init__(self, network: Network) -> None:
        """Ask ``network``."""
        self._network = network
        self._known: dict[Address, _Known] = {}
        self._due, self._asked = trio.open_memory_channel["Address"](_WAITING)

    async def numeric(self, address: Address) -> Address:
        """Where to send for ``address``.

        Raises:
            OSError: the name is not known, or nobody said so within a second: whoever sends has other members, too.
        """
        if _is_literal(address.host):
            return address
        known = self._known.get(address)
        if known is None:
            known = await self._look_up(address)
        elif trio.current_time() >= known.until:
            self._ask_again(address, known)
        if known.address is None:
            raise OSError(errno.EHOSTUNREACH, f"the name {address.host!r} is not known")
        return known.address

    async def run(self) -> None:
        """Ask again for those that are due, one after the other, for ever."""
        async for address in self._asked:
            await self._look_up(address)

    def _ask_again(self, address: Address, known: _Known) -> None:
        known.until = trio.current_time() + _UNKNOWN_FOR  # asked once, however often it is sent to meanwhile
        try:
            self._due.send_nowait(address)
        except trio.WouldBlock:
            _log.debug("%s is looked up later: many names are", address.host)

    async def _look_up(self, address: Address) -> _Known:
        found = None
        with trio.move_on_after(_LOOK_UP_WITHIN):
            try:
                found = (await self._network.resolve(address))[0]
            except OSError as error:
                _log.debug("%s is not known: %s", address.host, error)
        until = trio.current_time() + (_UNKNOWN_FOR if found is None else _FOUND_FOR)
        before = self._known.pop(address, None)
        if found is None and before is not None:
            found = before.address
        known = self._known[address] = _Known(found, until)
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return known


@functools.lru_cache(maxsize=4096)
def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
