"""Exported JSON Schemas accept what the checkers accept, and refuse what they refuse, as far as JSON can say it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from swimring.codec import DIALECT, Schemas, ShapeError, checker, decode, encode, json_form, register
from tests.names import named

from .test_shapes import MISFITS, ROUND_TRIPS, STRANGE, Colour, Draft, Level, Line, Movie, Point, Tree


def validator(annotation: object) -> Any:
    schemas = Schemas()
    schema = {"$schema": DIALECT, **schemas.of(annotation), "$defs": schemas.definitions}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize(("annotation", "value"), ROUND_TRIPS, ids=named)
def test_what_survives_the_wire_satisfies_the_schema(annotation: object, value: object) -> None:
    validator(annotation).validate(json_form(decode(encode(checker(annotation).dump(value)))))


UNSAID = [
    "found float 1.0, allowed is int",  # in JSON Schema 1.0 is an integer
    "found int, allowed is float",  # of 10 ** 400
    "found bytes b'a', allowed is str",  # bytes are text in JSON, and so are keys that are bytes
    "b'a': found bytes b'a', allowed is str",
    "lines[0].price: found str '1', allowed is Decimal",  # so are decimals
    "not positive",  # what constructors and registered types refuse
    "an int of Rights",
    "money is text",
    "Money (invalid literal",
    "hashable",
]


@pytest.mark.parametrize(("annotation", "wire", "text"), [*MISFITS, *STRANGE], ids=named)
def test_what_a_checker_refuses_the_schema_refuses_but_for_what_json_cannot_say(
    annotation: object, wire: object, text: str
) -> None:
    assert validator(annotation).is_valid(json_form(wire)) == (text in UNSAID)


@dataclass
class Pair:
    left: int
    right: Pair | None = None


ANNOTATIONS: list[Any] = [
    int, str, bool, float, None, int | None, int | str, float | bool, list[int], list[str | None], dict[str, int],
    dict[Colour, int], tuple[int, str], tuple[int, ...], tuple[()], set[str], set[int], Literal["a", 1, None], Colour,
    Level, Movie, Draft, Point, Tree, Pair, list[Movie] | None, dict[str, list[Point]],
]  # fmt: skip
names = st.sampled_from(["title", "year", "a", "red", "value", "children", "left", "right", "x"])
scalars = st.none() | st.booleans() | st.integers(-2, 2**70) | names | st.sampled_from([0.5, -1.25])
wires = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
shaped = st.one_of(
    wires,
    st.fixed_dictionaries({"title": wires}, optional={"year": wires}),
    st.fixed_dictionaries({"left": wires}, optional={"right": wires}),
    st.fixed_dictionaries({"value": scalars}, optional={"children": st.lists(wires, max_size=2)}),
)
VALIDATORS = [(checker(annotation), validator(annotation)) for annotation in ANNOTATIONS]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VALIDATORS), shaped)
def test_checker_and_schema_agree_on_what_json_can_say(pair: tuple[Any, Any], wire: object) -> None:
    compiled, schema = pair
    try:
        compiled.load(wire)
        accepted = True
    except ShapeError:
        accepted = False
    assert schema.is_valid(json_form(wire)) == accepted


def test_the_schema_of_each_kind_of_annotation() -> None:
    schemas = Schemas()
    assert schemas.of(list[Line]) == {"type": "array", "items": {"$ref": "#/$defs/Line"}}
    assert schemas.of(Line | None) == {"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]}
    assert list(schemas.definitions) == ["Line"]
    assert schemas.definitions["Line"]["required"] == ["product", "price"]
    assert schemas.of(dict[bytes, int])["propertyNames"]["contentEncoding"] == "base16"
    assert schemas.of(tuple[int, str])["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert schemas.of(set[int])["maxItems"] == 4096
    assert schemas.of(Any) == {}


def test_two_types_of_one_name_are_two_definitions() -> None:
    def other() -> type:
        @dataclass
        class Line:
            number: int

        return Line

    schemas = Schemas()
    assert [schemas.of(kind)["$ref"] for kind in (Line, other(), Line)] == [
        "#/$defs/Line",
        "#/$defs/Line_2",
        "#/$defs/Line",
    ]


def test_a_registered_type_exports_the_schema_it_was_registered_with() -> None:
    class Angle:
        pass

    register(Angle, dump=lambda _angle: 0, load=lambda _value: Angle(), schema={"type": "number", "maximum": 360})
    assert Schemas().of(list[Angle])["items"] == {"type": "number", "maximum": 360}


def test_the_json_form_of_every_kind_of_wire_value() -> None:
    value = {
        "a": [b"\x01\xff", datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.50"), UUID(int=1), {"b", "a"}],
        b"\x01": float("inf"),
        "c": (1, True, None, 1.5),
    }
    assert json_form(value) == {
        "a": ["01ff", "2026-01-02T00:00:00+00:00", "1.50", str(UUID(int=1)), ["a", "b"]],
        "01": None,
        "c": [1, True, None, 1.5],
    }
