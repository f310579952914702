"""What a call made inside a handler inherits: the deadline, the trace, and the end of the first call."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import DeadlineExceeded
from swimring.service import Channel, Request, Service
from swimring.tracing import Trace, current_trace, enter_trace, use_trace

from .nodes import nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork


class Chain:
    """Handlers that hand a call on, and write down what they ran in."""

    def __init__(self) -> None:  # noqa: C901 - one handler beside the other
        self.service = service = Service("chain")
        self.seen: list[tuple[str, Any]] = []
        self.ended = trio.Event()

        @service.on("hop")
        async def hop(request: Request, to: list[str], wait: float = 0.0) -> int:
            self._note(request)
            await trio.sleep(wait)
            if to:
                return 1 + await request.node.peer(to[0]).call(hop, None, to[1:], wait)
            return 0

        @service.on("count")
        async def count(request: Request, to: list[str]) -> AsyncIterator[int]:
            self._note(request)
            try:
                if to:
                    async with request.node.peer(to[0]).open(count, None, to[1:]) as items:  # type: ignore[attr-defined]
                        async for item in items:
                            yield item
                else:
                    for number in range(10**9):
                        yield number
                        await trio.sleep(1)
            finally:
                self.seen.append((request.node.name, "ended"))
                if request.node.name == "c":
                    self.ended.set()

        @service.on("echo")
        async def echo(channel: Channel[int, int], to: list[str]) -> int:
            self._note(channel.request)
            if not to:
                async for number in channel:
                    await channel.send(number)
                return 0
            async with channel.request.node.peer(to[0]).open(echo, None, to[1:]) as call:  # type: ignore[attr-defined]
                async for number in channel:
                    await call.send(number)
                    await channel.send(await anext(call))
                return 1 + await call.result()  # type: ignore[no-any-return]

        self.hop, self.count, self.echo = hop, count, echo

    def _note(self, request: Request) -> None:
        now = trio.current_time()
        told, effective = request.deadline - now, trio.current_effective_deadline() - now
        assert told == effective
        self.seen.append((request.node.name, (effective, current_trace())))

    @property
    def left(self) -> dict[str, float]:
        return {name: what[0] for name, what in self.seen if what != "ended"}

    @property
    def traces(self) -> dict[str, Trace | None]:
        return {name: what[1] for name, what in self.seen if what != "ended"}


# -------------------------------------------------------------------------------------------------------- deadlines


@simulated
async def test_the_deadline_shrinks_over_two_hops_and_is_right_in_each_handler(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c):
        with trio.fail_after(10):
            assert await a.peer("b").call(chain.hop, None, ["c"], 1.5) == 1
        assert 9.5 < chain.left["b"] <= 10
        assert 8.0 < chain.left["c"] <= 8.5
        assert await a.peer("b").call(chain.hop, None, ["c"], 1.5) == 1
        assert chain.left == {"b": math.inf, "c": math.inf}


@simulated
async def test_every_kind_of_call_inherits_the_deadline(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c):
        with trio.move_on_after(5):
            async with a.peer("b").open(chain.count, None, ["c"]) as items:
                await anext(items)
                assert 4.5 < chain.left["c"] <= chain.left["b"] <= 5
        with trio.move_on_after(5):
            async with a.peer("b").open(chain.echo, None, ["c"]) as call:
                await call.send(7)
                assert await anext(call) == 7
                assert 4.5 < chain.left["c"] <= chain.left["b"] <= 5
                assert await call.result() == 1


@simulated
async def test_the_deadline_ends_both_hops_although_nobody_can_tell_them(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c), trio.open_nursery() as nursery:
        began = trio.current_time()

        async def ask() -> None:
            with trio.move_on_after(5):
                async with a.peer("b").open(chain.count, None, ["c"]) as items:
                    async for _item in items:
                        pass

        nursery.start_soon(ask)
        await trio.sleep(4.9)
        with network.partition(["a"], ["b", "c"]), network.partition(["b"], ["c"]):
            await chain.ended.wait()
            assert 5.0 <= trio.current_time() - began < 5.01, "on its own clock"
            await trio.sleep(0.5)
            assert [what for what in chain.seen if what[1] == "ended"] == [("c", "ended"), ("b", "ended")]


@simulated
async def test_a_deadline_that_the_caller_forgets_is_still_the_answer_of_two_hops(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c):
        with trio.CancelScope(deadline=trio.current_time() + 2) as scope, pytest.raises(DeadlineExceeded) as caught:
            async with a.peer("b").open(chain.count, None, ["c"]) as items:
                scope.deadline = math.inf
                async for _item in items:
                    pass
        assert caught.value.maybe_executed


@simulated
async def test_leaving_the_block_ends_the_handlers_of_both_hops(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c):
        async with a.peer("b").open(chain.count, None, ["c"]) as items:
            await anext(items)
        assert [what for what in chain.seen if what[1] == "ended"] == [("c", "ended"), ("b", "ended")]


@simulated
async def test_answers_come_in_the_order_in_which_handlers_end(network: SimulatedNetwork) -> None:
    chain, done = Chain(), []
    async with nodes_at(network, "ab", chain.service) as (a, _b):

        async def ask(wait: float) -> None:
            await a.peer("b").call(chain.hop, None, [], wait)
            done.append(wait)

        async with trio.open_nursery() as nursery:
            for wait in (3.0, 1.0, 2.0):
                nursery.start_soon(ask, wait)
        assert done == [1.0, 2.0, 3.0]
        assert len(a._routes()._peers.connections) == 1  # type: ignore[attr-defined]


# ----------------------------------------------------------------------------------------------------------- traces


@simulated
async def test_a_trace_crosses_two_hops_with_a_span_for_each_call(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c):
        with a.trace() as trace:
            assert trace is not None
            await a.peer("b").call(chain.hop, None, ["c"])
            assert current_trace() == trace
        assert current_trace() is None
        spans = [trace, chain.traces["b"], chain.traces["c"]]
        assert {span.trace_id for span in spans if span} == {trace.trace_id}
        assert len({span.span_id for span in spans if span}) == 3


@simulated
async def test_every_kind_of_call_carries_the_trace(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "abc", chain.service) as (a, _b, _c):
        with a.trace() as trace:
            assert trace is not None
            async with a.peer("b").open(chain.count, None, ["c"]) as items:
                await anext(items)
                assert [one and one.trace_id for one in chain.traces.values()] == [trace.trace_id] * 2
            chain.seen.clear()
            async with a.peer("b").open(chain.echo, None, ["c"]) as call:
                await call.result()
                assert [one and one.trace_id for one in chain.traces.values()] == [trace.trace_id] * 2
            chain.seen.clear()
            for to in ([], ["a"]):
                await a.cast({"ns": "chain", "cmd": "hop", "key": "k", "to": to})
            await trio.sleep(1)
            assert {one and one.trace_id for one in chain.traces.values()} == {trace.trace_id}


@simulated
async def test_a_trace_of_one_call_is_not_seen_by_the_next(network: SimulatedNetwork) -> None:
    chain = Chain()
    async with nodes_at(network, "ab", chain.service) as (a, _b):
        with a.trace():
            await a.peer("b").call(chain.hop, None, [])
        assert chain.traces["b"] is not None
        await a.peer("b").call(chain.hop, None, [])
        assert chain.traces["b"] is None


def test_the_text_of_a_trace_is_a_traceparent() -> None:
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    trace = Trace.read(text)
    assert trace is not None
    assert str(trace) == text
    child = trace.child(random.Random(1))
    assert (child.trace_id, child.flags) == (trace.trace_id, trace.flags)
    assert child.span_id != trace.span_id
    assert Trace.read(str(child)) == child


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
    ],
)
def test_what_is_no_traceparent_is_ignored(text: str) -> None:
    assert Trace.read(text) is None


def test_a_later_version_of_the_text_is_read_as_far_as_it_is_known() -> None:
    assert Trace.read("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what comes") is not None


def test_a_trace_is_used_for_a_block_or_for_good() -> None:
    trace = Trace.begin(random.Random(1))
    with use_trace(trace):
        assert current_trace() == trace
        with use_trace(None):
            assert current_trace() is None
    assert current_trace() is None
    enter_trace(trace)
    try:
        assert current_trace() == trace
    finally:
        enter_trace(None)
