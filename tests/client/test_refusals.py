"""What follows a refused or lost call, the same on asyncio and on Trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from swimring.client import connect
from swimring.errors import (
    ConnectionLost,
    Draining,
    HandlerFailed,
    Moved,
    Overloaded,
    Unreachable,
)
from swimring.policies import RetryPolicy
from swimring.swim import Status

from .tiny import ASK, Heard, again, key_of, never, tiny_cluster, who

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .tiny import TinyNode

pytestmark = pytest.mark.anyio


def dying(node: TinyNode, and_then: Callable[[], object] = lambda: None) -> Callable[[Heard], Awaitable[object]]:
    """A handler in which its node crashes."""

    async def die(heard: Heard) -> object:
        node.crash()
        and_then()
        return await never(heard)

    return die


async def test_a_moved_answer_is_followed_with_the_records_it_carries() -> None:
    async with tiny_cluster() as cluster:
        old = await cluster.start("a")
        async with connect(old.address) as mesh:
            await old.wait_followed()
            new = await cluster.start("b", told=False)

            async def refuse(heard: Heard) -> object:
                raise Moved("b does", records=(new.member.to_wire(), old.member.to_wire()))

            old.handler = refuse
            asked = old.ring_asked
            assert await mesh.request({**ASK, "key": key_of(new, old)}) == "b"
            assert mesh.counters() == {"calls": 1, "retries": 1}
            assert old.ring_asked + new.ring_asked == asked
            assert new.calls[0].header.hops == 1
            assert new.calls[0].header.attempt == 1


async def test_records_that_are_none_do_no_harm() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        answers = iter([Moved("not me", records=(["nonsense"],))])

        async def refuse_once(heard: Heard) -> object:
            for error in answers:
                raise error
            return "yes"

        node.handler = refuse_once
        async with connect(node.address) as mesh:
            assert await mesh.request({**ASK, "key": "k"}) == "yes"


async def test_a_dead_owner_is_replaced_as_soon_as_another_node_knows() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(second, first)
        async with connect(first.address) as mesh:
            await second.kill()
            cluster.bury(second)
            assert await mesh.request({**ASK, "key": key}) == "a"
            assert mesh.lookup(key).name == "a"
            assert [(member.name, member.status) for member in mesh.members] == [
                ("a", Status.ALIVE),
                ("b", Status.DEAD),
            ]


async def test_the_node_it_was_given_may_die_too() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(first, second)
        async with connect(first.address) as mesh:
            await first.kill()
            cluster.bury(first)
            assert await mesh.request({**ASK, "key": key}) == "b"


async def test_a_call_waits_for_a_new_owner_until_its_deadline_and_then_says_why() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(second, first)
        async with connect(first.address) as mesh:
            await second.kill()
            mesh._routing._policy = RetryPolicy(reserve=1.5)  # this clock is real: no machine is so late
            with (
                pytest.raises(Unreachable, match=r"cannot reach b .*connection refused") as caught,
                anyio.fail_after(2),
            ):
                await mesh.request({**ASK, "key": key})
            assert (caught.value.key, caught.value.owner, caught.value.maybe_executed) == (key, "b", False)


async def test_nodes_are_told_whom_the_client_cannot_reach_so_that_they_look_after_it() -> None:
    async with tiny_cluster() as cluster:
        first, second, third = [await cluster.start(name) for name in "abc"]
        async with connect(first.address) as mesh:
            await second.kill()
            mesh._routing._policy = RetryPolicy(reserve=1.5)
            with pytest.raises(Unreachable), anyio.fail_after(2):
                await mesh.request({**ASK, "key": key_of(second, first, third)})
            assert {*first.told_lost, *third.told_lost} == {"b"}


async def test_a_connection_lost_under_a_call_is_an_error_that_says_it_may_have_run() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        second.handler = dying(second, lambda: cluster.bury(second))
        async with connect(first.address) as mesh:
            with pytest.raises(ConnectionLost) as caught:
                await mesh.request({**ASK, "key": key_of(second, first)})
            assert caught.value.maybe_executed
            assert caught.value.owner == "b"
        assert not first.calls


async def test_a_connection_lost_under_an_idempotent_call_sends_it_to_the_next_owner() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        second.handler = dying(second, lambda: cluster.bury(second))
        async with connect(first.address) as mesh:
            assert await mesh.request({**ASK, "key": key_of(second, first)}, idempotent=True) == "a"


async def test_a_call_that_may_have_run_in_an_earlier_attempt_says_so_in_the_end() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        second.handler = dying(second)
        async with connect(first.address) as mesh:
            with pytest.raises(Unreachable) as caught, anyio.fail_after(1):
                await mesh.request({**ASK, "key": key_of(second, first)}, idempotent=True)
            assert caught.value.maybe_executed


async def test_calls_that_a_draining_node_did_not_accept_go_to_the_next_owner() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(second, first)
        async with connect(first.address) as mesh:
            assert await mesh.request({**ASK, "key": key}) == "b"
            cluster.bury(second, Status.LEFT)
            await second.drain()
            assert await mesh.request({**ASK, "key": key}) == "a"


async def test_refusals_are_retried_until_the_deadline() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")

        async def refuse(heard: Heard) -> object:
            raise Draining("in a moment")

        node.handler = refuse
        async with connect(node.address) as mesh:
            mesh._routing._policy = RetryPolicy(reserve=1.5)
            with pytest.raises(Draining, match="in a moment"), anyio.fail_after(2):
                await mesh.request({**ASK, "key": "k"})
        assert len(node.calls) > 2


async def test_an_error_of_the_handler_is_not_retried_and_comes_bare() -> None:
    async def fail(heard: Heard) -> object:
        raise HandlerFailed(type_name="ValueError", message="no")

    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=fail)
        with pytest.raises(HandlerFailed, match="ValueError: no"):
            async with connect(node.address) as mesh:
                await mesh.request({**ASK, "key": "k"}, idempotent=True)
        assert len(node.calls) == 1


async def test_nonsense_from_a_node_ends_the_connection_and_the_next_call_makes_another() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=never)
        async with connect(node.address) as mesh:
            async with anyio.create_task_group() as tasks:

                async def lose() -> None:
                    with pytest.raises(ConnectionLost):
                        await mesh.request({**ASK, "key": "k"})

                tasks.start_soon(lose)
                await node.wait_called()
                await node.send_nonsense()
            node.handler = again
            assert await mesh.request({**ASK, "key": "k"}) == "again"


async def test_when_no_member_is_left_the_addresses_it_began_with_are_tried_again() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b", joined=False)
        async with connect(first.address, second.address) as mesh:
            await first.kill()
            cluster.bury(first)
            cluster.members["b"] = second.member
            assert await mesh.request({**ASK, "key": "k"}) == "b"


async def test_an_overloaded_node_is_left_alone_for_as_long_as_it_asks() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")

        async def refuse_once(heard: Heard) -> object:
            node.handler = who
            raise Overloaded("busy", retry_after=0.1)

        node.handler = refuse_once
        async with connect(node.address) as mesh:
            began, asked = anyio.current_time(), node.ring_asked
            assert await mesh.request({**ASK, "key": "k"}) == "a"
            assert anyio.current_time() - began >= 0.1
            assert node.ring_asked <= asked + 1, "who is busy is not asked for the members as well"
