"""Load on a simulated cluster, and the rules that every call has to keep, whatever happens to the nodes.

A `Ledger` is a service that writes down each run of a handler; `under_load` has callers ask it, and `Load.check`
compares what they were told with what ran.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swimring.errors import CallError, ConnectionLost, NodeClosed, NoSuchHandler
from swimring.service import Request, Service
from swimring.testing import SimCluster, SimNode, current_seed, dice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Ledger:
    """A service whose handlers write down that they ran: one ledger for all nodes of a cluster."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.strays: list[str] = []
        self.service = Service("ledger")

        @self.service.on("read", idempotent=True)
        async def read(request: Request, call: str, work: float) -> str:
            self.note(request, call)
            await trio.sleep(work)
            return request.node.name

        @self.service.on("write")
        async def write(request: Request, call: str, work: float) -> str:
            self.note(request, call)
            await trio.sleep(work)
            return request.node.name

        @self.service.on("relay")
        async def relay(request: Request, call: str, work: float, to: str) -> list[str]:
            self.note(request, call)
            return [request.node.name, await request.node.call(write, to, f"{call} relayed", work)]

        @self.service.on("slow relay")
        async def slow_relay(request: Request, call: str, work: float, to: str) -> list[str]:
            self.note(request, call)
            await trio.sleep(work)
            return [request.node.name, await request.node.call(write, to, f"{call} relayed", 0.0)]

        self.read, self.write, self.relay, self.slow_relay = read, write, relay, slow_relay

    def note(self, request: Request, call: str) -> None:
        self.runs[call] += 1
        assert request.key is not None
        with suppress(NoSuchHandler):  # as far as this node knows nobody owns anything: it is leaving, and the last
            owner = request.node.lookup(request.key)
            if owner.name != request.node.name:
                self.strays.append(f"{call} for {request.key!r} of {owner.name} ran on {request.node.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a caller was told.

    `answer` is the name of the node that answered; without one and without an `error`, its patience was over. A call is
    `void` if its caller was killed or left meanwhile.
    """

    call: str
    key: str
    idempotent: bool
    asker: str
    answer: str | None
    error: Exception | None
    void: bool
    took: float


class Load:
    """Callers and what they were told."""

    def __init__(self, cluster: SimCluster, ledger: Ledger, *, askers: Sequence[SimNode], patience: float) -> None:
        self.cluster = cluster
        self.ledger = ledger
        self.askers = askers
        self.patience = patience
        self.outcomes: list[Outcome] = []
        self.over = False

    async def call_for_ever(self, number: int, *, pause: float, work: float, keys: int, relayed: float) -> None:
        rng = dice("load", current_seed(), number)
        for turn in itertools.count():
            await trio.sleep(rng.uniform(0, pause))
            if self.over:
                return
            running = [node for node in self.askers if node.running]
            if running:
                await self.call(
                    rng.choice(running),
                    f"{number}.{turn}",
                    f"key {rng.randrange(keys)}",
                    idempotent=rng.random() < 0.5,
                    work=rng.uniform(0, work),
                    to=f"key {rng.randrange(keys)}" if rng.random() < relayed else None,
                )

    async def call(
        self, asker: SimNode, call: str, key: str, *, idempotent: bool, work: float, to: str | None = None
    ) -> None:
        node, began = asker.node, trio.current_time()
        answer: str | None = None
        failure: Exception | None = None
        try:
            with trio.move_on_after(self.patience):
                if to is not None:
                    answer, _ = await node.call(self.ledger.relay, key, call, work, to)
                else:
                    answer = await node.call(self.ledger.read if idempotent else self.ledger.write, key, call, work)
        except Exception as error:  # noqa: BLE001 - whatever it is, `check` judges it
            failure = error
        self.outcomes.append(
            Outcome(
                call=call,
                key=key,
                idempotent=idempotent and to is None,
                asker=asker.name,
                answer=answer,
                error=failure,
                void=not asker.running or asker.node is not node or isinstance(failure, NodeClosed),
                took=trio.current_time() - began,
            )
        )

    # ---------------------------------------------------------------------------------------------------- rules

    @property
    def valid(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.void]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.valid if outcome.answer is None]

    def check(self, *, no_failures: bool = False) -> None:
        """All rules at once; with ``no_failures`` no call may have failed, non-idempotent ones included."""
        broken = [
            *self.ledger.strays,
            *(
                f"{rule}: {outcome!r}, which ran {self.ledger.runs[outcome.call]} times"
                for outcome in self.valid
                if (rule := self._broken_rule(outcome) or (no_failures and outcome.answer is None and "it failed"))
            ),
        ]
        assert not broken, "\n".join([f"{len(broken)} of {len(self.outcomes)}", *broken[:10]])
        assert self.valid, "there was no load"

    def _broken_rule(self, outcome: Outcome) -> str | None:
        runs = self.ledger.runs[outcome.call]
        if runs > 1 and not outcome.idempotent:
            return "a call that is not idempotent ran twice"
        if outcome.answer is not None:
            return None if runs else "nobody ran what was answered"
        if outcome.error is not None:
            return self._broken_rule_of_failures(outcome, outcome.error, runs)
        return None if outcome.took >= self.patience else "it ended before its time"

    def _broken_rule_of_failures(self, outcome: Outcome, error: Exception, runs: int) -> str | None:
        if not isinstance(error, CallError):
            return "it failed with an error that is no CallError"
        if error.key != outcome.key or error.owner is None:
            return f"the failure does not tell its key and owner: {error!r}"
        if runs and not error.maybe_executed:
            return "the failure says that it did not run"
        if error.maybe_executed and not isinstance(error, ConnectionLost):
            return "only a lost connection may leave it open whether it ran"
        in_time = outcome.took < self.patience - 0.1
        if in_time and (outcome.idempotent or not error.maybe_executed):
            return "it was given up although there was time to try again"
        return None


@asynccontextmanager
async def under_load(
    cluster: SimCluster,
    ledger: Ledger,
    *,
    askers: Sequence[SimNode] | None = None,
    callers: int = 8,
    patience: float = 60.0,
    pause: float = 0.1,
    work: float = 0.1,
    keys: int = 40,
    relayed: float = 0.0,
) -> AsyncIterator[Load]:
    """Callers at random nodes among ``askers`` (default: all), while the block runs; it ends when all calls have.

    The share ``relayed`` of the calls makes its handler call another key.
    """
    load = Load(cluster, ledger, askers=cluster.nodes if askers is None else askers, patience=patience)
    async with trio.open_nursery() as nursery:
        for number in range(callers):
            nursery.start_soon(
                lambda n: load.call_for_ever(n, pause=pause, work=work, keys=keys, relayed=relayed), number
            )
        yield load
        load.over = True
