"""The commands on the pages of docs/howto, typed as they stand there, on machines of their own.

A block of a page is run line by line; a page whose commands cannot be run here says why. What a page has of Python is
run by tests/house/test_howto.py.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
import trio

from tests.certificates.authority import Authority
from tests.chaos.wires import Wires, open_wires, why_not

from .processes import environment, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from .processes import Running

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "howto"
RUN = {"run-on-three-machines", "secrets-and-tls", "watch-and-alert", "roll-without-downtime", "find-a-slow-handler"}
NOT_RUN = {
    "replay-a-failure": "it shows the report of a test that fails, of examples/carts; tests/testing runs that example",
    "run-blocking-work": "it has no commands",
    "test-under-partitions": "its commands are pytest, which tests/house/test_howto.py runs on its code",
    "write-an-invariant": "its commands are pytest, which tests/house/test_howto.py runs on its code",
}
"""Why the commands of a page are not run here."""


def commands_of(page: str) -> list[str]:
    """The lines of the page's blocks that are typed, without what is said of them."""
    blocks = re.findall(r"^ *```(?:text|console|sh)?\n(.*?)^ *```$", (PAGES / f"{page}.md").read_text(), re.M | re.S)
    lines = (line.removeprefix("$ ") for block in blocks for line in dedent(block).splitlines())
    return [
        line.partition("  #")[0].partition(" # ")[0].strip() for line in lines if re.match("swimring |python ", line)
    ]


def file_of(page: str, kind: str) -> str:
    """What the block of that kind says."""
    found = re.search(rf"^( *)```{kind}\n(.*?)^ *```$", (PAGES / f"{page}.md").read_text(), re.M | re.S)
    assert found is not None
    return dedent(found[2])


