"""What bloomrun's own tests assert of pattern matching (P1 to P38 in docs/spec/conformance.md), asked of our router."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from swimring.patterns import Match, Order, Pattern, Router

if TYPE_CHECKING:
    from collections.abc import Mapping


def router_of(*patterns: Mapping[str, object], order: Order = Order.INSERTION) -> Router[object]:
    """Each pattern with a letter as its payload: a, b, c, ..."""
    router = Router[object](order)
    for letter, pattern in zip("abcdefgh", patterns, strict=False):
        router.add(pattern, letter)
    return router


def found(router: Router[object], message: Mapping[str, object]) -> object:
    match = router.lookup(message)
    return None if match is None else match.handler


def listed(router: Router[object], message: Mapping[str, object]) -> str:
    return "".join(str(match.handler) for match in router.matches(message))


@pytest.mark.parametrize("message", [{"x": 1}, {}, {"group": [1]}, {"group": datetime(2020, 1, 1, tzinfo=UTC)}])
def test_a_miss_is_nothing_whatever_was_asked(message: dict[str, object]) -> None:
    assert found(router_of({"group": "123"}), message) is None


def test_a_match_gives_pattern_and_payload() -> None:
    router = router_of({"group": "123", "another": "value"})
    match = router.lookup({"group": "123", "another": "value", "more": 1})
    assert match == Match(pattern=Pattern({"group": "123", "another": "value"}), handler="a")
    assert listed(router, {"group": "123", "another": "value"}) == "a"


@pytest.mark.parametrize("payload", [0, "", False, None, len])
def test_anything_can_be_a_payload(payload: object) -> None:
    router = Router[object]()
    router.add({"group": "123"}, payload)
    match = router.lookup({"group": "123"})
    assert match is not None
    assert match.handler is payload


def test_regular_expressions_match_text_alone_and_beside_literals() -> None:
    router = router_of({"hello": "world", "answer": re.compile("^4")}, {"hello": re.compile("wor")})
    assert listed(router, {"hello": "world", "answer": "42"}) == "ab"
    assert listed(router, {"hello": "world", "answer": "24"}) == "b"
    assert found(router, {"hello": "moon", "answer": "42"}) is None
    assert found(router_of({"n": re.compile("4")}), {"n": 42}) is None, "bloomrun makes text of the number"


def test_all_fields_of_a_pattern_have_to_be_there() -> None:
    assert found(router_of({"group": "123", "another": "value"}), {"group": "123"}) is None
    router = router_of({"role": "auth", "cmd": "login"}, {"role": "auth", "query": "q"})
    assert found(router, {"role": "auth", "query": "q"}) == "b"


def test_equal_patterns_are_both_listed_in_order_and_walked_one_by_one_to_an_end() -> None:
    router = router_of({"a": 1}, {"a": 1})
    assert listed(router, {"a": 1}) == "ab"
    walk = router.matches({"a": 1})
    assert [next(walk).handler, next(walk).handler, next(walk, None)] == ["a", "b", None]


def test_removing_takes_the_pattern_or_one_payload_of_it_and_leaves_the_others() -> None:
    only, other = re.compile("^a"), re.compile("^b")
    router = router_of({"g": 1}, {"g": 1}, {"g": only}, {"g": other}, {"g": 1, "h": 2})
    assert router.remove({"g": 1}, "a") == 1
    assert listed(router, {"g": 1}) == "b"
    assert router.remove({"g": 1}) == 1
    assert listed(router, {"g": 1, "h": 2}) == "e", "bloomrun takes patterns that contain the removed one as well"
    assert router.remove({"g": re.compile("^a")}) == 1
    assert found(router, {"g": "apple"}) is None
    assert found(router, {"g": "berry"}) == "d"


def test_functions_are_removed_by_identity() -> None:
    def one() -> None: ...
    def two() -> None: ...

    router = Router[object]()
    router.add({"g": 1}, one)
    router.add({"g": 1}, two)
    assert router.remove({"g": 1}, two) == 1
    assert [match.handler for match in router] == [one]


def test_survivors_keep_their_places_and_stay_single() -> None:
    router = router_of({"a": 1}, {"b": 1}, {"a": 1, "b": 1}, {"b": 1, "c": 1})
    router.remove({"a": 1})
    assert listed(router, {"a": 1, "b": 1, "c": 1}) == "bcd"


def test_everything_is_listed_with_patterns_and_payloads_in_the_order_of_insertion() -> None:
    patterns: list[dict[str, Any]] = [{"b": 1}, {"a": 1, "b": 1}, {"c": re.compile("x")}, {}]
    for order in Order:
        router = router_of(*patterns, order=order)
        assert [match.pattern for match in router] == [Pattern(pattern) for pattern in patterns]
        assert [match.handler for match in router] == list("abcd")


def test_numbers_booleans_and_text_are_told_apart() -> None:
    router = router_of({"v": 1}, {"v": True}, {"v": False}, {"v": "1"}, {"v": "2"})
    values: list[object] = [1, True, False, "1", "2", 0, "true"]
    assert [found(router, {"v": value}) for value in values] == ["a", "b", "c", "d", "e", None, None]


def test_insertion_order_and_depth_order() -> None:
    shallow_first = ({"group": "123"}, {"group": "123", "another": "value"})
    message = {"group": "123", "another": "value"}
    assert found(router_of(*shallow_first), message) == "a"
    assert found(router_of(*shallow_first, order=Order.DEPTH), message) == "b"


def test_lists_in_both_orders() -> None:
    message = {"a": 1, "b": 1, "c": 1, "d": 1}
    everything = ({"c": 1}, {"b": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 1})
    assert listed(router_of(*everything, order=Order.DEPTH), message) == "cabd"
    overlapping = ({"c": 1}, {"c": 1, "d": 1}, {"a": 1})
    assert listed(router_of(*overlapping, order=Order.DEPTH), message) == "bac"
    assert listed(router_of(*overlapping), message) == "abc"


def test_orders_hold_across_patterns_that_share_nothing() -> None:
    # Where bloomrun keeps an order only among patterns that overlap.
    assert found(router_of({"a": 1, "z": 9}, {"b": 2}, {"a": 1}), {"a": 1, "b": 2}) == "b"
    apart = ({"a": 1, "x": 1, "y": 1, "z": 1}, {"a": 1}, {"b": 1, "c": 1})
    assert found(router_of(*apart, order=Order.DEPTH), {"a": 1, "b": 1, "c": 1}) == "c"


def test_one_value_that_begins_like_another_is_another() -> None:
    assert found(router_of({"cmd": "add1"}, {"cmd": "add10"}), {"cmd": "add10"}) == "b"


def test_depth_counts_regular_expressions() -> None:
    some, more = re.compile("."), re.compile("t")
    router = router_of(
        {"role": "location", "cmd": some}, {"role": "location", "cmd": some, "count": more}, order=Order.DEPTH
    )
    assert found(router, {"role": "location", "cmd": "find", "count": "true"}) == "b"
    assert found(router, {"role": "location", "cmd": "find"}) == "a"


def test_nested_mappings_match_at_any_depth() -> None:
    # Where bloomrun never matches them.
    router = router_of({"user": {"role": "admin", "at": {"zone": re.compile("^eu")}}})
    assert found(router, {"user": {"role": "admin", "at": {"zone": "eu-1"}, "name": "x"}}) == "a"
    assert found(router, {"user": {"role": "admin", "at": {"zone": "us-1"}}}) is None


def test_removing_all_while_walking_the_list_ends() -> None:
    router = Router[object]()
    for number in range(17):
        router.add({"group": "123", "n": number}, number)
    for match in router:
        router.remove(match.pattern)
    assert list(router) == []


@pytest.mark.parametrize("name", ["toString", "constructor", "__proto__", "valueOf"])
def test_words_of_a_language_are_words(name: str) -> None:
    assert found(router_of({"cmd": "x"}), {"cmd": name}) is None
    assert found(router_of({name: name}), {name: name}) == "a"
