"""The runs on one machine's loopback: a rolling restart, kills, an owner that stands still, and a zombie's writes."""

from __future__ import annotations

import random
import secrets
import signal
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from .asker import Asker, open_asker
from .bank import Noted
from .fleet import Fleet, Member, free_addresses, open_fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

NODES = 5
BACK_WITHIN = 10.0
"""Seconds that a node has to come back when nobody may have noticed that it was gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is asked to do."""

    keys: int = 2_000
    rate: float = 500.0
    rounds: int = 3
    victims: int = NODES
    """How many nodes are restarted or killed in each round."""
    seed: int = 1
    quick: bool = False
    hold: int = 0
    restart_after: float | None = None
    """Seconds after which a node that was killed is started again; None: when the others know that it is dead."""
    careless: bool = False

    @property
    def pause(self) -> float:
        """Seconds between two things that happen."""
        return 0.5 if self.quick else 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run has shown."""

    name: str
    figures: dict[str, Any]
    targets: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """What must not be; nothing if all is well."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What another one's figures are after the same; what is wrong with them is one of them."""


@dataclass
class Scene:
    """A fleet, and who asks it."""

    fleet: Fleet
    asker: Asker
    plan: Plan
    rng: random.Random
    events: list[tuple[float, str]] = field(default_factory=list)
    """What was done to whom, on the clock of the records."""

    def note(self, text: str) -> None:
        self.events.append((time.monotonic(), text))  # noqa: TID251 - compared with moments of another process

    def stop(self, victim: Member, number: signal.Signals) -> None:
        self.note(f"{number.name} {victim.name}")
        victim.signal(number)

    async def end(self) -> dict[str, Any]:
        """What came of the calls; the slowest are told beside what had happened last."""
        load: dict[str, Any] = await self.asker.do("end")
        for one in load["slowest"]:
            due = one.pop("due")
            one["after"] = [f"{text} {due - at:.2f} s ago" for at, text in self.events if due - 15 < at <= due][-3:]
        return load

    async def settled(self, *, within: float = 120.0) -> float:
        """Wait until every node that runs takes its keys."""
        names = [name for name, one in self.fleet.members.items() if one.process and one.process.returncode is None]
        return float(await self.asker.do("settled", names=names, within=within))

    async def begin(self, *, reads: float, patience: tuple[float, float]) -> None:
        await self.asker.do(
            "begin", keys=self.plan.keys, rate=self.plan.rate, reads=reads, patience=patience, seed=self.plan.seed
        )


@asynccontextmanager
async def open_scene(
    plan: Plan,
    *,
    target: str = "tests.chaos.counters:app",
    service: str = "counter",
    env: dict[str, str] | None = None,
    options: Sequence[str] = (),
    nodes: int = NODES,
    touched: bool = True,
) -> AsyncIterator[Scene]:
    """Nodes and an asker; every key was counted once."""
    cluster = f"chaos-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        options = ("--restart-hold", str(plan.hold), *options)
        async with open_fleet(cluster, target, Path(folder), options=options, env=env) as fleet:
            for member in fleet.plan(free_addresses(nodes)):
                await member.start()
            async with open_asker(cluster, service, fleet.addresses) as asker:
                scene = Scene(fleet, asker, plan, random.Random(plan.seed))
                await scene.settled()
                if touched:
                    await asker.do("touch", keys=plan.keys)
                yield scene


async def rolling(plan: Plan) -> Found:
    """SIGTERM and restart of every node, in rounds, under load."""
    handing_over = []
    async with open_scene(plan) as scene:
        await scene.begin(reads=0.2, patience=(30.0, 30.0))
        for _ in range(plan.rounds):
            for member in list(scene.fleet.members.values())[: plan.victims]:
                await trio.sleep(plan.pause)
                began = trio.current_time()
                scene.note(f"SIGTERM {member.name}")
                await member.leave()
                scene.note(f"{member.name} ended")
                handing_over.append(trio.current_time() - began)
                await member.start()
                scene.note(f"{member.name} started")
                await scene.settled()
                scene.note("settled")
        await trio.sleep(plan.pause)
        load = await scene.end()
        checked = await scene.asker.do("verify", exact=True)
        figures = {**load, **checked, "restarts": len(handing_over), "longest_drain": max(handing_over)}
        broken = [*failures(load, allow_maybe=False), *losses(load, checked), *complaints(scene)]
    return Found(name="rolling", figures=figures, targets={"p99": "0.25"}, broken=broken)


async def kill(plan: Plan) -> Found:
    """SIGKILL of one owner after the other under load, each restarted when the others have taken over."""
    async with open_scene(plan) as scene:
        figures, broken = await kill_in(scene)
        broken += complaints(scene)
    return Found(name="kill", figures=figures, targets={"worst": "0.5"}, broken=broken)


