"""`--swimring-real`: the same tests on real processes, what they cannot do, and what a failure shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import trio

from swimring.errors import ConfigError
from swimring.service import Service
from swimring.testing.importable import Importable

ROOT = Path(__file__).parents[2]
PLUGIN = [] if "swimring" in entry_points(group="pytest11").names else ["-p", "swimring.testing.plugin"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

SUITE = """
import os, sys
import pytest, trio
from swimring.service import Request, Service

app = Service("app")


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


async def test_passes(cluster):
    nodes = await cluster.start(2, app, profile="local")
    await cluster.settled()
    assert await nodes[0].node.call(where, "k") in ("n1", "n2")


@pytest.mark.parametrize(
    "what", ["partition", "loss", "isolate", "flapping", "inject", "check", "network", "no_such_thing"]
)
async def test_cannot(cluster, what):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        getattr(cluster, what)


async def test_has_skewed_clocks(cluster):
    await cluster.start(1, app, skew=1.0)


@pytest.mark.swimring(latency=None)
async def test_has_latency(cluster): ...


async def test_has_a_service_of_its_own(cluster):
    await cluster.start(1, Service("inner"))


async def dies(node):
    print("out of memory")
    sys.stdout.flush()
    os._exit(3)


async def test_dies(cluster):
    await cluster.start(1, app, beside=dies, profile="local")
    await trio.sleep_forever()
"""


def command(place: Path, *arguments: str) -> list[str]:
    (place / "test_it.py").write_text(SUITE)
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *PLUGIN, "test_it.py", "-rs", *arguments]


def run(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        command(place, *arguments), cwd=place, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_tests_run_on_processes_or_are_skipped_with_the_reason_and_a_failure_shows_what_nodes_said(
    tmp_path: Path,
) -> None:
    out = run(tmp_path, "--swimring-real")
    assert "1 failed, 1 passed, 11 skipped" in out
    skipped = " ".join(line for line in out.splitlines() if line.startswith("SKIPPED"))
    assert "partition cannot be had with --swimring-real: the loopback" in skipped
    for what in ("loss", "isolate", "flapping", "inject", "check", "network", "no_such_thing", "skew", "latency"):
        assert f"{what} cannot be had" in skipped
    assert re.search(r"<Service inner.*another process can import it only if a module has a name for it", skipped)
    assert re.search(r"E +AssertionError: n1 ended by itself, with status 3", out)
    assert re.search(r"<RealNode n1, down> said:\n.*out of memory", out)


def test_real_processes_have_no_schedules_to_sweep(tmp_path: Path) -> None:
    assert "--swimring-seeds sweeps schedules" in run(tmp_path, "--swimring-real", "--swimring-seeds", "2")


@pytest.mark.slow
@pytest.mark.parametrize("doing", ["pass", "node.pause()"])
async def test_nodes_die_with_a_test_run_that_is_killed(tmp_path: Path, doing: str) -> None:
    (tmp_path / "test_waits.py").write_text(
        SUITE.partition("async def test_passes")[0]
        + f"""
async def test_waits(cluster):
    (node,) = await cluster.start(1, app, profile="local")
    {doing}
    print("node", node.pid, flush=True)
    await trio.sleep_forever()
"""
    )
    arguments = [*command(tmp_path, "--swimring-real", "-s")]
    arguments[arguments.index("test_it.py")] = "test_waits.py"
    with trio.fail_after(120):
        process = await trio.lowlevel.open_process(
            arguments, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            pid = await _pid_in(process)
            watch = os.pidfd_open(pid)
            process.send_signal(signal.SIGKILL)
            await trio.lowlevel.wait_readable(watch)
            os.close(watch)
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                assert process.stdout is not None
                await process.stdout.aclose()


async def _pid_in(process: trio.Process) -> int:
    said = ""
    assert process.stdout is not None
    async for chunk in process.stdout:
        said += chunk.decode()
        if found := re.search(r"node (\d+)\n", said):
            return int(found.group(1))
    raise AssertionError(said)


def test_what_no_module_has_a_name_for_cannot_be_imported_elsewhere() -> None:
    def inner() -> None: ...

    for thing in (inner, Service("mine"), object()):
        with pytest.raises(ConfigError, match="a module has a name for it"):
            Importable.of(thing)


named = Service("named")


def test_what_a_module_has_a_name_for_can(tmp_path: Path) -> None:
    assert Importable.of(named).load() is named
    assert Importable.of(command).attribute == "command"
    (tmp_path / "elsewhere.py").write_text("class A:\n    b = 7\n")
    there = Importable(module="no.such.package.elsewhere", file=str(tmp_path / "elsewhere.py"), attribute="A.b")
    try:
        assert there.load() == 7
    finally:
        del sys.modules[there.module]
