"""`swimring bench` as a user types it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from .processes import in_terminal, running, swimring
from .test_run import HELLO, cluster

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cluster"]
QUICK = ("--warm-up", "0", "--duration", "400ms")
LAB = f"{HELLO.rpartition('/examples/')[0]}/tests/integration/lab.py:app"


async def measured(*arguments: str, status: int = 0) -> dict[str, Any]:
    ended, out, err = await swimring("bench", *arguments, "--json")
    assert (ended, err) == (status, "")
    (line,) = out.splitlines()
    return dict(json.loads(line))


async def test_without_a_cluster_it_brings_nodes_and_an_echo_along() -> None:
    with trio.fail_after(60):
        found = await measured("--spawn", "2", "--size", "2000", *QUICK)
        assert found["nodes"] == ["n1", "n2"]
        assert (found["service"], found["cmd"], found["failed"], found["errors"]) == ("bench", "echo", 0, {})
        assert found["calls"] > 0
        latency = found["latency"]
        assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]


async def test_the_handler_of_a_cluster_that_runs_is_called_at_a_rate_and_a_table_says_how_it_went(
    cluster: str,
) -> None:
    with trio.fail_after(60):
        async with running(HELLO, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1") as node:
            via = ("--join", await node.wait_address())
            load = ("hello", "greet", "--size", "name=20", "--rate", "50", "--warm-up", "0", "--duration", "1s")
            status, out, err = await swimring("bench", *load, *via)
            assert (status, err) == (0, "")
            table = {line.split("  ")[0].strip(): line.split("  ")[-1].strip() for line in out.splitlines()}
            assert table["calls"].startswith("50 in 1.")
            assert (table["failed"], table["retries"]) == ("0", "0")
            assert table["p99"].endswith(" ms")
            status, _, err = await swimring("bench", *via)
            assert (status, "the cluster offers hello" in err) == (2, True)


async def test_calls_that_fail_are_told_by_kind_and_the_status_is_1(cluster: str) -> None:
    with trio.fail_after(60):
        async with running(LAB, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1") as node:
            via = ("--join", await node.wait_address(), "--calls", "6", *QUICK)
            found = await measured("lab", "divide", "by=0", *via, status=1)
            assert (found["calls"], found["failed"], found["errors"]) == (6, 6, {"ZeroDivisionError": 6})
            assert found["latency"]["p50"] is None


async def test_what_watchers_cost_is_measured_side_by_side() -> None:
    with trio.fail_after(90):
        found = await measured("--spawn", "1", "--observe", "nobody,metrics,sampled", *QUICK)
        assert list(found["watched"]) == ["nobody", "metrics", "sampled"]
        for one in found["watched"].values():
            assert one["failed"] == 0
            assert one["calls"] > 0
            assert one["nodes_cpu"] is None or one["nodes_cpu"] >= 0


async def test_an_app_of_ones_own_is_started_and_what_keeps_it_from_starting_is_said(tmp_path: Path) -> None:
    with trio.fail_after(60):
        found = await measured("hello", "greet", "name=x", "--spawn", "1", "--app", HELLO, *QUICK)
        assert (found["failed"], found["keys"]) == (0, 1000)
        app = tmp_path / "broken.py"
        app.write_text("raise OSError('as planned')\n")
        status, out, err = await swimring("bench", "hello", "greet", "--spawn", "1", "--app", f"{app}:app", *QUICK)
        assert (status, out) == (3, "")
        assert "as planned" in err
        assert err.count("\n") == 1


async def test_in_a_terminal_progress_is_shown_and_ctrl_c_shows_what_there_is() -> None:
    with trio.fail_after(60):
        async with in_terminal("bench", "--spawn", "1", "--duration", "10m", "--warm-up", "0") as bench:
            await bench.wait_said(" calls/s, p99 ")
            await bench.press("\x03")
            assert await bench.wait_ended() == 130
            assert "bench echo on 1 nodes" in bench.said
            assert "CPU here" in bench.said
            assert "Traceback" not in bench.said
