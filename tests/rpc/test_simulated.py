"""Pools on the simulated network: latency, crossing dials, partitions, lost hosts and kills, by seed."""

from __future__ import annotations

import itertools
import random
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import CallError, ConnectionLost, StreamLost, Unreachable
from swimring.identity import Address, NodeId
from swimring.instrument import Instruments
from swimring.mux import Limits
from swimring.rpc import Incoming, Outgoing, Pool, open_pool
from swimring.testing import Packet, PacketKind, SimulatedNetwork, Verdict, open_simulated_network, run_simulation

from .wires import End, Witness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.rpc import Serve

LIMITS = Limits(streams=40, stream_window=32_768, idle_interval=2, idle_patience=1)


async def serve(incoming: Incoming) -> object:
    incoming.begin()
    if "file" in incoming.streams:
        size = 0
        async with incoming.streams["file"] as file:
            async for chunk in file:
                size += len(chunk)
                await file.send(chunk[:1])
        return size
    await trio.sleep(incoming.message["seconds"])
    return incoming.message["n"]


@asynccontextmanager
async def open_host(
    network: SimulatedNetwork, name: str, answer: Serve = serve, *, limits: Limits = LIMITS
) -> AsyncIterator[End]:
    witness = Witness()
    lost: list[str] = []
    here = network.at(name)
    binding = await here.bind(Address(name, 7979))

    async def accept(pool: Pool) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                stream, remote = await binding.listener.accept()
                nursery.start_soon(pool.serve_stream, stream, remote, b"")

    async with (
        open_pool(
            me=NodeId(name, 1),
            cluster="test",
            network=here,
            host=network.host(name),
            serve=answer,
            instruments=Instruments([witness]),
            limits=limits,
            connection_lost=lost.append,
        ) as pool,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(accept, pool)
        yield End(pool, binding.address, witness, lost)
        binding.close()
        nursery.cancel_scope.cancel()


class Load:
    """Random calls, casts and streams between all pairs; counts what went wrong that must not."""

    def __init__(self, ends: list[End], dice: random.Random) -> None:
        self.ends = ends
        self.dice = dice
        self.wrong: list[object] = []
        self.done = 0

    async def call(self, number: int) -> None:
        here, there = self.dice.sample(self.ends, 2)
        patience = self.dice.choice((0.0, 0.002, 0.05, 1, 5))
        seconds = self.dice.choice((0, 0, 0.01, 1))
        shape = self.dice.randrange(4)
        with trio.move_on_after(patience), suppress(CallError):
            peer = await here.to(there)
            if shape == 0:
                await peer.cast(Outgoing(cmd="c", fields={"n": number, "seconds": seconds}))
            elif shape == 1:
                size = self.dice.randrange(200_000)
                async with peer.open(Outgoing(cmd="c", streams={"file": bytes(size)})) as call:
                    async for _ in call.streams["file"]:
                        pass
                    if await call.result() != size:
                        self.wrong.append(number)
            elif await peer.request(Outgoing(cmd="c", fields={"n": number, "seconds": seconds})) != number:
                self.wrong.append(number)
        self.done += 1


async def check_calm(ends: list[End]) -> None:
    """Nothing is left, nothing was refused, and every pair talks over one connection."""
    for end in ends:
        assert end.leftovers == (0, 0, 0)
        assert end.witness.refused == []
    for one, other in itertools.permutations(ends, 2):
        peer = await one.to(other)
        assert await peer.request(Outgoing(cmd="c", fields={"n": 1, "seconds": 0})) == 1
    await trio.sleep(1)
    assert [len(end.pool.connections) for end in ends] == [2, 2, 2]


def test_whatever_happens_no_answer_is_wrong_and_nothing_is_left(seed: int) -> None:
    async def main() -> None:
        dice = random.Random(seed)
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(open_simulated_network())
            ends = [await stack.enter_async_context(open_host(network, name)) for name in "abc"]
            load = Load(ends, dice)

            async def disturb() -> None:
                for _ in range(6):
                    await trio.sleep(dice.uniform(0.1, 1))
                    fault = dice.choice((network.loss(0.2), network.partition("a", "b"), network.isolate("c")))
                    with fault:
                        await trio.sleep(dice.choice((0.05, 1, 6)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb)
                for number in range(150):
                    nursery.start_soon(load.call, number)
                    await trio.sleep(dice.uniform(0, 0.05))
            await trio.sleep(20)
            assert load.wrong == []
            assert load.done == 150
            await check_calm(ends)

    run_simulation(main, seed=seed)


def test_of_dials_that_cross_both_sides_keep_the_same_one(seed: int) -> None:
    async def main() -> None:
        async with (
            open_simulated_network() as network,
            open_host(network, "a") as a,
            open_host(network, "b") as b,
            trio.open_nursery() as nursery,
        ):

            async def ask(here: End, there: End) -> None:
                peer = await here.to(there)
                for number in range(20):
                    assert await peer.request(Outgoing(cmd="c", fields={"n": number, "seconds": 0})) == number

            for _ in range(10):
                nursery.start_soon(ask, a, b)
                nursery.start_soon(ask, b, a)
            await trio.sleep(5)
            (at_a,), (at_b,) = a.pool.connections, b.pool.connections
            assert at_a.dialled != at_b.dialled
            assert a.lost == b.lost == []

    run_simulation(main, seed=seed)


def test_calls_in_line_on_a_connection_that_is_superseded_go_to_the_other_one(seed: int) -> None:
    """Each side lets the other run one call at a time, so that almost all calls wait in line while dials cross."""

    async def main() -> None:
        one_at_a_time = Limits(streams=1)
        async with (
            open_simulated_network() as network,
            open_host(network, "a", limits=one_at_a_time) as a,
            open_host(network, "b", limits=one_at_a_time) as b,
            trio.open_nursery() as nursery,
        ):

            async def ask(here: End, there: End, number: int) -> None:
                peer = await here.to(there)
                assert await peer.request(Outgoing(cmd="c", fields={"n": number, "seconds": 0.001})) == number

            for number in range(30):
                nursery.start_soon(ask, a, b, number)
                nursery.start_soon(ask, b, a, number)

    run_simulation(main, seed=seed)


def test_calls_with_streams_all_succeed_while_dials_cross(seed: int) -> None:
    """A stream cannot be sent twice, so the connection that is given up must refuse nothing that was sent."""

    async def main() -> None:
        async with (
            open_simulated_network() as network,
            open_host(network, "a") as a,
            open_host(network, "b") as b,
            trio.open_nursery() as nursery,
        ):

            async def upload(here: End, there: End, wait: float) -> None:
                await trio.sleep(wait)
                peer = await here.to(there)
                async with peer.open(Outgoing(cmd="c", streams={"file": bytes(1000)})) as call:
                    assert b"".join([chunk async for chunk in call.streams["file"]]).strip(b"\0") == b""
                    assert await call.result() == 1000

            for number in range(40):
                nursery.start_soon(upload, a, b, number * 0.0001)
                nursery.start_soon(upload, b, a, number * 0.0001)

    run_simulation(main, seed=seed)


class Book:
    """Which calls ran and which were answered; what failed although it may have run is lost."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.ran: set[int] = set()
        self.answered: set[int] = set()
        self.lost: list[CallError] = []

    async def work(self, incoming: Incoming) -> object:
        incoming.begin()
        self.ran.add(incoming.message["n"])
        await trio.sleep(incoming.message["seconds"])
        return incoming.message["n"]

    async def ask(self, here: End, there: End, number: int) -> None:
        await trio.sleep(self.dice.uniform(0, 0.004))
        try:
            peer = await here.to(there)
            out = Outgoing(cmd="c", fields={"n": number, "seconds": self.dice.choice((0, 0.001, 0.05))})
            assert await peer.request(out) == number
            self.answered.add(number)
        except CallError as error:
            if error.maybe_executed:
                self.lost.append(error)


def test_a_node_that_drains_while_dials_cross_loses_no_call(seed: int) -> None:
    """Whatever a peer sent before it heard the goodbye is answered, or certain not to have run."""

    async def main() -> None:
        dice = random.Random(seed)
        theirs, own = Book(dice), Book(dice)
        one, other = dice.sample(["a", "b"], 2)
        async with open_simulated_network() as network, trio.open_nursery() as nursery:
            async with open_host(network, one, own.work) as stays:
                async with open_host(network, other, theirs.work) as leaves:
                    for number in range(30):
                        nursery.start_soon(theirs.ask, stays, leaves, number)
                        nursery.start_soon(own.ask, leaves, stays, number)
                    await trio.sleep(dice.uniform(0, 0.006))
                    await leaves.pool.drain()
                await trio.sleep(5)
        assert theirs.lost == []
        assert theirs.answered == theirs.ran

    run_simulation(main, seed=seed)


class OldSegmentsWait:
    """Nothing passes from one host on its open connections; new ones can be made."""

    def __init__(self, source: str) -> None:
        self.source = source

    def judge(self, packet: Packet) -> Verdict:
        return Verdict(cut=packet.source == self.source and packet.kind is PacketKind.SEGMENT)


def test_who_has_lost_a_connection_gets_another_although_the_other_side_has_not_noticed(seed: int) -> None:
    """`b` dials again while `a`, whose dial counts for more, still has the old connection."""

    async def main() -> None:
        async with open_simulated_network() as network, open_host(network, "a") as a, open_host(network, "b") as b:
            await (await a.to(b)).request(Outgoing(cmd="c", fields={"n": 1, "seconds": 0}))
            with network.inject(OldSegmentsWait("b")):
                b.pool.connections[0].close("b believes that a is dead")
                await trio.sleep(0.1)
            (old,) = a.pool.connections
            with trio.fail_after(0.1):  # what was held back arrives after 0.2 s
                with pytest.raises(Unreachable):  # the first dial is taken for one of two that cross
                    await b.to(a)
                peer = await b.to(a)
                assert await peer.request(Outgoing(cmd="c", fields={"n": 2, "seconds": 0})) == 2
            assert network.statistics("b").connections_dialled == 2
            assert old not in a.pool.connections

    run_simulation(main, seed=seed)


def test_a_killed_peer_is_known_at_once_and_a_lost_host_after_its_silence() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(open_simulated_network())
            a, b, c = [await stack.enter_async_context(open_host(network, name)) for name in "abc"]
            to_b, to_c = await a.to(b), await a.to(c)
            took: dict[str, float] = {}

            async def wait_for(name: str) -> None:
                started = trio.current_time()
                with suppress(ConnectionLost):
                    await (to_b if name == "b" else to_c).request(Outgoing(cmd="c", fields={"n": 1, "seconds": 100}))
                took[name] = trio.current_time() - started

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for, "b")
                nursery.start_soon(wait_for, "c")
                await trio.sleep(0.1)
                network.crash("b")
                network.freeze("c")
            assert took["b"] < 0.11
            assert took["c"] < LIMITS.idle_interval + LIMITS.idle_patience + 0.1
            assert a.lost == ["b", "c"]
            with pytest.raises(Unreachable):
                await a.to(b)

    run_simulation(main, seed=1)


def test_an_upload_to_a_peer_that_dies_says_how_far_it_got() -> None:
    async def main() -> None:
        async with (
            open_simulated_network() as network,
            open_host(network, "a") as a,
            open_host(network, "b") as b,
        ):
            async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": None})) as call:
                with pytest.raises(StreamLost) as caught:
                    for number in range(10_000):
                        await call.streams["file"].send(bytes(1000))
                        if number == 500:
                            network.crash("b")
                assert 501_000 <= caught.value.offset <= 600_000

    run_simulation(main, seed=1)
