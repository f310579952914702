"""What every Network promises, checked on real sockets over loopback and on the simulated network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

import pytest
import trio
from trio.testing import (
    assert_checkpoints,
    check_half_closeable_stream,
    check_two_way_stream,
    wait_all_tasks_blocked,
)

from swimring.identity import Address
from swimring.net import Binding, Network, SocketNetwork
from swimring.testing import open_simulated_network, run_simulation

Pair: TypeAlias = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Two places that can reach each other; on loopback both are the same."""

    here: Network
    there: Network
    address_here: Address
    address_there: Address
    can_be_clogged: bool
    opened: AsyncExitStack
    """Closes what the rule has opened."""

    async def bind_here(self) -> Binding:
        return await self.bind(self.here, self.address_here)

    async def bind_there(self) -> Binding:
        return await self.bind(self.there, self.address_there)

    async def bind(self, network: Network, address: Address) -> Binding:
        binding = await network.bind(address)
        self.opened.callback(binding.close)
        return binding

    async def dial(self, binding: Binding) -> trio.abc.HalfCloseableStream:
        return self._half_closeable(await self.here.connect(binding.address))

    async def accept(self, binding: Binding) -> tuple[trio.abc.HalfCloseableStream, Address]:
        stream, source = await binding.listener.accept()
        return self._half_closeable(stream), source

    async def connect(self, binding: Binding) -> Pair:
        """A connection to ``binding``: our end, and the accepted one."""
        dialled = await self.dial(binding)
        accepted, _ = await self.accept(binding)
        return dialled, accepted

    def _half_closeable(self, stream: trio.abc.Stream) -> trio.abc.HalfCloseableStream:
        self.opened.push_async_callback(trio.aclose_forcefully, stream)
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        return stream


Rule: TypeAlias = Callable[[World], Awaitable[None]]
Runner: TypeAlias = Callable[[Rule], None]


def on_sockets(host: str) -> Runner:
    async def bounded(rule: Rule) -> None:
        network, address = SocketNetwork(), Address(host, 0)
        with trio.fail_after(20):
            async with AsyncExitStack() as opened:
                world = World(
                    here=network,
                    there=network,
                    address_here=address,
                    address_there=address,
                    can_be_clogged=False,
                    opened=opened,
                )
                await rule(world)

    return lambda rule: trio.run(bounded, rule)


def on_the_simulated_network(rule: Rule) -> None:
    async def simulated() -> None:
        async with open_simulated_network() as network, AsyncExitStack() as opened:
            world = World(
                here=network.at("here"),
                there=network.at("there"),
                address_here=Address("here", 0),
                address_there=Address("there", 0),
                can_be_clogged=True,
                opened=opened,
            )
            await rule(world)

    run_simulation(simulated, seed=20)


RUNNERS = [
    pytest.param(on_sockets("127.0.0.1"), id="sockets-ipv4"),
    pytest.param(on_sockets("::1"), id="sockets-ipv6"),
    pytest.param(on_the_simulated_network, id="simulated"),
]


def contract(rule: Rule) -> Callable[[Runner], None]:
    """Turn a rule into a test that runs on every network."""

    def test(run: Runner) -> None:
        run(rule)

    test.__name__ = test.__qualname__ = getattr(rule, "__name__", "rule")
    return pytest.mark.parametrize("run", RUNNERS)(test)


# ------------------------------------------------------------------------------------------------------- binding


@contract
async def test_port_0_is_one_port_that_serves_datagrams_and_streams(world: World) -> None:
    binding, other = await world.bind_there(), await world.bind_here()
    assert binding.address.port > 0
    assert binding.address.host == world.address_there.host
    await other.datagrams.send(b"hello", binding.address)
    assert await binding.datagrams.receive() == [(b"hello", other.address)]
    dialled, accepted = await world.connect(binding)
    await dialled.send_all(b"hello")
    assert await accepted.receive_some() == b"hello"


@contract
async def test_a_taken_port_is_an_os_error_that_names_the_address(world: World) -> None:
    binding = await world.bind_there()
    with pytest.raises(OSError, match=f"{binding.address.port}"):
        await world.bind(world.there, binding.address)


@contract
async def test_a_port_can_be_bound_again_right_after_its_connections_were_closed(world: World) -> None:
    binding = await world.bind_there()
    dialled, accepted = await world.connect(binding)
    await accepted.aclose()  # closing first leaves the listener's port in TIME_WAIT
    await dialled.aclose()
    binding.close()
    again = await world.bind(world.there, binding.address)
    assert again.address == binding.address


@contract
async def test_closing_twice_is_harmless(world: World) -> None:
    binding = await world.bind_here()
    binding.close()
    binding.close()


# ----------------------------------------------------------------------------------------------------- datagrams


@contract
async def test_receive_returns_what_is_ready_up_to_64_at_a_time(world: World) -> None:
    receiver, sender = await world.bind_there(), await world.bind_here()
    sent = {b"%d" % number for number in range(150)}
    for payload in sent:
        await sender.datagrams.send(payload, receiver.address)
    received: set[bytes] = set()
    while received != sent:
        batch = await receiver.datagrams.receive()
        assert 1 <= len(batch) <= 64
        received |= {payload for payload, _ in batch}


