"""The programs of `check_api.py` run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import trio

import swimring

from .check_api import app, asks, follows, from_outside, loses_no_acknowledged_write, runs_once, streams

if TYPE_CHECKING:
    from pathlib import Path

    from swimring.testing import SimCluster


async def test_a_node_asks_by_handler_and_by_message(cluster: SimCluster) -> None:
    nodes = await cluster.start(3, app)
    await cluster.settled()
    assert await asks(nodes[0].node) == f"hello World! from {cluster.owner_of('k1').name}"


async def test_streams_go_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"x" * 100_000)
    digest = hashlib.sha256(b"file.txt" + b"x" * 100_000).hexdigest()
    async with swimring.open_node(app, cluster="streams", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as node:
        with trio.fail_after(30):
            assert await streams(node, path) == (digest, [0, 1, 2], ["A", "B"], 2)


async def test_a_key_that_changes_hands_is_told_and_its_state_moves(cluster: SimCluster) -> None:
    await cluster.start(3, app)
    await cluster.settled()
    owner, told, tracked = cluster.owner_of("job"), list[str](), trio.Event()

    async def track() -> None:
        told.extend(await follows(owner.node, "job", tracked))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(track)
        await tracked.wait()
        runs, fence = await runs_once(owner.node, "job")
        await owner.drain()
    heir = cluster.owner_of("job")
    assert (told[0].split()[0], told[-1]) == ("replica", f"cordoned: {heir.name}")
    again, later = await runs_once(heir.node, "job")
    assert (runs, again) == (1, 2)
    assert later > fence


async def test_a_crash_a_restart_and_a_drain_lose_no_acknowledged_write(cluster: SimCluster) -> None:
    await loses_no_acknowledged_write(cluster)


async def test_a_program_outside_of_the_cluster_asks() -> None:
    assert await from_outside() == "hello World from n1"
