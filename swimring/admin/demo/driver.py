"""The driver: streams the files in, kills a node half way, mends what died with it, and compares.

It is a node that offers nothing: it gossips, so it sees the members live, but it owns no keys.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from rich.console import Console

from swimring.codec import decode
from swimring.errors import NotJoined, SwimringError
from swimring.net import SystemHost
from swimring.node import Node, open_node

from . import words
from .corpus import count_alone, differences, source_files
from .display import Display, Result, print_next, print_result, print_result_json
from .processes import SECRETS, NodeProcess, node_processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_NODES = 3
_FILES_AT_ONCE = 16
_RING_WITHIN = 30.0
_DONE_WITHIN = 900.0
_MEND_ROUNDS = 20
_INTERRUPTED = 130
_SERVICE = "swimring.admin.demo.words:app"


def run_demo(*, files: int | None = None, keep_running: bool = False, as_json: bool = False) -> int:
    """Run the demo on ``files`` files (default: all); 0 only if the ring's totals equal those of a single process.

    With ``as_json`` the result goes to stdout as JSON, and everything else to stderr.

    Ctrl-C or SIGTERM stops the nodes in good order and returns 130, or the result if there is one; a second one kills
    the nodes.

    Raises:
        ConfigError: ``files`` is less than 1.
    """
    return trio.run(_demo, source_files(files), keep_running, as_json)


async def _demo(
    files: list[Path],
    keep_running: bool,  # noqa: FBT001 - trio.run passes positionally
    as_json: bool,  # noqa: FBT001 - the same
) -> int:
    console = Console(stderr=as_json)
    cluster = f"demo-{SystemHost().entropy(2).hex()}"
    status = _INTERRUPTED
    async with _stopped_by_signals() as stop, node_processes(_SERVICE, cluster=cluster, count=_NODES) as processes:
        stop.processes = processes
        with stop.scope:
            result = await _drive(console, cluster, files, processes)
            if as_json and result is not None:
                print_result_json(result)
            status = 1 if result is None else result.exit_status
            if status:
                _print_logs(console, processes)
            elif keep_running:
                print_next(console, cluster)
                await trio.sleep_forever()
    return status


class _Stop:
    """What a signal ends: first the work, then the nodes."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.processes: list[NodeProcess] = []

    async def obey(self, signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            if self.scope.cancel_called:
                for process in self.processes:
                    process.kill()
            self.scope.cancel()


@asynccontextmanager
async def _stopped_by_signals() -> AsyncIterator[_Stop]:
    # Nodes run in sessions of their own: a signal that ended this process would leave them behind.
    stop = _Stop()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop.obey, signals)
            yield stop
            nursery.cancel_scope.cancel()


async def _drive(console: Console, cluster: str, files: list[Path], processes: list[NodeProcess]) -> Result | None:
    """Count on the ring and show the result; None if that failed, with the reason shown."""
    result = None
    try:
        file, secret = map(os.environ.get, SECRETS)
        async with open_node(
            cluster=cluster, name=f"{cluster}-driver", weight=0, secret_file=file, secret=secret
        ) as node:
            with trio.move_on_after(_DONE_WITHIN):
                result = await _Drive(node, processes, files, console).run()
            if result is None:
                console.print(f"not done within {_DONE_WITHIN:.0f} s", style="red")
            else:
                print_result(console, result)
    except* SwimringError as errors:
        result = None
        for error in _leaves(errors):
            console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
    return result


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class _Drive:
    """One run over one ring."""

    def __init__(self, node: Node, processes: list[NodeProcess], files: list[Path], console: Console) -> None:
        self._node = node
        self._processes = processes
        self._files = {str(path): path for path in files}
        self._words_in: dict[str, int] = {}  # file -> its number of words, as told by the node that split it
        self._display = Display(console, node, words.app, total=len(files))
        self._killed: NodeProcess | None = None

    async def run(self) -> Result:
        started = trio.current_time()
        await self._wait_ring(_NODES)
        async with self._display.shown():
            await self._stream(list(self._files))
            await self._wait_ring(_NODES - 1)
            streamed_again = await self._mend()
            totals = await self._totals()
        seconds = trio.current_time() - started
        views = {owner: await self._view_of(owner) for owner in self._owners()}
        counters = await self._counters()
        alone = await trio.to_thread.run_sync(count_alone, list(self._files.values()))
        return Result(
            seconds=seconds,
            files=len(self._files),
            words=totals.total(),
            distinct=len(totals),
            calls=counters["calls"],
            retries=counters["retries"],
            streamed_again=streamed_again,
            killed=self._killed.name if self._killed else "nobody",
            killed_after=self._display.killed_after,
            noticed_after=self._display.noticed_after,
            views=views,
            differences=differences(totals, alone),
        )

    async def _wait_ring(self, nodes: int) -> None:
        with trio.move_on_after(_RING_WITHIN):
            await self._node.wait_ring(words.app, nodes=nodes)
            return
        raise NotJoined(f"no ring of {nodes} nodes within {_RING_WITHIN:.0f} s; members: {self._node.members}")

    async def _stream(self, files: list[str]) -> None:
        """Stream each file to the node that owns its path, a few at a time; kill a node when half are done."""
        limit = trio.CapacityLimiter(_FILES_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for file in files:
                await limit.acquire_on_behalf_of(file)
                nursery.start_soon(self._stream_one, file, limit)

    async def _stream_one(self, file: str, limit: trio.CapacityLimiter) -> None:
        source = words.count.with_streams(text=self._files[file])
        self._words_in[file] = await self._node.call(source, file, file)
        self._display.file_done()
        limit.release_on_behalf_of(file)
        if self._killed is None and len(self._words_in) * 2 >= len(self._files):
            self._killed = self._processes[1]
            self._killed.kill()
            self._display.killed(self._killed.name)

    async def _mend(self) -> int:
        """Ask the owners what they hold and stream again what is missing, until nothing is."""
        streamed_again = 0
        for _ in range(_MEND_ROUNDS):
            missing = await self._missing()
            if not missing:
                return streamed_again
            streamed_again += len(missing)
            self._display.more(len(missing))
            await self._stream(missing)
        return streamed_again  # the comparison at the end tells what is wrong

    async def _missing(self) -> list[str]:
        held: Counter[str] = Counter()
        for owner in self._owners():
            there = await self._node.peer(owner).call(words.held)
            held.update(there)
        return [file for file, number in self._words_in.items() if held[file] != number]

    async def _totals(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        for owner in self._owners():
            async with self._node.peer(owner).open(words.totals.with_streams(totals=None)) as call:
                buffer = bytearray()
                async for chunk in call.streams["totals"]:
                    buffer += chunk
                await call.result()
            while buffer:
                size = int.from_bytes(buffer[:4], "big")
                totals.update(decode(bytes(buffer[4 : 4 + size])))
                del buffer[: 4 + size]
        return totals

    def _owners(self) -> list[str]:
        return sorted(self._node.ring(words.app).nodes)

    async def _view_of(self, owner: str) -> str:
        rows = await self._node.peer(owner).request({"ns": "swimring", "cmd": "members"})
        return ", ".join(f"{row['name']} {row['status']}" for row in rows)

    async def _counters(self) -> Counter[str]:
        counters = Counter(self._node.counters())
        for owner in self._owners():
            info = await self._node.peer(owner).request({"ns": "swimring", "cmd": "info"})
            counters.update(info["counters"])
        return counters


def _print_logs(console: Console, processes: list[NodeProcess]) -> None:
    for process in processes:
        console.rule(process.name)
        console.print(process.log.read_text(errors="replace")[-4_000:], markup=False)
