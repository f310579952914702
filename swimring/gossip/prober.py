"""Probes one member after the other: directly, then through relays and over a stream at the same time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.instrument import Instrument
from swimring.swim import MemberJoined, Ping, PingRequest, ProbeOrder, RoundTrips, Status, judge

from .lateness import Lateness

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from swimring.swim import Change, Member, Profile

    from .beliefs import Beliefs
    from .evidence import Evidence
    from .mail import Mail
    from .push_pull import PushPull
    from .rounds import Round, Rounds

_log = logging.getLogger("swimring.gossip")
_URGENT_LIMIT: Final = 64
_HEARSAY_LIMIT: Final = 8


class Prober:
    """The duty that finds out who does not answer."""

    def __init__(
        self,
        *,
        beliefs: Beliefs,
        mail: Mail,
        rounds: Rounds,
        streams: PushPull,
        evidence: Evidence,
        profile: Profile,
        rng: random.Random,
    ) -> None:
        """Follow ``beliefs`` to know whom to probe."""
        self._beliefs = beliefs
        self._membership = beliefs.membership
        self._mail = mail
        self._rounds = rounds
        self._streams = streams
        self._evidence = evidence
        self._profile = profile
        self._rng = rng
        self._order = ProbeOrder(rng)
        self._trips = RoundTrips(profile)
        self._probing: set[str] = set()
        self._examined: set[str] = set()
        self._by_stream_only: set[str] = set()
        self._urgent, self._urgent_names = trio.open_memory_channel[str](_URGENT_LIMIT)
        self.probes = 0
        self.probes_failed = 0
        beliefs.followers.append(self._follow)

    async def run(self) -> None:
        """Probe, for ever: one member an interval, and at once those whose connection was lost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe_urgent, nursery)
            nursery.start_soon(Lateness(self._membership, self._profile).run, name="swimring lateness")
            await trio.sleep(self._rng.uniform(0, self._profile.probe_interval))
            while True:
                self._examined.clear()
                round_ends = trio.current_time() + self._profile.probe_interval * self._membership.health.factor
                name = self._order.take(self._wanted)
                target = None if name is None else self._membership.get(name)
                if target is not None:
                    await self._probe(target, nursery)
                ready = trio.current_time()
                await trio.sleep_until(round_ends)
                self._membership.health.note_lag(trio.current_time() - max(ready, round_ends))

    def probe_soon(self, name: str) -> None:
        """Probe ``name``, or try the port of a suspect, at once and out of turn.

        When 64 wait already, the regular rounds will have to find out.
        """
        try:
            self._urgent.send_nowait(name)
        except trio.WouldBlock:
            _log.debug("too many urgent probes: %s waits for its turn", name)

    def forget(self) -> None:
        """Drop names that have been forgotten from the order."""
        self._order.keep(self._membership.get)
        self._rounds.forget(self._membership.get)
        self._by_stream_only = {name for name in self._by_stream_only if self._membership.get(name)}

    async def _probe_urgent(self, nursery: trio.Nursery) -> None:
        async for name in self._urgent_names:
            target = self._membership.get(name)
            if target is not None and self._wanted(name):
                nursery.start_soon(self._evidence.examine, target)
                if target.status is Status.ALIVE:  # of a suspect the port tells more
                    nursery.start_soon(self._probe, target, nursery)

    def _wanted(self, name: str) -> bool:
        member = self._membership.get(name)
        other = name != self._membership.me.name and name not in self._probing
        return other and member is not None and member.status.active and not self._membership.leaving

    def _follow(self, change: Change) -> None:
        for event in change.events:
            if isinstance(event, MemberJoined):
                self._order.add(change.member.name)
        if change.hearsay and len(self._examined) < _HEARSAY_LIMIT and change.member.name not in self._examined:
            # Everybody else may know it for long: nobody is left to confirm, and our suspicion alone takes the longest.
            # When there are many we come from a partition, and they most likely, too: that needs no look at all ports.
            self._examined.add(change.member.name)
            self.probe_soon(change.member.name)

    async def _probe(self, target: Member, nursery: trio.Nursery) -> None:
        if target.name in self._probing:
            return
        self._probing.add(target.name)
        try:
            with self._rounds.open(target.id) as asking:
                rtt, lag = await self._reach(target, asking, nursery)
        finally:
            self._probing.discard(target.name)
        verdict = judge(
            answered=asking.acked.is_set(),
            asked=asking.asked,
            nacked=asking.nacked,
            lag=lag,
            longest_lag=self._profile.longest_lag,
        )
        self._membership.health.adjust(verdict.health)
        self.probes += 1
        self._beliefs.instruments.tell(Instrument.probe_finished, target.name, rtt)
        if verdict.accuse:
            self.probes_failed += 1
            self._beliefs.accuse(target)

    async def _reach(self, target: Member, asking: Round, nursery: trio.Nursery) -> tuple[float | None, float]:
        """Try to get an ack: the seconds it took (None without one), and by how much our own timers were late."""
        started = trio.current_time()
        factor = self._membership.health.factor
        deadline = started + self._profile.probe_interval * factor
        lag = 0.0
        if await self._mail.send(Ping(checksum=self._membership.checksum), to=target, sequence=asking.sequence):
            lag = await _wait_until(asking.acked, trio.current_time() + self._trips.ping_timeout * factor)
            if asking.acked.is_set():
                self._trips.add(trio.current_time() - started)
                self._by_stream_only.discard(target.name)
        # A ping that could not even be sent is a failed one: an interface that is down must not keep others alive.
        if not asking.acked.is_set():
            async with trio.open_nursery() as helpers:
                helpers.start_soon(self._ask_relays, asking, target)
                helpers.start_soon(self._ping_by_stream, asking, target, nursery)
                lag = max(lag, await _wait_until(asking.acked, deadline))
                helpers.cancel_scope.cancel()
        return (trio.current_time() - started if asking.acked.is_set() else None), lag

    async def _ask_relays(self, asking: Round, target: Member) -> None:
        budget = self._profile.relay_budget * self._membership.health.factor
        for relay in self._relays(target):
            asking.asked.add(relay.name)
            await self._mail.send(PingRequest(target=target.id, budget=budget), to=relay, sequence=asking.sequence)

    def _relays(self, target: Member) -> list[Member]:
        """Random alive members; first who reached the target last time, last those who did not answer when asked.

        Who can talk to a single member only would hardly ever ask that one by chance, and would accuse everybody else;
        and everybody else would accuse it.
        """
        silent, count = self._rounds.silent, self._profile.indirect_probes
        voucher = self._membership.get(self._rounds.vouchers.get(target.name, ""))

        def willing(member: Member) -> bool:
            return member.status is Status.ALIVE and member.name != target.name and member is not voucher

        chosen = [voucher] if voucher is not None and voucher.status is Status.ALIVE and count else []
        chosen += self._sample(count - len(chosen), lambda m: willing(m) and m.name not in silent)
        chosen += self._sample(count - len(chosen), lambda m: willing(m) and m.name in silent)
        return chosen

    def _sample(self, count: int, wanted: Callable[[Member], bool]) -> list[Member]:
        return self._membership.sample(self._rng, count, wanted) if count else []

    async def _ping_by_stream(self, asking: Round, target: Member, nursery: trio.Nursery) -> None:
        try:
            answered = await self._streams.ping(target)
        except ConnectionRefusedError:
            nursery.start_soon(self._evidence.collect, target)
            return
        if answered and not asking.acked.is_set():
            if target.name not in self._by_stream_only:  # until a datagram of it arrives in time, once is enough
                _log.warning(
                    "%s answers over a stream and not to datagrams: are they blocked?",
                    target.name,
                    extra={"event": "member.stream_only", "peer": target.name},
                )
                self._by_stream_only.add(target.name)
            asking.acked.set()


async def _wait_until(happened: trio.Event, deadline: float) -> float:
    """Wait for an event until ``deadline``; by how many seconds the deadline was missed, if it was."""
    with trio.CancelScope(deadline=deadline) as patience:
        await happened.wait()
    return trio.current_time() - deadline if patience.cancelled_caught else 0.0
