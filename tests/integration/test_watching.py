"""Watching a cluster from the command line: members as they change, the ring, events, handlers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import trio

from .processes import in_terminal, running, started, swimring, swimring_json
from .test_run import HELLO, cluster

if TYPE_CHECKING:
    from .processes import Running

__all__ = ["cluster"]


def lines_of(command: Running) -> list[dict[str, object]]:
    return [json.loads(line) for line in command.said.rpartition("\n")[0].splitlines()]


async def test_members_watched_in_a_terminal_change_as_they_do_and_ctrl_c_ends_it_cleanly(cluster: str) -> None:
    with trio.fail_after(60):
        async with running(HELLO, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1") as first:
            via = await first.wait_address()
            async with in_terminal("members", "--watch", "--join", via) as watching:
                await watching.wait_said(f"cluster {cluster}")
                await watching.wait_said("alive")
                async with running(HELLO, "--cluster", cluster, "--name", "bb", "--join", via) as second:
                    await watching.wait_said("bb")
                    await second.wait_address()
                    assert (await swimring("cordon", "bb", "--join", via))[0] == 0
                    await watching.wait_said("cordoned")
                await watching.wait_said("dead")
                await watching.press("\x03")
                assert await watching.wait_ended() == 130
                assert "Traceback" not in watching.said
                assert watching.raw.rstrip().endswith("\x1b[?25h")  # the cursor is back


async def test_tail_and_members_tell_programs_of_each_change_in_a_line(cluster: str) -> None:
    with trio.fail_after(60):
        async with running(HELLO, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1") as first:
            via = await first.wait_address()
            async with (
                started("tail", "--json", "--join", via) as tail,
                started("members", "--watch", "--json", "--join", via) as members,
                started("tail", "--join", via) as people,
            ):
                await members.wait_said("alive")
                await people.wait_said(f"cluster {cluster} with a")
                async with running(HELLO, "--cluster", cluster, "--name", "b", "--join", via) as second:
                    await second.wait_address()
                    await tail.wait_said('"event": "join"')
                    await people.wait_said("join      b is here")
                    assert (await swimring("drain", "b", "--join", via))[0] == 0
                    await tail.wait_said('"event": "left"')
                told = lines_of(tail)
                assert {one["member"] for one in told} == {"b"}
                # A node without state drains and leaves in one moment, and who follows may hear of both as of one.
                assert {"join", "left"} <= {str(one["event"]) for one in told} <= {"join", "drain", "left"}
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(told[0]["ts"]))
                await members.wait_said('"left"')


async def test_ring_and_top_show_what_a_node_does(cluster: str) -> None:
    with trio.fail_after(60):
        async with running(
            HELLO, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1", "--admin", "127.0.0.1:0"
        ) as a:
            via = ("--join", await a.wait_address())
            ring = await swimring_json("ring", *via)
            assert (ring["service"], [node["share"] for node in ring["nodes"]]) == ("hello", [1.0])
            status, out, _ = await swimring("ring", *via)
            assert (status, out.splitlines()[-1]) == (0, "A" * 78)
            for number in range(3):
                assert (await swimring("call", "hello", "greet", "name=x", "--key", f"k{number}", *via))[0] == 0
            (row,) = (await swimring_json("top", "--once", *via))["handlers"]
            assert (row["ns"], row["cmd"], row["handled"], row["failed"]) == ("hello", "greet", 3, 0)
            assert 0 < row["p50"] <= row["p99"]
            assert await swimring("top", "--sort", "colour", *via) == (
                2, "", "swimring: sort: found 'colour'; use one of: rate, p99, errors\n"
            )  # fmt: skip
            async with in_terminal("top", "--every", "0.05", *via) as top:
                await top.wait_said("hello.greet")
                await top.press("\x03")
                assert await top.wait_ended() == 130
                assert "Traceback" not in top.said
