"""The ownership of several nodes without gossip and network: each believes what a test says, and asks by a journey."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from swimring.codec import decode, encode
from swimring.errors import HandlerFailed, NoSuchHandler
from swimring.identity import Address
from swimring.net import SystemHost
from swimring.ownership import Ownership, Rebalancer, open_ownership
from swimring.service import Endpoint, Request, Service
from swimring.swim import Member, Metadata, Standing, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable

    from swimring.rpc import Outgoing

JOURNEY = 0.01


def member(name: str, weight: int, *, bringing: bool = False) -> Member:
    metadata = Metadata(services=("kv",), weight=weight).with_standing(Standing(bringing=bringing))
    address = Address("10.0.0.1", 7979)
    return Member(name=name, address=address, generation=1, incarnation=0, status=Status.ALIVE, metadata=metadata)


class Stubborn:
    """A membership that believes what it is given, and nothing that others say unless it `listens`."""

    def __init__(self, weights: dict[str, int], bringing: Collection[str] = ()) -> None:
        self.members = tuple(member(name, weight, bringing=name in bringing) for name, weight in weights.items())
        self.listens = False

    def learn(self, members: Iterable[Member]) -> None:
        if self.listens:
            known = {one.name for one in self.members}
            self.members += tuple(one for one in members if one.name not in known)


class One:
    """The ownership of one node, and what it believes."""

    def __init__(self, name: str, everybody: dict[str, One], weights: dict[str, int]) -> None:
        self.name = name
        self.view = Stubborn(weights)
        self.rings = Rebalancer(self.view, cluster="test")
        self.service = Service("swimring")
        self.ownership: Ownership
        self.asked: Counter[str] = Counter()
        """How often others asked it, by command."""
        self.said: list[tuple[str, bytes, bytes]] = []
        """What it was asked and answered: command, fields and value as bytes."""
        self.forgets: set[str] = set()
        """Commands that it does not know."""
        self.fails: set[str] = set()
        """Commands whose handlers fail."""
        self.bringing: Collection[str] = ()
        """Who says that its copies have been due elsewhere for long, for the next `believe`."""
        self._everybody = everybody
        everybody[name] = self

    def believe(self, **weights: int) -> None:
        self.view.members = Stubborn(weights, self.bringing).members
        self.rings.update(self.view.members)
        self.rings.flush()

    async def request_at(self, name: str, out: Outgoing) -> Any:
        other = self._everybody[name]
        await trio.sleep(JOURNEY)
        other.asked[out.cmd] += 1
        if out.cmd in other.forgets:
            raise NoSuchHandler(out.cmd)
        if out.cmd in other.fails:
            raise HandlerFailed(type_name="MemoryError", message="no")
        (endpoint,) = (one for one in other.service.endpoints if one.cmd == out.cmd)
        assert isinstance(endpoint, Endpoint)
        fields = encode(dict(out.fields))
        answer = encode(await endpoint(Request(node=None, peer=self.name), **decode(fields)))  # type: ignore[arg-type]
        other.said.append((out.cmd, fields, answer))
        await trio.sleep(JOURNEY)
        return decode(answer)


@asynccontextmanager
async def open_nodes(*names: str) -> AsyncIterator[list[One]]:
    """Nodes that take each other for equal at first."""
    everybody: dict[str, One] = {}
    async with trio.open_nursery() as nursery:
        for name in names:
            one = One(name, everybody, dict.fromkeys(names, 1))
            opening = open_ownership(name, membership=one.view, rings=one.rings, host=SystemHost(), patience=10.0)
            one.ownership = await nursery.start(_stay_open, opening)
            one.ownership.register(one.service)
        for one in everybody.values():
            one.ownership.use(one)
        await trio.testing.wait_all_tasks_blocked()
        yield list(everybody.values())
        nursery.cancel_scope.cancel()


async def _stay_open(opening: Any, *, task_status: trio.TaskStatus[Ownership]) -> None:
    async with opening as ownership:
        task_status.started(ownership)
        await trio.sleep_forever()
