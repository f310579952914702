"""``swimring dev`` as a developer uses it: keys in a terminal, a reload under load, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.client import connect

from .processes import environment, in_terminal, started, swimring, swimring_json
from .test_run import HELLO, STUCK, cluster

if TYPE_CHECKING:
    from .processes import Running

__all__ = ["cluster"]

COUNTER = """
from swimring import Request, Service

app = Service("counter")

@app.on("say")
async def say(request: Request) -> str:
    return "{said}"
"""


async def serving(dev: Running, label: str) -> tuple[str, int]:
    """Wait until that node serves; its address and the number of its process."""
    line = await dev.wait_said(f"* {label} serves at ")
    found = re.search(r"serves at ([^ ,]+), process (\d+)", line)
    assert found
    return found[1], int(found[2])


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def statuses(address: str) -> dict[str, str]:
    return {member["name"]: member["status"] for member in await swimring_json("members", "--join", address)}


async def test_keys_kill_drain_freeze_heal_and_add_nodes_and_q_leaves_nothing_behind(cluster: str) -> None:
    with trio.fail_after(60):
        async with in_terminal("dev", HELLO, "-n", "2", "--cluster", cluster) as dev:
            _, first = await serving(dev, "n1")
            address, second = await serving(dev, "n2")
            assert "dashboard at http://127.0.0.1:" in dev.said
            await dev.wait_said("keys: 1-9 choose a node")
            await dev.press("k")
            await dev.wait_said("n1 is killed: kill -9")
            await dev.wait_said("n1 has ended, killed by signal 9")
            assert not lives(first)
            await dev.press("a")
            await dev.wait_said("n1 is started")
            dev.said = dev.raw = ""
            address, third = await serving(dev, "n1")
            assert (await statuses(address))["n1"] == "alive"
            await dev.press("2p")
            await dev.wait_said("n2 is chosen")
            await dev.wait_said("n2 is frozen")
            await dev.wait_said("n2 dead")  # what n1 logs
            await dev.press("h")
            await dev.wait_said("n2 goes on")
            await dev.wait_said("n2 alive")
            await dev.press("d")
            await dev.wait_said("n2 has ended, status 0")
            await dev.press("q")
            assert await dev.wait_ended() == 0
            assert not [pid for pid in (first, second, third) if lives(pid)]
            assert "Traceback" not in dev.said


async def test_a_changed_file_restarts_the_nodes_one_at_a_time_and_no_call_fails(cluster: str, tmp_path: Path) -> None:
    file = tmp_path / "counter_app.py"
    file.write_text(COUNTER.format(said="before"))
    answers: list[str] = []

    async def load(address: str, changed: trio.Event) -> None:
        async with connect(address, cluster=cluster) as mesh:
            number = 0
            while answers.count("after") < 300:
                number += 1
                answers.append(await mesh.request({"ns": "counter", "cmd": "say", "key": f"k{number}"}))
                if number == 100:
                    changed.set()

    with trio.fail_after(60):
        async with started("dev", f"{file}:app", "-n", "3", "--cluster", cluster, "--reload") as dev:
            before = [await serving(dev, label) for label in ("n1", "n2", "n3")]
            async with trio.open_nursery() as nursery:
                changed = trio.Event()
                nursery.start_soon(load, before[0][0], changed)
                await changed.wait()
                file.write_text("this is no Python")
                await dev.wait_said("it does not load: the nodes go on")
                assert "SyntaxError" in dev.said
                file.write_text(COUNTER.format(said="after"))
                await dev.wait_said("* reloaded")
            assert not [pid for _, pid in before if lives(pid)]
            assert "before" in answers  # and every call was answered, or `load` had failed
            dev.signal(signal.SIGINT)
            assert await dev.wait_ended() == 0


async def test_a_second_signal_does_not_wait_and_leaves_no_process_behind(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "stuck_app.py").write_text(STUCK)
    with trio.fail_after(60):
        async with started("dev", f"{tmp_path / 'stuck_app.py'}:app", "-n", "1", "--cluster", cluster) as dev:
            address, pid = await serving(dev, "n1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(swimring, "call", "stuck", "block", "--join", address)
                await dev.wait_said("blocked")
                dev.signal(signal.SIGINT)
                await dev.wait_said("all drain and leave")
                began = trio.current_time()
                dev.signal(signal.SIGTERM)
                assert await dev.wait_ended() == 130
                assert trio.current_time() - began < 5  # by its word one; the machine of a test is not always idle
                assert not lives(pid)
                assert "Traceback" not in dev.said
                nursery.cancel_scope.cancel()


async def test_nodes_leave_when_their_owner_is_killed(cluster: str) -> None:
    with trio.fail_after(60):
        async with started("dev", HELLO, "-n", "1", "--cluster", cluster) as dev:
            _, pid = await serving(dev, "n1")
            end = os.pidfd_open(pid)
            dev.signal(signal.SIGKILL)
            await trio.lowlevel.wait_readable(end)
            os.close(end)


@pytest.mark.parametrize(
    ("source", "says"), [("import nowhere_at_all", "nowhere_at_all"), ("app = 5", "declares no Service")]
)
async def test_what_does_not_load_is_shown_and_nothing_starts(tmp_path: Path, source: str, says: str) -> None:
    (tmp_path / "broken_app.py").write_text(source)
    with trio.fail_after(60):
        async with started("dev", f"{tmp_path / 'broken_app.py'}:app") as dev:
            assert await dev.wait_ended() == 2
            assert says in dev.said
            assert "serves" not in dev.said


async def test_a_signal_does_not_wait_for_a_module_that_takes_long_to_load(tmp_path: Path) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    (tmp_path / "slow_app.py").write_text(f"import socket\nsocket.create_connection(('127.0.0.1', {port})).recv(1)\n")
    with trio.fail_after(60):
        async with listener, started("dev", f"{tmp_path / 'slow_app.py'}:app", "-n", "1") as dev:
            async with await listener.accept():
                dev.signal(signal.SIGTERM)
                assert await dev.wait_ended() == 0
            assert dev.said == ""


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["for people", "for programs"])
async def test_a_reader_that_has_seen_enough_ends_all_without_a_traceback(
    cluster: str, options: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "swimring", "dev", HELLO, "-n", "2", "--cluster", cluster, *options]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.receive_some(1)
        await process.stdout.aclose()
        assert b"".join([said async for said in process.stderr]) == b""
        assert await process.wait() == 1
