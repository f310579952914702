"""Routing over a real ring and doors that are functions: what a door does to a call is written in each test."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from swimring.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    Draining,
    HandlerFailed,
    InvalidRequest,
    Moved,
    NoSuchHandler,
    NotOwner,
    Overloaded,
    Unreachable,
)
from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.mux import CallHeader
from swimring.ownership import Rebalancer
from swimring.rpc import Outgoing, Routing, outgoing, refuse_unless_owner, whole_message
from swimring.swim import Member, Metadata, Status
from tests.names import named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from swimring.service import StreamSource

    Behaviour = Callable[[Outgoing], Awaitable[Any]]

ME = "me"


def member(name: str, *services: str, generation: int = 1, status: Status = Status.ALIVE, weight: int = 1) -> Member:
    return Member(
        name=name,
        address=Address(name, 7979),
        generation=generation,
        incarnation=0,
        status=status,
        metadata=Metadata(services=services, weight=weight),
    )


class Beliefs:
    """Members by name; a later record of a name replaces an earlier one."""

    def __init__(self, members: Iterable[Member]) -> None:
        self.records = {one.name: one for one in members}

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(self.records.values())

    def learn(self, members: Iterable[Member]) -> None:
        for one in members:
            known = self.records.get(one.name)
            if known is None or one.supersedes(known):
                self.records[one.name] = one


class House:
    """One node's doors to all others: each does to a call what the test says, and writes down that it was asked."""

    def __init__(
        self, *members: Member, handles: Callable[[Mapping[str, object]], bool] = lambda _message: False
    ) -> None:
        self.beliefs = Beliefs(members)
        self.view = Rebalancer(self.beliefs, cluster="test")
        self.behaviour: dict[str, Behaviour] = {}
        self.results: Behaviour | None = None
        self.unreachable: set[str] = set()
        self.asked: list[tuple[str, Outgoing]] = []
        self.heard = Heard()
        self.routing = Routing(
            me=NodeId(ME, 1),
            view=self.view,
            peers=self,
            here=Behind(self, ME),
            handles=handles,
            rng=random.Random(1),
            instruments=Instruments([self.heard]),
        )

    def at_hand(self, name: str, generation: int) -> Behind | None:
        return None if name in self.unreachable else Behind(self, name)

    async def peer(self, name: str, address: Address, generation: int) -> Behind:
        await trio.lowlevel.checkpoint()
        assert self.beliefs.records[name].address == address
        if name in self.unreachable:
            self.asked.append((f"{name} (no connection)", Outgoing()))
            raise Unreachable("refused", owner=name)
        return Behind(self, name)

    def change(self, *members: Member) -> None:
        """What gossip tells, published."""
        for one in members:
            self.beliefs.records[one.name] = one
        self.view.update(self.beliefs.members)
        self.view.flush()

    def key_of(self, name: str, service: str = "kv") -> str:
        """A key that ``name`` owns now."""
        for number in range(10_000):
            owner = self.view.owner(service, f"k{number}")
            if owner is not None and owner.name == name:
                return f"k{number}"
        raise AssertionError(f"{name} owns nothing")

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.asked]


class Behind:
    """What is behind a door."""

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self._name = name

    async def request(self, out: Outgoing) -> Any:
        await trio.lowlevel.checkpoint()
        self._house.asked.append((self._name, out))
        behaviour = self._house.behaviour.get(self._name)
        return f"from {self._name}" if behaviour is None else await behaviour(out)

    async def cast(self, out: Outgoing) -> None:
        await self.request(out)

    @asynccontextmanager
    async def open(self, out: Outgoing) -> AsyncIterator[Opened]:
        yield Opened(await self.request(out), self._house.results)


class Opened:
    """A call that is open: answers, or does what the test says."""

    def __init__(self, answer: Any, behaviour: Behaviour | None) -> None:
        self._answer = answer
        self._behaviour = behaviour

    async def result(self) -> Any:
        await trio.lowlevel.checkpoint()
        return self._answer if self._behaviour is None else await self._behaviour(Outgoing())


class Heard(Instrument):
    def __init__(self) -> None:
        self.finished: list[str] = []
        self.retried: list[str] = []

    def call_finished(self, ns: str, cmd: str, key: object, outcome: str, seconds: float) -> None:
        self.finished.append(outcome)

    def call_retried(self, ns: str, cmd: str, key: object, reason: str) -> None:
        self.retried.append(reason)


