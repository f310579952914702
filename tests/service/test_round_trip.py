"""A caller and a handler with nothing but bytes between them."""

from __future__ import annotations

import enum
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal  # noqa: TC003 (registering a handler evaluates the annotations of its dataclasses)
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeVar
from uuid import UUID  # noqa: TC003 (as above)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import RemoteProtocolError, SwimringError
from swimring.service import Dispatcher, Endpoint, Request, Service
from tests.service.nodes import NamedNode

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from swimring.identity import Key

P = ParamSpec("P")
R = TypeVar("R")

shop = Service("shop")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(NamedTuple):
    width: float
    height: float = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    product: str
    price: Decimal
    colours: frozenset[Colour] = frozenset()
    size: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    number: UUID
    at: datetime
    lines: tuple[Line, ...]
    notes: dict[str, int | str | bytes | None] = field(default_factory=dict)
    state: Literal["new", "paid", 3] = "new"


@shop.on("echo")
async def echo(request: Request, order: Order, *, more: list[Order] | None = None, times: int = 1) -> list[Order]:
    return [order, *(more or [])] * times


@shop.on("relay")
async def relay(request: Request, order: Order) -> list[Order]:
    return await request.node.call(echo, request.key, order, times=2)


class Wire(NamedNode):
    """Calls handlers on the spot, but lets nothing pass except bytes."""

    def __init__(self, *services: Service) -> None:
        super().__init__("wire")
        self._dispatcher = Dispatcher(services)

    async def call(self, endpoint: Endpoint[P, R], key: Key | None, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return endpoint.load_result(await self.request({**endpoint.message(args, kwargs), "key": key}))

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        arrived = decode(encode(message))
        request = Request(node=self, key=arrived["key"], message=arrived, peer="wire")
        return decode(encode(await self._dispatcher.match(arrived).invoke(request)))

    async def cast(self, message: Mapping[str, Any], /) -> None:
        await self.request(message)


def run(call: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that waits for nothing: what is tested here needs no event loop."""
    try:
        call.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    raise AssertionError("it waited")


numbers = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53).map(float)
sizes = st.builds(Size, numbers, numbers)
prices = st.decimals(allow_nan=False, allow_infinity=False, places=2)
lines = st.builds(Line, st.text(), prices, st.frozensets(st.sampled_from(Colour)), st.none() | sizes)
orders = st.builds(
    Order,
    number=st.uuids(),
    at=st.datetimes(timezones=st.just(UTC)),
    lines=st.lists(lines, max_size=3).map(tuple),
    notes=st.dictionaries(st.text(), st.integers() | st.text() | st.binary() | st.none(), max_size=3),
    state=st.sampled_from(["new", "paid", 3]),
)


@given(orders, st.none() | st.lists(orders, max_size=2), st.integers(0, 2))
def test_typed_arguments_and_results_survive_the_wire(order: Order, more: list[Order] | None, times: int) -> None:
    answer = run(Wire(shop).call(echo, "k", order, more=more, times=times))
    assert answer == run(echo(Request(node=Wire()), order, more=more, times=times))


@given(orders)
def test_a_handler_calls_on_through_its_request(order: Order) -> None:
    assert run(Wire(shop).call(relay, b"k", order)) == [order, order]


wire_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["order", "more", "times", "ns", "cmd", "key", "number", "lines"]) | st.text() | st.binary()


@given(st.dictionaries(names, wire_values, max_size=5))
def test_a_stranger_s_message_is_answered_or_refused_and_nothing_else(message: dict[str, Any]) -> None:
    for ns, cmd in (("shop", "echo"), ("shop", "relay"), (message.get("ns"), message.get("cmd"))):
        stranger = {**message, "ns": ns, "cmd": cmd, "key": "k"}
        with suppress(SwimringError):
            run(Wire(shop).request(stranger))


def test_a_result_of_another_version_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match=r"shop:echo returned .* \[0\]\.number: found nothing"):
        echo.load_result([{}])
