"""The demo as a user runs it: real processes, real sockets, one of them killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from .processes import started, swimring_json

ROOT = Path(__file__).parents[2]


def children_of(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, _, rest = stat.read_text().rpartition(")")
            state, parent, *_ = rest.split()
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def running(text: str) -> list[str]:
    """The command lines of processes that mention ``text``."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            command = line.read_text().replace("\0", " ")
            if text in command:
                found.append(command)
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")


@needs_proc
def test_the_demo_counts_to_the_last_word_although_a_node_is_killed_and_leaves_nothing_behind() -> None:
    command = [sys.executable, "-m", "swimring", "demo", "--files", "40", "--json"]
    elsewhere = {"SWIMRING_LISTEN": "127.0.0.1:1", "SWIMRING_JOIN": "127.0.0.1:1"}  # of no meaning to its nodes
    env = {**os.environ, **elsewhere, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (document,) = done.stdout.splitlines()  # what is there for people goes to stderr then
    assert json.loads(document)["equal"] is True
    assert done.stderr.splitlines()[-1] == "equal: yes"
    assert "Traceback" not in done.stderr
    rows = dict(re.findall(r"│ (\S[^│]*?) *│ (\S[^│]*?) *│", done.stderr))
    assert rows["files"] == "40"
    assert rows["equal"] == "yes"
    assert re.fullmatch(r"[\d.]+ s", rows["time"])
    assert re.match(r"\d+ by the driver", rows["calls"])
    assert int(rows["retries"]) >= 0
    killed = re.fullmatch(r"(demo-\w+)-2 at [\d.]+ s, noticed after [\d.]+ s", rows["killed"])
    assert killed is not None, rows["killed"]
    cluster = killed[1]
    for number in (1, 3):
        seen = rows[f"members, by {cluster}-{number}"]
        assert f"{cluster}-2 dead" in seen
        assert f"{cluster}-1 alive" in seen
    assert "40 files" in done.stderr or re.search(r"\d+/\d+ files", done.stderr)
    assert running(cluster) == []


@needs_proc
async def test_a_ring_that_is_kept_running_answers_what_the_demo_says_to_type_next() -> None:
    with trio.fail_after(60):
        async with started("demo", "--files", "10", "--keep-running", cwd=ROOT) as demo:
            line = await demo.wait_said(" members --cluster ")
            nodes = children_of(demo.process.pid)
            cluster = line.split()[-1]
            rows = await swimring_json("members", "--cluster", cluster)
            assert [row["name"] for row in rows if row["status"] == "alive"] == [f"{cluster}-1", f"{cluster}-3"]
            demo.signal(signal.SIGINT)
            assert await demo.wait_ended() == 0
        assert [pid for pid in nodes if alive(pid)] == []
        assert "equal: yes" in demo.said
        assert "Traceback" not in demo.said


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_demo_soon_without_a_traceback_and_without_orphans(number: signal.Signals) -> None:
    """On a terminal, so that the progress bar says when the demo is under way."""
    master, slave = os.openpty()
    process = None
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "swimring", "demo"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        shown = await read_until(master, rb"[1-9]\d*/\d+ files")
        nodes = children_of(process.pid)
        assert len(nodes) == 3
        process.send_signal(number)
        with trio.fail_after(15):
            shown += await read_until(master, rb"\Z(?!)")
            assert await process.wait() == 130
        assert b"Traceback" not in shown
        assert b"calls/s" in shown
        assert b"1:alive 2:alive 3:alive" in shown
        assert [pid for pid in nodes if alive(pid)] == []
    finally:
        os.close(master)
        if process is not None and process.poll() is None:
            process.kill()


async def read_until(terminal: int, pattern: bytes) -> bytes:
    """What the terminal shows up to ``pattern``, or to its end; without colours."""
    shown = b""
    while not re.search(pattern, shown := re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown)):
        await trio.lowlevel.wait_readable(terminal)
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # Linux: nobody has the other end open any more
            break
        if not chunk:
            break
        shown += chunk
    return shown
