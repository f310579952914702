"""Simulated disks: what a crash leaves, and the faults; what every store promises is in tests/contracts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import StoreError, StoreFull
from swimring.service import Request, Service
from swimring.testing import DiskVerdict, SimCluster, SimNode, open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

app = Service("app")


@app.on("keep")
async def keep(request: Request, text: str) -> None:
    await request.node.store.append("log", text.encode())
    await request.node.store.sync("log")


@app.on("kept", idempotent=True)
async def kept(request: Request) -> str:
    return (await request.node.store.read("log") or b"").decode()


def simulate(rule: Callable[[SimCluster, SimNode], Awaitable[None]], *, seed: int = 1) -> str:
    async def main() -> str:
        async with open_sim_cluster() as cluster:
            (node,) = await cluster.start(1, app)
            await rule(cluster, node)
        return cluster.network.trace.digest

    return run_simulation(main, seed=seed)


def outcomes(rule: Callable[[SimCluster, SimNode], Awaitable[bytes | None]], seeds: int = 40) -> set[bytes | None]:
    """What ``rule`` returns under many seeds."""
    found: set[bytes | None] = set()

    async def note(cluster: SimCluster, node: SimNode) -> None:
        found.add(await rule(cluster, node))

    for seed in range(seeds):
        simulate(note, seed=seed)
    return found


async def die_while(node: SimNode, operation: Callable[[], Awaitable[None]], *, machine: bool = False) -> None:
    """Kill the process, or lose the machine, in the middle of ``operation`` of that process."""
    async with trio.open_nursery() as nursery:

        async def operate() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await operation()

        nursery.start_soon(operate)
        await trio.testing.wait_all_tasks_blocked()
        (node.freeze if machine else node.crash)()


# ----------------------------------------------------------------------------------------------------------- restarts


def test_a_restart_finds_what_its_machine_has_kept_or_nothing_if_it_gets_another_disk() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        await node.node.call(keep, None, "one ")
        node.crash()
        await node.restart()
        await node.node.call(keep, None, "two")
        assert await node.node.call(kept, None) == "one two"
        await node.drain()
        await node.restart(data=False)
        assert await node.node.call(kept, None) == ""
        assert [fault.text for fault in cluster.history.faults if "restart" in fault.text] == [
            "restart n1",
            "restart n1 without its data",
        ]

    simulate(rule)


def test_each_machine_has_a_disk_of_its_own() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        (other,) = await cluster.start(1, app)
        await node.node.store.write("a", b"1")
        assert await other.node.store.read("a") is None
        assert (node.disk.content("a"), other.disk.content("a")) == (b"1", None)

    simulate(rule)


# ------------------------------------------------------------------------------------------------------------ crashes


@pytest.mark.parametrize("machine", [False, True], ids=["process killed", "machine lost"])
def test_a_crash_in_the_middle_of_writing_leaves_the_old_or_the_new_file_torn_writes_or_not(*, machine: bool) -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> bytes | None:
        store = node.node.store
        await store.write("a", b"old" * 1000)
        with cluster.torn_writes(), cluster.forgetful_disk():
            await die_while(node, lambda: store.write("a", b"new" * 1000), machine=machine)
        return node.disk.content("a")

    assert outcomes(rule) == {b"old" * 1000, b"new" * 1000}


def test_a_killed_process_leaves_what_it_had_appended_because_the_kernel_has_it() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> bytes | None:
        await node.node.store.append("log", b"one ")
        await node.node.store.append("log", b"two")
        node.crash()
        return node.disk.content("log")

    assert outcomes(rule, 10) == {b"one two"}


def test_a_lost_machine_loses_what_was_not_synced_from_the_end_on() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> bytes | None:
        store = node.node.store
        await store.append("log", b"one ")
        await store.sync("log")
        await store.append("log", b"two ")
        await store.append("log", b"three")
        node.freeze()
        return node.disk.content("log")

    assert outcomes(rule) == {b"one ", b"one two ", b"one two three"}


def test_a_file_that_was_never_synced_may_not_be_there_at_all() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> bytes | None:
        await node.node.store.append("log", b"one")
        node.freeze()
        return node.disk.content("log")

    assert outcomes(rule) == {None, b"", b"one"}


def test_a_killed_process_on_a_forgetful_disk_loses_what_a_lost_machine_loses() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> bytes | None:
        store = node.node.store
        await store.append("log", b"one ")
        await store.sync("log")
        await store.append("log", b"two")
        with cluster.forgetful_disk(node):
            node.crash()
        return node.disk.content("log")

    assert outcomes(rule) == {b"one ", b"one two"}


def test_appending_under_way_in_a_crash_is_done_or_not_and_if_writes_tear_in_part_or_as_zeros() -> None:
    content = b"x" * 1500

    async def whole(cluster: SimCluster, node: SimNode) -> bytes | None:
        store = node.node.store
        await store.append("log", b"")
        await die_while(node, lambda: store.append("log", content))
        return node.disk.content("log")

    async def torn(cluster: SimCluster, node: SimNode) -> bytes | None:
        with cluster.torn_writes():
            return await whole(cluster, node)

    assert outcomes(whole) == {b"", content}
    found = outcomes(torn)
    assert all(one is not None and len(one) <= 1500 and set(one) <= set(b"x\0") for one in found)
    assert any(one and 0 < len(one) < 1500 for one in found)
    assert any(one and b"\0" * 512 in one and b"x" * 512 in one for one in found)


def test_what_was_synced_never_tears() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> bytes | None:
        store = node.node.store
        await store.append("log", b"safe")
        await store.sync("log")
        with cluster.torn_writes(), cluster.forgetful_disk():
            await store.append("log", b"x" * 2000)
            node.freeze()
        return (node.disk.content("log") or b"")[:4]

    assert outcomes(rule) == {b"safe"}


def test_the_operations_of_a_life_that_is_over_fail() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        store = node.node.store
        node.crash()
        with pytest.raises(trio.ClosedResourceError, match="over"):
            await store.write("a", b"from the grave")
        assert node.disk.content("a") is None

    simulate(rule)


# ------------------------------------------------------------------------------------------------------------- faults


def test_on_a_full_disk_nothing_is_written_and_deleting_helps_nobody_until_the_block_ends() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        store = node.node.store
        await store.write("a", b"old")
        with cluster.full_disk(node):
            for operation in (store.write("a", b"new"), store.append("a", b"new"), store.append("b", b"new")):
                with pytest.raises(StoreFull, match="No space left"):
                    await operation
            assert await store.read("a") == b"old"
            assert await store.names() == ("a", "swimring-generation")
            await store.delete("a")
        await store.write("a", b"new")
        assert [fault.text for fault in cluster.history.faults] == ["disk full at n1", "end of: disk full at n1"]

    simulate(rule)


def test_a_failing_disk_fails_as_often_as_it_says_and_changes_nothing_then() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        store, failed = node.node.store, 0
        with cluster.failing_disk(0.3):
            for number in range(200):
                try:
                    await store.write(f"{number}", b"")
                except StoreError as error:
                    assert "Input/output error" in str(error)  # noqa: PT017 - whether it fails is up to the dice
                    failed += 1
                    assert node.disk.content(f"{number}") is None
        assert 40 < failed < 80

    simulate(rule)


def test_a_slow_disk_takes_its_time_and_others_do_not() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        (other,) = await cluster.start(1, app)
        with cluster.slow_disk(2.0, 3.0, node):
            began = trio.current_time()
            await node.node.store.write("a", b"")
            assert 2.0 <= trio.current_time() - began <= 3.0
            began = trio.current_time()
            await other.node.store.write("a", b"")
            assert trio.current_time() - began < 0.01

    simulate(rule)


def test_a_fault_of_disks_can_be_your_own() -> None:
    class FirstMinute:
        def judge_disk(self, host: str) -> DiskVerdict:
            return DiskVerdict(full=trio.current_time() < 60)

        def __repr__(self) -> str:
            return "full in the first minute"

    async def rule(cluster: SimCluster, node: SimNode) -> None:
        with cluster.inject_disk(FirstMinute()):
            with pytest.raises(StoreFull):
                await node.node.store.write("a", b"")
            await trio.sleep(60)
            await node.node.store.write("a", b"")
        assert cluster.history.faults[0].text == "full in the first minute"

    simulate(rule)


def test_a_node_whose_disk_is_full_when_it_starts_says_so() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        node.crash()
        with cluster.full_disk(), pytest.RaisesGroup(StoreFull, flatten_subgroups=True, allow_unwrapped=True):
            await node.restart()

    simulate(rule)


def test_equal_seeds_give_equal_disks() -> None:
    async def rule(cluster: SimCluster, node: SimNode) -> None:
        with cluster.torn_writes(), cluster.failing_disk(0.1):
            for number in range(20):
                with contextlib.suppress(StoreError):
                    await node.node.store.append("log", bytes(number * 100))
            node.freeze()
        await node.restart()
        found.append(await node.node.store.read("log"))

    found: list[bytes | None] = []
    digests = {simulate(rule, seed=2) for _ in range(2)}
    assert len(digests) == 1
    assert found[0] == found[1]