@contract
async def test_an_empty_datagram_is_a_datagram(world: World) -> None:
    receiver, sender = await world.bind_there(), await world.bind_here()
    await sender.datagrams.send(b"", receiver.address)
    assert await receiver.datagrams.receive() == [(b"", sender.address)]


@contract
async def test_a_datagram_to_nobody_goes_unnoticed_and_the_socket_works_on(world: World) -> None:
    receiver, sender, gone = await world.bind_there(), await world.bind_here(), await world.bind_there()
    gone.close()
    await sender.datagrams.send(b"lost", gone.address)
    await sender.datagrams.send(b"found", receiver.address)
    assert await receiver.datagrams.receive() == [(b"found", sender.address)]
    await receiver.datagrams.send(b"back", sender.address)
    assert await sender.datagrams.receive() == [(b"back", receiver.address)]


@contract
async def test_a_datagram_that_is_too_long_is_an_os_error_and_the_socket_works_on(world: World) -> None:
    receiver, sender = await world.bind_there(), await world.bind_here()
    with pytest.raises(OSError):
        await sender.datagrams.send(bytes(70_000), receiver.address)
    await sender.datagrams.send(b"short", receiver.address)
    assert await receiver.datagrams.receive() == [(b"short", sender.address)]


@contract
async def test_closing_wakes_whoever_receives_or_accepts(world: World) -> None:
    binding = await world.bind_here()
    outcomes: list[str] = []

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await binding.datagrams.receive()
        outcomes.append("receive")

    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await binding.listener.accept()
        outcomes.append("accept")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        binding.close()
    assert sorted(outcomes) == ["accept", "receive"]


@contract
async def test_what_is_closed_says_so(world: World) -> None:
    binding = await world.bind_here()
    binding.close()
    with pytest.raises(trio.ClosedResourceError):
        await binding.datagrams.receive()
    with pytest.raises(trio.ClosedResourceError):
        await binding.datagrams.send(b"x", binding.address)
    with pytest.raises(trio.ClosedResourceError):
        await binding.listener.accept()


@contract
async def test_two_tasks_that_receive_from_one_socket_are_told(world: World) -> None:
    binding = await world.bind_here()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(binding.datagrams.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await binding.datagrams.receive()
        nursery.cancel_scope.cancel()


@contract
async def test_a_cancelled_receive_loses_nothing(world: World) -> None:
    receiver, sender = await world.bind_there(), await world.bind_here()
    with trio.CancelScope() as scope:
        scope.cancel()
        await receiver.datagrams.receive()
    await sender.datagrams.send(b"kept", receiver.address)
    assert await receiver.datagrams.receive() == [(b"kept", sender.address)]


@contract
async def test_who_does_not_read_loses_what_does_not_fit_and_the_socket_works_on(world: World) -> None:
    receiver, sender = await world.bind_there(), await world.bind_here()
    for _ in range(300):
        await sender.datagrams.send(bytes(60_000), receiver.address)  # 18 MB: more than a kernel keeps
    for _ in range(2_000):
        await sender.datagrams.send(b"small", receiver.address)
    await trio.sleep(0.1)  # they have arrived by then
    received = 0
    with trio.move_on_after(1):  # nothing tells that nothing more will come
        while True:
            received += len(await receiver.datagrams.receive())
    assert 0 < received < 2_300
    await sender.datagrams.send(b"heard", receiver.address)
    assert await receiver.datagrams.receive() == [(b"heard", sender.address)]


@contract
async def test_who_binds_every_address_hears_what_is_sent_to_one(world: World) -> None:
    sender = await world.bind_here()
    every = Address("::" if ":" in world.address_there.host else "0.0.0.0", 0)
    receiver = await world.bind(world.there, every)
    to = Address(world.address_there.host, receiver.address.port)
    await sender.datagrams.send(b"hello", to)
    assert await receiver.datagrams.receive() == [(b"hello", sender.address)]
    stream = await world.here.connect(to)
    accepted, _ = await world.accept(receiver)
    await stream.send_all(b"hello")
    assert await accepted.receive_some() == b"hello"
    await trio.aclose_forcefully(stream)


# ------------------------------------------------------------------------------------------------------- streams


@contract
async def test_nobody_listening_is_a_refusal(world: World) -> None:
    gone = await world.bind_there()
    gone.close()
    with pytest.raises(ConnectionRefusedError):
        await world.dial(gone)


@contract
async def test_accept_tells_where_the_connection_comes_from(world: World) -> None:
    binding = await world.bind_there()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.dial, binding)
        _, source = await world.accept(binding)
    assert source.host == world.address_here.host
    assert source.port > 0
    assert source != binding.address


