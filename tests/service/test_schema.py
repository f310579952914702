"""JSON Schemas of a service: those a message has to satisfy, and those exported from annotations."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from swimring.codec import json_form
from swimring.errors import ConfigError, InvalidRequest
from swimring.service import Dispatcher, Request, Service

app = Service("shop")


@dataclass
class Item:
    name: str
    count: int = 1


@app.error
@dataclass
class SoldOut(Exception):
    item: Item


@app.error
class Closed(Exception):
    def __init__(self, until: int | None = None) -> None:
        super().__init__("closed")
        self.until = until


@app.error
class Broken(Exception):
    pass


@app.on({"cmd": "buy", "kind": "cash", "size": int}, idempotent=True)
async def buy(request: Request, items: list[Item], size: int, *, note: str | None = None) -> dict[str, int]:
    return {}


@app.on("collect")
async def collect(request: Request, /, first: bool = True, **rest: int) -> None: ...


@app.on("loose")
async def loose(request, anything=None):  # type: ignore[no-untyped-def]  # unannotated on purpose
    return anything


@app.default
async def rest(request: Request, number: int = 0) -> None: ...


def parameters(handler: str) -> Any:
    document = app.schema()
    (found,) = [one for one in document["handlers"] if one["handler"] == handler]
    return Draft202012Validator({**found["parameters"], "$defs": document["$defs"]})


def test_a_service_says_what_its_handlers_take_and_return() -> None:
    document = app.schema()
    assert (document["$schema"], document["service"]) == ("https://json-schema.org/draft/2020-12/schema", "shop")
    assert [one["handler"] for one in document["handlers"]] == [
        "shop:buy",
        "shop:collect",
        "shop:loose",
        "shop:{'ns': 'shop'}",
    ]
    assert document["handlers"][0] == {
        "handler": "shop:buy",
        "pattern": {
            "ns": {"const": "shop"},
            "cmd": {"const": "buy"},
            "kind": {"const": "cash"},
            "size": {"description": "int"},
        },
        "idempotent": True,
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
                "size": {"type": "integer"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["items", "size"],
            "additionalProperties": False,
        },
        "result": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    assert document["$defs"]["Item"]["required"] == ["name"]


def test_a_service_says_what_its_errors_are_made_of() -> None:
    assert app.schema()["errors"] == {
        "SoldOut": {"$ref": "#/$defs/SoldOut"},
        "Closed": {
            "type": "object",
            "properties": {"until": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
            "additionalProperties": False,
        },
        "Broken": {"type": "array", "maxItems": 8},
    }
    assert app.schema()["$defs"]["SoldOut"]["properties"] == {"item": {"$ref": "#/$defs/Item"}}


wires = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "count"]), inner, max_size=2),
    max_leaves=5,
)
fields = st.dictionaries(
    st.sampled_from(["items", "size", "note", "first", "number", "more"]),
    wires | st.lists(st.fixed_dictionaries({"name": st.just("a")}, optional={"count": wires}), max_size=2),
)
HANDLERS = [(endpoint, parameters(str(endpoint))) for endpoint in app.endpoints]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HANDLERS), fields)
def test_the_exported_parameters_are_those_that_a_handler_takes(
    handler: tuple[Any, Any], message: dict[str, Any]
) -> None:
    endpoint, schema = handler
    try:
        endpoint.load_arguments({"ns": "shop", "cmd": endpoint.cmd or "x", "key": "k", **message})
        accepted = True
    except InvalidRequest:
        accepted = False
    assert schema.is_valid(json_form(message)) == accepted


# ---------------------------------------------------------------------------------------------- a schema of the user


def checked(schema: dict[str, Any]) -> Dispatcher:
    service = Service("s")

    @service.on("put", schema=schema)
    async def put(request: Request, /, **fields: Any) -> None: ...

    return Dispatcher([service])


SIZES = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "to": {"$ref": "#/$defs/place"},
        "data": {"type": "string", "maxLength": 4},
        "key": {"type": "string"},
    },
    "required": ["size", "key"],
    "$defs": {"place": {"type": "object", "properties": {"zone": {"enum": ["eu", "us"]}}}},
}


def test_a_message_that_satisfies_the_schema_reaches_the_handler_as_it_came() -> None:
    message = {"ns": "s", "cmd": "put", "key": "k", "size": 5, "to": {"zone": "eu"}, "data": b"\x01\x02"}
    bound = checked(SIZES).match(message)
    assert bound.arguments == {"size": 5, "to": {"zone": "eu"}, "data": b"\x01\x02"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"key": "k", "size": "5"}, "s:put: size: found str '5', allowed is what the schema says: type integer"),
        ({"key": "k", "size": 0}, "size: found int 0, allowed is what the schema says: minimum 1"),
        ({"key": "k", "size": 5, "to": {"zone": "mars"}}, "to.zone: found str 'mars'"),
        ({"key": "k"}, "found dict of 3, allowed is what the schema says: required ['size', 'key']"),
        ({"size": 5}, "required ['size', 'key']"),
        ({"key": "k", "size": 5, "data": b"abc"}, "data: found str '616263'"),
        ({"key": "k", "size": 5, "data": "secret" * 100}, "..., allowed is"),
    ],
)
def test_a_message_that_does_not_is_refused_before_the_handler_runs(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(text)) as caught:
        checked(SIZES).match({"ns": "s", "cmd": "put", **fields})
    assert len(str(caught.value)) < 250


def test_annotations_hold_beside_a_schema() -> None:
    service = Service("s")

    @service.on("put", schema={"properties": {"size": {"maximum": 9}}})
    async def put(request: Request, size: int) -> None: ...

    both = Dispatcher([service])
    assert both.match({"ns": "s", "cmd": "put", "size": 9}).arguments == {"size": 9}
    for size in (10, "9", 9.0):
        with pytest.raises(InvalidRequest):
            both.match({"ns": "s", "cmd": "put", "size": size})
    assert service.schema()["handlers"][0]["schema"] == {"properties": {"size": {"maximum": 9}}}


def test_an_exported_schema_can_be_given_back() -> None:
    document = app.schema()
    schema = {**document["$defs"]["Item"], "additionalProperties": True}
    service = Service("t")

    @service.on("x", schema=schema)
    async def handler(request: Request, name: str, count: int = 1) -> None: ...

    assert Dispatcher([service]).match({"ns": "t", "cmd": "x", "name": "n"}).arguments == {"name": "n"}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integre"}, "a JSON Schema"),
        ({"properties": {"a": {"minimum": "1"}}}, "properties.a.minimum"),
        ({"$ref": "https://example.org/schema.json"}, "references stay inside the schema"),
        ({"allOf": [{"$dynamicRef": "other.json"}]}, "references stay inside the schema"),
        ({"properties": {"to": {"$ref": "#/$defs/place"}}}, "#/\\$defs/place, which leads nowhere"),
        ({"$defs": {"a": {"not": {"items": {"$ref": "#name"}}}}}, "#name, which leads nowhere"),
    ],
)
def test_what_is_no_schema_is_refused_when_the_handler_is_registered(schema: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        checked(schema)


WITHOUT = """
import sys
sys.modules["jsonschema"] = None
from swimring import MissingExtra, Request, Service
app = Service("s")
@app.on("plain")
async def plain(request: Request, size: int) -> None: ...
app.schema()
try:
    @app.on("checked", schema={})
    async def checked(request: Request) -> None: ...
except MissingExtra as error:
    print(error)
print("trio" in sys.modules)
"""


def test_only_a_schema_of_the_user_needs_the_extra_and_its_error_says_what_to_install() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    message, no_trio = run.stdout.splitlines()
    assert message.startswith("extra schema: jsonschema is missing")
    assert "pip install 'swimring[schema]'" in message
    assert no_trio == "False"
