"""Real processes on the loopback interface: start, find each other, answer, leave, die."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from .processes import Running, running, swimring, swimring_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO = f"{Path(__file__).parents[2] / 'examples' / 'hello.py'}:app"

STUCK = """
import time
import trio
from swimring import Request, Service

app = Service("stuck")

@app.on("shield")
async def shield(request: Request) -> None:
    print("shielded", flush=True)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

@app.on("block")
async def block(request: Request) -> None:
    print("blocked", flush=True)
    while True:
        time.sleep(60)
"""


@asynccontextmanager
async def three(cluster: str) -> AsyncIterator[dict[str, Running]]:
    """Three nodes that know each other."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            running(HELLO, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1")
        )
        address = await first.wait_address()
        nodes = {"a": first}
        for name in "bc":
            options = ("--cluster", cluster, "--name", name, "--join", address)
            nodes[name] = await stack.enter_async_context(running(HELLO, *options))
        for name, node in nodes.items():
            await node.wait_address()
            for other in nodes.keys() - {name}:
                await node.wait_said(f"{other} alive")
        yield nodes


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A name no other test run on this machine uses."""
    return f"run-{abs(hash(str(tmp_path))) % 10**8}"


async def test_three_processes_find_each_other_and_answer(cluster: str) -> None:
    with trio.fail_after(30):
        async with three(cluster) as nodes:
            via = ("--join", await nodes["b"].wait_address())
            rows = await swimring_json("members", *via)
            assert [(row["name"], row["status"], row["services"]) for row in rows] == [
                (name, "alive", ["hello"]) for name in "abc"
            ]
            found = await swimring_json("lookup", "k1", "--replicas", "2", *via)
            owner = found["owner"]["name"]
            assert {owner, *(replica["name"] for replica in found["replicas"])} == {"a", "b", "c"}
            called = await swimring("call", "hello", "greet", "--key", "k1", "name=World", "excited=true", *via)
            assert called == (0, f"hello World! from {owner}\n", "")
            visits = [await swimring_json("call", "hello", "visit", "--key", "k1", *via) for _ in range(3)]
            assert visits == [1, 2, 3]
            status, _, err = await swimring("call", "hello", "greet", "--key", "k1", "name=5", *via)
            assert status == 1
            assert "name" in err
            status, _, err = await swimring("call", "chat", "say", *via)
            assert (status, err.count("\n")) == (1, 1)
            assert "offered: hello" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_leaves_within_3_seconds_with_status_0(cluster: str, number: signal.Signals) -> None:
    with trio.fail_after(30):
        async with three(cluster) as nodes:
            nodes["a"].signal(number)
            with trio.fail_after(3):
                assert await nodes["a"].wait_ended() == 0
                for name in "bc":
                    await nodes[name].wait_said("a left")
            assert "Traceback" not in nodes["a"].said
            rows = await swimring_json("members", "--join", await nodes["b"].wait_address())
            assert [row["status"] for row in rows] == ["left", "alive", "alive"]


async def test_a_killed_process_is_dead_and_its_keys_are_answered_by_another(cluster: str) -> None:
    with trio.fail_after(30):
        async with three(cluster) as nodes:
            via = ("--join", await nodes["a"].wait_address(), "--join", await nodes["b"].wait_address())
            keys = [f"k{number}" for number in range(20)]
            owners = {key: (await swimring_json("lookup", key, *via))["owner"]["name"] for key in keys[:6]}
            nodes["c"].signal(signal.SIGKILL)
            for key, owner in owners.items():
                status, out, err = await swimring(
                    "call", "hello", "greet", "--key", key, "name=World", "--idempotent", *via
                )
                assert (status, err) == (0, "")
                answered = out.split()[-1]
                assert answered == owner if owner != "c" else answered in {"a", "b"}
            await nodes["a"].wait_said("c dead")
            rows = await swimring_json("members", *via)
            assert [(row["name"], row["status"]) for row in rows] == [("a", "alive"), ("b", "alive"), ("c", "dead")]


@pytest.mark.parametrize(("cmd", "says"), [("shield", "shielded"), ("block", "blocked")])
async def test_the_second_signal_ends_it_whatever_a_handler_does(
    cluster: str, tmp_path: Path, cmd: str, says: str
) -> None:
    (tmp_path / "stuck_app.py").write_text(STUCK)
    with trio.fail_after(30):
        options = ("--cluster", cluster, "--join", "127.0.0.1:1")
        async with running(f"{tmp_path / 'stuck_app.py'}:app", *options) as node, trio.open_nursery() as nursery:
            nursery.start_soon(swimring, "call", "stuck", cmd, "--join", await node.wait_address())
            await node.wait_said(says)
            node.signal(signal.SIGINT)
            if cmd == "shield":
                await node.wait_said("leaves")
            node.signal(signal.SIGTERM)  # another one: two of a kind, sent at once, may arrive as one
            assert await node.wait_ended() == 130  # the handler would keep it for ever
            assert "Traceback" not in node.said
            nursery.cancel_scope.cancel()


async def test_a_name_that_is_taken_by_a_newer_process_ends_the_older_one_with_one_line(cluster: str) -> None:
    with trio.fail_after(30):
        options = ("--cluster", cluster, "--name", "same")
        async with running(HELLO, *options, "--join", "127.0.0.1:1") as older:
            address = await older.wait_address()
            async with running(HELLO, *options, "--join", address):
                assert await older.wait_ended() == 1
                assert "Traceback" not in older.said
                assert older.said.splitlines()[-1].startswith("swimring: ")
