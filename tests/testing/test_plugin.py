"""The pytest plugin, as somebody who tests a service uses it: pytest runs inside of pytest, in a project of its own.

Sweeps have processes of their own in any case.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
INSTALLED = "swimring" in entry_points(group="pytest11").names

SERVICE = """
import pytest, trio
from swimring.service import Request, Service

app = Service("app")


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name
"""


class Project:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.place = pytester.path

    def run(self, source: str, *arguments: str) -> str:
        (self.place / "test_it.py").write_text(SERVICE + source)
        plugin = [] if INSTALLED else ["-p", "swimring.testing.plugin"]
        done = self._pytester.runpytest_inprocess("-p", "no:cacheprovider", *plugin, "test_it.py", *arguments)
        return f"{done.stdout}{done.stderr}"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return Project(pytester)


FAULTS = """
async def test_calls(cluster, tmp_path):
    nodes = await cluster.start(3, app)
    await cluster.settled()
    with cluster.partition(nodes[0], nodes[1:]):
        await trio.sleep(20)
    nodes[1].crash()
    await cluster.settled()
    assert await nodes[0].node.call(where, "k") in ("n1", "n3")
    {}
"""


def test_a_test_that_takes_a_cluster_runs_in_virtual_time(project: Project) -> None:
    out = project.run(FAULTS.format("await trio.sleep(100)"))
    assert "1 passed" in out


def test_a_failure_shows_its_seed_the_command_that_replays_it_the_faults_and_the_nodes_side_by_side(
    project: Project,
) -> None:
    out = project.run(FAULTS.format("assert len(nodes) == 4"), "--swimring-seed", "12")
    assert "pytest 'test_it.py::test_calls' --swimring-seed 12" in out
    assert re.search(r"\d+\.\d{3} s  partition n1 \| n2 n3\n +\d+\.\d{3} s  end of: partition n1 \| n2 n3\n", out)
    assert re.search(r"\d+\.\d{3} s  n2 killed\n", out)
    assert re.search(r"\n +n1 +n2 +n3\n", out)
    assert re.search(r"\n +\d+\.\d{3} s  \. +n1 failed +\.\n", out)
    assert "E       assert 3 == 4" in out  # the test's own error, not a group of groups


BROKEN = """
from swimring.testing import views_converge

def at_most_four(cluster):
    for one in cluster.awake:
        seen = [member.name for member in one.node.members if member.status.name == "DEAD"]
        if len(cluster.running) == 4 and seen:
            yield f"{one.name} takes {' '.join(seen)} for dead"

async def test_breaks(cluster):
    nodes = await cluster.start(5, app)
    cluster.check(views_converge(within=60), at_most_four)
    with cluster.latency(0.01, 0.2), cluster.full_disk(nodes[2]):
        await trio.sleep(10)
        nodes[3].freeze()
        await trio.sleep(100)
"""


def test_a_broken_rule_is_reported_with_five_nodes_side_by_side_and_its_command_finds_it_again(
    project: Project,
) -> None:
    out = project.run(BROKEN, "--swimring-seed", "8")
    assert re.search(r"InvariantBroken: at_most_four does not hold at \d+\.\d{3} s: n\d takes n4 for dead", out)
    report = report_in(out)
    assert re.search(r"\n +\d+\.\d{3} s  disk full at n3\n +\d+\.\d{3} s  n4 machine lost\n", report)
    assert re.search(r"\d s  the rule at_most_four is broken\n", report)
    assert re.search(r"\n {14}n1 +n2 +n3 +n4 +n5\n", report)
    assert re.search(r"\n +\d+\.\d{3} s(  \S.*)?  n4 failed", report)
    assert max(map(len, report.splitlines())) <= 120
    command = re.search(r"^ +((?:PYTHONHASHSEED=\d+ )?pytest .+)$", report, re.MULTILINE)
    assert command is not None
    name, test, *options = [word for word in shlex.split(command[1]) if not word.startswith("PYTHON")]
    assert (name, test) == ("pytest", "test_it.py::test_breaks")
    again = project.run(BROKEN, *options)
    assert report_in(again) == report


def report_in(out: str) -> str:
    return re.split(r"-{5,} ?", out.partition("Captured simulated cluster call")[2])[1]


def test_a_replay_sees_the_same(project: Project) -> None:
    source = FAULTS.format("print(cluster.network.trace.digest); assert False")

    def digest(seed: str) -> str:
        found = re.search(r"^[0-9a-f]{32}$", project.run(source, "--swimring-seed", seed), re.MULTILINE)
        assert found
        return found.group()

    assert digest("5") == digest("5") != digest("6")


SETS = """
async def test_in_the_order_of_a_set(cluster):
    nodes = await cluster.start(3, app)
    await cluster.settled()
    for key in {f"key {number}" for number in range(20)}:  # an order that follows the hash seed
        await nodes[0].node.call(where, key)
    print(f"digest {cluster.network.trace.digest}")
    assert False
