"""Cold starts, moved addresses, stale names: however peers are found, there is one cluster in the end, not two."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ParamSpec

import pytest
import trio

from swimring.errors import NameConflict, NotOwner
from swimring.identity import Address
from swimring.swim import Profile, Status
from swimring.testing import run_simulation

from .machines import PORT, Machines, kv, open_machines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

P = ParamSpec("P")
LAN = Profile.lan()


def simulate(scenario: Callable[[Machines], Awaitable[None]], *, seed: int) -> None:
    async def main() -> None:
        async with open_machines() as machines:
            await scenario(machines)

    run_simulation(main, seed=seed)


class Scripted:
    """Seeds by the clock: what was said last at or before the present second."""

    def __init__(self, steps: dict[float, Sequence[str]]) -> None:
        self._steps = sorted(steps.items())
        self._began = trio.current_time()

    async def addresses(self) -> list[Address]:
        await trio.lowlevel.checkpoint()
        said: Sequence[str] = ()
        for second, hosts in self._steps:
            if trio.current_time() - self._began >= second:
                said = hosts
        return [Address(host, PORT) for host in said]


@pytest.mark.parametrize("profile", ["local", "lan"])
def test_seeds_that_name_only_myself_then_the_gone_then_the_truth_make_one_cluster(seed: int, profile: str) -> None:
    """All nodes of a cluster are restarted at once at new addresses, and the DNS is slow to learn of it."""

    async def scenario(machines: Machines) -> None:
        old = [f"old{number}" for number in range(5)]
        new = [f"new{number}" for number in range(5)]
        machines.network.set_name("ring", *old)
        settings: dict[str, Any] = {"expect": 3, "profile": profile}
        first = [machines.start(host, name=f"n{at}", join=["dns+ring"], **settings) for at, host in enumerate(old)]
        await machines.wait_agreed(first)
        for machine in first:
            await machines.kill(machine, silently=True)  # dialling the stale addresses hangs
        truth = trio.current_time() + 10
        second = []
        for at, host in enumerate(new):
            seeds = Scripted({0: [host], 3: old, 10: new})
            second.append(machines.start(host, name=f"n{at}", join=[seeds], **settings))
        await machines.wait_agreed(second)
        assert trio.current_time() - truth < 15
        assert all(machine.took > 10 for machine in second)
        assert all(len(machine.ring) >= 3 for machine in second)

    simulate(scenario, seed=seed)


def test_a_name_that_stands_for_other_hosts_by_and_by_is_followed(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        nodes = [machines.start(f"a{n}", join=["dns+ring"], expect=3) for n in range(3)]  # no such name yet
        await trio.sleep(20)
        assert not any(machine.opened.is_set() for machine in nodes)
        machines.network.set_name("ring", "a0", "gone", "a1")
        await trio.sleep(20)
        assert all(machine.opened.is_set() for machine in nodes)
        assert {machine.ring for machine in nodes} == {("a0", "a1", "a2")}

    simulate(scenario, seed=seed)


def test_without_expect_nodes_that_started_apart_become_one_cluster_too(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        names = [f"a{number}" for number in range(4)]
        nodes = [machines.start(name, join=[Scripted({0: [name], 5: names})]) for name in names]
        await machines.wait_opened(nodes)
        assert {machine.ring for machine in nodes} == {(name,) for name in names}  # each a cluster by itself
        assert await machines.wait_agreed(nodes) < 15

    simulate(scenario, seed=seed)


def test_halves_that_find_only_themselves_own_nothing_until_they_find_each_other(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        halves = [["a0", "a1"], ["b0", "b1"]]
        everybody = [*halves[0], *halves[1]]
        found = {name: Scripted({0: half, 60: everybody}) for half in halves for name in half}
        nodes = [machines.start(name, join=[found[name]], expect=3) for name in everybody]
        await trio.sleep(59)
        assert not any(machine.opened.is_set() for machine in nodes)
        await trio.sleep(1)
        assert await machines.wait_agreed(nodes) < 15
        assert all(len(machine.ring) >= 3 for machine in nodes)

    simulate(scenario, seed=seed)


def test_a_node_that_expects_more_is_told_that_there_is_a_cluster(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        nodes = [machines.start(f"a{n}", join=["a0", "a1", "a2"], expect=3) for n in range(3)]
        await machines.wait_agreed(nodes)
        late = machines.start("late", join=["a1"], expect=9)
        await machines.wait_agreed([*nodes, late])
        assert late.took < 1.5
        await machines.kill(nodes[2])
        again = machines.start("a2", join=["a0"], expect=3)
        await machines.wait_agreed([*nodes[:2], late, again])
        assert again.took < 1.5

    simulate(scenario, seed=seed)


def test_a_node_that_waits_says_for_whom_and_answers_nothing_else(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        observer = machines.start("observer", cluster="c")
        first = machines.start("a0", join=["observer"], expect=3)
        await trio.sleep(10)
        assert not first.opened.is_set()
        peer = observer.node.peer("a0")
        with trio.fail_after(3):
            (waiting,) = [m for m in await peer.request({"ns": "swimring", "cmd": "members"}) if m["name"] == "a0"]
            assert (waiting["weight"], waiting["services"]) == (0, [])
            assert (await peer.request({"ns": "swimring", "cmd": "info"}))["name"] == "a0"
        with pytest.raises(NotOwner, match="a0 waits for its cluster to form"), trio.fail_after(3):
            await peer.request({"ns": "kv", "cmd": "where"})
        others = [machines.start(f"a{n}", join=["observer"], expect=3) for n in (1, 2)]
        await machines.wait_opened([first, *others])
        await trio.sleep(1)  # until the connection of before has ended at both ends
        assert await observer.node.peer("a0").request({"ns": "kv", "cmd": "where"}) == "a0"

    simulate(scenario, seed=seed)


def test_members_that_own_nothing_do_not_make_a_cluster(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        observer = machines.start("observer", cluster="c")
        idle = machines.start("idle", kv, weight=0, join=["observer"])
        nodes = [machines.start(f"a{n}", join=["observer"], expect=3) for n in range(2)]
        asker = machines.start("asker", cluster="c", join=["observer"], expect=3)
        await machines.wait_opened([observer, idle])
        await trio.sleep(30)
        assert not any(machine.opened.is_set() for machine in [*nodes, asker])
        third = machines.start("a2", join=["a0"], expect=3)
        await machines.wait_opened([*nodes, third, asker])
        assert {machine.ring for machine in [*nodes, third, asker]} == {("a0", "a1", "a2")}
        assert third.took < 2

    simulate(scenario, seed=seed)


def test_a_node_that_gives_up_waiting_is_not_counted_any_more(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        first, second = (machines.start(f"a{n}", join=["a0", "a1", "a2"], expect=3) for n in range(2))
        await trio.sleep(5)
        first.scope.cancel()
        await first.over.wait()
        machines.network.crash("a0")
        third = machines.start("a2", join=["a1"], expect=3)
        await trio.sleep(30)
        assert not second.opened.is_set()
        assert not third.opened.is_set()
        again = machines.start("a0", join=["a1"], expect=3)
        await machines.wait_agreed([again, second, third])

    simulate(scenario, seed=seed)


def test_two_nodes_of_one_name_that_wait_do_not_outbid_each_other_for_ever(seed: int) -> None:
    async def scenario() -> None:
        async with open_machines() as machines:
            machines.start("a0", join=["a1", "a2"], expect=3)
            for host in ("a1", "a2"):
                await trio.sleep(1)  # a generation is a millisecond: else they would share one
                machines.start(host, name="twin", join=["a0", "a1", "a2"], expect=3)
            await trio.sleep(120)

    with pytest.RaisesGroup(NameConflict, flatten_subgroups=True, allow_unwrapped=True):
        run_simulation(scenario, seed=seed)


def test_nodes_on_one_network_find_each_other_by_multicast(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        red = [machines.start(f"r{n}", join=["multicast"], expect=3) for n in range(3)]
        blue = [machines.start(f"b{n}", kv, cluster="blue", join=["multicast"], expect=2) for n in range(2)]
        assert await machines.wait_agreed(red) < 3
        assert await machines.wait_agreed(blue) < 3

    simulate(scenario, seed=seed)


def test_two_clusters_that_swap_addresses_never_merge(seed: int) -> None:
    """Each cluster's survivor knows addresses where members of the other one live now, and tries them for ever."""

    async def scenario(machines: Machines) -> None:
        hosts = [f"h{number}" for number in range(6)]
        start = functools.partial(machines.start, profile="local", join=hosts)
        red = [start(host, kv, name=f"red{n}", cluster="red") for n, host in enumerate(hosts[:3])]
        blue = [start(host, kv, name=f"blue{n}", cluster="blue") for n, host in enumerate(hosts[3:])]
        await machines.wait_agreed(red)
        await machines.wait_agreed(blue)
        for machine in [*red[1:], *blue[1:]]:
            await machines.kill(machine)
        red[1:] = [start(hosts[n + 3], kv, name=f"red{n}", cluster="red") for n in (1, 2)]
        blue[1:] = [start(hosts[n], kv, name=f"blue{n}", cluster="blue") for n in (1, 2)]
        await machines.wait_agreed(red)
        await machines.wait_agreed(blue)
        await trio.sleep(60)
        for machines_of_one, name in ((red, "red"), (blue, "blue")):
            for machine in machines_of_one:
                assert {member.name[:-1] for member in machine.node.members} == {name}
                assert machine.sees() == {f"{name}{n}" for n in range(3)}

    simulate(scenario, seed=seed)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "remembered"])
