"""What a peer says last counts, also if the connection breaks under a writer that has not heard it yet."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from swimring.codec import encode
from swimring.errors import CallError, Draining, Unreachable
from swimring.identity import Address, NodeId
from swimring.instrument import Instruments
from swimring.mux import GoAwayCode, Limits, Session
from swimring.mux.frames import Kind, frame
from swimring.net import Binding, Network
from swimring.rpc import Incoming, Outgoing, open_pool

from .wires import PATIENT, SeededHost, echo, two_ends


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def sleepy(_incoming: Incoming) -> str:
    await trio.sleep(1)
    return "rested"


class BusyProcess(trio.abc.Stream):
    """A socket of a process that polls its sockets only now and then: `poll` wakes the reader, nothing else does."""

    def __init__(self) -> None:
        self.peer = Session(me=NodeId("b", 1), cluster="test", limits=PATIENT, dialled=False)
        self.reset = False
        self._polled = trio.Event()

    def poll(self) -> None:
        self._polled.set()
        self._polled = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.reset:
            raise trio.BrokenResourceError("connection reset")
        self.peer.receive(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self.peer.has_bytes_to_send or self.reset):
            await self._polled.wait()
        if self.peer.has_bytes_to_send:
            return self.peer.bytes_to_send()
        raise trio.BrokenResourceError("connection reset")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class OneConnection(Network):
    def __init__(self, stream: BusyProcess) -> None:
        self._stream = stream

    async def connect(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return self._stream

    async def bind(self, address: Address) -> Binding:
        raise NotImplementedError

    async def resolve(self, address: Address) -> list[Address]:
        raise NotImplementedError


async def test_calls_that_a_farewell_refused_did_not_run_even_if_writing_fails_before_it_is_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream = BusyProcess()
    async with open_pool(
        me=NodeId("a", 1),
        cluster="test",
        network=OneConnection(stream),
        host=SeededHost(1),
        serve=echo,
        instruments=Instruments([]),
        limits=PATIENT,
    ) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll_soon, stream)
            peer = await pool.peer("b", Address("b", 1), 1)

        async def ask() -> None:
            with pytest.raises(Draining):
                await peer.request(Outgoing(cmd="c"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            stream.peer.go_away(GoAwayCode.DRAINING, "leaving")  # has arrived, and then the reset, but nobody looked
            stream.reset = True
            await trio.sleep(0.1)
            stream.poll()


async def poll_soon(stream: BusyProcess) -> None:
    await trio.testing.wait_all_tasks_blocked()
    stream.poll()


@pytest.mark.parametrize("way", ["request", "cast", "open"])
async def test_a_call_that_waits_on_a_connection_that_is_taken_over_goes_to_the_other(
    way: str, clock: MockClock
) -> None:
    async with two_ends(sleepy, limits=Limits(streams=1, idle_interval=1e6)) as (a, b, wires):
        peer = await a.to(b)
        out = Outgoing(cmd="c")
        answers: list[object] = []

        async def ask() -> None:
            if way == "open":
                async with peer.open(out) as call:
                    answers.append(await call.result())
            else:
                answers.append(await (peer.request(out) if way == "request" else peer.cast(out)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.request, Outgoing(cmd="first"))
            await wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            b.pool.connections[0].go_away(GoAwayCode.DUPLICATE, "another connection took over")
        assert answers == [None if way == "cast" else "rested"]
        assert wires.dials == 2


@pytest.mark.parametrize("way", ["request", "cast", "open"])
async def test_nobody_to_follow_to_is_a_peer_that_cannot_be_reached(way: str, clock: MockClock) -> None:
    async with two_ends(sleepy, limits=Limits(streams=1, idle_interval=1e6)) as (a, b, wires):
        peer = await a.to(b)
        out = Outgoing(cmd="c")

        async def ask() -> None:
            with pytest.raises(CallError) as caught:
                if way == "open":
                    async with peer.open(out):
                        pass
                else:
                    await (peer.request(out) if way == "request" else peer.cast(out))
            assert type(caught.value) is Unreachable
            assert not caught.value.maybe_executed

        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.request, Outgoing(cmd="first"))
            await wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            wires.down.add(b.address)
            b.pool.connections[0].go_away(GoAwayCode.DUPLICATE, "another connection took over")


async def test_a_call_that_a_duplicates_goodbye_refuses_is_draining_and_nothing_private(clock: MockClock) -> None:
    async with two_ends(sleepy) as (a, b, _):
        peer = await a.to(b)
        with pytest.raises(CallError) as caught:
            async with peer.open(Outgoing(cmd="c")) as call:
                session = b.pool.connections[0].session
                session._line.outbox.push(frame(Kind.GOAWAY, 0, 0, encode([0, GoAwayCode.DUPLICATE, "moved", None])))
                b.pool.connections[0].poke()
                await call.result()
        assert type(caught.value) is Draining
        assert "moved" in str(caught.value)
        assert not caught.value.maybe_executed