"""


@pytest.mark.parametrize(
    "program", [["-m", "pytest"], [str(Path(sys.executable).with_name("pytest"))]], ids=["module", "script"]
)
def test_a_seed_alone_repeats_in_a_fresh_process_whatever_is_in_the_order_of_sets(
    project: Project, program: list[str]
) -> None:
    (project.place / "test_it.py").write_text(SERVICE + SETS)
    plugin = [] if INSTALLED else ["-p", "swimring.testing.plugin"]

    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *program, "-p", "no:cacheprovider", *plugin, *arguments],
            env={name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"} | environment,
            capture_output=True, text=True, check=False, cwd=project.place,
        )  # fmt: skip
        return done.stdout + done.stderr

    def digest(out: str) -> str:
        found = re.search(r"^digest ([0-9a-f]{32})$", out, re.MULTILINE)
        assert found, out
        return found[1]

    first = run("test_it.py", "--swimring-seed", "5")
    assert "1 failed" in first
    command = re.search(r"^ +((?:PYTHONHASHSEED=\d+ )?pytest .+)$", first, re.MULTILINE)
    assert command is not None
    typed = [word for word in shlex.split(command[1]) if not word.startswith("PYTHON")][1:]
    assert digest(first) == digest(run(*typed)) == digest(run("test_it.py", "--swimring-seed=5", "-s"))
    if "-m" in program:
        assert digest(first) != digest(run(*typed, PYTHONHASHSEED="12"))


def test_a_run_whose_hash_seed_nobody_knows_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert "the hash seed of this run was random" in project.run(SETS)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert "the hash seed of this run was random" not in project.run(SETS)


def test_a_sweep_shows_the_lowest_seed_that_fails_whichever_process_finds_one_first(project: Project) -> None:
    source = """
from swimring.testing import allow

@pytest.mark.parametrize("n", [1])
async def test_calls(cluster, tmp_path, swimring_seed, n):
    with allow("this is about tmp_path"):
        assert not list(tmp_path.iterdir())  # fixtures are made anew for every seed
        (tmp_path / "mine").touch()
    print(f"began {swimring_seed}")
    await cluster.start(n, app)
    await cluster.settled()
    assert swimring_seed not in (4, 5, 9)
"""
    out = project.run(source, "--swimring-seeds", "12", "--swimring-processes", "2")
    assert "PYTHONHASHSEED=0 pytest 'test_it.py::test_calls[1]' --swimring-seed 4" in out
    assert "1 failed" in out
    assert "began 4" in out
    assert "began 2" not in out  # what was printed under other seeds is not shown
    assert "1 passed" in project.run(source, "--swimring-seeds", "2", "--swimring-processes", "1")


def test_a_sweep_whose_processes_cannot_run_says_what_they_said(project: Project) -> None:
    source = """
import os
async def test_dies(cluster):
    os._exit(3)
"""
    out = project.run(source, "--swimring-seeds", "2", "--swimring-processes", "1")
    assert "ended without a result" in out


def test_settings_of_the_cluster_come_from_a_mark(project: Project) -> None:
    source = """
from swimring.testing import Latency

@pytest.mark.swimring(name="mine", latency=Latency(low=0.1, high=0.1))
async def test_calls(cluster):
    assert cluster.name == "mine"
    nodes = await cluster.start(2, app)
    await cluster.settled()
    began = trio.current_time()
    await nodes[0].node.peer("n2").call(where)
    assert trio.current_time() - began >= 0.2
"""
    assert "1 passed" in project.run(source)


@pytest.mark.parametrize(
    "settings", [(), ("-o", "trio_mode=true"), ("-o", "anyio_mode=auto")], ids=["plain", "trio mode", "anyio mode"]
)
def test_it_works_beside_the_plugins_of_trio_and_of_anyio(project: Project, settings: tuple[str, ...]) -> None:
    source = """
async def test_calls(cluster):
    await cluster.start(2, app)
    await trio.sleep(100)
    await cluster.settled()

@pytest.mark.trio
async def test_of_pytest_trio(nursery):
    nursery.start_soon(trio.sleep, 0)

@pytest.mark.anyio
async def test_of_anyio(anyio_backend_name):
    assert anyio_backend_name in ("asyncio", "trio")
"""
    out = project.run(source, "-W", "ignore::pytest.PytestWarning", *settings)
    assert re.search(r" passed in ", out)  # how many depends on the mode: anyio runs some of them twice
    assert "failed" not in out
    assert "skipped" not in out


def test_a_plugin_that_takes_every_coroutine_for_its_own_leaves_ours_to_us(project: Project) -> None:
    """As pytest-asyncio does in its auto mode."""
    (project.place / "conftest.py").write_text("""
import asyncio, inspect
import pytest

class Ours(pytest.Function):
    def runtest(self):
        asyncio.run(self.obj(**{name: self.funcargs[name] for name in self._fixtureinfo.argnames}))

@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name, obj):
    items = yield
    for item in items or ():
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.__class__ = Ours
    return items
""")
    source = """
async def test_calls(cluster):
    await cluster.start(1, app)
    await trio.sleep(10)

async def test_of_theirs(tmp_path):
    import asyncio
    await asyncio.sleep(0)
"""
    assert "2 passed" in project.run(source)


def test_only_a_coroutine_function_can_take_a_cluster(project: Project) -> None:
    out = project.run("def test_calls(cluster): ...")
    assert "is for tests that are coroutine functions" in out


def test_a_project_with_a_fixture_of_that_name_keeps_its_own(project: Project) -> None:
    source = """
@pytest.fixture
def cluster():
    return "mine"

@pytest.mark.trio
async def test_calls(cluster):
    assert cluster == "mine"
    await trio.to_thread.run_sync(len, "a simulation has no threads")
"""
    assert "1 passed" in project.run(source)
