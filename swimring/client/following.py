"""How the client keeps up, because nobody gossips to it: it follows one node, which tells it of every change.

When that node leaves or its connection is lost another one is followed, any member that was ever heard of or one of
the addresses the client began with. A call that has reason to think that the members have changed asks a further node.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of endpoints are evaluated
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from swimring.errors import CallError, ConnectionLost, NodeClosed, RemoteProtocolError, Unreachable
from swimring.service import Request, Service, opened, read_open

from .message import read_message
from .news import News, read_everybody

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

    from swimring.identity import Address

    from .directory import Directory
    from .link import Link
    from .links import Links
    from .news import ClusterState

NAMESPACE: Final = "swimring"
"""The service that every node answers for itself; it has no ring."""
ASK_WITHIN: Final = 1.0
"""Seconds that one node has to tell of everybody before another is asked."""
_ASKED: Final = 3
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

_log = logging.getLogger("swimring.client")
_nodes: Final = Service(NAMESPACE)


@_nodes.on("follow", idempotent=True)
async def _follow(request: Request, *, changes: bool = True, lost: str = "") -> AsyncIterator[Any]:  # noqa: ARG001
    """What every node answers, as it is seen from here."""
    raise NotImplementedError
    yield


@asynccontextmanager
async def _following(link: Link, *, changes: bool, lost: str = "") -> AsyncIterator[AsyncIterator[Any]]:
    endpoint, message, streams = read_open(_follow, None, (), {"changes": changes, "lost": lost})
    async with link.open(read_message(message, idempotent=True, streams=streams)) as call:
        yield opened(endpoint, call)


async def ask_state(link: Link, *, lost: str = "") -> ClusterState:
    """What the node behind ``link`` knows of its cluster; it is told that the member ``lost`` cannot be reached.

    Raises:
        Unreachable: it does not answer, or nothing that makes sense.
    """
    try:
        with anyio.fail_after(ASK_WITHIN):
            async with _following(link, changes=False, lost=lost) as items:
                state = await read_everybody(items)
                async for _item in items:
                    pass  # to its end, so that there is nothing to cancel
                return state
    except (CallError, RemoteProtocolError, TimeoutError) as error:
        reason = str(error) or f"silent for {ASK_WITHIN:g} s"
        raise Unreachable(f"no answer about the members: {reason}", owner=link.peer.name) from error


class Follower:
    """Follows a node, and asks others when a call has reason to think that the members have changed."""

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
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self.followed = ""
        """The node that tells of changes now; empty while there is none."""

    # ---------------------------------------------------------------------------------------------- being told

    async def run(self) -> None:
        """Follow one node after the other until `stop`."""
        try:
            with self._scope:
                pause, avoid = _FIRST_PAUSE, ""
                while True:
                    told_by = await self._follow_anybody(avoid)
                    pause = _FIRST_PAUSE if told_by else min(2 * pause, _LONGEST_PAUSE)
                    avoid = told_by
                    await anyio.sleep(pause * self._rng.uniform(0.5, 1.0))
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Follow nobody any more."""
        self._scope.cancel()
        await self._ended.wait()

    async def _follow_anybody(self, avoid: str) -> str:
        """Follow the first that can be until it ends; its name, or nothing if there is none."""
        for open_link in self._candidates(avoid):
            try:
                link = await open_link()
                await self._follow_one(link)
            except (CallError, RemoteProtocolError, TimeoutError, NodeClosed) as error:
                _log.debug("no news: %s", error)
            finally:
                told_by, self.followed = self.followed, ""
            if told_by:
                return told_by
        return ""

    async def _follow_one(self, link: Link) -> None:
        """Learn what the node behind ``link`` tells until it tells no more."""
        async with _following(link, changes=True) as items:
            with anyio.fail_after(ASK_WITHIN):
                state = await read_everybody(items)
            if state.cluster != self._directory.cluster:
                raise RemoteProtocolError(f"{link.peer.name} belongs to {state.cluster}")
            self._directory.take_in(state)
            self.followed = link.peer.name
            async for item in items:
                news = News.from_wire(item)
                self._directory.learn(news.members, gone=news.gone)

    # ------------------------------------------------------------------------------------------------- asking

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
