"""Cordon, drain and evict as an operator types them, against real processes."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from .processes import swimring, swimring_json
from .test_run import cluster, three

if TYPE_CHECKING:
    from .processes import Running

__all__ = ["cluster"]


async def takes(node: Running) -> dict[str, tuple[str, str]]:
    rows = await swimring_json("members", "--join", await node.wait_address())
    return {row["name"]: (row["status"], row["takes"]) for row in rows}


async def owners(node: Running) -> set[str]:
    """Who owns some keys, as that node says."""
    via = await node.wait_address()
    found = [await swimring_json("lookup", f"k{number}", "--join", via) for number in range(3)]
    return {one["owner"]["name"] for one in found}


async def test_a_node_is_cordoned_and_uncordoned_by_its_name(cluster: str) -> None:
    with trio.fail_after(60):
        async with three(cluster) as nodes:
            via = ("--join", await nodes["a"].wait_address())
            told = await swimring("cordon", "b", *via)
            assert told == (0, "b takes no keys any more. Undo it with: swimring uncordon b\n", "")
            assert (await takes(nodes["a"]))["b"] == ("alive", "cordoned")
            assert "b" not in await owners(nodes["b"])
            assert (await swimring_json("uncordon", "b", *via))["takes"] == "all"
            assert (await takes(nodes["a"]))["b"] == ("alive", "all")
            status, out, err = await swimring("cordon", "nobody", *via)
            assert (status, out) == (2, "")
            assert f"name one that takes part in cluster {cluster}: a, b, c" in err


async def test_a_node_that_is_drained_leaves_and_its_process_ends_with_status_0(cluster: str) -> None:
    with trio.fail_after(60):
        async with three(cluster) as nodes:
            via = ("--join", await nodes["b"].wait_address())
            told = await swimring_json("drain", "b", *via)
            assert {**told, "seconds": 0} == {"name": "b", "status": "left", "keys": 0, "seconds": 0}
            assert await nodes["b"].wait_ended() == 0
            assert "Traceback" not in nodes["b"].said
            await nodes["a"].wait_said("b left")
            status, out, err = await swimring("drain", "c", "--join", await nodes["a"].wait_address())
            assert (status, err) == (0, "")
            assert out.startswith("c has left after ")
            assert await nodes["c"].wait_ended() == 0


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
async def test_a_process_that_hangs_is_evicted_in_two_seconds_and_stops_when_it_wakes(cluster: str) -> None:
    with trio.fail_after(60):
        async with three(cluster) as nodes:
            via = ("--join", await nodes["a"].wait_address())
            os.kill(nodes["b"].process.pid, signal.SIGSTOP)
            began = trio.current_time()
            status, out, _err = await swimring("evict", "b", *via, "--json")
            assert status == 0
            assert (told := json.loads(out))["status"] == "dead"
            assert told["name"] == "b"
            await nodes["a"].wait_said("b dead")
            await nodes["c"].wait_said("b dead")
            assert trio.current_time() - began < 15, "the start of a process and an import of everything are in it"
            os.kill(nodes["b"].process.pid, signal.SIGCONT)
            assert await nodes["b"].wait_ended() == 1
            assert "an operator has declared b dead; start it again" in nodes["b"].said
            assert "Traceback" not in nodes["b"].said
            status, _out, err = await swimring("evict", "b", *via)
            assert (status, "name one that takes part" in err) == (2, True)
