"""Nodes for the client to talk to: a mux session over a loopback socket, on whatever event loop the test runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from swimring.codec import encode
from swimring.errors import CallError, LocalProtocolError, NoSuchHandler, RemoteProtocolError
from swimring.identity import Address
from swimring.mux import (
    ITEMS,
    CallArrived,
    CallHeader,
    CallKind,
    CancelArrived,
    CreditArrived,
    GoAwayCode,
    Hello,
    Limits,
    PeerReady,
    Secret,
    Session,
    decode_fields,
    encode_failure,
    pack_item,
)
from swimring.ring import HashRing, ring_seed
from swimring.swim import Member, Metadata, Status

ASK = {"ns": "hello", "cmd": "greet"}
KEYS = [f"k{number}" for number in range(32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A call as it arrived at a tiny node."""

    node: TinyNode
    header: CallHeader
    message: Mapping[str, Any]


Handler = Callable[[Heard], Awaitable[object]]


async def who(heard: Heard) -> object:
    return heard.node.name


async def never(heard: Heard) -> object:
    await anyio.sleep_forever()
    raise AssertionError


def key_of(node: TinyNode, *others: TinyNode) -> str:
    """A key that ``node`` owns among these."""
    weights = {one.name: one.member.metadata.weight for one in (node, *others)}
    ring = HashRing.build(weights, seed=ring_seed(node.cluster.name))
    return next(key for key in KEYS if ring.lookup(key) == node.name)


async def again(heard: Heard) -> object:
    return "again"


