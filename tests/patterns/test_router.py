from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import ConfigError
from swimring.patterns import Match, Order, Pattern, Router

if TYPE_CHECKING:
    from collections.abc import Mapping


def router_of(*patterns: str | Mapping[str, object]) -> Router[int]:
    router = Router[int]()
    for number, pattern in enumerate(patterns):
        router.add(pattern, number)
    return router


def won(router: Router[int], message: dict[str, object]) -> int | None:
    match = router.lookup(message)
    return match.handler if match else None


def handlers(router: Router[int], message: dict[str, object]) -> list[int]:
    return [match.handler for match in router.matches(message)]


def test_a_miss_is_none() -> None:
    assert won(router_of(), {"cmd": "x"}) is None
    assert won(router_of("put"), {"cmd": "get"}) is None
    assert won(router_of("put"), {}) is None


def test_falsy_handlers_are_handlers() -> None:
    router = Router[object]()
    router.add("zero", 0)
    match = router.lookup({"cmd": "zero"})
    assert match == Match(pattern=Pattern("zero"), handler=0)


def test_one_name_that_begins_like_another_is_another() -> None:
    router = router_of("add1", "add10")
    assert won(router, {"cmd": "add10"}) == 1


@pytest.mark.parametrize("cmd", ["toString", "constructor", "__proto__", "valueOf", "__hash__"])
def test_names_of_the_language_find_nothing(cmd: str) -> None:
    router = router_of("put", {"cmd": re.compile("^p")})
    assert won(router, {"cmd": cmd, "ns": cmd}) is None
    assert router.nearest({"cmd": cmd, "ns": cmd}) is not None


@pytest.mark.parametrize("odd", [None, 1, True, b"put", ["put"], {"put": 1}, float("nan")])
def test_a_namespace_or_command_that_is_no_text_finds_nothing_and_raises_nothing(odd: object) -> None:
    router = router_of("ns:kv,cmd:put", "put", {"x": 1})
    assert won(router, {"ns": odd, "cmd": odd}) is None
    assert router.nearest({"ns": odd, "cmd": odd}) is not None


def test_the_more_specific_wins_across_the_whole_index() -> None:
    router = router_of(
        {},
        {"cmd": re.compile("p")},
        {"cmd": "put"},
        {"ns": "kv"},
        {"ns": "kv", "cmd": str},
        {"ns": "kv", "cmd": "put"},
        {"ns": re.compile("k"), "cmd": "put", "x": ...},
        {"ns": "kv", "cmd": "put", "x": int},
        {"ns": "kv", "cmd": "put", "x": 1},
    )
    assert handlers(router, {"ns": "kv", "cmd": "put", "x": 1}) == [8, 7, 6, 5, 4, 2, 3, 1, 0]
    assert won(router, {"ns": "kv", "cmd": "put", "x": 2}) == 7
    assert won(router, {"ns": "kv", "cmd": "put", "x": True}) == 6
    assert won(router, {"ns": "kv", "cmd": "put"}) == 5
    assert won(router, {"ns": "kv", "cmd": "drop"}) == 4
    assert won(router, {"cmd": "putt"}) == 1
    assert won(router, {"anything": "else"}) == 0


def test_of_equals_the_one_registered_first_wins() -> None:
    router = router_of({"a": 1}, {"b": 1}, {"a": 1})
    assert handlers(router, {"a": 1, "b": 1}) == [0, 1, 2]
    router = router_of({"b": 1}, {"a": 1})
    assert won(router, {"a": 1, "b": 1}) == 0


def test_the_deepest_of_three_overlapping_patterns_wins_whatever_shares_its_fields() -> None:
    # Where bloomrun answers with the pattern of one field.
    router = router_of({"a": 1, "x": 1, "y": 1, "z": 1}, {"a": 1}, {"b": 1, "c": 1})
    assert won(router, {"a": 1, "b": 1, "c": 1}) == 2


def test_regular_expressions_only_compete_by_their_number_of_fields() -> None:
    router = router_of(
        {"role": "location", "cmd": "find"},
        {"role": re.compile("loc"), "cmd": re.compile("fi"), "count": re.compile("tr")},
    )
    assert won(router, {"role": "location", "cmd": "find", "count": "true"}) == 1
    assert won(router, {"role": "location", "cmd": "find"}) == 0


def test_removing_takes_out_exactly_this_pattern() -> None:
    router = router_of("put", {"cmd": "put", "x": 1}, "put", {"cmd": re.compile("put")}, "get")
    assert router.remove("put") == 2
    assert [match.handler for match in router] == [1, 3, 4]
    assert won(router, {"cmd": "put"}) == 3
    assert won(router, {"cmd": "put", "x": 1}) == 1
    assert router.remove({"cmd": re.compile("put")}) == 1
    assert won(router, {"cmd": "put"}) is None
    assert router.remove("never there") == 0
    assert len(router) == 2


def test_removing_with_a_handler_leaves_the_others() -> None:
    router = router_of("put", "put")
    assert router.remove("put", 0) == 1
    assert won(router, {"cmd": "put"}) == 1
    assert router.remove("put", 0) == 0


def test_removing_while_walking_ends() -> None:
    router = router_of(*({"n": number} for number in range(17)))
    for match in router:
        router.remove(match.pattern)
    assert len(router) == 0
    assert list(router) == []


def test_in_insertion_order_the_first_that_matches_wins_however_little_it_asks() -> None:
    router = Router[int](Order.INSERTION)
    patterns: list[dict[str, object]] = [{"a": 1, "z": 9}, {"b": 2}, {}, {"a": 1}, {"a": 1, "b": 2}, {"b": ...}]
    for number, pattern in enumerate(patterns):
        router.add(pattern, number)
    assert handlers(router, {"a": 1, "b": 2}) == [1, 2, 3, 4, 5]
    assert won(router, {"a": 1}) == 2


