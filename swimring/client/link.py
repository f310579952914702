"""One connection to one node: a session, a task that reads, a task that writes, a task that notices silence.

Only the writer touches the sending side of the stream, so a cancelled call can never leave half a frame behind. What
callers queue while it is busy leaves in one piece.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import anyio

from swimring.errors import CallError, Draining, RemoteProtocolError, Unreachable
from swimring.mux import (
    CallEnded,
    FailureArrived,
    GoAwayArrived,
    GoAwayCode,
    HelloRefused,
    Phase,
    RefusalArrived,
    RefusalCode,
    ReplyArrived,
    Session,
    StreamsOffered,
)
from swimring.service import AttachedStreams, Writers

from .calling import Calling
from .reaching import BROKEN, reach, text_of
from .waiting import LinkStream, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from anyio.abc import ByteStream, TaskGroup

    from swimring.certificates import Certificates
    from swimring.identity import Address, Key, NodeId
    from swimring.mux import Event, Limits, Secret

_log = logging.getLogger("swimring.client")


class SecretRefused(Unreachable):
    """There is a node, and one of the two has no secret or another one. Nothing was sent; give both the same."""


class Link:
    """Calls to one node over one connection. Made by `dial`; it works while `run` does."""

    def __init__(self, *, stream: ByteStream, session: Session, peer: NodeId, limits: Limits) -> None:
        """Take over a connection whose hellos were exchanged."""
        self.peer: Final = peer
        self.reason = ""
        """Why it ended; empty while it has not."""
        self._stream = stream
        self._session = session
        self._limits = limits
        self._calling = Calling(self, session, limits)
        self.request: Final = self._calling.request
        self.cast: Final = self._calling.cast
        self.open: Final = self._calling.open
        self._streams: AttachedStreams[LinkStream] = AttachedStreams(session)
        self._writers = Writers(session)
        self._work = Signal()
        self.poke: Final = self._work.say
        self._idle: anyio.Event | None = None
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._heard = anyio.current_time()
        self._handlers = self._table()

    def __repr__(self) -> str:
        return f"<Link to {self.peer}: {self.reason or 'open'}, {len(self._calling)} calls>"

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return not self.reason and not self._session.told_to_go_away

    def unusable(self, key: Key | None) -> CallError:
        """The error of a call that was not sent because the link is not `usable` (any more)."""
        if self.reason:
            return Unreachable(self.reason, key=key, owner=self.peer.name)
        return Draining("the node takes no more calls", key=key, owner=self.peer.name)

    # --------------------------------------------------------------------------------------- for calls and streams

    def attach(self, stream_id: int, name: str) -> LinkStream:
        """The stream of a call, which gets its events from now on."""
        hello = self._session.peer
        assert hello is not None
        limits = self._limits.message, hello.limits.message
        stream = LinkStream(stream_id, name, self._session, self.poke, writers=self._writers, item_limits=limits)
        return self._streams.add(stream)

    def detach(self, stream_id: int) -> None:
        """Nobody reads or writes that stream any more."""
        self._streams.discard(stream_id)
        self._writers.nudge()
        self._calling.nudge()

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run a task that ends with the connection at the latest."""
        assert self._tasks is not None
        self._tasks.start_soon(function, *args)

    # ---------------------------------------------------------------------------------------------- running it

    async def run(self) -> None:
        """Read, write and watch until the connection ends. Raises only what cancels it."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    self._tasks.start_soon(self._write)
                    self._tasks.start_soon(self._watch)
                    await self._read()
                    self._tasks.cancel_scope.cancel()
        except* BROKEN as errors:
            self.close(text_of(errors.exceptions[0]))
        except* RemoteProtocolError as errors:
            self.close(str(errors.exceptions[0]))
        except* Exception as errors:  # noqa: BLE001 - a fault of one connection is never the end of the others
            _log.exception(
                "the connection to %s crashed", self.peer, extra={"event": "connection.crashed", "peer": self.peer}
            )
            self.close(f"a fault of the client: {errors.exceptions[0]!r}")
        finally:
            self._end()
            await anyio.aclose_forcefully(self._stream)

    def close(self, reason: str) -> None:
        """End the connection now; calls under way are lost."""
        self.reason = self.reason or reason
        self._scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until everything is written and every call, casts included, is over; or the connection has ended."""
        if self.reason:
            return
        self._idle = self._idle or anyio.Event()
        self.poke()
        await self._idle.wait()

    def take(self, events: Iterable[Event]) -> None:
        """Act on what the session reports."""
        for event in events:
            handler = self._handlers.get(type(event))
            if handler is not None:  # no call arrives: our GOAWAY went out with the hello
                handler(event)
        self._calling.nudge()
        self._writers.nudge()

    def _table(self) -> dict[type[Event], Callable[[Any], None]]:
        return {
            ReplyArrived: self._calling.on_answer,
            FailureArrived: self._calling.on_answer,
            CallEnded: self._calling.on_answer,
            StreamsOffered: self._calling.on_offer,
            GoAwayArrived: self._calling.on_go_away,
            **self._streams.handlers(),
        }

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive()
            except anyio.EndOfStream:
                self.reason = self.reason or "the node closed the connection"
                return
            self._heard = anyio.current_time()
            self.take(self._session.receive(data))
            if self._idle is not None or self._session.has_bytes_to_send:
                self.poke()

    async def _write(self) -> None:
        while True:
            while data := self._session.bytes_to_send():
                await self._stream.send(data)
            self._calling.nudge()  # a stream that has sent its last makes room
            if self._idle is not None and self._session.idle:
                self._idle.set()
            await self._work.wait()

    async def _watch(self) -> None:
        """End a connection that falls silent and does not answer a ping."""
        limits = self._limits
        while True:
            silence = anyio.current_time() - self._heard
            if silence < limits.idle_interval:
                await anyio.sleep(limits.idle_interval - silence)
                continue
            silent_since = self._heard
            self._session.ping(b"\0" * 8)
            self.poke()
            await anyio.sleep(limits.idle_patience)
            if self._heard == silent_since:
                self.close(f"silent for {limits.idle_interval + limits.idle_patience:g} s")

    def _end(self) -> None:
        self.reason = self.reason or "the connection was closed"
        self._calling.on_lost(self.reason)
        self._streams.on_lost(self.reason)
        if self._idle is not None:
            self._idle.set()


