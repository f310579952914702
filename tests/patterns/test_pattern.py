from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from swimring.errors import ConfigError
from swimring.patterns import MAX_FIELDS, Pattern
from tests.names import named


class Colour(enum.StrEnum):
    RED = "red"


def even(value: object) -> bool:
    return isinstance(value, int) and value % 2 == 0


def fragile(value: object) -> bool:
    raise RuntimeError(f"did not expect {value!r}")


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
literals = st.recursive(scalars, lambda inner: st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)


@pytest.mark.parametrize(
    ("asked", "accepted", "refused"),
    [
        ("put", ["put"], ["puts", "PUT", b"put", None, 1, ["put"]]),
        (b"put", [b"put"], ["put"]),
        (1, [1], [True, 1.0, "1", 2]),
        (0, [0], [False, None, ""]),
        (True, [True], [1, "true", False]),
        (1.0, [1.0], [1, True]),
        (None, [None], [0, "", False, {}]),
        (Colour.RED, ["red"], ["RED", "blue"]),
        (int, [0, -5, 2**70], [True, False, 1.0, "1", None]),
        (bool, [True, False], [0, 1]),
        (float, [1.5], [1, True]),
        (str, ["", "x"], [b"x", 1]),
        (bytes, [b""], [""]),
        (dict, [{}, {"a": 1}], [[], None]),
        (list, [[], [1]], [{}, "list"]),
        (type(None), [None], [0]),
        (Mapping, [{}], [[]]),
        (int | None, [1, None], [True, "1"]),
        (int | bool, [1, True], [1.0]),
        (object, [None, 1, {}], []),
        (..., [None, 0, {}, []], []),
        (re.compile("^a.c"), ["abc", "abcd"], ["xabc", b"abc", 1, None]),
        (re.compile("b"), ["abc"], ["ac"]),
        (re.compile(rb"b"), [b"abc"], ["abc"]),
        (even, [2, 0], [1, "2", None]),
        (fragile, [], [1, None, {}]),
        ({}, [{}, {"x": 1}], [None, [], "x"]),
        ({"a": {"b": 1}}, [{"a": {"b": 1, "c": 2}, "d": 3}], [{"a": {"b": True}}, {"a": {}}, {"a": 1}, {}]),
        ({"a": None}, [{"a": None}], [{"a": 0}, {}]),
        ({b"raw": ...}, [{b"raw": 1}], [{"raw": 1}]),
    ],
    ids=named,
)
def test_what_a_field_asks(asked: object, accepted: list[object], refused: list[object]) -> None:
    pattern = Pattern({"x": asked})
    assert [value for value in accepted if not pattern.matches({"x": value, "further": 1})] == []
    assert [value for value in refused if pattern.matches({"x": value})] == []
    assert not pattern.matches({})
    assert not pattern.matches({"X": accepted[0] if accepted else None})


@pytest.mark.parametrize("name", ["toString", "constructor", "__proto__", "__class__", "keys", "items"])
def test_names_and_values_from_the_language_are_ordinary(name: str) -> None:
    assert not Pattern({"cmd": "put"}).matches({"cmd": name, name: 1})
    assert not Pattern({name: ...}).matches({"cmd": "put"})
    assert Pattern({name: name}).matches({name: name})


@given(st.dictionaries(st.text(), values, max_size=5))
def test_the_empty_pattern_matches_every_message(message: dict[str, object]) -> None:
    assert Pattern({}).matches(message)


@given(st.dictionaries(st.text(), literals, max_size=4), st.dictionaries(st.text(), values, max_size=4))
def test_a_message_matches_the_pattern_it_spells_with_whatever_further_fields(
    message: dict[str, object], further: dict[str, object]
) -> None:
    try:
        pattern = Pattern(message)
    except ConfigError:  # more than MAX_FIELDS of them
        reject()
    assert pattern.matches({**further, **message})