@contract
async def test_what_was_sent_before_closing_arrives_before_the_end(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    await dialled.send_all(b"last words")
    await dialled.aclose()
    received = b""
    while part := await accepted.receive_some(4):
        assert len(part) <= 4
        received += part
    assert received == b"last words"
    assert await accepted.receive_some() == b""


@contract
async def test_half_closed_streams_still_carry_the_other_direction(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    await dialled.send_eof()
    assert await accepted.receive_some() == b""
    await accepted.send_all(b"answer")
    assert await dialled.receive_some() == b"answer"


@contract
async def test_closing_with_unread_data_resets_the_connection(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    await dialled.send_all(b"12")
    assert await accepted.receive_some(1) == b"1"
    await accepted.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await dialled.receive_some()


@contract
async def test_a_sender_waits_while_nobody_reads_and_nothing_is_lost(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    size = 32 << 20
    done = trio.Event()

    async def send() -> None:
        await dialled.send_all(bytes(size))
        done.set()
        await dialled.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        received = 0
        while part := await accepted.receive_some(1 << 20):
            received += len(part)
    assert received == size


@contract
async def test_many_small_pieces_arrive_in_order(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    sent = b"".join(b"%d," % number for number in range(500))

    async def send() -> None:
        for number in range(500):
            await dialled.send_all(b"%d," % number)
        await dialled.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        received = b""
        while part := await accepted.receive_some():
            received += part
    assert received == sent


@contract
async def test_sending_to_a_peer_that_has_closed_breaks_in_the_end(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    await accepted.aclose()
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await dialled.send_all(bytes(1000))
            await trio.sleep(0.001)


@contract
async def test_a_peer_that_closes_ends_the_waiting_of_its_reader(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    heard: list[bytes] = []

    async def read() -> None:
        heard.append(bytes(await dialled.receive_some()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        await accepted.aclose()
    assert heard == [b""]


@contract
async def test_closing_a_stream_wakes_its_own_reader_and_its_own_sender(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    outcomes: list[str] = []

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await dialled.receive_some()
        outcomes.append("read")

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await dialled.send_all(bytes(32 << 20))
        outcomes.append("send")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(dialled)
    assert sorted(outcomes) == ["read", "send"]
    await trio.aclose_forcefully(accepted)


@contract
async def test_a_cancelled_reader_loses_nothing(world: World) -> None:
    dialled, accepted = await world.connect(await world.bind_there())
    with trio.CancelScope() as scope:
        scope.cancel()
        await accepted.receive_some()
    await dialled.send_all(b"kept")
    assert await accepted.receive_some() == b"kept"


@contract
async def test_a_cancelled_accept_loses_no_connection(world: World) -> None:
    binding = await world.bind_there()
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.accept(binding)
    dialled, accepted = await world.connect(binding)
    await dialled.send_all(b"x")
    assert await accepted.receive_some() == b"x"


@contract
async def test_what_was_accepted_outlives_its_listener_and_what_was_not_is_reset(world: World) -> None:
    binding = await world.bind_there()
    dialled, accepted = await world.connect(binding)
    waiting = await world.dial(binding)
    binding.close()
    await dialled.send_all(b"x")
    assert await accepted.receive_some() == b"x"
    with pytest.raises(trio.BrokenResourceError):
        await waiting.receive_some()
        await waiting.send_all(b"x")


@contract
async def test_a_cancelled_dial_leaves_the_listener_working(world: World) -> None:
    binding = await world.bind_there()
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.dial(binding)
    dialled, accepted = await world.connect(binding)
    await dialled.send_all(b"x")
    assert await accepted.receive_some() == b"x"


@contract
async def test_streams_pass_the_generic_suite_of_trio(world: World) -> None:
    binding = await world.bind_there()

    async def pair() -> Pair:
        return await world.connect(binding)

    async def clogged_pair() -> Pair:
        both = await world.connect(binding)
        for stream in both:
            with trio.move_on_after(1):
                await stream.send_all(bytes(1 << 20))
        return both

    clogged = clogged_pair if world.can_be_clogged else None  # Trio tests its own socket streams in real time
    await check_two_way_stream(pair, clogged)
    await check_half_closeable_stream(pair, clogged)


# -------------------------------------------------------------------------------------------------------- always


@contract
async def test_every_operation_is_a_checkpoint(world: World) -> None:
    with assert_checkpoints():
        binding = await world.bind_there()
    with assert_checkpoints():
        await binding.datagrams.send(b"x", binding.address)
    with assert_checkpoints():
        await binding.datagrams.receive()
    with assert_checkpoints():
        await world.dial(binding)
    with assert_checkpoints():
        await world.accept(binding)
    with assert_checkpoints():
        await world.here.resolve(binding.address)


@contract
async def test_an_address_in_use_resolves_to_itself(world: World) -> None:
    binding = await world.bind_there()
    assert await world.here.resolve(binding.address) == [binding.address]


@contract
async def test_a_name_nobody_knows_is_an_os_error(world: World) -> None:
    with pytest.raises(OSError):
        await world.here.resolve(Address("no..such..host", 7979))
    with pytest.raises(OSError):
        await world.here.connect(Address("no..such..host", 7979))
