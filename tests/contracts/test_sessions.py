"""A session runs over any stream: the same calls over TCP, TLS, a Unix socket, memory and a pipe inside the process."""

from __future__ import annotations

import hashlib
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import trio
from trio.testing import check_two_way_stream, memory_stream_pair

from swimring.certificates import Certificates
from swimring.errors import CallError, Draining, HandlerFailed, Unreachable
from swimring.identity import Address, NodeId
from swimring.mux import Limits, Secret
from swimring.net import SocketNetwork, TlsStream, accept_tls
from swimring.rpc import Incoming, OnlyPeer, Outgoing, open_connection
from swimring.rpc.here import pipe
from tests.certificates.authority import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

Ends: TypeAlias = tuple[trio.abc.Stream, trio.abc.Stream]
BLOB = bytes(range(256)) * 4096  # 1 MiB, twice the window of a stream
KEYS = (bytes(range(32)),)


@asynccontextmanager
async def over_tcp(_folder: Path) -> AsyncIterator[Ends]:
    network = SocketNetwork()
    binding = await network.bind(Address("127.0.0.1", 0))
    dialled = await network.connect(binding.address)
    accepted, _ = await binding.listener.accept()
    async with dialled, accepted:
        yield dialled, accepted
    binding.close()


@asynccontextmanager
async def over_tls(folder: Path) -> AsyncIterator[Ends]:
    certificates = Certificates(Authority(folder).issue())
    async with over_tcp(folder) as (below, accepted), trio.open_nursery() as nursery:
        dialled = TlsStream(below, lambda there, back: certificates.dialling(there, back, "127.0.0.1"))
        nursery.start_soon(dialled.shake_hands)
        yield dialled, await accept_tls(accepted, certificates, b"")


@asynccontextmanager
async def over_unix(folder: Path) -> AsyncIterator[Ends]:
    network, path = SocketNetwork(), str(folder / "socket")
    listener = await network.bind_unix(path)
    dialled = await network.connect(Address.unix(path))
    accepted, _ = await listener.accept()
    async with dialled, accepted:
        yield dialled, accepted
    listener.close()


@asynccontextmanager
async def over_memory(_folder: Path) -> AsyncIterator[Ends]:
    yield memory_stream_pair()


@asynccontextmanager
async def over_a_pipe(_folder: Path) -> AsyncIterator[Ends]:
    yield pipe()


Transport: TypeAlias = "Callable[[Path], AbstractAsyncContextManager[Ends]]"
TRANSPORTS: list[Transport] = [over_tcp, over_tls, over_unix, over_memory, over_a_pipe]


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.__name__)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


