"""What every Store promises, checked on a real directory and on a simulated disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio

from swimring.errors import ConfigError, StoreError, StoreFull
from swimring.net import MAX_CONTENT, DirectoryStore
from swimring.testing import open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from swimring.service import Store

    Rule: TypeAlias = Callable[[Store], Awaitable[None]]
    World: TypeAlias = Callable[[Rule], None]


@pytest.fixture(params=["real", "simulated"])
def in_a_world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    def real(rule: Rule) -> None:
        trio.run(rule, DirectoryStore(tmp_path / "state"))

    def simulated(rule: Rule) -> None:
        async def main() -> None:
            async with open_sim_cluster(name="stores") as cluster:
                (node,) = await cluster.start(1)
                await node.node.store.delete("swimring-generation")
                await rule(node.node.store)

        run_simulation(main, seed=1)

    return real if request.param == "real" else simulated


def test_what_was_written_is_read_and_only_that(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        assert await store.read("a") is None
        await store.write("a", b"first, and longer")
        await store.write("a", b"second")
        await store.write("b", b"")
        assert (await store.read("a"), await store.read("b")) == (b"second", b"")
        assert await store.names() == ("a", "b")

    in_a_world(rule)


def test_what_is_appended_is_at_the_end_synced_or_not(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        await store.append("log", b"one ")
        await store.append("log", b"two ")
        await store.sync("log")
        await store.append("log", b"three")
        assert await store.read("log") == b"one two three"
        await store.write("log", b"anew ")
        await store.append("log", b"again")
        assert await store.read("log") == b"anew again"
        await store.sync("nothing-there")
        assert await store.names() == ("log",)

    in_a_world(rule)


def test_what_was_deleted_is_gone_and_deleting_nothing_is_no_error(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        await store.write("a", b"1")
        await store.delete("a")
        await store.delete("a")
        assert (await store.read("a"), await store.names()) == (None, ())
        await store.append("a", b"2")
        assert await store.read("a") == b"2"

    in_a_world(rule)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "a\n", "é", "x" * 101, "-a"])
def test_a_name_that_could_be_a_path_or_is_too_long_is_refused(in_a_world: World, name: str) -> None:
    async def rule(store: Store) -> None:
        for operation in (store.read(name), store.write(name, b""), store.append(name, b""), store.sync(name)):
            with pytest.raises(ConfigError, match="letter or digit first"):
                await operation
        with pytest.raises(ConfigError):
            await store.delete(name)

    in_a_world(rule)


def test_a_file_has_a_limit_and_what_goes_beyond_it_changes_nothing(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        with pytest.raises(StoreFull, match="at most 67108864"):
            await store.write("a", bytes(MAX_CONTENT + 1))
        assert await store.read("a") is None
        await store.append("a", bytes(MAX_CONTENT))
        with pytest.raises(StoreFull):
            await store.append("a", b"x")
        found = await store.read("a")
        assert found is not None
        assert len(found) == MAX_CONTENT

    in_a_world(rule)


def test_operations_take_turns_in_the_order_they_were_asked_in(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        async def add(number: int) -> None:
            await trio.lowlevel.checkpoint()
            asked.append(number)
            await store.append("log", bytes([number]))

        asked: list[int] = []
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(add, number)
        assert await store.read("log") == bytes(asked)

    in_a_world(rule)


def test_an_operation_is_cancelled_before_it_begins_or_not_at_all(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.write("a", b"never")
        assert scope.cancelled_caught
        assert await store.read("a") is None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.write, "a", b"whole")
                await trio.testing.wait_all_tasks_blocked()  # it is at it
                scope.cancel()
        assert await store.read("a") == b"whole"

    in_a_world(rule)


def test_every_operation_is_a_checkpoint(in_a_world: World) -> None:
    async def rule(store: Store) -> None:
        with trio.testing.assert_checkpoints():
            await store.write("a", b"1")
        with trio.testing.assert_checkpoints():
            await store.read("a")
        with trio.testing.assert_checkpoints():
            await store.names()

    in_a_world(rule)


def test_errors_of_the_disk_are_errors_of_the_store() -> None:
    assert issubclass(StoreFull, StoreError)
    assert str(StoreError("a", "Input/output error")) == "a: Input/output error"
