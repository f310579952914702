"""The same kills done to casty in the same run: five of its nodes, as many copies, the same load, the same rules."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.benchmarks.rpc.installing import install_one

from .asker import open_asker_of
from .fleet import ROOT, Broken, Member, free_addresses, leaves, open_fleet
from .runs import NODES, Found, Plan, Scene, kill_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

HOW = {
    "member": "who asks is a sixth member, which hears of deaths itself and hosts keys, and not a client",
    "quick": "failures are detected with the timings of casty's example of replication, not with its defaults",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Casty:
    """Where casty is, or why it is not there."""

    python: Path
    missing: str | None
    how: Sequence[str] = ()


def find_casty(folder: Path, how: Sequence[str] = ()) -> Casty:
    """What the benchmark of calls has installed into this folder, or will."""
    with redirect_stdout(sys.stderr):
        python, missing = install_one(folder, "casty")
    return Casty(python=python, missing=missing, how=how)


async def beside(ours: Callable[[Plan], Awaitable[Found]], casty: Casty, plan: Plan) -> Found:
    """Our own run, and then casty's if it is there; nothing that goes wrong with casty is wrong with us."""
    found = await ours(plan)
    if casty.missing is not None:
        return replace(found, beside={"said": [f"casty is not measured: {casty.missing}"]})
    try:
        async with _open_scene(plan, casty) as scene:
            figures, wrong = await kill_in(scene)
    except* (Broken, trio.BrokenResourceError) as group:
        figures, wrong = {}, [str(error) for error in leaves(group)]
    said = [_version(casty), *(f"{one}: {HOW[one]}" for one in casty.how)]
    return replace(found, beside={**figures, "said": [*said, *(f"by our rules: {text}" for text in wrong)]})


@asynccontextmanager
async def _open_scene(plan: Plan, casty: Casty) -> AsyncIterator[Scene]:
    cluster, addresses = f"chaos-{secrets.token_hex(4)}", free_addresses(NODES)
    command = [str(casty.python), "-m", "tests.chaos.with_casty"]
    told = [cluster, "+".join(casty.how)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # not ours: it has modules for another interpreter
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        async with open_fleet(cluster, "casty", Path(folder)) as fleet:
            for number, address in enumerate(addresses, 1):
                log = Path(folder) / f"n{number}.log"
                member = Member(address, address, [*command, "node", *told, address, *addresses], log, env)
                fleet.members[address] = member
                await member.start()
            async with open_asker_of([*command, "ask", *told, *addresses], env) as asker:
                scene = Scene(fleet, asker, plan, random.Random(plan.seed))
                await scene.settled()
                await asker.do("touch", keys=plan.keys)
                yield scene


def _version(casty: Casty) -> str:
    program = "import casty, importlib.metadata as m, platform as p; print(m.version('casty'), p.python_version())"
    done = subprocess.run([casty.python, "-c", program], capture_output=True, text=True, check=False)
    version, _, python = done.stdout.strip().partition(" ")
    return f"casty {version}, Python {python}"