def test_a_partition_older_than_all_tombstones_heals(seed: int, listed: bool) -> None:
    async def scenario(machines: Machines) -> None:
        profile = dataclasses.replace(LAN, tombstone_retention=60)
        names = [f"a{number}" for number in range(6)]
        joins = {name: names if listed else names[:at] or ["nobody"] for at, name in enumerate(names)}
        nodes = [machines.start(name, join=joins[name], profile=profile) for name in names]
        await machines.wait_agreed(nodes)
        with machines.network.partition(names[:3], names[3:]):
            await trio.sleep(300)
            assert all({member.name for member in machine.node.members} == set(names[:3]) for machine in nodes[:3])
        assert await machines.wait_agreed(nodes) < 3 * LAN.heal_interval

    simulate(scenario, seed=seed)


def test_who_left_is_not_looked_for_and_who_died_is(seed: int) -> None:
    async def scenario(machines: Machines) -> None:
        # No seeds that point at them: only the members' own memory does.
        profile = dataclasses.replace(LAN, tombstone_retention=120)
        names = ["a0", "a1", "leaver", "victim"]
        nodes = [machines.start(name, join=["a0"], profile=profile) for name in names]
        await machines.wait_agreed(nodes)
        await nodes[2].node.leave()
        await machines.kill(nodes[2])
        await machines.kill(nodes[3])
        await trio.sleep(30)
        dialled = {"leaver": 0, "victim": 0}

        async def count(host: str) -> None:
            binding = await machines.network.at(host).bind(Address(host, PORT))
            while True:
                stream, _ = await binding.listener.accept()
                dialled[host] += 1
                await stream.aclose()

        async with trio.open_nursery() as nursery:
            for host in dialled:
                nursery.start_soon(count, host)
            await trio.sleep(1000)  # the second half of it after their tombstones are gone
            nursery.cancel_scope.cancel()
        assert dialled["leaver"] == 0
        assert dialled["victim"] >= 5
        for machine in nodes[:2]:
            assert machine.sees() == {"a0", "a1"}
            assert machine.sees(Status.DEAD) == set()

    simulate(scenario, seed=seed)
