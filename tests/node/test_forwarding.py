"""Calls that a node hands on for a caller who cannot reach the owner, without reading what they carry."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.codec import decode
from swimring.errors import CallError, DeadlineExceeded, InvalidRequest, Moved, Unreachable
from swimring.identity import Address, NodeId
from swimring.mux import (
    CallHeader,
    CallKind,
    Event,
    FailureArrived,
    Limits,
    Phase,
    ReplyArrived,
    Session,
    decode_failure,
    encode_fields,
)

from .nodes import PORT, Recorder, Shop, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.testing import SimulatedNetwork


class Outsider:
    """A client that reaches one node only, and says byte for byte what it wants."""

    def __init__(self, session: Session, stream: trio.abc.Stream) -> None:
        self.session = session
        self.stream = stream
        self.events: list[Event] = []

    async def flush(self) -> None:
        await self.stream.send_all(self.session.bytes_to_send())

    async def hear(self) -> None:
        data = await self.stream.receive_some(65_536)
        assert data, "the node has hung up"
        self.events += self.session.receive(bytes(data))

    async def ask(self, header: CallHeader, body: bytes) -> object:
        """The value, or the error raised."""
        call_id = self.session.request(replace(header, forward=True), body)
        await self.flush()
        while True:
            for event in self.events:
                match event:
                    case ReplyArrived(call_id=answered, body=value) if answered == call_id:
                        return decode(value)
                    case FailureArrived(call_id=answered, body=record) if answered == call_id:
                        raise decode_failure(record)
            await self.hear()


@asynccontextmanager
async def outsider_at(network: SimulatedNetwork, node: str) -> AsyncIterator[Outsider]:
    session = Session(me=NodeId("outsider", 0), cluster="test", limits=Limits(), dialled=True, client=True)
    async with await network.at("outside").connect(Address(node, PORT)) as stream:
        outsider = Outsider(session, stream)
        await outsider.flush()
        while session.phase is not Phase.OPEN:
            await outsider.hear()
        yield outsider


@simulated
async def test_a_call_that_asks_for_it_is_answered_by_the_owner_through_any_node(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, *_), outsider_at(network, "a") as outsider:
        for owner in "abc":
            header = CallHeader(ns="shop", cmd="where", key=key_of(a, owner))
            assert await outsider.ask(header, encode_fields({})) == owner


@simulated
async def test_a_call_without_a_key_goes_to_somebody_who_offers_the_service(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with (
        node_at(network, "a") as a,
        node_at(network, "b", shop.service, join=["a"]),
        outsider_at(network, "a") as outsider,
    ):
        await a.wait_ring(shop.service, nodes=1)
        assert await outsider.ask(CallHeader(ns="shop", cmd="where"), encode_fields({})) == "b"


@simulated
async def test_what_is_handed_on_is_not_decoded_and_breaks_no_connection_if_it_is_nonsense(
    network: SimulatedNetwork,
) -> None:
    shop, heard = Shop(), Recorder()
    async with nodes_at(network, "ab", shop.service, instruments=[heard]) as (a, b):
        await a.call(shop.where, key_of(a, "b"))
        async with outsider_at(network, "a") as outsider:
            with pytest.raises(InvalidRequest, match="malformed") as caught:
                await outsider.ask(CallHeader(ns="shop", cmd="add", key=key_of(a, "b")), b"\xff this is no CBOR")
            assert not caught.value.maybe_executed
            mine = CallHeader(ns="shop", cmd="add", key=key_of(a, "b"))
            assert await outsider.ask(mine, encode_fields({"a": 2, "b": 3})) == 5
        assert heard.refused == []
        assert b.counters()["refused"] == 0


@simulated
async def test_the_failure_of_the_owner_comes_back_as_it_was_sent(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), outsider_at(network, "a") as outsider:
        with pytest.raises(CallError, match="ouch") as caught:
            await outsider.ask(CallHeader(ns="shop", cmd="fail", key=key_of(a, "b")), encode_fields({"text": "ouch"}))
        assert caught.value.maybe_executed


@simulated
async def test_the_deadline_of_a_call_that_is_handed_on_goes_with_it_and_ends_it_at_the_owner(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), outsider_at(network, "a") as outsider:
        header = CallHeader(ns="shop", cmd="deadline", key=key_of(a, "b"), remaining=3)
        match await outsider.ask(header, encode_fields({})):
            case [float(left), _]:
                assert 2.9 < left <= 3  # what is left is told as a duration, rounded up to a millisecond
        with pytest.raises(DeadlineExceeded):
            await outsider.ask(replace(header, cmd="nap", remaining=0.5), encode_fields({"seconds": 9.0}))
        await trio.sleep(0.1)
        assert [what for what, _ in shop.seen] == ["began", "cancelled"]


@simulated
async def test_a_cancel_passes_on_to_the_owner(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), outsider_at(network, "a") as outsider:
        header = CallHeader(ns="shop", cmd="nap", key=key_of(a, "b"), forward=True)
        call_id = outsider.session.request(header, encode_fields({"seconds": 9.0}))
        await outsider.flush()
        await shop.opened.wait()
        outsider.session.cancel(call_id, range(0), "enough")
        await outsider.flush()
        await trio.sleep(0.1)
        assert [what for what, _ in shop.seen] == ["began", "cancelled"]


@simulated
async def test_a_cast_is_handed_on_as_well(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), outsider_at(network, "a") as outsider:
        header = CallHeader(ns="shop", cmd="nap", key=key_of(a, "b"), kind=CallKind.CAST, forward=True)
        outsider.session.request(header, encode_fields({"seconds": 0.1}))
        await outsider.flush()
        await trio.sleep(0.5)
        assert shop.seen == [("began", "b"), ("ended", "b")]


@simulated
async def test_who_does_not_ask_for_it_or_has_streams_is_told_who_owns_the_key(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), outsider_at(network, "a") as outsider:
        with pytest.raises(Moved):
            await outsider.ask(CallHeader(ns="shop", cmd="shout", key=key_of(a, "b"), streams=("text",)), b"\xa0")


@simulated
async def test_an_owner_who_cannot_be_reached_did_not_run_it(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), outsider_at(network, "a") as outsider:
        header = CallHeader(ns="shop", cmd="where", key=key_of(a, "b"))
        with network.isolate("b"), pytest.raises(Unreachable) as caught:
            for connection in a._routes()._peers.connections:  # type: ignore[attr-defined]
                if connection.peer_name == "b":
                    connection.close("a test")  # the one by which a watches b
            await outsider.ask(header, b"\xa0")
        assert not caught.value.maybe_executed
