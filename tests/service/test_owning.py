"""What a service says about its keys, and a handler with state in a unit test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from swimring.errors import ConfigError, LocalProtocolError
from swimring.service import Request, Service, Terms

if TYPE_CHECKING:
    from swimring.service import NodeView


@dataclass
class Count:
    value: int = 0


async def test_a_handler_with_state_is_called_by_hand_with_the_state_it_should_have() -> None:
    app = Service("counter")
    counters = app.own_keys(Count)

    @app.on("add")
    async def add(request: Request, by: int) -> int:
        own = counters.of(request)
        own.state.value += by
        await own.checkpoint()
        return own.state.value

    own = counters.opened(Count(3), key="k")
    assert await add(Request(node=cast("NodeView", None), own=own), 4) == 7
    assert own.state == Count(7)


def test_a_call_without_a_key_has_no_state() -> None:
    counters = Service("counter").own_keys(Count)
    with pytest.raises(ConfigError, match="without a key"):
        counters.of(Request(node=cast("NodeView", None)))


def test_all_keys_of_a_service_have_one_kind_of_state() -> None:
    app = Service("counter")
    app.own_keys(Count)
    with pytest.raises(ConfigError, match="one kind of state"):
        app.own_keys(Count)


def test_a_state_comes_back_as_it_was_kept_and_a_first_one_is_made() -> None:
    counters = Service("counter").own_keys(Count, initial=lambda: Count(5))
    assert counters.load(None) == Count(5)
    assert counters.load(counters.dump(Count(9))) == Count(9)


def test_what_another_version_kept_is_refused_by_name() -> None:
    old, new = Service("counter").own_keys(str), Service("counter").own_keys(Count)
    with pytest.raises(LocalProtocolError, match="own_keys of counter"):
        new.load(old.dump("text"))


@pytest.mark.parametrize(
    "terms", [{"replicas": -1}, {"replicas": 17}, {"budget": -0.1}, {"budget": 61.0}, {"budget": float("nan")}]
)
def test_terms_are_bounded(terms: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(terms))):
        Terms(**terms)  # type: ignore[arg-type]


def test_a_key_is_not_closed_in_no_time() -> None:
    with pytest.raises(ConfigError, match="idle"):
        Service("counter").own_keys(Count, idle=0)