def test_who_walks_the_matches_sees_those_of_the_beginning_whatever_is_added_or_removed_meanwhile() -> None:
    router = router_of({"a": 1}, {"a": 1}, {"a": ...})
    walk = router.matches({"a": 1})
    seen = [next(walk).handler]
    router.remove({"a": 1})
    router.add({"a": 1, "b": ...}, 7)
    router.add({"a": 1}, 8)
    assert [*seen, *(match.handler for match in walk)] == [0, 1, 2]
    assert handlers(router, {"a": 1, "b": 0}) == [7, 8, 2]


def test_matches_are_found_one_by_one() -> None:
    asked: list[object] = []

    def yes(value: object) -> bool:
        asked.append(value)
        return True

    router = router_of(*({"a": yes} for _ in range(5)))
    walk = router.matches({"a": 1})
    assert asked == []
    next(walk)
    assert asked == [1]


def test_what_is_no_pattern_is_refused() -> None:
    with pytest.raises(ConfigError):
        router_of({"x": [1]})


@pytest.mark.parametrize(
    ("message", "nearest"),
    [
        ({"ns": "kv", "cmd": "putt"}, {"ns": "kv", "cmd": "put"}),
        ({"ns": "kvs", "cmd": "get"}, {"ns": "kv", "cmd": "get"}),
        ({"ns": "kv", "cmd": "scan", "from": "x"}, {"ns": "kv", "cmd": "scan", "from": int}),
        ({"cmd": "gret"}, {"cmd": "greet"}),
        ({"cmd": "g" * 10_000_000}, {"cmd": "greet"}),
    ],
)
def test_the_nearest_pattern_is_the_one_missed_by_least(message: dict[str, object], nearest: dict[str, object]) -> None:
    router = router_of(
        "ns:kv,cmd:get", "ns:kv,cmd:put", {"ns": "kv", "cmd": "scan", "from": int}, {"cmd": "greet"}, "ns:chat,cmd:say"
    )
    assert router.lookup(message) is None
    assert router.nearest(message) == Pattern(nearest)


def test_an_empty_router_has_no_nearest_pattern() -> None:
    assert router_of().nearest({"cmd": "x"}) is None


class Counting(dict[str, object]):
    """A message that counts how often its field is asked for."""

    asked = 0

    def __getitem__(self, name: str) -> object:
        self.asked += name == "x"
        return super().__getitem__(name)


@pytest.mark.parametrize("others", [0, 1000])
def test_a_lookup_tries_only_the_patterns_of_its_namespace_and_command(others: int) -> None:
    router = router_of(*({"ns": f"s{number}", "cmd": f"c{number}", "x": 1} for number in range(others)))
    router.add({"ns": "kv", "cmd": "put", "x": 1}, -1)
    router.add({"ns": "kv", "x": 1}, -2)
    message = Counting(ns="kv", cmd="put", x=2)
    assert won(router, message) is None
    assert message.asked == 2


@pytest.mark.parametrize("others", [0, 1000])
def test_a_lookup_tries_only_the_patterns_that_are_filed_under_its_rarest_literal(others: int) -> None:
    router = router_of(*({"ns": "kv", "cmd": "put", "kind": number, "x": 1} for number in range(others)))
    router.add({"ns": "kv", "cmd": "put", "kind": "last", "x": 1}, -1)
    message = Counting(ns="kv", cmd="put", kind="last", x=2)
    assert won(router, message) is None
    assert message.asked <= 2


def test_patterns_that_all_ask_for_another_field_cost_a_message_no_more_than_its_own_fields() -> None:
    router = router_of(*({f"f{number}": 1} for number in range(1000)))
    assert won(router, {"f7": 1, "f8": True}) == 7
    assert won(router, {"f7": [1], "f8": {}, "g": 1}) is None


fields = st.dictionaries(
    st.sampled_from(["ns", "cmd", "a"]), st.sampled_from(["p", "q", 1, True, None, ..., str, int, {"b": 1}])
)
values = st.dictionaries(st.sampled_from(["ns", "cmd", "a"]), st.sampled_from(["p", "q", 1, True, None, {"b": 1}]))


@given(st.lists(fields, max_size=12), values, st.sampled_from(Order))
def test_the_index_finds_what_trying_every_pattern_finds(
    patterns: list[dict[str, object]], message: dict[str, object], order: Order
) -> None:
    by_trying = [number for number, pattern in enumerate(patterns) if Pattern(pattern).matches(message)]
    if order is Order.DEPTH:
        by_trying.sort(key=lambda number: [-rank for rank in Pattern(patterns[number]).specificity])
    router = Router[int](order)
    for number, pattern in enumerate(patterns):
        router.add(pattern, number)
    assert handlers(router, message) == by_trying
    assert won(router, message) == (by_trying[0] if by_trying else None)


@given(st.lists(fields, max_size=12), st.lists(fields, max_size=4), values)
def test_removed_patterns_leave_no_trace(
    patterns: list[dict[str, object]], removed: list[dict[str, object]], message: dict[str, object]
) -> None:
    router = router_of(*patterns, *removed)
    for pattern in removed:
        router.remove(pattern)
    gone = [Pattern(pattern) for pattern in removed]
    left = [number for number, pattern in enumerate(patterns) if Pattern(pattern) not in gone]
    assert [match.handler for match in router] == left
    assert set(handlers(router, message)) <= set(left)
