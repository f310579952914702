"""``swimring trace`` as an operator types it, beside a cluster under load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from examples.hello import visit
from swimring.client import connect

from .processes import running, started, swimring

if TYPE_CHECKING:
    from .processes import Running

HELLO = f"{Path(__file__).parents[2] / 'examples' / 'hello.py'}:app"


async def call_until_ended(address: str, traced: Running) -> int:
    """Visit, again and again, until the trace has ended; how often."""
    number = 0
    async with connect(address) as mesh:
        while traced.process.poll() is None:
            await mesh.call(visit, "k")
            number += 1
            await mesh.call(visit, "another")
    return number


@pytest.mark.parametrize("as_json", [False, True])
async def test_trace_shows_the_calls_of_a_key_while_it_runs_and_then_what_they_took(
    as_json: bool, tmp_path: Path
) -> None:
    options = ("--cluster", f"trace-{tmp_path.name}", "--join", "127.0.0.1:1", "--admin", "off")
    with trio.fail_after(60):
        async with running(HELLO, *options, "--name", "a") as node:
            address = await node.wait_address()
            more = ("--json",) if as_json else ()
            async with started("trace", "k", "--for", "500ms", "--join", address, *more) as traced:
                assert await call_until_ended(address, traced) > 0
                assert await traced.wait_ended() == 0
    lines = traced.said.splitlines()
    if as_json:
        calls = [json.loads(line) for line in lines]
        assert {(call["service"], call["cmd"], call["outcome"]) for call in calls} == {("hello", "visit", "ok")}
        assert all(call["seconds"] >= 0 for call in calls)
    else:
        assert lines[0] == f"k is on a at {address}; its calls for 0.5 s:"
        assert "hello:visit from" in lines[1]
        assert " ok; half within " in lines[-1]


async def test_a_time_that_is_none_is_one_line_of_error() -> None:
    status, out, err = await swimring("trace", "k", "--for", "soon")
    assert (status, out) == (2, "")
    assert "a time above 0, such as 30s, 500ms or 2m" in err
    assert "Traceback" not in err
