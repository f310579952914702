"""``swimring bench``: load on a cluster that runs, or on nodes of its own, and what became of each call."""

from __future__ import annotations

import random
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from swimring.admin.bench import DISTRIBUTIONS, WATCHED, Load, Measured, Plan, Tally, echo, open_spawned
from swimring.errors import ConfigError, NotJoined
from swimring.node import lone_error_raised_bare

from .access import ANY, Access, AsJson
from .asking import dial, read_fields
from .lasting import read_seconds
from .output import print_json, print_table, print_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from swimring.admin.bench import Spawned
    from swimring.client import Mesh

_INTERRUPTED: Final = 130
_MOST_NODES: Final = 20
_RING_WITHIN: Final = 30.0
_ROUNDS: Final = 3
"""Turns that each set-up has, so that what else the machine does meets all of them."""
_REFRESH_EVERY: Final = 0.25
_ECHO: Final = "swimring.admin.bench:echo"
_PAYLOAD: Final = "data"
_FULL: Final = 0.95


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How much is asked, and for how long."""

    concurrency: Annotated[int, Parameter(name=("--concurrency", "-c"), help="Calls at once, at most.")] = 16
    rate: Annotated[
        float | None,
        Parameter(
            help="Calls a second that are due; latency counts from then. Default: the next when one is answered."
        ),
    ] = None
    duration: Annotated[str, Parameter(name=("--duration", "-d"), help="How long, such as 30s or 2m.")] = "10s"
    calls: Annotated[int | None, Parameter(name=("--calls",), help="End after so many calls, if not before.")] = None
    warm_up: Annotated[str, Parameter(help="How long before that, which is not counted; 0 for none.")] = "1s"
    size: Annotated[
        str | None,
        Parameter(help="[NAME=]BYTES: an argument of so many characters, `data` if no NAME is said, as in the echo."),
    ] = None
    keys: Annotated[int, Parameter(help="How many keys are asked for; 0: none, any node may answer.")] = 1_000
    distribution: Annotated[
        str, Parameter(help=f"Which keys how often: {', '.join(DISTRIBUTIONS)} (one after the other).")
    ] = "uniform"
    idempotent: Annotated[
        bool, Parameter(negative="", help="Repeat a call if its answer is lost, although it may have run.")
    ] = False

    def plan(self, service: str, cmd: str, fields: Sequence[str], *, within: float) -> Plan:
        """What these options say.

        Raises:
            ConfigError: one of them cannot be used.
        """
        return Plan(
            service=service,
            cmd=cmd,
            fields={**read_fields(fields), **_payload(self.size)},
            keys=self.keys,
            distribution=self.distribution,
            concurrency=self.concurrency,
            rate=self.rate,
            seconds=read_seconds(self.duration, setting="duration"),
            calls=self.calls,
            warm_up=0.0 if self.warm_up in {"0", "0s"} else read_seconds(self.warm_up, setting="warm-up"),
            within=within,
            idempotent=self.idempotent,
        ).check()


USUAL = LoadOptions()
"""Ten seconds of sixteen calls at once."""


def bench(
    service: Annotated[str | None, Parameter(help="The service. Default: an echo, which --spawn brings along.")] = None,
    cmd: Annotated[str | None, Parameter(help="The handler, such as greet.")] = None,
    /,
    *fields: Annotated[str, Parameter(help="Its arguments as NAME=VALUE, as of `swimring call`.")],
    load: LoadOptions = USUAL,
    spawn: Annotated[int, Parameter(help="Start so many nodes on this machine for it, and stop them afterwards.")] = 0,
    app: Annotated[str | None, Parameter(help="What they run, MODULE:NAME or FILE.py:NAME. Default: the echo.")] = None,
    observe: Annotated[
        str | None,
        Parameter(
            help=f"With --spawn: the same once for each of these watchers, in turns: {','.join(WATCHED)}, or all."
        ),
    ] = None,
    access: Access = ANY,
    as_json: AsJson = False,
) -> int:
    """Make the calls, print what they took; 0 if none failed, 1 if one did.

    Raises:
        ConfigError: the options do not go together, or nobody offers the service.
        NotJoined: no node can be reached, or one could not be started.
    """
    access.check()
    if (service is None) != (cmd is None):
        raise ConfigError("cmd", None, f"say which handler of {service}, such as: swimring bench {service} greet")
    if not 0 <= spawn <= _MOST_NODES:
        raise ConfigError("spawn", spawn, f"from 0 to {_MOST_NODES}")
    if app is not None and (not spawn or service is None):
        raise ConfigError("app", app, "goes with --spawn N, and with the service and handler to call")
    watchers = _watchers(observe, spawn=spawn)
    plan = load.plan(service or echo.name, cmd or "echo", fields, within=access.within)
    session = _Session(plan, access, spawn=spawn, app=app or _ECHO)
    found = anyio.run(session.run, watchers, backend="trio")
    _tell(session, found, as_json=as_json)
    if session.interrupted:
        return _INTERRUPTED
    return 1 if any(one.tally.failed for one in found.values()) else 0


def _payload(size: str | None) -> dict[str, str]:
    if size is None:
        return {}
    name, equals, count = size.rpartition("=")
    if not count.isdecimal() or (equals and not name):
        raise ConfigError("size", size, "write BYTES or NAME=BYTES, such as 1024 or text=1024")
    return {name or _PAYLOAD: "x" * int(count)}


def _watchers(observe: str | None, *, spawn: int) -> list[str]:
    if observe is None:
        return [WATCHED[0]]
    if not spawn:
        raise ConfigError("observe", observe, "goes with --spawn N: nodes that run are watched as they are")
    names = list(WATCHED) if observe == "all" else observe.split(",")
    for name in names:
        if name not in WATCHED:
            raise ConfigError("observe", name, f"use some of: {', '.join(WATCHED)}, with commas, or all")
    return list(dict.fromkeys(names))


class _Session:
    """The clusters, the turns, and the signal that ends them early."""

    def __init__(self, plan: Plan, access: Access, *, spawn: int, app: str) -> None:
        self.plan = plan
        self.interrupted = False
        self.names: list[str] = []
        """The nodes that take keys."""
        self.cluster = ""
        self._access = access
        self._spawn = spawn
        self._app = app
        self._load: Load | None = None

    async def run(self, watchers: Sequence[str]) -> dict[str, Measured]:
        """Measure each set-up, in turns if there are several; what was found, by who watched."""
        rounds = _ROUNDS if len(watchers) > 1 else 1
        plan = replace(self.plan, seconds=self.plan.seconds / rounds)
        parts: dict[str, list[Measured]] = {who: [] for who in watchers}
        async with AsyncExitStack() as stack:
            stack.enter_context(lone_error_raised_bare())
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._heed_signals)
            meshes = {who: await stack.enter_async_context(self._open(who)) for who in watchers}
            with _Shown(plan.seconds * rounds * len(watchers)) as shown:
                for turn in range(rounds * len(watchers)):
                    if self.interrupted:
                        break
                    who = watchers[turn % len(watchers)]
                    mesh, spawned = meshes[who]
                    parts[who].append(await self._measure(plan, mesh, spawned, shown, turn, rounds * len(watchers)))
            tasks.cancel_scope.cancel()
        return {who: _joined(found) for who, found in parts.items() if found}

    async def _heed_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self.interrupted or self._load is None:
                    raise KeyboardInterrupt
                self.interrupted = True
                self._load.end()

    async def _measure(
        self, plan: Plan, mesh: Mesh, spawned: Spawned | None, shown: _Shown, turn: int, turns: int
    ) -> Measured:
        self._load = load = Load(
            plan,
            mesh,
            rng=random.Random(turn),  # noqa: S311 - which keys, the same ones in each run
            nodes_cpu=spawned.cpu if spawned is not None else lambda: None,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shown.follow, load, turn, turns)
            found = await load.run()
            tasks.cancel_scope.cancel()
        return found

    @asynccontextmanager
    async def _open(self, who: str) -> AsyncIterator[tuple[Mesh, Spawned | None]]:
        async with AsyncExitStack() as stack:
            spawned, access = None, self._access
            if self._spawn:
                opening = open_spawned(self._app, nodes=self._spawn, watched=who)
                spawned = await stack.enter_async_context(opening)
                access = Access(cluster=spawned.cluster, join=spawned.addresses)
            mesh = await stack.enter_async_context(dial(access))
            await self._wait_ready(mesh)
            yield mesh, spawned

    async def _wait_ready(self, mesh: Mesh) -> None:
        service = self.plan.service
        if self._spawn:
            with anyio.move_on_after(_RING_WITHIN) as patience:
                await mesh.wait_ring(service, nodes=self._spawn)
            if patience.cancelled_caught:
                raise NotJoined(f"the {self._spawn} nodes do not offer {service} within {_RING_WITHIN:g} s")
        elif service not in mesh.services:
            offered = ", ".join(mesh.services) or "nothing"
            raise ConfigError("service", service, f"the cluster offers {offered}: name a service and a handler of it")
        self.names, self.cluster = sorted(mesh.ring(service).nodes), mesh.cluster


def _joined(found: Sequence[Measured]) -> Measured:
    """Several turns as one."""
    tally, seconds = Tally(), sum(one.seconds for one in found)
    for one in found:
        tally.add(one.tally)
    spent = [one.nodes_cpu * one.tally.calls for one in found if one.nodes_cpu is not None]
    return Measured(
        tally=tally,
        seconds=seconds,
        retries=sum(one.retries for one in found),
        busy=sum(one.busy * one.seconds for one in found) / seconds if seconds else 0.0,
        nodes_cpu=sum(spent) / tally.calls if len(spent) == len(found) and tally.calls else None,
    )


class _Shown:
    """How far it is, as a bar in a terminal and nowhere else."""

    def __init__(self, seconds: float) -> None:
        console = Console(stderr=True)
        columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._progress.add_task("starting", total=1.0)
        self._seconds = seconds

    def __enter__(self) -> _Shown:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    async def follow(self, load: Load, turn: int, turns: int) -> None:
        """Draw what ``load`` has shown so far."""
        before = 0
        while True:
            tally, half = load.tally, load.tally.latency(0.99)
            made, before = tally.calls - before, tally.calls
            p99 = "" if half is None else f", p99 {half * 1000:.3g} ms"
            said = f"{max(made, 0) / _REFRESH_EVERY:,.0f} calls/s{p99}, {tally.failed} failed"
            self._progress.update(self._task, completed=(turn + load.done) / turns, description=said)
            await anyio.sleep(_REFRESH_EVERY)


# --------------------------------------------------------------------------------------------------------- results


def _tell(session: _Session, found: dict[str, Measured], *, as_json: bool) -> None:
    plan = session.plan
    if as_json:
        about: dict[str, Any] = {
            "cluster": session.cluster, "service": plan.service, "cmd": plan.cmd, "nodes": session.names,
            "concurrency": plan.concurrency, "rate_asked": plan.rate, "keys": plan.keys,
            "distribution": plan.distribution, "interrupted": session.interrupted,
        }  # fmt: skip
        (first, *_), several = found.values(), len(found) > 1
        told = {"watched": {who: _described(one) for who, one in found.items()}} if several else _described(first)
        print_json({**about, **told})
        return
    pace = f"{plan.concurrency} at once" if plan.rate is None else f"{plan.rate:g} calls/s due"
    title = f"{plan.service} {plan.cmd} on {len(session.names)} nodes of {session.cluster}, {pace}"
    if len(found) > 1:
        print_table(("watched by", "calls", "calls/s", "p50", "p99", "failed", "CPU"), _compared(found), title=title)
        return
    for one in found.values():
        print_table(("", "measured"), list(_rows(one)), title=title)
        if one.busy > _FULL:
            print_text(
                "This process was busy all the time: it is what limits the rate. Run several, on other machines."
            )


def _described(one: Measured) -> dict[str, Any]:
    return {
        "seconds": one.seconds,
        "calls": one.tally.calls,
        "rate": one.rate,
        "failed": one.tally.failed,
        "errors": dict(one.tally.errors),
        "retries": one.retries,
        "latency": one.tally.latencies(),
        "load_cpu": one.busy,
        "nodes_cpu": one.nodes_cpu,
    }


def _rows(one: Measured) -> Iterator[tuple[str, str]]:
    yield "rate", f"{one.rate:,.0f} calls/s"
    yield "calls", f"{one.tally.calls:,} in {one.seconds:.1f} s"
    for name, seconds in one.tally.latencies().items():
        yield name, _milliseconds(seconds)
    yield "failed", f"{one.tally.failed:,}"
    for kind, count in one.tally.errors.most_common():
        yield f"  {kind}", f"{count:,}"
    yield "retries", f"{one.retries:,}"
    yield "CPU here", f"{one.busy:.0%} of a processor"
    if one.nodes_cpu is not None:
        yield "CPU of the nodes", f"{one.nodes_cpu * 1e6:,.0f} us a call"


def _compared(found: dict[str, Measured]) -> Iterator[tuple[str, ...]]:
    least = found.get("nobody") or next(iter(found.values()))
    for who, one in found.items():
        cpu = "-"
        if one.nodes_cpu is not None:
            ratio = f", {one.nodes_cpu / least.nodes_cpu:.2f} x" if least.nodes_cpu else ""
            cpu = f"{one.nodes_cpu * 1e6:,.0f} us a call{ratio}"
        p50, p99 = (_milliseconds(one.tally.latency(share)) for share in (0.5, 0.99))
        yield who, f"{one.tally.calls:,}", f"{one.rate:,.0f}", p50, p99, f"{one.tally.failed:,}", cpu


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g} ms"
