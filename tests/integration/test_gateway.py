"""The FastAPI example over a real uvicorn server, in front of two nodes on Trio in a thread beside it."""

from __future__ import annotations

import json
import queue
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from examples.ticker import app as ticker
from swimring.instrument import Instrument
from swimring.node import open_node
from tests.beside import entered_beside

uvicorn = pytest.importorskip("uvicorn", reason="the FastAPI example needs uvicorn")
pytest.importorskip("fastapi", reason="the FastAPI example needs FastAPI")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from swimring.identity import Key

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Finished(Instrument):
    """Which handlers have ended on the nodes, and how."""

    def __init__(self) -> None:
        self.heard: queue.Queue[tuple[str, str]] = queue.Queue()

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        if ns == "ticker":
            self.heard.put((cmd, outcome))


@contextmanager
def nodes(finished: Finished) -> Iterator[str]:
    """The address of one of two nodes, while the block runs."""

    @asynccontextmanager
    async def two_nodes() -> AsyncIterator[str]:
        options: dict[str, Any] = {"cluster": "gateway", "listen": "127.0.0.1:0", "instruments": [finished]}
        async with open_node(ticker, name="a", join=["127.0.0.1:1"], **options) as a:
            async with open_node(ticker, name="b", join=[str(a.me.address)], **options):
                await a.wait_ring("ticker", nodes=2)
                yield str(a.me.address)

    with entered_beside(two_nodes) as address:
        yield address


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The port of the gateway, while the block runs."""
    from examples.fastapi_gateway import gateway

    started = anyio.Event()

    class Server(uvicorn.Server):  # type: ignore[name-defined,misc]
        async def startup(self, *args: Any, **kwargs: Any) -> None:
            await super().startup(*args, **kwargs)
            started.set()

    server = Server(uvicorn.Config(gateway, port=0, log_level="warning", lifespan="on"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await started.wait()
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True


async def get(port: int, path: str) -> anyio.abc.SocketStream:
    """The connection on which ``path`` was asked for."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    await stream.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return stream


async def until(stream: anyio.abc.SocketStream, end: bytes, count: int = 1) -> bytes:
    received = b""
    while received.count(end) < count:
        received += await stream.receive()
    return received


async def test_the_gateway_answers_and_a_reader_that_goes_away_cancels_the_handler_on_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished, took = Finished(), []
    with nodes(finished) as address:
        monkeypatch.setenv("TICKER_NODES", address)
        with anyio.fail_after(30):
            async with served() as port:
                async with await get(port, "/prices/ACME") as stream:
                    answer = json.loads((await until(stream, b"}")).partition(b"\r\n\r\n")[2])
                    assert answer == {"symbol": "ACME", "cents": 10_000, "node": answer["node"]}
                assert finished.heard.get(timeout=5) == ("price", "ok")
                for number in range(10):
                    async with await get(port, f"/prices/S{number}/stream?every=0.01") as stream:
                        received = await until(stream, b"}", count=3)
                        assert received.count(b'"symbol": "S') == 3
                    async with await get(port, f"/prices/S{number}/stream?every=1000") as stream:
                        await until(stream, b"}")
                        began = anyio.current_time()
                    # Both: the one between two items, and the one that waits for its next.
                    for _ in range(2):
                        ended = await anyio.to_thread.run_sync(lambda: finished.heard.get(timeout=5))
                        assert ended == ("prices", "cancelled")
                    took.append(anyio.current_time() - began)
    # The slower ones tell of the machine: the way there and back takes less than a tenth of a second.
    assert min(took) < 0.1
    assert max(took) < 2
    median, most = 1000 * sorted(took)[5], 1000 * max(took)
    print(f"from the reader's end to that of the handler: {median:.0f} ms, at most {most:.0f} ms")  # noqa: T201 - for the documentation