def failing(*errors: CallError) -> Behaviour:
    """Fails with each of ``errors`` in turn, then answers."""
    left = list(errors)

    async def behaviour(_out: Outgoing) -> str:
        await trio.lowlevel.checkpoint()
        if left:
            raise left.pop(0)
        return "at last"

    return behaviour


def always(error: Callable[[], CallError]) -> Behaviour:
    async def behaviour(_out: Outgoing) -> str:
        await trio.lowlevel.checkpoint()
        raise error()

    return behaviour


def put(key: str | bytes | None, **fields: object) -> Outgoing:
    return Outgoing(ns="kv", cmd="put", key=key, fields=fields)


# ------------------------------------------------------------------------------------------------------ whom to ask


async def test_a_call_with_a_key_goes_to_its_owner() -> None:
    house = House(member(ME, "kv"), member("a", "kv"), member("b", "kv"), member("c", "chat"))
    for name in (ME, "a", "b"):
        assert await house.routing.request(put(house.key_of(name))) == f"from {name}"
    assert house.order == [ME, "a", "b"]
    assert house.heard.finished == ["ok"] * 3


async def test_the_owner_is_looked_up_among_those_that_offer_the_service() -> None:
    house = House(member(ME, "kv"), member("a", "kv"), member("c", "chat"))
    for number in range(20):
        assert await house.routing.request(Outgoing(ns="chat", cmd="say", key=f"k{number}")) == "from c"


async def test_a_service_that_nobody_offers_has_no_handler_and_the_text_names_those_offered() -> None:
    house = House(member(ME, "kv"), member("a", "chat"))
    for key in ("k", None):
        with pytest.raises(NoSuchHandler, match="no member offers service 'kvs'; offered: chat, kv") as caught:
            await house.routing.request(Outgoing(ns="kvs", cmd="put", key=key))
        assert caught.value.key == key
        assert not caught.value.maybe_executed
    with pytest.raises(NoSuchHandler, match="names no service"):
        await house.routing.request(Outgoing(cmd="put"))
    assert house.asked == []
    assert house.heard.finished == ["NoSuchHandler"] * 3


async def test_without_a_key_a_call_is_handled_here_if_a_pattern_matches() -> None:
    house = House(member(ME, "kv"), member("a", "kv"), handles=lambda message: message.get("x") == 1)
    assert await house.routing.request(put(None, x=1)) == "from me"
    assert await house.routing.request(Outgoing(cmd="anything", fields={"x": 1})) == "from me"
    assert await house.routing.request(put(None, x=2)) == "from a"


async def test_without_a_key_the_members_that_offer_the_service_take_turns() -> None:
    house = House(member(ME), member("a", "kv"), member("b", "kv"), member("c", "kv"), member("d", "chat"))
    for _ in range(6):
        await house.routing.request(put(None))
    assert house.order[:3] == house.order[3:]
    assert sorted(house.order[:3]) == ["a", "b", "c"]


async def test_a_service_offered_here_alone_answers_here_even_that_nothing_matches() -> None:
    house = House(member(ME, "kv"), member("a", "chat"))
    house.behaviour[ME] = failing(NoSuchHandler("nearest is ..."))
    with pytest.raises(NoSuchHandler, match="nearest"):
        await house.routing.request(put(None))


async def test_without_a_key_another_member_is_asked_at_once_when_one_cannot_be_reached() -> None:
    house = House(member(ME), member("a", "kv"), member("b", "kv"))
    house.unreachable = {"a"}
    for _ in range(2):
        assert await house.routing.request(put(None)) == "from b"
    assert sorted(house.order) == ["a (no connection)", "b", "b"]


# ---------------------------------------------------------------------------------------------------------- refusals


async def test_a_moved_answer_is_learnt_from_and_followed_at_once(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Moved("b does", records=(member("b", "kv", weight=5).to_wire(),), owner="a"))
    grown = House(member("a", "kv"), member("b", "kv", weight=5))
    key = grown.key_of("b")
    start = trio.current_time()
    assert await house.routing.request(put(key)) == "from b"
    assert trio.current_time() == start
    assert [(name, out.hops, out.attempt) for name, out in house.asked] == [("a", 0, 0), ("b", 1, 1)]
    assert house.heard.retried == ["Moved"]
    assert "b" in house.view.snapshot.members


