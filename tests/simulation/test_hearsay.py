"""What others say of deaths accuses and never kills; the rule about accusers that overdo it does not stop it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.net import Datagrams
from swimring.swim import Profile, Status, decode_datagram, encode_datagram, shortest_suspicion, tag_key
from tests.gossip.nodes import open_cluster, simulated

from .crowd import open_crowd

if TYPE_CHECKING:
    from swimring.identity import Address

    from .crowd import Person

LAN = Profile.lan()
_KEY = tag_key("crowd")


@pytest.mark.parametrize("lost", [False, True], ids=["killed", "machines lost"])
@pytest.mark.parametrize("apart", [8, 60])
@simulated
async def test_after_a_partition_all_agree_on_the_many_that_died_on_the_other_side(
    apart: float, lost: bool, seed: int
) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(10, profile=LAN)
        here, there, dying = nodes[:3], nodes[3:5], nodes[5:]
        with cluster.network.partition([node.name for node in here], [node.name for node in (*there, *dying)]):
            for node in dying:
                (cluster.lose if lost else cluster.crash)(node)
            await trio.sleep(apart)
        healed = trio.current_time()
        await cluster.wait_status([*here, *there], [node.name for node in dying], Status.DEAD)
        await cluster.settle([*here, *there])
        assert trio.current_time() - healed < 30


@simulated
async def test_who_missed_all_rumours_of_a_death_finds_out_in_seconds_although_nobody_is_left_to_confirm(
    seed: int,
) -> None:
    """A suspicion that nobody confirms lasts 33 s here; nobody confirms who has buried the suspect."""
    async with open_crowd() as crowd:
        await crowd.gather(24, within=1)
        await crowd.quiet()
        victim, straggler, *others = crowd.present
        with crowd.network.isolate(straggler.host):
            crowd.crash([victim])
            for person in others[:2]:
                person.gossiper.suspect_connection(victim.name)
            await trio.sleep(1.5)  # and the rumour is spread
            record = straggler.gossiper.member(victim.name)
        assert record is not None
        assert record.status.active
        assert await crowd.agree() < 4


@simulated
async def test_who_missed_all_rumours_of_a_lost_machine_waits_no_longer_than_a_confirmed_suspicion_takes(
    seed: int,
) -> None:
    """A lost machine refuses nothing, and the others have buried it: all they can confirm with is that they have."""
    async with open_crowd() as crowd:
        crowd.tap = lambda name, datagrams: _HearsNoIll(datagrams, of="p5") if name == "p9" else datagrams
        await crowd.gather(24, within=1)
        await crowd.quiet()
        straggler, victim = crowd.people["p9"], crowd.people["p5"]
        crowd.lose([victim])
        others = [person for person in crowd.present if person is not straggler]
        while any(victim.name in active_in(person) for person in others):  # noqa: ASYNC110 - as in `Crowd.agree`
            await trio.sleep(0.1)
        record = straggler.gossiper.member(victim.name)
        assert record is not None
        assert record.status.active
        assert await crowd.agree() < shortest_suspicion(LAN, 24)  # 10 s and more if nobody confirms


@simulated
async def test_after_a_partition_nobody_tries_the_ports_of_all_that_it_hears_are_dead(seed: int) -> None:
    """Most of them live and refute that at once: a cluster that heals must not dial everybody from everywhere."""
    async with open_crowd() as crowd:
        await crowd.gather(60, within=1)
        await crowd.quiet()
        hosts = [person.host for person in crowd.present]
        with crowd.network.partition(hosts[::2], hosts[1::2]):
            await trio.sleep(60)
        before = {host: crowd.network.statistics(host).connections_dialled for host in hosts}
        healed = await crowd.agree()
        most = max(crowd.network.statistics(host).connections_dialled - before[host] for host in hosts)
        assert most < 10 * (healed + 1)


def active_in(person: Person) -> set[str]:
    """Who is alive or suspected, for all that ``person`` knows."""
    return {member.name for member in person.gossiper.members if member.status.active}


class _HearsNoIll(Datagrams):
    """Hears nothing in datagrams about one member but that it lives."""

    def __init__(self, datagrams: Datagrams, *, of: str) -> None:
        self._datagrams = datagrams
        self._of = of

    async def send(self, payload: bytes, to: Address) -> None:
        await self._datagrams.send(payload, to)

    async def receive(self) -> list[tuple[bytes, Address]]:
        return [(self._without(payload), source) for payload, source in await self._datagrams.receive()]

    def _without(self, payload: bytes) -> bytes:
        envelope = decode_datagram(payload, key=_KEY)
        rumours = tuple(
            rumour
            for rumour in envelope.rumours
            if rumour.member.name != self._of or rumour.member.status is Status.ALIVE
        )
        return encode_datagram(dataclasses.replace(envelope, rumours=rumours), key=_KEY)

    def close(self) -> None:
        self._datagrams.close()
