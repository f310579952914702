"""JSON Schema (2020-12) of annotations: what their checkers take, in the form that `json_form` gives wire values.

Where JSON has fewer types than the wire, the schema says it with a pattern: bytes, decimals, UUIDs and datetimes are
text there. Three things a checker knows cannot be said: that 1.0 is no integer, that a float may be infinite, and what
the constructor of a record or a registered type refuses. Dataclasses and their like are definitions, by name.
"""

from __future__ import annotations

import enum
import types
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from .containers import HASHED_WITH_A_SECRET, LISTS, MAPS, MAX_SET_MEMBERS, SETS
from .json_form import json_form
from .records import Declared, declared
from .shapes import checker, registered_schema, unwrap

JsonSchema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_BYTES: Final = "^([0-9a-f]{2})*$"
_DATETIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"
_DECIMAL: Final = r"^-?[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?$"
_UUID: Final = "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$"

_SCALARS: Final[dict[object, JsonSchema]] = {
    Any: {},
    object: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base16", "pattern": _BYTES},
    datetime: {"type": "string", "format": "date-time", "pattern": _DATETIME},
    Decimal: {"type": "string", "pattern": _DECIMAL},
    UUID: {"type": "string", "format": "uuid", "pattern": _UUID},
}


class Schemas:
    """The schemas of one document; what they refer to is in `definitions`, to be put under its ``$defs``."""

    def __init__(self) -> None:
        """Define nothing yet."""
        self.definitions: dict[str, JsonSchema] = {}
        self._names: dict[object, str] = {}

    def of(self, annotation: object) -> JsonSchema:
        """The schema of an annotation that `checker` takes."""
        hint = unwrap(annotation)
        if hint in _SCALARS:
            return dict(_SCALARS[hint])
        given = registered_schema(hint)
        if given is not None:
            return dict(given)
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self._union(get_args(hint))
        if origin is Literal:
            return _choice(get_args(hint))
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return {"type": "integer"} if issubclass(hint, enum.Flag) else _choice(tuple(hint))
        record = declared(hint, str(hint))
        return self._container(hint) if record is None else self._reference(hint, record)

    def _union(self, members: tuple[object, ...]) -> JsonSchema:
        return {"anyOf": [self.of(member) for member in members]}

    def _container(self, hint: object) -> JsonSchema:
        origin, arguments = get_origin(hint) or hint, get_args(hint)
        if origin in MAPS:
            return self._map(*arguments) if arguments else {"type": "object"}
        if origin is tuple and hint is not tuple and arguments[1:] != (...,):
            return self._positions([(part, True) for part in arguments])
        item = arguments[0] if arguments else Any
        found: JsonSchema = {"type": "array", "items": self.of(item)}
        if origin in SETS and not checker(item).kinds <= HASHED_WITH_A_SECRET:
            found["maxItems"] = MAX_SET_MEMBERS
        assert origin in LISTS or origin in SETS or origin is tuple, hint
        return found

    def _map(self, key: object, item: object) -> JsonSchema:
        names = self.of(key)
        found: JsonSchema = {"type": "object", "additionalProperties": self.of(item)}
        return found if names == {"type": "string"} else {**found, "propertyNames": names}

    def _positions(self, parts: list[tuple[object, bool]]) -> JsonSchema:
        required = sum(needed for _part, needed in parts)
        found: JsonSchema = {"type": "array", "minItems": required, "maxItems": len(parts)}
        return {**found, "prefixItems": [self.of(part) for part, _needed in parts]} if parts else found

    def _reference(self, hint: object, record: Declared) -> JsonSchema:
        if hint not in self._names:
            wanted = name = record.kind.__name__
            number = 2
            while name in self.definitions:
                name, number = f"{wanted}_{number}", number + 1
            self._names[hint] = name
            self.definitions[name] = {}  # taken, while its parts are described: one of them may be of this type
            self.definitions[name] = self._record(record)
        return {"$ref": f"#/$defs/{self._names[hint]}"}

    def _record(self, record: Declared) -> JsonSchema:
        if not record.as_map:
            return self._positions([(part, required) for _name, part, required in record.parts])
        return mapping(
            {name: self.of(part) for name, part, _required in record.parts},
            required=[name for name, _part, required in record.parts if required],
        )


def mapping(
    properties: dict[str, JsonSchema], *, required: list[str], further: JsonSchema | bool = False
) -> JsonSchema:
    """The schema of a map with these properties, and ``further`` ones."""
    found: JsonSchema = {"type": "object", "properties": properties, "additionalProperties": further}
    return {**found, "required": required} if required else found


def _choice(members: tuple[object, ...]) -> JsonSchema:
    return {"enum": [json_form(member.value if isinstance(member, enum.Enum) else member) for member in members]}
