"""How the client keeps up: it asks nodes for the members, because nobody gossips to it."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from swimring.errors import CallError, ConnectionLost, NodeClosed, RemoteProtocolError, Unreachable

from .directory import ClusterState
from .message import read_message

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

    from swimring.identity import Address

    from .directory import Directory
    from .link import Link
    from .links import Links
    from .message import Message

REFRESH_INTERVAL: Final = 5.0
"""Seconds between two looks at the members when nothing goes wrong."""
ASK_WITHIN: Final = 1.0
"""Seconds that one node has to answer before another is asked."""
_ASKED: Final = 3

_log = logging.getLogger("swimring.client")


async def ask_state(link: Link, *, lost: str = "") -> ClusterState:
    """What the node behind ``link`` knows of its cluster; it is told that the member ``lost`` cannot be reached.

    Raises:
        Unreachable: it does not answer, or nothing that makes sense.
    """
    try:
        with anyio.fail_after(ASK_WITHIN):
            return ClusterState.from_wire(await link.request(_question(lost)))
    except (CallError, RemoteProtocolError, TimeoutError) as error:
        reason = str(error) or f"silent for {ASK_WITHIN:g} s"
        raise Unreachable(f"no answer about the ring: {reason}", owner=link.peer.name) from error


def _question(lost: str) -> Message:
    asked = {"ns": "swimring", "cmd": "ring", "lost": lost} if lost else {"ns": "swimring", "cmd": "ring"}
    return read_message(asked, idempotent=True)


class Refresher:
    """Asks for the members again: now and then, and when a call has reason to think that they have changed."""

    def __init__(
        self, directory: Directory, links: Links, tasks: TaskGroup, *, seeds: Sequence[Address], rng: random.Random
    ) -> None:
        """Teach ``directory``; ``seeds`` are tried when no member can be reached."""
        self._directory = directory
        self._links = links
        self._tasks = tasks
        self._seeds = seeds
        self._rng = rng
        self._under_way: anyio.Event | None = None

    async def refresh(self, *, after: CallError | None = None) -> None:
        """Learn what another node than the one that ``after`` came from knows; all who ask at once share one answer.

        Raises:
            NodeClosed: the block of the mesh was left.
        """
        self._links.check_open()
        if self._under_way is None:
            self._under_way = anyio.Event()
            self._tasks.start_soon(self._refresh, after)
        await self._under_way.wait()

    async def run(self) -> None:
        """Refresh every `REFRESH_INTERVAL` seconds until cancelled."""
        while True:
            await anyio.sleep(REFRESH_INTERVAL)
            await self.refresh()

    async def _refresh(self, after: CallError | None) -> None:
        avoid = (after.owner if after is not None else None) or ""
        lost = avoid if isinstance(after, (Unreachable, ConnectionLost)) else ""
        try:
            for open_link in self._candidates(avoid):
                try:
                    state = await ask_state(await open_link(), lost=lost)
                except (CallError, NodeClosed) as error:
                    _log.debug("no refresh: %s", error)
                    continue
                if state.cluster == self._directory.cluster:
                    self._directory.take_in(state)
                    return
        finally:
            assert self._under_way is not None
            self._under_way.set()
            self._under_way = None

    def _candidates(self, avoid: str) -> Sequence[Callable[[], Awaitable[Link]]]:
        """Members, those with a connection first, then the addresses we began with."""
        members = [member for member in self._directory.active if member.name != avoid]
        self._rng.shuffle(members)
        members.sort(key=lambda member: self._links.current(member.name, member.generation) is None)
        return [partial(self._links.to, member) for member in members[:_ASKED]] + [
            partial(self._seed, seed) for seed in self._seeds
        ]

    async def _seed(self, address: Address) -> Link:
        return self._links.adopt(await self._links.open(address))