async def test_records_that_are_none_count_as_a_refusal(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Moved("nobody knows", records=(["nonsense"],)))
    assert await house.routing.request(put("k")) == "at last"


async def test_one_owner_is_not_asked_twice_on_one_ring_without_a_wait(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    times: list[float] = []

    async def refuse(_out: Outgoing) -> None:
        times.append(trio.current_time())
        raise Moved("not mine", records=(member("a", "kv").to_wire(),))

    house.behaviour["a"] = refuse
    with pytest.raises(NotOwner) as caught, trio.fail_after(10):
        await house.routing.request(put("k"))
    assert (caught.value.key, caught.value.owner, caught.value.maybe_executed) == ("k", "a", False)
    assert len(times) == len(set(times)) > 10
    assert [out.hops for _, out in house.asked] == [0] * len(times)


async def test_at_most_four_nodes_are_asked_before_a_wait(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), *(member(f"n{number}", "kv") for number in range(9)))
    for number in range(9):
        house.behaviour[f"n{number}"] = failing(Draining("leaving"))
    await house.routing.request(put(None))
    assert [out.hops for _, out in house.asked[:6]] == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("error", [Unreachable, Draining, Overloaded, NotOwner])
async def test_refusals_are_tried_again_until_the_deadline(
    error: Callable[[str], CallError], autojump_clock: trio.testing.MockClock
) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(*(error("not now") for _ in range(5)))
    with trio.fail_after(10):
        assert await house.routing.request(put("k")) == "at last"
    assert house.heard.retried == [type(error("")).__name__] * 5
    assert [out.attempt for _, out in house.asked] == list(range(6))

    house.behaviour["a"] = always(lambda: error("never"))
    start = trio.current_time()
    with pytest.raises(error) as caught, trio.fail_after(10):  # type: ignore[call-overload]  # a class of errors
        await house.routing.request(put("k"))
    assert 9.5 < trio.current_time() - start < 10
    assert (caught.value.key, caught.value.owner, caught.value.maybe_executed) == ("k", "a", False)
    assert house.heard.finished == ["ok", type(caught.value).__name__]


async def test_an_owner_without_a_connection_is_dialled_again(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.unreachable = {"a"}

    async def repair() -> None:
        await trio.sleep(3)
        house.unreachable.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair)
        assert await house.routing.request(put("k")) == "from a"
    assert 3 <= trio.current_time() < 4.1


async def test_an_overloaded_owner_is_left_alone_as_long_as_it_asks(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Overloaded("busy", retry_after=5))
    assert await house.routing.request(put("k")) == "at last"
    assert 5 <= trio.current_time() < 5.1


