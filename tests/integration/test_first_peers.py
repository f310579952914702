"""Real processes that look for each other in a file and wait for each other."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from .processes import running

HELLO = f"{Path(__file__).parents[2] / 'examples' / 'hello.py'}:app"


async def test_nodes_wait_for_each_other_and_follow_the_file_that_says_where_they_are(tmp_path: Path) -> None:
    peers = tmp_path / "peers"
    options = ("--join", f"file:{peers}", "--expect", "2")
    with trio.fail_after(30):
        async with running(HELLO, *options) as one:
            waits = await one.wait_said("waits for a cluster of 2 members, 1 here")
            address = waits.partition(" at ")[2].partition(" ")[0]
            async with running(HELLO, *options) as other:
                await other.wait_said("waits for a cluster of 2 members, 1 here")
                assert " in cluster " not in one.said + other.said
                peers.write_text(f"{address}  # one\n")
                await one.wait_address()
                await other.wait_address()


async def test_the_first_signal_ends_the_wait_with_status_0(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with running(HELLO, "--join", f"file:{tmp_path / 'peers'}", "--expect", "2") as node:
            await node.wait_said("waits for a cluster")
            node.signal(signal.SIGTERM)
            with trio.fail_after(3):
                assert await node.wait_ended() == 0
            assert "Traceback" not in node.said
