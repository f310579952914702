"""The connections of one node: one per peer, used both ways, dialled when needed and shared by all callers."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from swimring.errors import LocalProtocolError, Unreachable
from swimring.instrument import Instrument
from swimring.mux import GoAwayCode, HelloRefused, Limits, RefusalCode, Session
from swimring.policies import Redial

from .calling import Superseded
from .connection import Connection
from .owning import owner_of_tasks
from .statistics import count_calls
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from swimring.identity import Address, NodeId
    from swimring.instrument import Instruments
    from swimring.mux import CallHeader, Secret
    from swimring.net import Host, Network
    from swimring.service import HeldCall

    from .calling import Calling
    from .forwarding import Relayed
    from .outgoing import Outgoing
    from .serving import Serve
    from .statistics import CallStatistics

_T = TypeVar("_T")


@asynccontextmanager
async def open_pool(
    *,
    me: NodeId,
    cluster: str,
    network: Network,
    host: Host,
    serve: Serve,
    instruments: Instruments,
    limits: Limits | None = None,
    connection_lost: Callable[[str], None] = lambda _name: None,
    is_suspect: Callable[[str], bool] = lambda _name: False,
    secret: Callable[[], Secret | None] = lambda: None,
    nursery: trio.Nursery | None = None,
) -> AsyncIterator[Pool]:
    """Hold connections to peers for the length of the block; leaving it closes them and cancels all handlers.

    ``connection_lost`` is told the name of a peer whose connection ended without a farewell or could not be made;
    ``is_suspect`` spares cancelled calls to such a peer the wait for a confirmation; ``secret`` is asked for each
    connection. If the tasks shall run in a ``nursery`` that is there already, it has to be cancelled after the block.
    """
    async with owner_of_tasks(nursery) as owner:
        pool = Pool(
            me=me,
            cluster=cluster,
            network=network,
            host=host,
            serve=serve,
            instruments=instruments,
            limits=Limits() if limits is None else limits,
            connection_lost=connection_lost,
            is_suspect=is_suspect,
            secret=secret,
            nursery=owner,
        )
        try:
            yield pool
        finally:
            pool.close()


@dataclass(slots=True, kw_only=True)
class _Dial:
    """One attempt to connect, shared by all who want that peer."""

    address: Address
    settled: trio.Event
    connecting: trio.CancelScope
    error: str = ""


class Peer:
    """One member as somebody to talk to. Cheap to make and to throw away; the pool holds the connection."""

    def __init__(self, pool: Pool, name: str, address: Address | None, generation: int) -> None:
        """Made by `Pool.peer`."""
        self.name = name
        self.address = address
        self.generation = generation
        self._pool = pool

    def __repr__(self) -> str:
        return f"<Peer {self.name} at {self.address}>"

    async def request(self, out: Outgoing) -> object:
        """Send a request and wait for its answer, at most until the deadline of the surrounding scopes.

        Raises:
            CallError: what became of it; ``maybe_executed`` says whether the handler may have run.
            LocalProtocolError: the message cannot be sent at all; nothing was.
        """
        return await self._through(lambda calling: calling.request(out))

    async def relay(self, header: CallHeader, body: bytes) -> Relayed:
        """Send a call of somebody else on, a cast as well; the answer is as the peer encoded it.

        Raises:
            CallError: there is none.
            LocalProtocolError: it is too large for the peer.
        """
        return await self._through(lambda calling: calling.relay(header, body))

    async def cast(self, out: Outgoing) -> None:
        """Send a message that nobody answers. It returns when the message has credit and promises nothing.

        Raises:
            Unreachable: there is no connection and none could be made.
            LocalProtocolError: the message cannot be sent at all.
        """
        return await self._through(lambda calling: calling.cast(out))

    @asynccontextmanager
    async def open(self, out: Outgoing) -> AsyncIterator[HeldCall]:
        """Send a request with byte streams; leaving the block before its result cancels it and resets them.

        Raises:
            Unreachable: there is no connection and none could be made.
            LocalProtocolError: the message cannot be sent at all, or a source cannot be read.
        """
        async with AsyncExitStack() as stack:
            yield await self._through(lambda calling: stack.enter_async_context(calling.open(out)))

    async def _through(self, ask: Callable[[Calling], Awaitable[_T]]) -> _T:
        """Ask over the connection there is, or one that is made, and again over another if one takes its place."""
        while True:
            connection = self._pool.current(self.name, self.generation)
            if connection is None:
                connection = await self._pool.connect(self.name, self.address, self.generation)
            with suppress(Superseded):
                return await ask(connection.calling)


class Pool:
    """All connections of a node: of peers that came to us, of strangers, and our own; each kind has its bound."""

    def __init__(
        self,
        *,
        me: NodeId,
        cluster: str,
        network: Network,
        host: Host,
        serve: Serve,
        instruments: Instruments,
        limits: Limits,
        connection_lost: Callable[[str], None],
        is_suspect: Callable[[str], bool],
        secret: Callable[[], Secret | None],
        nursery: trio.Nursery,
    ) -> None:
        """Made by `open_pool`."""
        self.me = me
        self._cluster = cluster
        self._network = network
        self._host = host
        self._serve = serve
        self._instruments = instruments
        self._limits = limits
        self._connection_lost = connection_lost
        self._is_suspect = is_suspect
        self._secret = secret
        self._nursery = nursery
        self._workers = Workers(nursery)
        self._outbound = 0
        self._all: dict[Connection, None] = {}  # in order of opening: a set would close them in an order of its own
        self._current: dict[str, Connection] = {}
        self._dials: dict[str, _Dial] = {}
        self._redial = Redial(first=limits.redial_after, longest=limits.redial_at_most, most=limits.dials, rng=host.rng)
        self._draining = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool of {self.me}: {len(self._all)} connections, {len(self._dials)} dials>"

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All connections that have not ended."""
        return tuple(self._all)

    def statistics(self) -> CallStatistics:
        """What is going on over all of them."""
        return count_calls(self._all)

    # ---------------------------------------------------------------------------------------------------- peers

    async def peer(self, name: str, address: Address | None = None, generation: int = 0) -> Peer:
        """Somebody to talk to, with a connection that is ready now. It is a checkpoint only if it has to dial.

        Without an ``address`` only a connection that the peer opened will do (clients have no listener).

        Raises:
            Unreachable: no connection, and none can be made (now).
            LocalProtocolError: that is ourselves.
        """
        if self.current(name, generation) is None:
            await self.connect(name, address, generation)
        return Peer(self, name, address, generation)

    def at_hand(self, name: str, generation: int = 0) -> Calling | None:
        """Whom to ask for ``name``, if connected now; unlike those of a `Peer`, a call may raise `Superseded`."""
        connection = self._current.get(name)
        if connection is None or connection.peer is None or connection.peer.generation < generation:
            return None
        return connection.calling if connection.usable else None

    def current(self, name: str, generation: int = 0) -> Connection | None:
        """The connection to use for ``name``, if it is not one to an earlier life of it."""
        connection = self._current.get(name)
        if connection is None or not connection.usable:
            return None
        if connection.peer is not None and connection.peer.generation < generation:
            return None
        return connection

    async def connect(self, name: str, address: Address | None, generation: int = 0) -> Connection:
        """Dial ``name``, or wait for a dial that is under way.

        Raises:
            Unreachable: it failed, or failed a moment ago (``retry_after`` says when it makes sense again).
            LocalProtocolError: that is ourselves.
        """
        await trio.lowlevel.checkpoint()
        if name == self.me.name:
            raise LocalProtocolError("a node has no connection to itself")
        connection = self.current(name, generation)
        if connection is None:
            dial = self._dials.get(name) or self._start_dial(name, address)
            await dial.settled.wait()
            connection = self.current(name, generation)
            if connection is None:
                error = dial.error or f"{name} answers with an earlier generation, or left at once"
                raise Unreachable(error, owner=name, retry_after=self._pause_left(name))
        return connection

    async def serve_stream(self, stream: trio.abc.Stream, remote: Address, received: bytes = b"") -> None:
        """Serve a connection that was accepted, until it ends; ``received`` was read from it before.

        Whatever goes wrong with it ends this connection only.
        """
        if self._closed:
            await self._turn_away(stream)
            return
        strangers = [one for one in self._all if not (one.dialled or one.adopted)]
        if len(strangers) >= self._limits.strangers:
            # Who means it says hello at once, so the oldest is the least likely to.
            reason = "too many connections without a hello"
            self._instruments.refuse_bytes("stream", reason, source=remote, now=trio.current_time())
            del self._all[strangers[0]]
            strangers[0].close(reason)
        connection = self._make(stream, dialled=False, expected=None)
        self._all[connection] = None
        await connection.run(received)

    async def drain(self) -> None:
        """Take no more calls from anybody and wait until those under way, of both sides, are over.

        Who was dialled a moment ago may have calls on their way to us: a connection that is to become open is told
        the same, and waited for.
        """
        self._draining = True
        for connection in self.connections:
            connection.go_away(GoAwayCode.DRAINING, f"{self.me} is leaving")
        await trio.lowlevel.checkpoint()
        await self._wait_idle()
        for dial in list(self._dials.values()):  # who has heard nothing of us yet shall not begin to call us
            dial.connecting.cancel()
            await dial.settled.wait()
        await self._wait_idle()

    async def _wait_idle(self) -> None:
        while busy := [one for one in self._all if one.busy]:
            await busy[0].wait_idle()

    def end_life(self, name: str, generation: int) -> None:
        """A life of a peer is over, as membership has found out: calls under way to it are lost now.

        A machine that vanished answers nothing, and its connection would be silent until keep-alive gives up.
        """
        for connection in self.connections:
            peer = connection.peer
            if peer is not None and peer.name == name and peer.generation <= generation:
                connection.close(f"{name} is dead")

    def retire(self, name: str) -> None:
        """Nobody needs a connection to ``name`` for its own sake: end it, unless calls were ever made over it."""
        connection = self.current(name)
        if connection is not None and not connection.session.used:
            connection.go_away(GoAwayCode.DUPLICATE, "nobody needs this connection")

    def close(self) -> None:
        """End all connections now."""
        self._closed = True
        for name, dial in list(self._dials.items()):  # whoever waits may be no task of this node
            dial.error = "this node is closing"
            self._settle(name)
        for connection in self.connections:
            connection.close("this node is closing")

    # --------------------------------------------------------------------------------------------------- dialling

    def _start_dial(self, name: str, address: Address | None) -> _Dial:
        if address is None:
            raise Unreachable(f"{name} is not connected and has no address", owner=name)
        pause = self._redial.pause(name, address, now=trio.current_time())
        if pause is not None:
            raise Unreachable(f"{pause.error} (a moment ago)", owner=name, retry_after=self._pause_left(name))
        if self._closed:
            raise Unreachable("this node is closing", owner=name)
        if self._outbound >= self._limits.dials:
            raise Unreachable("this node has all the connections it may open", owner=name)
        self._outbound += 1
        dial = self._dials[name] = _Dial(address=address, settled=trio.Event(), connecting=trio.CancelScope())
        self._nursery.start_soon(self._dial, name, dial)
        return dial

    async def _dial(self, name: str, dial: _Dial) -> None:
        try:
            await self._hold_dialled(name, dial)
        finally:
            self._outbound -= 1

    async def _hold_dialled(self, name: str, dial: _Dial) -> None:
        stream, text = None, "no answer in time"
        dial.connecting.deadline = trio.current_time() + self._limits.dial_within
        try:
            with dial.connecting:
                stream = await self._network.connect(dial.address)
        except OSError as error:
            text = str(error) or type(error).__name__
        if stream is None:
            if self._dials.get(name) is dial:  # else the peer has dialled us meanwhile
                self._dial_failed(name, dial, f"cannot connect to {name} at {dial.address}: {text}")
            return
        connection = self._make(stream, dialled=True, expected=name)
        self._all[connection] = None
        await connection.run()
        if self._dials.get(name) is dial:
            self._dial_failed(name, dial, f"{name} at {dial.address}: {connection.reason}")

    def _dial_failed(self, name: str, dial: _Dial, error: str) -> None:
        self._redial.failed(name, dial.address, error, now=trio.current_time())
        dial.error = error
        self._settle(name)
        self._connection_lost(name)

    def _pause_left(self, name: str) -> float | None:
        return self._redial.seconds_left(name, now=trio.current_time())

    def _settle(self, name: str) -> None:
        dial = self._dials.pop(name, None)
        if dial is not None:
            dial.connecting.cancel()  # who has heard nothing of us yet need not
            dial.settled.set()

    # ------------------------------------------------------------------------------------------------ connections

    def _make(self, stream: trio.abc.Stream, *, dialled: bool, expected: str | None) -> Connection:
        def adopt(connection: Connection) -> None:
            self._adopt(connection, expected)

        session = Session(
            me=self.me, cluster=self._cluster, limits=self._limits, dialled=dialled, secret=self._secret()
        )
        if self._draining:
            session.go_away(GoAwayCode.DRAINING, f"{self.me} is leaving")
        return Connection(
            session=session,
            stream=stream,
            limits=self._limits,
            workers=self._workers,
            serve=self._serve,
            instruments=self._instruments,
            adopt=adopt,
            on_end=self._ended,
            dialled=dialled,
            is_suspect=self._is_suspect,
        )

    def _ended(self, connection: Connection) -> None:
        self._all.pop(connection, None)
        if connection.peer is None or not connection.adopted:
            return
        name = connection.peer.name
        if self._current.get(name) is connection:
            del self._current[name]
            if not (self._closed or connection.session.told_to_go_away):
                self._connection_lost(name)
        self._instruments.tell(Instrument.connection_closed, name, connection.reason)

    def _adopt(self, new: Connection, expected: str | None) -> None:
        """Make a connection whose hello was accepted the one to use, or the spare one.

        Raises:
            HelloRefused: it is not the node that was dialled, or an earlier life of one we know.
        """
        assert new.peer is not None
        name = new.peer.name
        if expected is not None and name != expected:
            raise HelloRefused(RefusalCode.SELF, f"expected {expected} at that address, found {name}")
        self._check_room(new)
        old = self._current.get(name)
        if old is None or old.peer is None or not old.usable:
            self._prefer(new)
        elif new.peer.generation < old.peer.generation:
            raise HelloRefused(RefusalCode.STALE, f"a later life of {name} is connected")
        elif new.peer.generation > old.peer.generation:
            self._prefer(new)
            old.close(f"a later life of {name} has connected")
        elif old.session.going_away:
            self._prefer(new)  # told that we take no more calls over the old one, of course it asks at the door again
        elif self._wins(new, old):
            self._prefer(new)
            old.go_away(GoAwayCode.DUPLICATE, "another connection took over")
        elif old.contested:
            # Told once that the old one exists, the peer dials again: it has lost it, and we have not noticed yet.
            self._prefer(new)
            old.close(f"{name} has connected anew")
        else:
            old.contested = True
            self._settle(name)
            new.go_away(GoAwayCode.DUPLICATE, "another connection exists")
        new.adopted = True
        self._instruments.tell(Instrument.connection_opened, name)

    def _check_room(self, new: Connection) -> None:
        inbound = sum(one.adopted and not one.dialled for one in self._all)
        if not new.dialled and inbound >= self._limits.connections:
            raise HelloRefused(RefusalCode.BUSY, f"{self.me} has all the connections it may have")

    def _wins(self, new: Connection, old: Connection) -> bool:
        """Of two at once, both sides keep the one dialled by the smaller; of two by the same, the later."""
        return new.dialled == old.dialled or self._dialler(new) < self._dialler(old)

    def _dialler(self, connection: Connection) -> NodeId:
        assert connection.peer is not None
        return self.me if connection.dialled else connection.peer

    def _prefer(self, connection: Connection) -> None:
        assert connection.peer is not None
        name = connection.peer.name
        self._current[name] = connection
        self._redial.reached(name)
        self._settle(name)

    async def _turn_away(self, stream: trio.abc.Stream) -> None:
        session = Session(me=self.me, cluster=self._cluster, limits=self._limits, dialled=False)
        session.refuse(RefusalCode.BUSY, f"{self.me} is closing")
        with trio.move_on_after(1):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(session.bytes_to_send())
        await trio.aclose_forcefully(stream)
