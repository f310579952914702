"""Connections between whole nodes: crossing dials, breaks in mid-stream, back-pressure, cancellation, farewells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import CallError, ConnectionLost, StreamLost
from swimring.service import Request, Service
from swimring.testing import run_simulation

from .leftovers import check_nothing_left, connections
from .load import Ledger
from .settled import settled_cluster

if TYPE_CHECKING:
    from swimring.testing import SimNode


class Bulk:
    """A service of large messages and byte streams."""

    def __init__(self) -> None:
        self.service = Service("bulk")
        self.runs = 0
        self.running = 0
        self.offsets: list[int] = []
        self.go = trio.Event()
        self._serve_calls()
        self._serve_streams()

    def _serve_calls(self) -> None:
        @self.service.on("measure")
        async def measure(request: Request, body: bytes) -> int:
            self.runs += 1
            return len(body)

        @self.service.on("hold")
        async def hold(request: Request) -> None:
            self.running += 1
            try:
                await trio.sleep_forever()
            finally:
                self.running -= 1

        self.measure, self.hold = measure, hold

    def _serve_streams(self) -> None:
        @self.service.on("take")
        async def take(request: Request) -> int:
            taken = 0
            async with request.streams["file"] as file:
                try:
                    async for chunk in file:
                        taken += len(chunk)
                except StreamLost as error:
                    self.offsets.append(error.offset)
                    raise
            return taken

        @self.service.on("take slowly")
        async def take_slowly(request: Request) -> int:
            taken = len(await request.streams["file"].receive(1))
            await self.go.wait()
            async for chunk in request.streams["file"]:
                taken += len(chunk)
            return taken

        @self.service.on("give")
        async def give(request: Request, size: int) -> None:
            async with request.streams["file"] as file:
                for at in range(0, size, 10_000):
                    await file.send(at.to_bytes(4, "big") * 2_500)

        self.take, self.take_slowly, self.give = take, take_slowly, give


def test_of_crossing_dials_one_connection_survives_and_all_calls_finish(seed: int) -> None:
    """More is asked than has credit at once, so that calls wait in line on a connection that is superseded."""

    async def scenario() -> None:
        bulk = Bulk()
        async with settled_cluster(2, bulk.service) as (cluster, (one, two)):
            sizes: list[int] = []

            async def ask(asker: SimNode, other: SimNode, number: int) -> None:
                body = bytes(number * 997 % 150_000)
                got = await asker.node.peer(other.name).call(bulk.measure, f"k{number}", body)
                assert got == len(body)
                sizes.append(got)

            async with trio.open_nursery() as nursery:
                for number in range(120):
                    nursery.start_soon(ask, one, two, number)
                    nursery.start_soon(ask, two, one, number)
            assert len(sizes) == bulk.runs == 240
            await check_nothing_left(cluster, "bulk")
            (at_one,), (at_two,) = connections(one), connections(two)
            assert at_one.dialled != at_two.dialled

    run_simulation(scenario, seed=seed)


def test_calls_in_both_directions_share_one_connection(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(2, ledger.service) as (cluster, (one, two)):

            async def ask(asker: SimNode, other: SimNode, number: int) -> None:
                call = f"{asker.name} {number}"
                answer = await asker.node.peer(other.name).request(
                    {"ns": "ledger", "cmd": "write", "key": "k", "call": call, "work": 0.001 * number}
                )
                assert answer == other.name

            await ask(one, two, 0)
            async with trio.open_nursery() as nursery:
                for number in range(1, 200):
                    nursery.start_soon(ask, one, two, number)
                    nursery.start_soon(ask, two, one, number)
            assert len(connections(one)) == len(connections(two)) == 1
            ledger.strays.clear()
            await check_nothing_left(cluster, "ledger")

    run_simulation(scenario, seed=seed)


@pytest.mark.parametrize("fate", ["crash", "freeze"])
def test_an_upload_whose_receiver_is_gone_says_how_far_it_came(seed: int, fate: str) -> None:
    async def scenario() -> None:
        bulk = Bulk()
        async with settled_cluster(3, bulk.service) as (cluster, (one, two, _)):
            began = trio.current_time()
            sent = 0
            with pytest.raises(StreamLost) as caught:
                async with one.node.open(bulk.take.with_streams(file=None), key_of(two, "bulk")) as call:
                    for number in range(10_000):
                        await call.streams["file"].send(bytes(1000))
                        sent += 1000
                        if number == 300 + seed:
                            getattr(two, fate)()
            assert sent <= caught.value.offset < sent + 1000
            assert trio.current_time() - began < 20
            await check_nothing_left(cluster, "bulk")

    run_simulation(scenario, seed=seed)


@pytest.mark.parametrize("fate", ["crash", "freeze"])
def test_a_download_whose_sender_is_gone_says_how_far_it_came(seed: int, fate: str) -> None:
    async def scenario() -> None:
        bulk = Bulk()
        async with settled_cluster(3, bulk.service) as (cluster, (one, two, _)):
            read = bytearray()
            with pytest.raises(StreamLost) as caught:
                async with one.node.open(bulk.give.with_streams(file=None), key_of(two, "bulk"), 10_000_000) as call:
                    async for chunk in call.streams["file"]:
                        read += chunk
                        await trio.sleep(0.01)
                        if len(read) > 200_000 and two.running:
                            getattr(two, fate)()
            assert caught.value.offset == len(read)
            whole = b"".join(at.to_bytes(4, "big") * 2_500 for at in range(0, len(read) + 10_000, 10_000))
            assert whole.startswith(read)
            await check_nothing_left(cluster, "bulk")

    run_simulation(scenario, seed=seed)


@pytest.mark.parametrize("fate", ["crash", "freeze"])
def test_a_handler_whose_uploader_is_gone_learns_it(seed: int, fate: str) -> None:
    async def scenario() -> None:
        bulk = Bulk()
        async with settled_cluster(3, bulk.service) as (cluster, (one, two, _)):

            async def upload() -> None:
                node = one.node
                with pytest.raises(CallError):
                    async with node.open(bulk.take.with_streams(file=None), key_of(two, "bulk")) as call:
                        while True:
                            await call.streams["file"].send(bytes(5000))
                            await trio.sleep(0.01)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(upload)
                await trio.sleep(1)
                getattr(one, fate)()
            await trio.sleep(20)
            assert len(bulk.offsets) == 1
            assert bulk.offsets[0] % 5000 == 0
            await check_nothing_left(cluster, "bulk")

    run_simulation(scenario, seed=seed)


def test_a_reader_that_does_not_read_stops_its_writer_and_nobody_else(seed: int) -> None:
    async def scenario() -> None:
        bulk = Bulk()
        async with settled_cluster(2, bulk.service) as (cluster, (one, two)):
            key = key_of(two, "bulk")
            sent = 0

            async def upload() -> None:
                nonlocal sent
                async with one.node.open(bulk.take_slowly.with_streams(file=None), key) as call:
                    for _ in range(200):
                        await call.streams["file"].send(bytes(10_000))
                        sent += 10_000
                    await call.streams["file"].send_eof()
                    assert await call.result() == 2_000_000

            async with trio.open_nursery() as nursery:
                nursery.start_soon(upload)
                await trio.sleep(5)
                (connection,) = connections(one)
                assert sent <= connection.limits.stream_window + 10_000
                began = trio.current_time()
                assert await one.node.call(bulk.measure, key, bytes(100)) == 100
                assert await one.node.call(bulk.take.with_streams(file=bytes(3_000_000)), key) == 3_000_000
                assert trio.current_time() - began < 1
                bulk.go.set()
            assert sent == 2_000_000
            await check_nothing_left(cluster, "bulk")

    run_simulation(scenario, seed=seed)


def test_thousands_of_cancelled_calls_leave_nothing_on_either_side(seed: int) -> None:
    async def scenario() -> None:
        bulk = Bulk()
        async with settled_cluster(2, bulk.service) as (cluster, (one, two)):
            key = key_of(two, "bulk")
            async with trio.open_nursery() as nursery:
                for _ in range(1500):
                    nursery.start_soon(one.node.call, bulk.hold, key)
                    nursery.start_soon(one.node.call, bulk.hold, key_of(one, "bulk"))
                await trio.sleep(0.0005 * (seed % 4))  # some on their way, or all of them running
                nursery.cancel_scope.cancel()
            await trio.sleep(1)
            assert bulk.running == 0
            await check_nothing_left(cluster, "bulk")
            assert await one.node.call(bulk.measure, key, bytes(900_000)) == 900_000

    run_simulation(scenario, seed=seed)


def test_a_deadline_and_a_cancellation_reach_over_two_hops(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(3, ledger.service) as (cluster, (one, two, three)):

            async def relayed() -> None:
                await one.node.call(ledger.relay, key_of(two), "c", 100.0, key_of(three))

            with trio.move_on_after(1) as scope:
                await relayed()
            assert scope.cancelled_caught
            assert trio.current_time() - scope.deadline < 0.3
            await trio.sleep(0.1)
            await check_nothing_left(cluster, "ledger")
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relayed)
                await trio.sleep(0.2)
                nursery.cancel_scope.cancel()
            assert trio.current_time() - began < 0.3
            await trio.sleep(0.1)
            for node in (two, three):
                assert sum(len(connection.serving) for connection in connections(node)) == 0
            await check_nothing_left(cluster, "ledger")

    run_simulation(scenario, seed=seed)


def test_a_call_that_the_farewell_of_its_peer_refused_did_not_run(seed: int) -> None:
    """Nodes that leave at once, again and again, while many small calls are on their way to them."""

    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(2, ledger.service) as (cluster, (one, two)):
            outcomes: list[str] = []

            async def ask(number: int) -> None:
                peer = one.node.peer(two.name)
                while not outcomes:
                    try:
                        await peer.request({"ns": "ledger", "cmd": "write", "key": "k", "call": f"{number}", "work": 0})
                    except ConnectionLost as error:
                        outcomes.append(repr(error))
                    except CallError:
                        return

            for turn in range(3):
                async with trio.open_nursery() as nursery:
                    for number in range(50):
                        nursery.start_soon(ask, number)
                    await trio.sleep(0.1)
                    await two.drain()
                assert outcomes == [], turn
                await two.restart()
                await cluster.settled()

    run_simulation(scenario, seed=seed)


def key_of(owner: SimNode, service: str = "ledger") -> str:
    return next(key for key in (f"k{n}" for n in range(1000)) if owner.node.owns(key, service=service))