async def test_a_new_ring_ends_the_wait_at_once(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = always(lambda: Overloaded("busy", retry_after=60))
    done: list[float] = []

    async def call() -> None:
        assert await house.routing.request(put("k")) == "from b"
        done.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.sleep(2)
        house.change(member("a", "kv", status=Status.DEAD), member("b", "kv"))
    assert done == [2]


async def test_a_restart_of_the_owner_ends_the_wait_at_once(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Overloaded("busy", retry_after=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.routing.request, put("k"))
        await trio.sleep(2)
        house.change(member("a", "kv", generation=2))
    assert trio.current_time() == 2


async def test_changes_of_other_services_leave_a_waiting_call_alone(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Overloaded("busy", retry_after=10))

    async def churn() -> None:
        for generation in range(2, 100):
            house.change(member("z", "chat", generation=generation))
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(churn)
        assert await house.routing.request(put("k")) == "at last"
    assert 10 <= trio.current_time() < 10.1
    assert house.order == ["a", "a"]


async def test_a_service_none_of_whose_members_takes_keys_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv", weight=0))
    with pytest.raises(Unreachable, match="no member takes keys of service 'kv'"), trio.fail_after(1):
        await house.routing.request(put("k"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.routing.request, put("k"))
        await trio.sleep(1)
        house.change(member("a", "kv"))
    assert house.order == ["a"]


async def test_the_end_of_the_callers_patience_is_what_trio_raises(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))

    async def hang(_out: Outgoing) -> None:
        await trio.sleep_forever()

    house.behaviour["a"] = hang
    with pytest.raises(trio.TooSlowError), trio.fail_after(1):
        await house.routing.request(put("k"))
    assert house.heard.finished == ["cancelled"]


# -------------------------------------------------------------------------------------------------- what may have run


async def test_a_lost_connection_is_tried_again_only_if_the_call_is_idempotent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(ConnectionLost("reset"))
    with pytest.raises(ConnectionLost) as caught:
        await house.routing.request(put("k"))
    assert (caught.value.key, caught.value.owner, caught.value.maybe_executed) == ("k", "a", True)
    house.behaviour["a"] = failing(ConnectionLost("reset"))
    assert await house.routing.request(Outgoing(ns="kv", cmd="get", key="k", idempotent=True)) == "at last"


async def test_a_call_that_may_have_run_once_says_so_however_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(ConnectionLost("reset"), *(Unreachable("gone") for _ in range(100)))
    with pytest.raises(Unreachable) as caught, trio.fail_after(1):
        await house.routing.request(Outgoing(ns="kv", cmd="get", key="k", idempotent=True))
    assert caught.value.maybe_executed


async def test_nobody_left_after_an_attempt_that_may_have_run_says_so(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))

    async def vanish(_out: Outgoing) -> None:
        house.change(member("a", "kv", status=Status.DEAD))
        raise ConnectionLost("reset")

    house.behaviour["a"] = vanish
    with pytest.raises(NoSuchHandler) as caught:
        await house.routing.request(Outgoing(ns="kv", cmd="get", key="k", idempotent=True))
    assert caught.value.maybe_executed


@pytest.mark.parametrize(
    "error",
    [
        HandlerFailed(type_name="ValueError", message="no"),
        NoSuchHandler("nothing matches"),
        InvalidRequest("x is missing"),
        DeadlineExceeded("too late"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_another_attempt_cannot_mend_is_raised_at_once(error: CallError) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(error)
    with pytest.raises(type(error)) as caught:
        await house.routing.request(Outgoing(ns="kv", cmd="put", key="k", idempotent=True))
    assert (caught.value.key, caught.value.owner) == ("k", "a")
    assert house.heard.retried == []


# ----------------------------------------------------------------------------------------------------- cast and open


async def test_a_cast_is_tried_again_until_it_was_sent_and_not_after(autojump_clock: trio.testing.MockClock) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Unreachable("refused"), Draining("leaving"))
    await house.routing.cast(put("k"))
    assert house.order == ["a"] * 3
    house.behaviour["a"] = failing(ConnectionLost("reset"))
    with pytest.raises(ConnectionLost):
        await house.routing.cast(Outgoing(ns="kv", cmd="put", key="k", idempotent=True))
    assert house.order == ["a"] * 4


async def test_an_open_call_goes_to_the_owner_and_is_tried_again_until_it_is_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(member(ME), member("a", "kv"))
    house.behaviour["a"] = failing(Unreachable("refused"))
    async with house.routing.open(put("k")) as call:
        assert await call.result() == "at last"
        assert house.heard.finished == []
    assert house.heard.finished == ["ok"]


async def test_an_error_inside_an_open_call_is_learnt_from_and_not_retried() -> None:
    house = House(member(ME), member("a", "kv"))
    with pytest.raises(NotOwner) as caught:
        async with house.routing.open(put("k")):
            raise Moved("of another call", records=(member("c", "kv").to_wire(),), owner="c")
    assert "c" not in house.view.snapshot.members
    assert caught.value.key is None
    with pytest.raises(NotOwner):
        async with house.routing.open(put("k")):
            raise Moved("b does", records=(member("b", "kv").to_wire(),), owner="a")
    assert "b" in house.view.snapshot.members
    assert house.order == ["a"] * 2
    with pytest.raises(KeyError):
        async with house.routing.open(put("k")):
            raise KeyError
    assert house.heard.finished == ["Moved", "Moved", "KeyError"]


async def chunks() -> AsyncIterator[bytes]:
    yield b"once"


@pytest.mark.parametrize(
    ("source", "repeated"),
    [(b"bytes", True), (memoryview(b"bytes"), True), (Path("file"), True), (chunks(), False), (None, False)],
    ids=["bytes", "memoryview", "path", "chunks", "nothing"],
)
async def test_a_call_with_streams_is_repeated_only_if_they_can_be_read_again(
    source: StreamSource, repeated: bool, autojump_clock: trio.testing.MockClock
) -> None:
    house = House(member(ME), member("a", "kv"))
    house.unreachable = {"a"}
    house.results = failing(Draining("leaving"))

    async def repair() -> None:
        await trio.sleep(1)
        house.unreachable.clear()

    out = Outgoing(ns="kv", cmd="put", key="k", streams={"file": source})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(repair)
        if repeated:
            assert await house.routing.request(out) == "at last"
        else:
            with pytest.raises(Draining):
                await house.routing.request(out)
    assert house.order.count("a") == 1 + repeated


async def test_one_certain_member_is_asked_once_whatever_the_ring_says() -> None:
    house = House(member(ME), member("a", "kv"), member("b", "chat"))
    assert await house.routing.request_at("b", put("k")) == "from b"
    assert await house.routing.request_at(ME, put("k")) == "from me"
    await house.routing.cast_at("b", put("k"))
    async with house.routing.open_at("b", put("k")) as call:
        assert await call.result() == "from b"
    assert [(name, out.hops) for name, out in house.asked] == [("b", 255), (ME, 255), ("b", 255), ("b", 255)]
    house.behaviour["b"] = failing(Draining("leaving"))
    with pytest.raises(Draining):
        await house.routing.request_at("b", put("k"))
    with pytest.raises(Unreachable, match="no member named 'z'"):
        await house.routing.request_at("z", put("k"))
    refuse_unless_owner(house.view, ME, CallHeader(ns="kv", key="k", hops=255))


# ------------------------------------------------------------------------------------------------------- the message


def test_a_message_is_read_into_what_routes_it_and_its_fields() -> None:
    out = outgoing({"ns": "kv", "cmd": "put", "key": b"k", "value": None}, idempotent=True)
    assert out == Outgoing(ns="kv", cmd="put", key=b"k", fields={"value": None}, idempotent=True)
    assert whole_message(out) == {"ns": "kv", "cmd": "put", "key": b"k", "value": None}
    assert whole_message(outgoing({})) == {}


@pytest.mark.parametrize(
    "message",
    [17, None, "put", {1: 2}, {"ns": 1}, {"cmd": None}, {"key": 1}, {"key": True}, {"key": "k" * 2000}],
    ids=named,
)
def test_what_is_no_message_is_refused_before_anything_is_sent(message: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        outgoing(message)
    assert not caught.value.maybe_executed


# ------------------------------------------------------------------------------------------------- the serving side


def test_a_node_serves_the_keys_it_owns_and_what_has_no_key() -> None:
    house = House(member(ME, "kv"), member("a", "kv"))
    refuse_unless_owner(house.view, ME, CallHeader(ns="kv", cmd="put", key=house.key_of(ME)))
    refuse_unless_owner(house.view, ME, CallHeader(ns="kv", cmd="put"))
    refuse_unless_owner(house.view, ME, CallHeader(ns="unknown", cmd="put", key="k"))


def test_a_node_shows_who_owns_a_key_that_it_does_not_own() -> None:
    house = House(member(ME, "kv"), member("a", "kv"))
    key = house.key_of("a")
    with pytest.raises(Moved, match="me does not own this key of 'kv': a does") as caught:
        refuse_unless_owner(house.view, ME, CallHeader(ns="kv", cmd="put", key=key))
    shown = [Member.from_wire(record) for record in caught.value.records]
    assert shown == [member("a", "kv"), member(ME, "kv")]
    assert (caught.value.key, caught.value.owner, caught.value.maybe_executed) == (key, ME, False)


def test_a_node_that_takes_no_keys_shows_its_own_record() -> None:
    house = House(member(ME, "kv", weight=0))
    with pytest.raises(Moved, match="nobody takes keys") as caught:
        refuse_unless_owner(house.view, ME, CallHeader(ns="kv", cmd="put", key="k"))
    assert [Member.from_wire(record).metadata.weight for record in caught.value.records] == [0]


def test_after_four_nodes_a_call_is_refused_for_good() -> None:
    house = House(member(ME, "kv"), member("a", "kv"))
    with pytest.raises(NotOwner, match="4 nodes were asked before") as caught:
        refuse_unless_owner(house.view, ME, CallHeader(ns="kv", cmd="put", key=house.key_of("a"), hops=4))
    assert not isinstance(caught.value, Moved)