async def kill_in(scene: Scene) -> tuple[dict[str, Any], list[str]]:
    """Kill and restart whatever the scene is made of; the figures, and what is wrong."""
    plan, declared = scene.plan, []
    await scene.begin(reads=0.5, patience=(30.0, 30.0))
    kills = plan.rounds * plan.victims
    for _ in range(kills):
        await trio.sleep(plan.pause)
        victim = scene.rng.choice(list(scene.fleet.members.values()))
        began = trio.current_time()
        scene.note(f"SIGKILL {victim.name}")
        await victim.kill()
        if plan.restart_after is None:
            await scene.asker.do("dead", name=victim.name)
            declared.append(trio.current_time() - began)
            await trio.sleep(plan.pause)
        else:
            await trio.sleep(plan.restart_after)
        await victim.start()
        scene.note(f"{victim.name} started")
        if plan.restart_after is not None:
            await trio.sleep(BACK_WITHIN)
        await scene.settled()
        scene.note("settled")
    await trio.sleep(plan.pause)
    load = await scene.end()
    checked = await scene.asker.do("verify", exact=False)
    figures = {**load, **checked, "kills": kills, "declared_dead_after": max(declared, default=None)}
    return figures, [*failures(load, allow_maybe=True), *losses(load, checked)]


async def freeze(plan: Plan) -> Found:
    """SIGSTOP of an owner until the others have declared it dead, and then some; SIGCONT."""
    told, patience = [], (5.0, 60.0)
    async with open_scene(plan) as scene:
        await scene.begin(reads=0.5, patience=patience)
        for _ in range(plan.rounds):
            await trio.sleep(plan.pause)
            victim = scene.rng.choice(list(scene.fleet.members.values()))
            began = trio.current_time()
            scene.stop(victim, signal.SIGSTOP)
            await scene.asker.do("dead", name=victim.name)
            told.append(trio.current_time() - began)
            await trio.sleep(plan.pause * 3)
            scene.stop(victim, signal.SIGCONT)
            await scene.settled()
        await trio.sleep(plan.pause)
        load = await scene.end()
        checked = await scene.asker.do("verify", exact=False)
        figures = {**load, **checked, "freezes": len(told), "declared_dead_after": max(told)}
        broken = [*failures(load, allow_maybe=True), *losses(load, checked), *complaints(scene)]
    if load["overrun"] > 1.0:
        broken.append(f"a call outlived its deadline by {load['overrun']:.2f} s")
    return Found(name="freeze", figures=figures, targets={"overrun": "0"}, broken=broken)


async def zombie(plan: Plan) -> Found:
    """SIGSTOP of an owner for 15 s in the midst of its writes to a table that checks fences."""
    with tempfile.TemporaryDirectory(prefix="chaos-bank-") as folder:
        path = str(Path(folder) / "bank.db")
        table = Noted(path)
        env = {"CHAOS_BANK": path, **({"CHAOS_CARELESS": "1"} if plan.careless else {})}
        async with open_scene(plan, target="tests.chaos.bank:app", service="bank", env=env) as scene:
            await scene.begin(reads=0.2, patience=(20.0, 60.0))
            for _ in range(plan.rounds):
                await trio.sleep(2.0)
                victim = scene.rng.choice(list(scene.fleet.members.values()))
                scene.stop(victim, signal.SIGSTOP)
                await trio.sleep(15.0)
                scene.stop(victim, signal.SIGCONT)
                await scene.settled()
            load = await scene.end()
            checked = await scene.asker.do("verify", exact=False)
            said = complaints(scene)
        tried, taken = table.old_writes()
    figures = {**load, **checked, "old_writes_tried": tried, "old_writes_taken": taken}
    broken = [*failures(load, allow_maybe=True), *losses(load, checked), *said]
    if not tried:
        figures["note"] = "no owner stood still in the midst of a write: this run shows nothing, repeat it"
    if taken:
        broken.append(f"{taken} writes with an old fence were taken")
    return Found(name="zombie", figures=figures, broken=broken)


# ---------------------------------------------------------------------------------------------------- what is wrong


def failures(load: dict[str, Any], *, allow_maybe: bool) -> list[str]:
    failed = {**load["failed"]}
    if allow_maybe:
        failed = {name: count for name, count in failed.items() if name.endswith("refused")}
    broken = [f"{count} calls failed: {name}" for name, count in failed.items()]
    broken += [f"{count} idempotent calls failed: {name}" for name, count in load["failed_idempotent"].items()]
    if load["skipped"]:
        broken.append(f"{load['skipped']} calls were not made: too many were under way")
    return broken


def losses(load: dict[str, Any], checked: dict[str, Any]) -> list[str]:
    return [*(f"wrong answer: {text}" for text in load["wrong"]), *(f"lost: {text}" for text in checked["lost"])]


def complaints(scene: Scene) -> list[str]:
    return [f"{name} wrote {count} tracebacks" for name, count in scene.fleet.complaints().items()]
