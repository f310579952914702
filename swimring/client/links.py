"""The connections of a client: one for each node, dialled when a call needs it and shared by all callers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from swimring.errors import CallError, NodeClosed, Unreachable
from swimring.mux import NONCE_SIZE, Secret
from swimring.policies import Redial

from .link import dial

if TYPE_CHECKING:
    import random

    from anyio.abc import TaskGroup

    from swimring.certificates import Certificates
    from swimring.identity import Address, NodeId
    from swimring.mux import Limits
    from swimring.swim import Member

    from .link import Link


@dataclass(slots=True, kw_only=True)
class _Dial:
    """One attempt to connect, shared by all who want that node."""

    settled: anyio.Event
    error: str = ""


class Links:
    """All connections of a client; at most `Limits.dials`, beyond which a member counts as unreachable."""

    def __init__(
        self,
        tasks: TaskGroup,
        *,
        me: NodeId,
        limits: Limits,
        rng: random.Random,
        keys: tuple[bytes, ...] = (),
        certificates: Certificates | None = None,
    ) -> None:
        """No connections yet; those to come run in ``tasks``.

        They prove one of ``keys`` if there are any, and run over TLS if there are ``certificates``.
        """
        self._tasks = tasks
        self._me = me
        self._limits = limits
        self.keys: Final = keys
        self._certificates = certificates
        self._cluster: str | None = None
        self._all: set[Link] = set()
        self._current: dict[str, Link] = {}
        self._dials: dict[str, _Dial] = {}
        self._opening = 0
        self._redial = Redial(first=limits.redial_after, longest=limits.redial_at_most, most=limits.dials, rng=rng)
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    def settle_on(self, cluster: str) -> None:
        """From now on, talk to nodes of ``cluster`` only."""
        self._cluster = cluster

    def current(self, name: str, generation: int = 0) -> Link | None:
        """The connection to use for ``name``, if there is one and not to an earlier life of it."""
        link = self._current.get(name)
        return link if link is not None and link.usable and link.peer.generation >= generation else None

    async def open(self, address: Address) -> Link:
        """A new connection to whoever is at ``address``; calls use it only once it is adopted.

        Raises:
            Unreachable: there is no node, or none of the cluster.
            NodeClosed: the block of the mesh was left.
        """
        self._check_room()
        self._opening += 1
        try:
            return await self._connect(address)
        finally:
            self._opening -= 1

    def adopt(self, link: Link) -> Link:
        """Use ``link`` for calls to its node, unless there is one already; the one that is used."""
        current = self.current(link.peer.name, link.peer.generation)
        if current is not None:
            link.close("there is another connection")
            return current
        self._current[link.peer.name] = link  # calls on an older one, which takes no more, go on
        return link

    async def to(self, member: Member) -> Link:
        """A connection to ``member``; waits for a dial that is under way.

        Raises:
            Unreachable: it cannot be made, or could not a moment ago (``retry_after`` says when it makes sense again).
            NodeClosed: the block of the mesh was left.
        """
        link = self.current(member.name, member.generation)
        if link is not None:
            return link
        under_way = self._dials.get(member.name) or self._start_dial(member)
        await under_way.settled.wait()
        link = self.current(member.name, member.generation)
        if link is None:
            error = under_way.error or f"{member.name} answers with an earlier generation, or left at once"
            raise Unreachable(error, owner=member.name, retry_after=self._pause_left(member.name))
        return link

    async def wait_idle(self) -> None:
        """Wait until everything that was sent, casts included, is over."""
        for link in tuple(self._all):
            await link.wait_idle()

    def check_open(self) -> None:
        """Make sure that there is somebody to run a connection.

        Raises:
            NodeClosed: the block of the mesh was left.
        """
        if self._closed:
            raise NodeClosed("this mesh is closed: the block of its connect() was left")

    def close(self) -> None:
        """Take no more calls; the connections end with their task group."""
        self._closed = True

    # ---------------------------------------------------------------------------------------------------- inside

    def _check_room(self) -> None:
        self.check_open()
        if len(self._all) + len(self._dials) + self._opening >= self._limits.dials:
            raise Unreachable("this client has all the connections it may open")

    def _start_dial(self, member: Member) -> _Dial:
        pause = self._redial.pause(member.name, member.address, now=anyio.current_time())
        if pause is not None:
            left = self._pause_left(member.name)
            raise Unreachable(f"{pause.error} (a moment ago)", owner=member.name, retry_after=left)
        self._check_room()
        under_way = self._dials[member.name] = _Dial(settled=anyio.Event())
        self._tasks.start_soon(self._dial, member, under_way)
        return under_way

    async def _connect(self, address: Address) -> Link:
        secret = Secret(keys=self.keys, nonce=secrets.token_bytes(NONCE_SIZE)) if self.keys else None
        link = await dial(
            address,
            me=self._me,
            cluster=self._cluster,
            limits=self._limits,
            secret=secret,
            certificates=self._certificates,
        )
        self._all.add(link)
        self._tasks.start_soon(self._run, link)
        return link

    async def _dial(self, member: Member, under_way: _Dial) -> None:
        try:
            link = await self._connect(member.address)
        except CallError as error:
            self._failed(member, under_way, error.reason)
        else:
            self.adopt(link)
            if link.peer.name == member.name:
                self._redial.reached(member.name)
            else:
                self._failed(member, under_way, f"found {link.peer} there")
        finally:
            self._dials.pop(member.name, None)
            under_way.settled.set()

    def _failed(self, member: Member, under_way: _Dial, reason: str) -> None:
        under_way.error = f"cannot reach {member.name} at {member.address}: {reason}"
        self._redial.failed(member.name, member.address, under_way.error, now=anyio.current_time())

    def _pause_left(self, name: str) -> float | None:
        return self._redial.seconds_left(name, now=anyio.current_time())

    async def _run(self, link: Link) -> None:
        try:
            await link.run()
        finally:
            self._all.discard(link)
            if self._current.get(link.peer.name) is link:
                del self._current[link.peer.name]