async def dial(
    address: Address,
    *,
    me: NodeId,
    cluster: str | None,
    limits: Limits,
    secret: Secret | None = None,
    certificates: Certificates | None = None,
) -> Link:
    """Connect, and exchange hellos; without ``cluster`` with a node of any. The caller has to `Link.run` the link.

    With a ``secret`` only a node that has it, too, will do; with ``certificates`` one whose own they accept.

    Raises:
        Unreachable: nobody is there, or no node of that cluster; the text says what was found instead.
    """
    try:
        with anyio.fail_after(limits.dial_within):
            stream = await reach(address, certificates)
    except (OSError, anyio.EndOfStream) as error:  # TimeoutError is an OSError
        raise Unreachable(text_of(error)) from error
    try:
        with anyio.fail_after(limits.hello_within):
            return await _shake_hands(stream, me=me, cluster=cluster, limits=limits, secret=secret)
    except BaseException as error:
        await anyio.aclose_forcefully(stream)
        if isinstance(error, HelloRefused) and error.code is RefusalCode.SECRET:
            raise SecretRefused(str(error)) from error
        if isinstance(error, (RemoteProtocolError, anyio.EndOfStream, *BROKEN)):
            raise Unreachable(f"no hello of a node: {text_of(error)}") from error
        raise


async def _shake_hands(
    stream: ByteStream, *, me: NodeId, cluster: str | None, limits: Limits, secret: Secret | None
) -> Link:
    session = Session(me=me, cluster=cluster, limits=limits, dialled=True, client=True, secret=secret)
    await stream.send(session.bytes_to_send())
    events: list[Event] = []
    while session.phase is not Phase.OPEN:
        events += session.receive(await stream.receive())
        for event in events:
            if isinstance(event, RefusalArrived):
                if event.code == RefusalCode.SECRET:
                    raise SecretRefused(event.reason)
                raise Unreachable(f"refused: {event.reason}")
    assert session.peer is not None
    # We answer nothing, and say so; that also tells the node not to mourn this connection when it ends.
    session.go_away(GoAwayCode.DRAINING, "a client answers no calls")
    link = Link(stream=stream, session=session, peer=session.peer.node, limits=limits)
    link.take(events)
    return link
