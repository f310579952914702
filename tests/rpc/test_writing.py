"""When bytes are handed to the kernel: a lone piece at once, many small ones together."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from swimring.identity import NodeId
from swimring.mux import CallHeader, Limits, Session, encode_fields, stream_ids
from swimring.rpc.streams import PeerStream
from swimring.rpc.writing import Writer
from swimring.service import Writers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere a socket is no file descriptor")


async def writes_of(send: Callable[[PeerStream], Awaitable[object]], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each write to the kernel had that ``send`` led to."""
    here = Session(me=NodeId("here", 1), cluster="test", limits=Limits(), dialled=True)
    there = Session(me=NodeId("there", 1), cluster="test", limits=Limits(), dialled=False)
    for _ in range(2):
        there.receive(here.bytes_to_send())
        here.receive(there.bytes_to_send())
    call_id = here.request(CallHeader(ns="s", cmd="c", streams=("file",)), encode_fields({}))
    here.bytes_to_send()
    found: list[int] = []
    write = os.write
    ours, theirs = socket.socketpair()

    def counted(descriptor: int, data: bytes) -> int:
        if descriptor == ours.fileno():
            found.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    with theirs:
        connection = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        async with connection, trio.open_nursery() as nursery:
            writer = Writer(here, connection)
            (stream_id,) = stream_ids(call_id, 1)
            stream = PeerStream(
                stream_id,
                "file",
                here,
                writer.flush_bulk,
                writers=Writers(here),
                item_limits=(1 << 20, 1 << 20),
                gather=writer.flush_more,
            )
            nursery.start_soon(writer.run, lambda: None)
            await send(stream)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    return found


async def test_a_lone_small_piece_is_written_before_anybody_else_has_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(stream: PeerStream) -> None:
        await stream.send(b"x")

    assert await writes_of(send, monkeypatch) == [13]


async def test_small_pieces_of_one_turn_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(stream: PeerStream) -> None:
        for _ in range(320):
            await stream.send(bytes(100))

    found = await writes_of(send, monkeypatch)
    assert sum(found) == 320 * 112
    assert len(found) <= 2 * 320 / 32 + 1


async def test_pieces_between_which_others_have_a_turn_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(stream: PeerStream) -> None:
        for _ in range(5):
            await stream.send(bytes(100))
            await trio.testing.wait_all_tasks_blocked()

    assert await writes_of(send, monkeypatch) == [112] * 5
