"""What a program sees when a handler raises: declared and built-in types as themselves, groups, what passes through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import CallError, HandlerFailed
from swimring.service import Request, Service

from .nodes import key_of, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork


class SoldOut(Exception):
    pass


class Private(Exception):
    pass


class Bank:
    """Handlers that raise, and how often each of them ran."""

    def __init__(self) -> None:
        self.service = service = Service("bank", errors=[SoldOut])
        self.ran = 0

        @service.on("fail", idempotent=True)
        async def fail(request: Request, kind: str, text: str = "why") -> None:
            self.ran += 1
            raise {"declared": SoldOut, "private": Private, "built in": ValueError, "late": TimeoutError}[kind](text)

        @service.on("several", idempotent=True)
        async def several(request: Request) -> None:
            async with trio.open_nursery() as nursery:

                async def one(error: Exception) -> None:
                    raise error

                nursery.start_soon(one, SoldOut("a"))
                nursery.start_soon(one, Private("b"))

        @service.on("relay")
        async def relay(request: Request, to: str, kind: str, *, typed: bool) -> None:
            if typed:
                await request.node.call(fail, to, kind)
            else:
                await request.node.request({"ns": "bank", "cmd": "fail", "key": to, "kind": kind})

        @service.on("lost", idempotent=True)
        async def lost(request: Request) -> None:
            self.ran += 1
            raise ConnectionError("of something else")

        self.fail, self.several, self.relay, self.lost = fail, several, relay, lost


@simulated
async def test_a_declared_error_is_raised_as_itself_wherever_the_handler_runs(network: SimulatedNetwork) -> None:
    bank = Bank()
    async with nodes_at(network, "ab", bank.service) as (a, _):
        for owner in "ab":
            key = key_of(a, owner)
            with pytest.raises(SoldOut, match="apples") as caught:
                await a.call(bank.fail, key, "declared", "apples")
            failed = caught.value.__cause__
            assert isinstance(failed, HandlerFailed)
            assert (failed.owner, failed.node, failed.key, failed.maybe_executed) == (owner, owner, key, True)
            assert failed.frames.splitlines()[-1].endswith(" in fail")
            with pytest.raises(SoldOut):
                await a.peer(owner).call(bank.fail, None, "declared")
            with pytest.raises(SoldOut) as caught:
                async with a.open(bank.fail, key, "declared") as call:
                    await call.result()
            assert isinstance(caught.value.__cause__, HandlerFailed)
            assert caught.value.__cause__.owner == owner


@simulated
async def test_a_call_by_message_raises_built_in_types_only(network: SimulatedNetwork) -> None:
    bank = Bank()
    async with nodes_at(network, "ab", bank.service) as (a, _):
        for owner in "ab":
            ask = {"ns": "bank", "cmd": "fail", "key": key_of(a, owner)}
            for request in (a.request, a.peer(owner).request):
                with pytest.raises(ValueError, match="why") as caught:
                    await request({**ask, "kind": "built in"})
                assert isinstance(caught.value.__cause__, HandlerFailed)
                with pytest.raises(HandlerFailed, match="SoldOut: why") as told:
                    await request({**ask, "kind": "declared"})
                assert told.value.declared is not None


@simulated
async def test_an_undeclared_error_is_told(network: SimulatedNetwork) -> None:
    bank = Bank()
    async with nodes_at(network, "ab", bank.service) as (a, _):
        with pytest.raises(HandlerFailed, match="Private: why") as caught:
            await a.call(bank.fail, key_of(a, "b"), "private")
        assert caught.value.type_name.endswith("Private")


@simulated
async def test_except_star_finds_the_members_of_a_group_of_the_handler(network: SimulatedNetwork) -> None:
    bank = Bank()
    async with nodes_at(network, "ab", bank.service) as (a, _):
        for owner in "ab":
            found: list[BaseException] = []
            try:
                await a.call(bank.several, key_of(a, owner))
            except* SoldOut as group:
                found += group.exceptions
            except* HandlerFailed as group:
                found += group.exceptions
            assert sorted(type(error).__name__ for error in found) == ["HandlerFailed", "SoldOut"]
            assert {getattr(error, "node", owner) for error in found} == {owner}


@simulated
async def test_an_error_that_passes_through_a_handler_tells_where_it_came_from(network: SimulatedNetwork) -> None:
    bank = Bank()
    async with nodes_at(network, "abc", bank.service) as (a, *_):
        near, far = key_of(a, "b"), key_of(a, "c")
        with pytest.raises(SoldOut) as caught:
            await a.call(bank.relay, near, far, "declared", typed=True)
        failed = caught.value.__cause__
        assert isinstance(failed, HandlerFailed)
        assert failed.node == "b"
        assert failed.remote_cause is not None
        assert (failed.remote_cause.node, failed.remote_cause.key) == ("c", far)
        for kind, typed in [("declared", False), ("private", True)]:
            with pytest.raises(HandlerFailed) as told:
                await a.call(bank.relay, near, far, kind, typed=typed)
            assert (told.value.owner, told.value.node, told.value.key) == ("b", "c", far)


@simulated
async def test_what_a_handler_raises_is_never_tried_again_even_if_idempotent(network: SimulatedNetwork) -> None:
    bank = Bank()
    async with nodes_at(network, "ab", bank.service) as (a, _):
        for kind in ("declared", "private", "built in", "late"):
            before = bank.ran
            with pytest.raises((SoldOut, HandlerFailed, ValueError, TimeoutError)):
                await a.call(bank.fail, key_of(a, "b"), kind)
            assert bank.ran == before + 1
        before = bank.ran
        with pytest.raises(CallError, match="ConnectionError: of something else"):
            await a.call(bank.lost, key_of(a, "b"))
        assert bank.ran == before + 1
        assert a.counters()["retries"] == 0