class Server:
    """Handlers for the calls below, and what they saw."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.ended = trio.Event()
        self.remaining = math.inf

    async def serve(self, incoming: Incoming) -> object:
        incoming.begin()
        match incoming.header.cmd:
            case "echo":
                return dict(incoming.message)
            case "fail":
                raise ValueError("no such luck")
            case "digest":
                return [await self._digest(incoming), len(incoming.streams)]
            case "mirror":
                async for chunk in incoming.streams["talk"]:
                    await incoming.streams["talk"].send(chunk[::-1])
            case "wait":
                self.remaining = incoming.deadline - trio.current_time()
                self.began.set()
                try:
                    await trio.sleep_forever()
                finally:
                    self.ended.set()
            case "until told":
                self.began.set()
                await self.ended.wait()
        return None

    async def _digest(self, incoming: Incoming) -> str:
        hashed = hashlib.sha256()
        async for chunk in incoming.streams["file"]:
            hashed.update(chunk)
        return hashed.hexdigest()


@asynccontextmanager
async def two_ends(
    transport: Transport, folder: Path, server: Server | None = None, **settings: Any
) -> AsyncIterator[tuple[OnlyPeer, OnlyPeer]]:
    """What the dialler, and what the other one, sees of the other."""
    serve = (server or Server()).serve
    made: dict[str, OnlyPeer] = {}
    ready, over = trio.Event(), trio.Event()

    async def hold(stream: trio.abc.Stream) -> None:
        me = NodeId("there", 1)
        async with open_connection(stream, me=me, cluster="test", dialled=False, serve=serve, **settings) as made[
            "here"
        ]:
            ready.set()
            await over.wait()

    with trio.fail_after(20):
        async with transport(folder) as (ours, theirs), trio.open_nursery() as nursery:
            nursery.start_soon(hold, theirs)
            me = NodeId("here", 1)
            async with open_connection(ours, me=me, cluster="test", dialled=True, serve=serve, **settings) as there:
                await ready.wait()
                yield there, made["here"]
            over.set()


def asks(cmd: str, **fields: object) -> Outgoing:
    return Outgoing(ns="test", cmd=cmd, fields=fields)


async def test_a_request_is_answered_in_either_direction(transport: Transport, tmp_path: Path) -> None:
    async with two_ends(transport, tmp_path) as (there, here):
        assert (there.name, here.name) == ("there", "here")
        for peer in (there, here):
            answer = await peer.request(asks("echo", text="hello", count=3, blob=b"\0" * 100_000))
            assert isinstance(answer, dict)
            assert (answer["text"], answer["count"], len(answer["blob"])) == ("hello", 3, 100_000)


async def test_a_thousand_calls_at_once_get_their_own_answers(transport: Transport, tmp_path: Path) -> None:
    answers: dict[int, object] = {}

    async def ask(peer: OnlyPeer, number: int) -> None:
        reply = await peer.request(asks("echo", n=number))
        assert isinstance(reply, dict)
        answers[number] = reply["n"]

    async with two_ends(transport, tmp_path) as (there, _):
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(ask, there, number)
    assert answers == {number: number for number in range(1000)}


async def test_a_failure_says_what_was_raised(transport: Transport, tmp_path: Path) -> None:
    async with two_ends(transport, tmp_path) as (there, _):
        with pytest.raises(HandlerFailed, match="no such luck"):
            await there.request(asks("fail"))


async def test_a_stream_arrives_whole(transport: Transport, tmp_path: Path) -> None:
    async with two_ends(transport, tmp_path) as (there, _):
        out = Outgoing(ns="test", cmd="digest", streams={"file": BLOB})
        async with there.open(out) as call:
            assert await call.result() == [hashlib.sha256(BLOB).hexdigest(), 1]


async def test_both_sides_talk_on_one_stream(transport: Transport, tmp_path: Path) -> None:
    async with two_ends(transport, tmp_path) as (there, _):
        async with there.open(Outgoing(ns="test", cmd="mirror", streams={"talk": None})) as call:
            for word in (b"one", b"two", b"three"):
                await call.streams["talk"].send(word)
                assert await call.streams["talk"].receive() == word[::-1]
            await call.streams["talk"].send_eof()
            await call.result()


async def test_the_deadline_travels_and_cancelling_ends_the_handler(transport: Transport, tmp_path: Path) -> None:
    server = Server()
    async with two_ends(transport, tmp_path, server) as (there, _):
        with trio.move_on_after(5) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.request, asks("wait"))
                await server.began.wait()
                scope.cancel()
        await server.ended.wait()
        assert 4 < server.remaining <= 5
        assert await there.request(asks("echo"))


async def test_calls_cancelled_in_the_middle_of_their_frames_leave_the_connection_whole(
    transport: Transport, tmp_path: Path
) -> None:
    async with two_ends(transport, tmp_path) as (there, _):
        big = asks("echo", blob=BLOB[: 900 * 1024])
        for turns in range(12):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(there.request, big)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        reply = await there.request(big)
        assert isinstance(reply, dict)
        assert reply["blob"] == BLOB[: 900 * 1024]


async def test_draining_lets_calls_under_way_finish_and_refuses_others(transport: Transport, tmp_path: Path) -> None:
    server = Server()
    answers: list[object] = []
    async with two_ends(transport, tmp_path, server) as (there, here), trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await there.request(asks("until told")))

        nursery.start_soon(ask)
        await server.began.wait()
        nursery.start_soon(here.drain)
        with pytest.raises(Draining):
            while True:
                await there.request(asks("echo"))
        assert answers == []
        server.ended.set()
    assert answers == [None]


async def test_the_end_of_the_other_side_is_the_end_of_the_calls(transport: Transport, tmp_path: Path) -> None:
    server = Server()
    async with transport(tmp_path) as (ours, theirs), trio.open_nursery() as nursery:

        async def hang_up() -> None:
            async with open_connection(
                theirs, me=NodeId("there", 1), cluster="test", dialled=False, serve=server.serve
            ):
                await server.began.wait()

        nursery.start_soon(hang_up)
        with trio.fail_after(20):
            async with open_connection(
                ours, me=NodeId("here", 1), cluster="test", dialled=True, serve=server.serve
            ) as there:
                with pytest.raises(CallError, match="closed the connection"):
                    await there.request(asks("wait"))


async def test_a_secret_is_proved_over_it(transport: Transport, tmp_path: Path) -> None:
    async with two_ends(transport, tmp_path, secret=Secret(keys=KEYS, nonce=bytes(32))) as (there, _):
        assert await there.request(asks("echo"))


async def test_who_is_refused_is_told_why(transport: Transport, tmp_path: Path) -> None:
    async with transport(tmp_path) as (ours, theirs), trio.open_nursery() as nursery:

        async def refuse() -> None:
            with pytest.raises(Unreachable, match="another cluster"):
                async with open_connection(
                    theirs, me=NodeId("there", 1), cluster="other", dialled=False, serve=Server().serve
                ):
                    pass

        nursery.start_soon(refuse)
        with trio.fail_after(20), pytest.raises(Unreachable, match=r"refused by the peer: .*cluster"):
            async with open_connection(ours, me=NodeId("here", 1), cluster="test", dialled=True, serve=Server().serve):
                pass


async def test_a_peer_that_says_nothing_is_not_waited_for(transport: Transport, tmp_path: Path) -> None:
    async with transport(tmp_path) as (ours, _theirs):
        with trio.fail_after(20), pytest.raises(Unreachable, match=r"no hello within 0\.05 s"):
            async with open_connection(
                ours, me=NodeId("here", 1), cluster="test", dialled=True, serve=Server().serve,
                limits=Limits(hello_within=0.05),
            ):  # fmt: skip
                pass


@pytest.mark.slow
async def test_the_tls_stream_keeps_what_trio_promises_of_streams(tmp_path: Path) -> None:
    certificates = Certificates(Authority(tmp_path).issue())

    async def make() -> Ends:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            dialled = TlsStream(ours, lambda there, back: certificates.dialling(there, back, "x"))
            nursery.start_soon(dialled.shake_hands)
            accepted = await accept_tls(theirs, certificates, b"")
        return dialled, accepted

    await check_two_way_stream(make, None)