class Machine:
    """One place, a folder in it, and what was typed there."""

    def __init__(self, wires: Wires, number: int, folder: Path, typed: list[str]) -> None:
        self.folder = folder / f"machine{number + 1}"
        self.folder.mkdir()
        shutil.copy(ROOT / "examples" / "hello.py", self.folder)
        self._prefix = wires.place(number)
        self._typed = typed
        programs = folder / "bin"
        if not programs.exists():
            programs.mkdir()
            for name, more in (("swimring", " -m swimring"), ("python", "")):
                (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{more} "$@"\n')
                (programs / name).chmod(0o755)
        own = {name: value for name, value in environment().items() if not name.startswith("SWIMRING_")}
        self._environ = {**own, "PATH": f"{programs}:{os.environ['PATH']}"}

    async def type(self, line: str, **environ: str) -> str:
        """Type a line whose command ends well; what it printed."""
        self._typed.append(line)
        done = await trio.run_process(
            [*self._prefix, "sh", "-c", line],
            cwd=self.folder, env={**self._environ, **environ}, check=False, capture_stdout=True, capture_stderr=True,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout.decode()

    def go_on(self, line: str) -> AbstractAsyncContextManager[Running]:
        """Type a line whose command goes on until the end of the block."""
        self._typed.append(line)
        shell = ("sh", "-c", f"exec {line}")
        return started(prefix=self._prefix, command=shell, environ=self._environ, cwd=self.folder)


@pytest.fixture
def typed() -> list[str]:
    return []


@pytest.fixture
def machines(tmp_path: Path, typed: list[str]) -> Iterator[list[Machine]]:
    """10.0.0.1 to 10.0.0.3."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with open_wires(["left"] * 3, network="10.0.0") as wires:
        yield [Machine(wires, number, tmp_path, typed) for number in range(3)]


def test_each_page_is_run_or_says_why_not() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == RUN | NOT_RUN.keys()
    for page in RUN:
        assert commands_of(page)
    for page in NOT_RUN:
        assert not [line for line in commands_of(page) if line.startswith("swimring ")]


async def test_run_on_three_machines(machines: list[Machine], typed: list[str]) -> None:
    page = "run-on-three-machines"
    settings = file_of(page, "toml")
    with trio.fail_after(120):
        await machines[0].type(commands_of(page)[0])
        async with AsyncExitStack() as stack:
            nodes = []
            for number, (machine, name) in enumerate(zip(machines, ("one", "two", "three"), strict=True), start=1):
                if number > 1:
                    shutil.copy(machines[0].folder / "ring.secret", machine.folder)
                changed = re.sub(r'^name = "one".*', f'name = "{name}"', settings, flags=re.M)
                changed = re.sub(r"^listen = .*", f'listen = "10.0.0.{number}:7979"', changed, flags=re.M)
                (machine.folder / "swimring.toml").write_text(changed)
                await machine.type("swimring config check hello:app")
                nodes.append(await stack.enter_async_context(machine.go_on("swimring run hello:app")))
            for node in nodes:
                await node.wait_said(" in cluster ")
            rows = [line.split()[:3] for line in (await machines[2].type("swimring members")).splitlines()[1:]]
            hosts = {"one": "10.0.0.1:7979", "three": "10.0.0.3:7979", "two": "10.0.0.2:7979"}
            assert rows == [[name, host, "alive"] for name, host in hosts.items()]
            assert "bad" not in await machines[1].type("swimring doctor")
    assert set(typed) >= set(commands_of(page))


async def test_secrets_and_tls(machines: list[Machine], typed: list[str], tmp_path: Path) -> None:
    machine, page = machines[0], "secrets-and-tls"
    make, serve, members, serve_tls, members_tls = commands_of(page)
    with trio.fail_after(120):
        await machine.type(make)
        async with machine.go_on(serve) as node:
            await node.wait_address()
            assert "10.0.0.1:7979" in await machine.type(members)
            await machine.type(make.replace("ring.secret", "new.secret"))
            environ = {"SWIMRING_JOIN": "10.0.0.1:7979", "SWIMRING_SECRET_FILE": "ring.secret"}
            await machine.type("swimring keys add new.secret", **environ)
            row = (await machine.type("swimring keys list", **environ)).split()
            old, new = row[-2].rstrip(","), row[-1]
            await machine.type(f"swimring keys use {new}", **environ)
            await machine.type(
                f"swimring keys remove {old}", SWIMRING_JOIN="10.0.0.1:7979", SWIMRING_SECRET_FILE="new.secret"
            )
        authority = Authority(tmp_path)
        shutil.copy(authority.file, machine.folder / "ca.pem")
        for name in ("node", "me"):
            signed = authority.issue(name)
            for path, ending in ((signed.cert, "pem"), (signed.key, "key")):
                shutil.copy(path, machine.folder / f"{name}.{ending}")
                (machine.folder / f"{name}.{ending}").chmod(0o600)
        async with machine.go_on(serve_tls) as node:
            await node.wait_address()
            assert "alive" in await machine.type(members_tls)
    assert set(typed) >= set(commands_of(page))


async def test_watch_and_alert(machines: list[Machine], typed: list[str]) -> None:
    machine, page = machines[0], "watch-and-alert"
    shutil.copy(machine.folder / "hello.py", machine.folder / "shop.py")
    (serve,) = commands_of(page)
    with trio.fail_after(60):
        async with machine.go_on(serve) as node:
            await node.wait_said("can be watched at http://127.0.0.1:8079")
            fetch = (
                "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8079/metrics').read().decode())"
            )
            assert 'swimring_members{state="alive"} 1.0' in await machine.type(f'python -c "{fetch}"')
    assert (PAGES / f"{page}.md").read_text().count("127.0.0.1:8079") == 2
    assert set(typed) >= set(commands_of(page))


async def test_roll_without_downtime(machines: list[Machine], typed: list[str]) -> None:
    machine, page = machines[0], "roll-without-downtime"
    drain, serve, members = commands_of(page)
    with trio.fail_after(120):
        async with AsyncExitStack() as stack:
            nodes = {}
            for name in ("one", "two", "three"):
                nodes[name] = await stack.enter_async_context(machine.go_on(serve.replace(" one", f" {name}")))
                await nodes[name].wait_address()
            await machine.type(drain)
            assert await nodes["one"].wait_ended() == 0
            again = await stack.enter_async_context(machine.go_on(serve))
            await again.wait_address()
            rows = {row[0]: row for row in map(str.split, (await machine.type(members)).splitlines()[1:])}
            assert (rows["one"][2], rows["one"][5]) == ("alive", "all")
    assert set(typed) >= set(commands_of(page))


async def test_find_a_slow_handler(machines: list[Machine], typed: list[str]) -> None:
    machine, page = machines[0], "find-a-slow-handler"
    trace, top, members = commands_of(page)
    with trio.fail_after(60):
        async with machine.go_on("swimring run hello:app") as node:
            await node.wait_address()
            async with machine.go_on(trace) as tracing:
                await tracing.wait_said("its calls for 30 s")
                await machine.type("swimring call hello visit --key customer-1")
                assert " ms  ok" in await tracing.wait_said("hello:visit")
            assert "hello.visit" in await machine.type(top)
            assert '"lag"' in await machine.type(members)
    assert set(typed) >= set(commands_of(page))
