"""The first bytes of a connection, at the listener of a running node."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from swimring import mux
from swimring.identity import Address, NodeId
from swimring.instrument import Instruments
from swimring.node.listening import IDENTIFY_WITHIN, MAX_GOSSIP, MAX_MUX, MAX_UNIDENTIFIED, Protocol, Reception
from swimring.swim import Refused, decode_frame, tag_key

from .nodes import PORT, Recorder, Shop, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork


async def send_and_read(network: SimulatedNetwork, data: bytes) -> bytes:
    """What the node at "a" answers to ``data`` before it closes."""
    stream = await network.at("stranger").connect(Address("a", PORT))
    answer = b""
    async with stream:
        try:
            await stream.send_all(data)
            while chunk := await stream.receive_some():
                answer += chunk
        except trio.BrokenResourceError:
            pass
    return answer


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "unknown protocol"),
        (b"\x00", "unknown protocol"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS is not enabled on this node"),
        (b"\xe3rest", "protocol version 3 is not spoken here"),
        (b"\xf7rest", "protocol version 7 is not spoken here"),
    ],
)
@simulated
async def test_a_protocol_that_is_not_spoken_is_counted_and_closed_at_once(
    network: SimulatedNetwork, data: bytes, reason: str
) -> None:
    shop, recorder = Shop(), Recorder()
    async with node_at(network, "a", shop.service, instruments=[recorder]) as node:
        began = trio.current_time()
        assert await send_and_read(network, data) == b""
        assert trio.current_time() - began < 1
        assert recorder.refused == [("stream", reason)]
        assert node.counters()["refused"] == 1
        assert await node.call(shop.where, "k") == "a"


@simulated
async def test_gossip_of_the_next_version_is_refused_in_ours_so_that_it_can_try_again(
    network: SimulatedNetwork,
) -> None:
    recorder = Recorder()
    async with node_at(network, "a", instruments=[recorder]):
        answer = await send_and_read(network, b"\xe2\0\0\0\x04rest")
        refused = decode_frame(answer, key=tag_key("test")).message
        assert answer[0] == 0xE1
        assert refused == Refused(reason="version: speaks gossip version 2, we speak 1")
        assert recorder.refused == [("stream", "version")]


@simulated
async def test_sealed_gossip_of_the_next_version_is_refused_in_plain_words(network: SimulatedNetwork) -> None:
    recorder = Recorder()
    async with node_at(network, "a", instruments=[recorder]):
        answer = await send_and_read(network, b"\xd2\0\0\0\x04rest")
        refused = decode_frame(answer, key=tag_key("test")).message
        assert refused == Refused(reason="version: speaks version 2 of sealed gossip, we speak 1")
        assert recorder.refused == [("stream", "version")]


@simulated
async def test_a_peer_that_says_nothing_is_closed_after_five_seconds(network: SimulatedNetwork) -> None:
    recorder = Recorder()
    async with node_at(network, "a", instruments=[recorder]):
        began = trio.current_time()
        stream = await network.at("stranger").connect(Address("a", PORT))
        async with stream:
            assert await stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(IDENTIFY_WITHIN, abs=0.1)
        assert recorder.refused == [("stream", "nothing was sent")]


@simulated
async def test_a_peer_that_hangs_up_at_once_is_counted(network: SimulatedNetwork) -> None:
    recorder = Recorder()
    async with node_at(network, "a", instruments=[recorder]):
        stream = await network.at("stranger").connect(Address("a", PORT))
        await stream.aclose()
        await trio.sleep(1)
        assert recorder.refused == [("stream", "nothing was sent")]


@simulated
async def test_more_connections_than_allowed_are_closed_at_once_and_the_node_goes_on(network: SimulatedNetwork) -> None:
    shop, recorder = Shop(), Recorder()
    async with nodes_at(network, "ab", shop.service, instruments=[recorder]) as (a, b):
        assert await b.call(shop.where, key_of(b, "a")) == "a"
        streams = []
        taken = a.counters()["refused"]
        for _ in range(MAX_UNIDENTIFIED + 20):
            streams.append(await network.at("stranger").connect(Address("a", PORT)))  # noqa: PERF401
        await trio.sleep(0.5)
        assert a.counters()["refused"] - taken >= 20
        assert set(recorder.refused) == {("stream", "too many connections that say nothing")}
        assert await b.call(shop.where, key_of(b, "a")) == "a", "connections that exist go on"
        assert await send_and_read(network, b"?") == b""
        assert recorder.refused[-1] == ("stream", "unknown protocol"), "who speaks at once is heard"
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize("flood", [b"", b"\xf1", b"\xe1"])
@simulated
async def test_a_flood_of_one_kind_of_connection_shuts_out_no_other(network: SimulatedNetwork, flood: bytes) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a, trio.open_nursery() as nursery:

        async def occupy(number: int) -> None:
            with suppress(trio.BrokenResourceError):
                async with await network.at(f"stranger{number % 7}").connect(Address("a", PORT)) as stream:
                    await stream.send_all(flood)
                    await trio.sleep_forever()

        for number in range(1100):
            nursery.start_soon(occupy, number)
        await trio.sleep(0.1)
        if flood != b"\xe1":
            async with node_at(network, "b", shop.service, join=["a"]) as b:
                assert {member.name for member in b.members} == {"a", "b"}
                assert await b.call(shop.where, key_of(b, "a")) == "a"
        assert await asked_by_mux(network, a.cluster) == a.name
        nursery.cancel_scope.cancel()


async def asked_by_mux(network: SimulatedNetwork, cluster: str) -> str:
    """The name in the hello of the node at "a"."""
    session = mux.Session(me=NodeId("asker", 1), cluster=cluster, limits=mux.Limits(), dialled=True)
    async with await network.at("asker").connect(Address("a", PORT)) as stream:
        await stream.send_all(session.bytes_to_send())
        while session.peer is None:
            chunk = bytes(await stream.receive_some())
            assert chunk, "it hung up"
            session.receive(chunk)
        return session.peer.node.name


@simulated
async def test_more_connections_of_one_protocol_than_its_bound_are_closed(network: SimulatedNetwork) -> None:
    recorder = Recorder()
    binding = await network.at("a").bind(Address("a", PORT))

    async def hold(stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        await stream.send_all(b"!")
        await stream.receive_some()

    protocols = {1: Protocol(serve=hold, most=1), 2: Protocol(serve=hold, most=1)}
    reception = Reception(binding.listener, protocols, instruments=Instruments([recorder]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reception.run)
        async with await network.at("stranger").connect(Address("a", PORT)) as first:
            await first.send_all(b"\x01")
            assert await first.receive_some() == b"!"
            assert await send_and_read(network, b"\x01") == b""
            assert recorder.refused == [("stream", "too many connections")]
            async with await network.at("stranger").connect(Address("a", PORT)) as other:
                await other.send_all(b"\x02")
                assert await other.receive_some() == b"!"
        await trio.sleep(1)
        async with await network.at("stranger").connect(Address("a", PORT)) as again:
            await again.send_all(b"\x01")
            assert await again.receive_some() == b"!", "there is room again"
        nursery.cancel_scope.cancel()
    binding.close()


@simulated
async def test_a_fault_in_serving_one_connection_ends_that_connection_only(network: SimulatedNetwork) -> None:
    recorder = Recorder()
    binding = await network.at("a").bind(Address("a", PORT))

    async def echo(stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        await stream.send_all(received)

    async def broken(stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        raise RuntimeError("a bug")

    protocols = {1: Protocol(serve=echo, most=1), 2: Protocol(serve=broken, most=1)}
    reception = Reception(binding.listener, protocols, instruments=Instruments([recorder]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reception.run)
        assert await send_and_read(network, b"\x02") == b""
        assert await send_and_read(network, b"\x01again") == b"\x01again"
        assert recorder.failed_duties == ["reception"]
        nursery.cancel_scope.cancel()
    binding.close()


def test_refusals_are_logged_now_and_then_and_say_how_many_were_kept_back(caplog: pytest.LogCaptureFixture) -> None:
    observers = Instruments([recorder := Recorder()])
    with caplog.at_level(logging.WARNING, logger="swimring.refusals"):
        for now in (0.0, 0.1, 0.2, 9.9, 10.1, 20.2, 30.2, 100.0):
            observers.refuse_bytes("stream", "two\nlines", source="mallory", now=now)
        observers.refuse_bytes("datagram", "other", source="mallory", now=100.0)
    assert len(recorder.refused) == 9
    assert [record.getMessage() for record in caplog.records] == [
        r"refused bytes on the stream port from mallory: 'two\nlines' (0 more since the last line)",
        r"refused bytes on the stream port from mallory: 'two\nlines' (3 more since the last line)",
        r"refused bytes on the stream port from mallory: 'two\nlines' (1 more since the last line)",
        r"refused bytes on the stream port from mallory: 'two\nlines' (0 more since the last line)",
        "refused bytes on the datagram port from mallory: 'other' (0 more since the last line)",
    ]


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@simulated
async def test_a_flood_of_refused_connections_is_one_line_in_the_log(network: SimulatedNetwork) -> None:
    handler = Kept()
    logger = logging.getLogger("swimring.refusals")
    logger.addHandler(handler)
    try:
        async with node_at(network, "a") as node:
            for data in [b"?", b"\xf1garbage that is no hello", b"\xf1" + bytes(100)] * 20:
                await send_and_read(network, data)
            assert node.counters()["refused"] >= 60
    finally:
        logger.removeHandler(handler)
    assert len(handler.lines) == 1


def test_the_bounds_are_those_of_the_documentation() -> None:
    assert (MAX_UNIDENTIFIED, MAX_GOSSIP, MAX_MUX, IDENTIFY_WITHIN) == (256, 256, 2048, 5.0)
