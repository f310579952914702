"""Annotations with named parts: dataclasses and TypedDicts travel as maps, NamedTuples as arrays.

Names nobody declared are refused, not dropped: what a sender means to say must not vanish silently. A part with a
default may be missing, which is how a record grows: first the readers, then the writers.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NotRequired, Required, TypeVar, get_args, get_origin, is_typeddict

from swimring.errors import ConfigError

from .checker import ARRAY, MAP, Checker, Compile, Convert, ShapeError, mismatch
from .containers import positions


class _Part(NamedTuple):
    name: str
    checker: Checker
    required: bool


class Declared(NamedTuple):
    """A record as it is declared: what a checker, or a schema, is made from."""

    kind: Any
    as_map: bool
    """Whether it travels as a map; else as an array."""
    parts: list[tuple[str, Any, bool]]
    """Name, annotation, and whether it must be there, for each part."""


def declared(hint: object, where: str) -> Declared | None:
    """The parts of a dataclass, TypedDict or NamedTuple, also a generic one with its arguments; None for any other.

    Raises:
        ConfigError: an annotation names nothing, or a part cannot be passed when the record is built.
    """
    kind: Any = get_origin(hint) or hint
    if not isinstance(kind, type):
        return None
    if dataclasses.is_dataclass(kind):
        return Declared(kind, True, _fields(kind, _hints(kind, hint, where)))  # noqa: FBT003 - a row of a table
    if is_typeddict(kind):
        return Declared(kind, True, _items(kind, _hints(kind, hint, where)))  # noqa: FBT003 - the same
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = _hints(kind, hint, where)
        optional = getattr(kind, "_field_defaults", ())
        names = [(name, hints.get(name, Any), name not in optional) for name in getattr(kind, "_fields", ())]
        return Declared(kind, False, names)  # noqa: FBT003 - the same
    return None


def record(hint: object, where: str, compile_part: Compile) -> Checker | None:
    """The checker of what is `declared`; None for any other annotation.

    Raises:
        ConfigError: a part is not supported, or cannot be passed when the record is built.
    """
    found = declared(hint, where)
    if found is None:
        return None
    kind: Any = found.kind
    parts = [
        _Part(name, compile_part(part, f"{kind.__name__}.{name}"), required) for name, part, required in found.parts
    ]
    if not found.as_map:
        return _named_tuple(kind, parts)
    return _dataclass(kind, parts) if dataclasses.is_dataclass(kind) else _typed_dict(kind, parts)


def resolve_hints(owner: Any, where: str, *, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """The annotations of a class or function with their forward references resolved.

    They are looked up in ``names``, by default those of the module that defines ``owner``.

    Raises:
        ConfigError: one of them names something that does not exist when the program runs.
    """
    try:
        return typing.get_type_hints(owner, globalns=names, include_extras=True)
    except (NameError, AttributeError) as error:
        allowed = "annotations are evaluated: import what they name outside `if TYPE_CHECKING`, define it in the module"
        raise ConfigError(where, str(error), allowed) from error


def _hints(kind: type[Any], hint: object, where: str) -> dict[str, Any]:
    hints = resolve_hints(kind, kind.__name__)
    parameters = getattr(kind, "__parameters__", ())
    if not parameters:
        return hints
    arguments = get_args(hint)
    if not arguments:
        raise ConfigError(where, kind, "a generic type needs its arguments")
    given = dict(zip(parameters, arguments, strict=True))
    return {name: _substitute(part, given) for name, part in hints.items()}


def _substitute(hint: Any, given: Mapping[TypeVar, object]) -> Any:
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    inner = getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(parameter, parameter) for parameter in inner)] if inner else hint


# ------------------------------------------------------------------------------------------------------------ as maps


def _fields(kind: Any, hints: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
    if any(get_origin(part) is dataclasses.InitVar or isinstance(part, dataclasses.InitVar) for part in hints.values()):
        raise ConfigError(kind.__name__, "InitVar", "a dataclass that is sent keeps all it was built from")
    return [
        (
            field.name,
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if field.init
    ]


def _dataclass(kind: Any, parts: list[_Part]) -> Checker:
    names = [(part.name, part.checker.dump) for part in parts]
    load_parts = _parts(parts, kind.__name__, [part.checker.load for part in parts])

    def load(value: object) -> object:
        return _build(kind, load_parts(value), value)

    def dump(value: object) -> object:
        if type(value) is not kind and not isinstance(value, kind):
            raise mismatch(value, kind.__name__)
        done = {}
        for name, convert in names:
            try:
                done[name] = convert(getattr(value, name))
            except ShapeError as error:
                error.put_under(name)
                raise
        return done

    return Checker(allowed=kind.__name__, load=load, dump=dump, kinds=MAP)


def _build(kind: Callable[..., object], arguments: dict[str, Any], value: object) -> object:
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        # What __post_init__ refuses is as much the sender's fault as a wrong type.
        raise mismatch(value, f"what {getattr(kind, '__name__', kind)} accepts: {error}") from error


def _items(kind: Any, hints: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
    found = []
    for name, part in hints.items():
        required = name in kind.__required_keys__
        if get_origin(part) in (Required, NotRequired):
            # Of a string annotation the class did not see these, so its __required_keys__ may be wrong.
            required = get_origin(part) is Required
            (part,) = get_args(part)
        found.append((name, part, required))
    return found


def _typed_dict(kind: type[Any], parts: list[_Part]) -> Checker:
    load = _parts(parts, kind.__name__, [part.checker.load for part in parts])
    dump = _parts(parts, kind.__name__, [part.checker.dump for part in parts])
    return Checker(allowed=kind.__name__, load=load, dump=dump, kinds=MAP)


def _parts(parts: list[_Part], allowed: str, converts: list[Convert]) -> Callable[[object], dict[str, Any]]:
    """Convert a map with these named parts and no others."""
    table = [(part.name, convert, part.required) for part, convert in zip(parts, converts, strict=True)]
    known = frozenset(part.name for part in parts)
    missing = object()

    def check(value: object) -> dict[str, Any]:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise mismatch(value, allowed)
        done = {}
        for name, convert, required in table:
            item = value.get(name, missing)
            if item is not missing:
                try:
                    done[name] = convert(item)
                except ShapeError as error:
                    error.put_under(name)
                    raise
            elif required:
                raise ShapeError("nothing", f"a value: {allowed} needs it", (name,))
        if len(done) != len(value):
            unknown = next(name for name in value if name not in known)
            raise ShapeError("an unknown name", f"one of {allowed}: {', '.join(sorted(known))}", (str(unknown),))
        return done

    return check


# ----------------------------------------------------------------------------------------------------------- as arrays


def _named_tuple(kind: type[Any], parts: list[_Part]) -> Checker:
    name = kind.__name__
    required = sum(part.required for part in parts)

    def build(items: list[Any]) -> object:
        return kind(*items)

    load = positions([part.checker.load for part in parts], name, build, required=required)
    dump = positions([part.checker.dump for part in parts], name)
    return Checker(allowed=name, load=load, dump=dump, kinds=ARRAY)