class TinyCluster:
    """What all tiny nodes of a cluster answer about it."""

    def __init__(self, name: str, tasks: TaskGroup) -> None:
        self.name = name
        self.tasks = tasks
        self.members: dict[str, Member] = {}
        self.secret: Secret | None = None
        self.announced = anyio.Event()

    def announce(self) -> None:
        """All nodes tell who follows them of the members as they are now."""
        self.announced.set()
        self.announced = anyio.Event()

    async def start(
        self, name: str, *services: str, handler: Handler = who, weight: int = 1, joined: bool = True, told: bool = True
    ) -> TinyNode:
        """A node that listens; unless ``joined`` the others do not speak of it, unless ``told`` not of themselves."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        address = Address("127.0.0.1", listener.extra(SocketAttribute.local_port))
        member = Member(
            name=name, address=address, generation=1, incarnation=0, status=Status.ALIVE,
            metadata=Metadata(services=services or ("hello",), weight=weight),
        )  # fmt: skip
        node = TinyNode(self, member, handler)
        if joined:
            self.members[name] = member
        await self.tasks.start(node.run, listener)
        if joined and told:
            self.announce()
        return node

    def bury(self, node: TinyNode, status: Status = Status.DEAD) -> None:
        """All nodes learn that a member is gone."""
        old = self.members[node.name]
        self.members[node.name] = Member(
            name=old.name, address=old.address, generation=old.generation, incarnation=old.incarnation, status=status,
            metadata=old.metadata,
        )  # fmt: skip
        self.announce()

    def state(self) -> list[dict[str, Any]]:
        """What a node tells first, in two pieces."""
        first, *others = [member.to_wire() for member in self.members.values()]
        return [
            {"cluster": self.name, "points": 128, "members": [first], "more": True},
            {"members": others, "more": False},
        ]


@dataclass(eq=False)
class _Connection:
    stream: SocketStream
    session: Session
    scopes: dict[int, anyio.CancelScope] = field(default_factory=dict)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    credit: anyio.Event = field(default_factory=anyio.Event)

    async def wait_credit(self, size: int) -> None:
        while not self.session.has_credit(size):
            await self.credit.wait()

    async def flush(self) -> None:
        async with self.lock:
            with anyio.CancelScope(shield=True):
                while data := self.session.bytes_to_send():
                    await self.stream.send(data)


class TinyNode:
    """Answers for the ring, and everything else with its handler."""

    def __init__(self, cluster: TinyCluster, member: Member, handler: Handler) -> None:
        self.cluster = cluster
        self.member = member
        self.handler = handler
        self.hellos: list[Hello] = []
        self.calls: list[Heard] = []
        self.ring_asked = 0
        self.followers = 0
        self._followed = anyio.Event()
        self.told_lost: list[str] = []
        self.cancels: list[str] = []
        self._scope = anyio.CancelScope()
        self.raw_reply: bytes | None = None
        self._draining = False
        self._frozen = False
        self._called = anyio.Event()
        self._fewer = anyio.Event()
        self._gone = anyio.Event()
        self._connections: set[_Connection] = set()

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def address(self) -> Address:
        return self.member.address

    @property
    def connections(self) -> int:
        return len(self._connections)

    def crash(self) -> None:
        """End as the process would that is killed: the listener and all connections close; also from a handler."""
        self._scope.cancel()

    async def kill(self) -> None:
        """`crash`, and wait until nobody listens any more."""
        self._scope.cancel()
        await self._gone.wait()

    async def wait_called(self) -> None:
        """Wait for the first call."""
        await self._called.wait()

    async def wait_followed(self) -> None:
        """Wait until a client follows this node."""
        while not self.followers:
            self._followed = anyio.Event()
            await self._followed.wait()

    async def wait_unconnected(self) -> None:
        """Wait until the last connection is gone."""
        while self._connections:
            self._fewer = anyio.Event()
            await self._fewer.wait()

    async def drain(self) -> None:
        """Take no more calls, on any connection."""
        self._draining = True
        for connection in self._connections:
            connection.session.go_away(GoAwayCode.DRAINING, "leaving")
            await connection.flush()

    def freeze(self) -> None:
        """Read on, answer nothing: not even pings."""
        self._frozen = True

    async def send_nonsense(self) -> None:
        for connection in self._connections:
            async with connection.lock:
                await connection.stream.send(b"\xff" * 64)

    async def run(self, listener: Any, *, task_status: Any) -> None:
        with self._scope:
            task_status.started()
            async with listener:
                await listener.serve(self._serve)
        self._gone.set()

    async def _serve(self, stream: SocketStream) -> None:
        session = Session(
            me=self.member.id, cluster=self.cluster.name, limits=Limits(), dialled=False, secret=self.cluster.secret
        )
        connection = _Connection(stream, session)
        self._connections.add(connection)
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    for event in session.receive(await stream.receive()):
                        self._handle(event, connection, tasks)
                    if not self._frozen:
                        await connection.flush()
        except* (OSError, RemoteProtocolError, anyio.EndOfStream, anyio.BrokenResourceError):
            pass
        finally:
            self._connections.discard(connection)
            self._fewer.set()
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(1):
                    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                        await connection.flush()
                await anyio.aclose_forcefully(stream)

    def _handle(self, event: object, connection: _Connection, tasks: TaskGroup) -> None:
        match event:
            case PeerReady(hello=hello):
                self.hellos.append(hello)
                if self._draining:
                    connection.session.go_away(GoAwayCode.DRAINING, "leaving")
            case CallArrived():
                scope = connection.scopes[event.call_id] = anyio.CancelScope()
                tasks.start_soon(self._answer, event, scope, connection)
            case CreditArrived():
                connection.credit.set()
                connection.credit = anyio.Event()
            case CancelArrived():
                self.cancels.append(event.reason)
                connection.scopes[event.call_id].cancel()

    async def _answer(self, call: CallArrived, scope: anyio.CancelScope, connection: _Connection) -> None:
        session, heard = (
            connection.session,
            Heard(node=self, header=call.header, message=decode_fields(call.header, call.body)),
        )
        finish = partial(session.done, call.call_id)
        with scope:
            try:
                if heard.message["cmd"] == "follow":
                    await self._tell(connection, call.streams[ITEMS], heard.message)
                value = encode(await self._ask(heard))
                await connection.wait_credit(len(value))
            except CallError as error:
                finish = partial(session.fail, call.call_id, encode_failure(error, executed=error.maybe_executed))
            else:
                finish = partial(session.reply, call.call_id, value if self.raw_reply is None else self.raw_reply)
        if call.header.kind is CallKind.CAST:
            finish = partial(session.done, call.call_id)
        finish()
        await connection.flush()

    async def _tell(self, connection: _Connection, stream: int, message: Mapping[str, Any]) -> None:
        async def send(items: list[dict[str, Any]]) -> None:
            for item in items:
                connection.session.send(stream, pack_item(item, limit=1 << 20))
            await connection.flush()

        changed = self.cluster.announced
        await send(self.cluster.state())
        if not message["changes"]:
            self.ring_asked += 1
            self.told_lost += [message["lost"]] if message["lost"] else []
            with suppress(LocalProtocolError):  # who has heard all may have left
                connection.session.finish(stream)
            return
        self.followers += 1
        self._followed.set()
        try:
            while True:
                await changed.wait()
                changed = self.cluster.announced
                await send([{"members": [one.to_wire() for one in self.cluster.members.values()], "more": False}])
        finally:
            self.followers -= 1

    async def _ask(self, heard: Heard) -> object:
        if heard.message["ns"] == "swimring":
            if heard.message["cmd"] == "follow":
                return None
            if heard.message["cmd"] == "name":
                return self.name
            raise NoSuchHandler("not here")
        self.calls.append(heard)
        self._called.set()
        return await self.handler(heard)


@asynccontextmanager
async def tiny_cluster(name: str = "hello") -> AsyncIterator[TinyCluster]:
    """A cluster that ends with the block; nothing takes long here, and a test that hangs fails."""
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            try:
                yield TinyCluster(name, tasks)
            finally:
                tasks.cancel_scope.cancel()