@given(
    st.dictionaries(st.sampled_from("abc"), values), st.sampled_from([int, str, re.compile("a"), even, {"a": ...}, 1])
)
def test_no_value_makes_a_condition_raise(message: dict[str, object], asked: object) -> None:
    Pattern({"a": asked, "b": asked}).matches(message)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ({"x": [1, 2]}, "pattern x: found"),
        ({"x": (int, str)}, "pattern x: found"),
        ({"x": float("nan")}, "not-a-number"),
        ({"x": list[int]}, "plain class"),
        ({"x": int | list[str]}, "plain class"),
        ({"a": {"b": {1, 2}}}, "pattern a.b: found"),
        ({"a": {1: 2}}, "str or bytes"),
        ({1: 2}, "str or bytes"),
        ({b"x": 2}, "fields of a message"),
        ({f"f{number}": 1 for number in range(MAX_FIELDS + 1)}, "at most 32 fields"),
        ({"a": {f"f{number}": 1 for number in range(MAX_FIELDS)}}, "at most 32 fields"),
        (17, "a pattern is"),
        (None, "a pattern is"),
        ("", "write a command"),
        ("  ", "write a command"),
        ("ns:kv,put", "'put' is not name:value"),
        ("ns:kv,", "'' is not name:value"),
        (":put", "is not name:value"),
        ("ns:", "is not name:value"),
        ("a:1,a:2", "'a' is there twice"),
        ("a:{b:1", "not closed"),
        ("a:b}", "not opened"),
        ("a:{b:1}c", "not closed at the end"),
    ],
)
def test_what_no_message_can_be_asked_is_refused_when_the_pattern_is_made(source: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        Pattern(source)  # type: ignore[arg-type]  # wrong on purpose


def test_nesting_is_bounded() -> None:
    nested: dict[str, object] = {}
    for _ in range(20):
        nested = {"a": nested}
    with pytest.raises(ConfigError, match="nest"):
        Pattern(nested)


def test_a_protocol_that_cannot_be_asked_about_is_refused() -> None:
    from typing import Protocol

    class Silent(Protocol):
        size: int

    with pytest.raises(ConfigError, match="isinstance"):
        Pattern({"x": Silent})


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("greet", {"cmd": "greet"}),
        ("ns:kv,cmd:put", {"ns": "kv", "cmd": "put"}),
        (" ns : kv , cmd : put ", {"ns": "kv", "cmd": "put"}),
        ("a:b:c", {"a": "b:c"}),
        ("a:true,b:false,c:null", {"a": True, "b": False, "c": None}),
        ("a:1,b:-2,c:1.5,d:007,e:1e5", {"a": 1, "b": -2, "c": 1.5, "d": "007", "e": "1e5"}),
        ("key:...", {"key": ...}),
        ("a:{b:1,c:{d:x}},e:2", {"a": {"b": 1, "c": {"d": "x"}}, "e": 2}),
        ("a:{}", {"a": {}}),
    ],
)
def test_the_one_line_notation_abbreviates_a_mapping(text: str, mapping: dict[str, object]) -> None:
    assert Pattern(text) == Pattern(mapping)


def test_equal_patterns_ask_the_same_in_any_order_of_fields() -> None:
    one, other = Pattern({"a": 1, "b": {"c": 2, "d": 3}}), Pattern({"b": {"d": 3, "c": 2}, "a": 1})
    assert one == other
    assert hash(one) == hash(other)
    assert Pattern({"a": 1}) != Pattern({"a": True})
    assert Pattern({"a": re.compile("x")}) == Pattern({"a": re.compile("x")})
    assert Pattern({"a": re.compile("x")}) != Pattern({"a": re.compile("x", re.IGNORECASE)})
    assert Pattern(one) == one
    assert one != "a:1"


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"a": 1, "b": ...}, {"a": 1}),
        ({"a": 1}, {"a": re.compile("1")}),
        ({"a": re.compile("1")}, {"a": even}),
        ({"a": even}, {"a": {}}),
        ({"a": {"b": ...}}, {"a": {}}),
        ({"a": {}}, {"a": dict}),
        ({"a": int}, {"a": int | str}),
        ({"a": int | str}, {"a": ...}),
        ({"a": ...}, {}),
        ({"a": 1, "b": 2}, {"a": 1, "b": int}),
    ],
)
def test_the_order_of_specificity(more: dict[str, object], less: dict[str, object]) -> None:
    assert Pattern(more).specificity > Pattern(less).specificity


def test_literals_are_the_beginning_of_a_message() -> None:
    assert Pattern({"ns": "kv", "cmd": "put", "key": ..., "n": int}).literals == {"ns": "kv", "cmd": "put"}


def test_differences_name_the_fields_and_keep_quiet_about_the_values() -> None:
    pattern = Pattern({"ns": "kv", "cmd": "put", "size": int, "key": ..., "to": {"zone": re.compile("eu")}, "n": even})
    message = {"ns": "kv", "cmd": "secret", "size": "secret", "to": {"zone": "secret"}, "n": 2}
    assert pattern.differences(message) == (
        "cmd is not 'put'",
        "size is not int",
        "key is missing",
        "to is not {'zone': /eu/}",
    )
    assert str(Pattern({"n": even})) == "{'n': <even>}"
    assert repr(Pattern("greet")) == "Pattern({'cmd': 'greet'})"


def test_a_pattern_is_narrowed_by_further_fields() -> None:
    assert Pattern("greet").narrowed(ns="hello") == Pattern({"ns": "hello", "cmd": "greet"})
    with pytest.raises(ConfigError, match="cmd cannot be added"):
        Pattern("greet").narrowed(cmd="other")
