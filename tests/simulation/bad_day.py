"""A thousand members in one process: they join, a tenth of them dies, the network splits and heals; what that cost.

Run it from the root of the repository: ``python -m tests.simulation.bad_day --nodes 1000 --seed 1``, or by
``nox -s scale -- --nodes 1000``. Virtual figures follow from the seed and are the same everywhere; the others are of
your machine.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import functools
import resource
from dataclasses import dataclass
from timeit import default_timer
from typing import TYPE_CHECKING, NamedTuple

import trio

from swimring.testing import dice, run_simulation
from tests.simulation.crowd import Crowd, collect_rarely, open_crowd

if TYPE_CHECKING:
    from collections.abc import Callable

ARRIVALS = 5
"""All arrive within so many virtual seconds."""


class Hours(NamedTuple):
    """When the rest happens, in virtual seconds."""

    deaths: float = 30
    split: float = 60
    healed: float = 90
    end: float = 150


SHORT = Hours(deaths=7, split=24, healed=42, end=52)
"""The same events as close to each other as they may be: deaths are known after 15 s, of the other half, too."""

_WHOLE_DAY = Hours()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a run did. All figures but the times follow from the seed.

    Attributes:
        joined_after: seconds from the last arrival until all views were equal.
        deaths_known_after: seconds from the deaths until all views were equal.
        healed_after: seconds from the end of the partition until all views were equal.
        deliveries: packets that the network delivered.
        digest: of all deliveries: equal digests, equal runs.
        datagrams: that were sent.
        datagram_bytes: in these.
        stream_bytes: sent over connections.
        opinions: how often somebody changed its mind about somebody.
    """

    joined_after: float
    deaths_known_after: float
    healed_after: float
    deliveries: int
    digest: str
    datagrams: int
    datagram_bytes: int
    stream_bytes: int
    opinions: int


async def bad_day(
    nodes: int, tell: Callable[[str], None] = lambda _text: None, *, hours: Hours = _WHOLE_DAY
) -> Account:
    """150 virtual seconds: all join, a tenth dies at 30, the rest is in halves from 60 to 90; in the end all agree.

    Of those that die one half is killed, so that its machines refuse connections, and of one half the machine is lost.
    """
    async with open_crowd() as crowd:
        await crowd.gather(nodes, within=ARRIVALS)
        last = trio.current_time()
        joined = await crowd.agree()
        tell(f"all joined {joined:.1f} s after the last had arrived, at {last:.1f}")
        await trio.sleep_until(hours.deaths)
        victims = dice("victims", crowd.network.seed).sample(crowd.present[3:], nodes // 10)
        crowd.crash(victims[::2])
        crowd.lose(victims[1::2])
        known = await crowd.agree()
        tell(f"all knew of the deaths after {known:.1f} s")
        assert trio.current_time() < hours.split, "too late: there would be no partition, or a shorter one"
        await trio.sleep_until(hours.split)
        left, right = crowd.present[::2], crowd.present[1::2]
        with crowd.network.partition([p.host for p in left], [p.host for p in right]):
            await trio.sleep_until(hours.healed)
        tell("the partition is over")
        healed = await crowd.agree()
        tell(f"all agreed after {healed:.1f} s")
        await trio.sleep_until(hours.end)
        assert not crowd.watch.failed
        assert crowd.agree_now(crowd.present)
        return _account(crowd, joined, known, healed)


def _account(crowd: Crowd, joined: float, known: float, healed: float) -> Account:
    hosts = [crowd.network.statistics(person.host) for person in crowd.people.values()]
    return Account(
        joined_after=joined,
        deaths_known_after=known,
        healed_after=healed,
        deliveries=crowd.network.trace.count,
        digest=crowd.network.trace.digest,
        datagrams=sum(host.datagrams_sent for host in hosts),
        datagram_bytes=sum(host.datagram_bytes_sent for host in hosts),
        stream_bytes=sum(host.stream_bytes_sent for host in hosts),
        opinions=sum(crowd.watch.changes.values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    collect_rarely()
    before, started = resource.getrusage(resource.RUSAGE_SELF), default_timer()

    def spent() -> float:
        now = resource.getrusage(resource.RUSAGE_SELF)
        return now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime

    def tell(text: str) -> None:
        print(f"  {spent():7.1f} s CPU, {default_timer() - started:7.1f} s real: {text}", flush=True)

    print(f"{arguments.nodes} members, seed {arguments.seed}", flush=True)
    account = run_simulation(functools.partial(bad_day, arguments.nodes, tell), seed=arguments.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_member = (peak - before.ru_maxrss / 1024) / arguments.nodes
    tell(f"{_WHOLE_DAY.end} virtual seconds")
    for field in account.__slots__:
        print(f"  {field:20} {getattr(account, field)}")
    print(f"  peak memory          {peak:.0f} MiB, {per_member:.2f} MiB a member")


if __name__ == "__main__":
    main()
