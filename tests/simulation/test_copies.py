"""Where copies are after nodes came and went, and how keys with state open and close."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import HandlerFailed, Overloaded
from swimring.service import Request, Service
from swimring.testing import current_seed, dice, open_sim_cluster, run_simulation

from .counters import Counters, grown

if TYPE_CHECKING:
    from swimring.testing import SimCluster

pytestmark = pytest.mark.costly

KEYS = [f"k{number}" for number in range(100)]


async def repaired(cluster: SimCluster) -> None:
    """Wait until no node knows of a copy that is missing anywhere; all have it from then on."""
    await grown(cluster)
    for one in cluster.running:
        assert one.node.ownership_statistics().keys_left == 0


def misplaced(cluster: SimCluster, replicas: int) -> list[str]:
    """Keys whose copies are not exactly where the ring wants them, or differ."""
    held: dict[bytes, set[str]] = {}
    versions: dict[bytes, set[object]] = {}
    for one in cluster.running:
        for copy in one.node.ownership.holdings:
            held.setdefault(copy.place[1], set()).add(one.name)
            versions.setdefault(copy.place[1], set()).add(copy.version)
    ring = cluster.running[0].node.ring("counter")
    return [
        f"{key!r} is on {sorted(names)}, not {ring.owners(key, replicas + 1)}; {len(versions[key])} versions"
        for key, names in held.items()
        if names != set(ring.owners(key, replicas + 1)) or len(versions[key]) > 1
    ]


@pytest.mark.parametrize("replicas", [0, 2])
def test_copies_are_where_the_ring_wants_them_after_nodes_came_and_went(seed: int, replicas: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=replicas)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(4, counters.service)
            await cluster.settled()
            for key in KEYS:
                await counters.add_one(cluster, key)
            await cluster.start(2, counters.service)
            await repaired(cluster)
            assert misplaced(cluster, replicas) == []
            await nodes[1].drain()
            await repaired(cluster)
            assert misplaced(cluster, replicas) == []
            if replicas:
                dice("killed", current_seed()).choice(cluster.running).crash()
                await repaired(cluster)
                assert misplaced(cluster, replicas) == []
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)


def copies_sent(cluster: SimCluster) -> int:
    return sum(one.node.ownership_statistics().copies_sent for one in cluster.running)


def test_nothing_is_copied_for_a_node_that_comes_back_until_its_time_is_over(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1, idle=1.0)
        async with open_sim_cluster() as cluster:
            await cluster.start(5, counters.service, restart_hold=60)
            await grown(cluster)
            for key in KEYS:
                await counters.add_one(cluster, key)
            await grown(cluster)
            away = dice("away", current_seed()).choice(cluster.running)
            away.crash()
            await cluster.settled()
            sent = copies_sent(cluster)
            await trio.sleep(20)
            assert copies_sent(cluster) == sent
            await trio.sleep(60)
            assert copies_sent(cluster) > sent
            await repaired(cluster)
            assert misplaced(cluster, 1) == []
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)


def test_keys_and_states_of_any_size_are_brought_over_in_several_messages(seed: int) -> None:
    app = Service("counter")
    blobs = app.own_keys(bytes)

    @app.on("keep")
    async def keep(request: Request, size: int) -> None:
        own = blobs.of(request)
        own.state = bytes(size)
        await own.checkpoint()

    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (old,) = await cluster.start(1, app)
            for number in range(600):
                key = f"{number}-{'x' * 1000}"
                await old.node.call(keep, key, 500_000 if number % 100 == 0 else 3)
            (new,) = await cluster.start(1, app)
            await grown(cluster)
            await old.drain()
            assert len(new.node.ownership.holdings) == 600

    run_simulation(scenario, seed=seed)


def test_a_copy_that_no_replica_can_be_reached_for_is_brought_to_the_next_node(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=2)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(5, counters.service)
            asker, _ = await cluster.start(2, counters.service, weight=0)
            await cluster.settled()
            owner = cluster.owner_of("k", counters.service)
            first, second = owner.node.replicas("k", 2, service="counter")
            await asker.node.call(counters.add, "k")
            with cluster.partition([owner], [one for one in nodes if one.name == first.name]):
                began = trio.current_time()
                await asker.node.call(counters.add, "k")
                assert trio.current_time() - began < 1
                third = owner.node.replicas("k", 3, service="counter")[2]
            for one in nodes:
                held = one.node.ownership.holdings.get(("counter", b"k"))
                current = held is not None and held.sequence == 2
                assert current == (one.name in (owner.name, second.name, third.name))
            await trio.sleep(10)  # who could not be reached gets its copy then, and who stood in for it drops its own
            assert misplaced(cluster, 2) == []

    run_simulation(scenario, seed=seed)


def test_an_idle_key_is_closed_and_goes_on_where_it_was(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1, idle=5.0)
        async with open_sim_cluster() as cluster:
            await cluster.start(3, counters.service)
            await cluster.settled()
            for key in KEYS:
                await counters.add_one(cluster, key)
            opened = Counter(one.name for one in cluster.running for _ in one.node.ownership.open_keys())
            assert opened.total() == len(KEYS)
            await trio.sleep(6)
            assert [key for one in cluster.running for key in one.node.ownership.open_keys()] == []
            for key in KEYS:
                await counters.add_one(cluster, key)
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)


def test_a_state_that_was_not_checkpointed_is_handed_off_in_a_planned_move(seed: int) -> None:
    app = Service("counter")
    notes = app.own_keys(list[str], replicas=0)

    @app.on("note")
    async def note(request: Request, text: str) -> list[str]:
        notes.of(request).state.append(text)
        return notes.of(request).state

    async def scenario() -> None:
        said: list[str] = []
        async with open_sim_cluster() as cluster:
            await cluster.start(3, app)
            await cluster.settled()
            for text in "abc":
                owner = cluster.owner_of("k", app)
                said = await owner.node.call(note, "k", text)
                await owner.drain()
                if text != "c":
                    await owner.restart()
                    await grown(cluster)
            assert said == ["a", "b", "c"]

    run_simulation(scenario, seed=seed)


def test_at_most_a_thousand_calls_of_a_key_wait(seed: int) -> None:
    async def scenario() -> None:
        counters, ended = Counters(replicas=0, work=0.01), Counter[str]()
        async with open_sim_cluster() as cluster:
            (owner,) = await cluster.start(1, counters.service)

            async def call() -> None:
                try:
                    await owner.node.peer(owner.name).call(counters.add, "k")
                    ended["ok"] += 1
                except Overloaded as error:
                    ended["executed" if error.maybe_executed else "refused"] += 1

            async with trio.open_nursery() as nursery:
                for _ in range(1010):
                    nursery.start_soon(call)
        assert ended == {"ok": 1000, "refused": 10}

    run_simulation(scenario, seed=seed)


def test_a_state_that_cannot_be_kept_or_read_is_an_error_of_the_call(seed: int) -> None:
    app, later = Service("counter"), Service("counter")
    texts = app.own_keys(str)
    later.own_keys(int)

    @app.on("keep")
    async def keep(request: Request, size: int) -> int:
        own = texts.of(request)
        own.state = "x" * size
        await own.checkpoint()
        return size

    @later.on("read")
    async def read(request: Request) -> int:
        return 0

    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (old,) = await cluster.start(1, app)
            with pytest.raises(HandlerFailed, match="at most 524288 are kept"):
                await old.node.call(keep, "large", 600_000)
            (new,) = await cluster.start(1, later)
            await cluster.settled()
            mine = next(key for key in KEYS if cluster.owner_of(key, app) is old)
            await old.node.call(keep, mine, 5)
            await old.drain()
            with pytest.raises(HandlerFailed, match="what was kept does not fit"):
                await new.node.call(read, mine)

    run_simulation(scenario, seed=seed)
