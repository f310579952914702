"""From an annotation to its compiled checker.

An annotation is compiled once, when a handler is registered, by the first rule that knows it; one that no rule knows
is a `ConfigError` then and there, never a surprise during a call.
"""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, Final, NotRequired, Required, TypeVar, Union, get_args, get_origin

from swimring.errors import ConfigError

from .checker import ANYTHING, Checker, Convert, ShapeError, mismatch
from .containers import container
from .records import record
from .scalars import enumeration, literal, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_SUPPORTED: Final = (
    "use scalars (None, bool, int, float, str, bytes, datetime, Decimal, UUID), enumerations, Literal, list, tuple, "
    "set, frozenset, dict, dataclasses, TypedDict, NamedTuple, unions of these, or codec.register the type"
)

_QUALIFIERS: Final = (Annotated, Final, Required, NotRequired, getattr(typing, "ReadOnly", Annotated))

_registered: dict[type[Any], tuple[Convert, Convert, Mapping[str, Any]]] = {}


def register(
    kind: type[T],
    *,
    dump: Callable[[T], object],
    load: Callable[[Any], T],
    schema: Mapping[str, Any] | None = None,
) -> None:
    """Let ``kind`` be used in annotations of handlers registered from now on.

    ``dump`` makes a value of scalars, lists and dicts; ``load`` makes a ``kind`` of such a value, which comes from a
    stranger, and refuses it with ValueError, TypeError or LookupError. ``schema`` is the JSON Schema of what ``dump``
    makes, for export; without it anything is allowed. Meant for the top of a program; the last registration counts.
    """
    _registered[kind] = (dump, load, schema or {})


def registered_schema(hint: object) -> Mapping[str, Any] | None:
    """The JSON Schema that a type was registered with; None for a type that is not registered."""
    known = _registered.get(hint) if isinstance(hint, type) else None
    return None if known is None else known[2]


def checker(annotation: object, *, setting: str = "annotation") -> Checker:
    """Compile ``annotation``, whose forward references are resolved; ``setting`` names it in errors.

    Raises:
        ConfigError: a part of it is not supported, or the alternatives of a union cannot be told apart.
    """
    return _Compiler().compile(annotation, setting)


class _Compiler:
    """Remembers which types are being compiled, so that a type may contain itself."""

    def __init__(self) -> None:
        self._known: dict[object, Checker | None] = {}

    def compile(self, hint: object, where: str) -> Checker:
        hint = unwrap(hint)
        try:
            known = self._known.get(hint, self)
        except TypeError:
            raise ConfigError(where, hint, _SUPPORTED) from None
        if known is None:
            return self._later(hint)
        if isinstance(known, Checker):
            return known
        self._known[hint] = None
        self._known[hint] = made = self._make(hint, where)
        return made

    def _make(self, hint: object, where: str) -> Checker:
        made = (
            scalar(hint)
            or _custom(hint)
            or self._union(hint, where)
            or literal(hint, where)
            or enumeration(hint, where)
            or container(hint, where, self.compile)
            or record(hint, where, self.compile)
        )
        if made is None:
            raise ConfigError(where, hint, _SUPPORTED)
        return made

    def _later(self, hint: object) -> Checker:
        """A checker that stands for one still being compiled."""

        def finished() -> Checker:
            made = self._known[hint]
            assert made is not None, "a type that contains only itself"
            return made

        def guarded(convert: Callable[[], Convert]) -> Convert:
            def check(value: object) -> object:
                try:
                    return convert()(value)
                except RecursionError:
                    raise mismatch(value, "a nesting that ends") from None

            return check

        name = getattr(hint, "__name__", str(hint))
        load, dump = guarded(lambda: finished().load), guarded(lambda: finished().dump)
        return Checker(allowed=name, load=load, dump=dump, kinds=_kinds_of_recursive(hint))

    def _union(self, hint: object, where: str) -> Checker | None:
        if get_origin(hint) not in (Union, types.UnionType):
            return None
        members = [self.compile(part, where) for part in get_args(hint)]
        some = [member for member in members if member.kinds != _NONE]
        if any(member.kinds == ANYTHING for member in some):
            if all(member.transparent for member in some):
                return self.compile(Any, where)
            if len(some) > 1:
                raise ConfigError(where, hint, "a registered type shares a union with None only")
        if len(some) == 1 and not some[0].transparent:
            return _optional(some[0])
        return _alternatives(members, hint, where)


def unwrap(hint: object) -> object:
    """Remove what does not change the value: qualifiers, NewType, `type` aliases."""
    while True:
        if get_origin(hint) in _QUALIFIERS:
            hint = get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__  # type: ignore[attr-defined]  # Python 3.12's `type X = ...`
        else:
            return hint


def _kinds_of_recursive(hint: object) -> frozenset[type[object]]:
    # Only records contain themselves; a NamedTuple is the one that travels as an array.
    kind = get_origin(hint) or hint
    is_tuple = isinstance(kind, type) and issubclass(kind, tuple)
    return frozenset({list, tuple}) if is_tuple else frozenset({dict})


def _custom(hint: object) -> Checker | None:
    if not isinstance(hint, type) or hint not in _registered:
        return None
    dump_value, load_value, _schema = _registered[hint]
    name = hint.__name__

    def load(value: object) -> object:
        try:
            return load_value(value)
        except (ValueError, TypeError, LookupError) as error:
            raise mismatch(value, f"{name} ({error})") from error

    def dump(value: object) -> object:
        if not isinstance(value, hint):
            raise mismatch(value, name)
        return dump_value(value)

    return Checker(allowed=name, load=load, dump=dump, kinds=ANYTHING)


# -------------------------------------------------------------------------------------------------------------- unions


_NONE: Final[frozenset[type[object]]] = frozenset({type(None)})


def _optional(some: Checker) -> Checker:
    """Either None or one type with parts, whose own error says more than that of a union."""

    def load(value: object) -> object:
        return None if value is None else some.load(value)

    def dump(value: object) -> object:
        return None if value is None else some.dump(value)

    return Checker(allowed=f"{some.allowed} | None", load=load, dump=dump, kinds=some.kinds | _NONE)


def _alternatives(members: list[Checker], hint: object, where: str) -> Checker:
    allowed = " | ".join(member.allowed for member in members)
    by_kind = {
        kind: _choose([member for member in members if kind in member.kinds], kind, hint, where)
        for kind in frozenset().union(*(member.kinds for member in members))
    }
    load_unusual = _first([member.load for member in members], allowed)
    loaders = {kind: _first([member.load for member in able], allowed) for kind, able in by_kind.items()}

    def load(value: object) -> object:
        return loaders.get(type(value), load_unusual)(value)

    dump = _first([member.dump for member in _most_exact_first(members)], allowed)
    transparent = all(member.transparent for member in members)
    return Checker(allowed=allowed, load=load, dump=dump, kinds=frozenset(by_kind), transparent=transparent)


def _most_exact_first(members: list[Checker]) -> list[Checker]:
    # A float takes an int too, but only if nothing else in the union does.
    return sorted(members, key=lambda member: member.kinds == {int, float})


def _choose(able: list[Checker], kind: type[object], hint: object, where: str) -> list[Checker]:
    """The alternatives that may take a wire value of type ``kind``, in the order in which to try them."""
    exact = [member for member in able if not (kind is int and member.kinds == {int, float})]
    chosen = exact or able
    if len(chosen) > 1 and not all(member.transparent for member in chosen):
        names = " and ".join(member.allowed for member in chosen)
        raise ConfigError(where, hint, f"{names} look alike on the wire: wrap one of them, or use two parameters")
    return chosen


def _first(converts: list[Convert], allowed: str) -> Convert:
    """Use the first that fits; if none does, the error of the one that came furthest tells most."""
    if len(converts) == 1:
        return converts[0]

    def check(value: object) -> object:
        furthest = mismatch(value, allowed)
        for convert in converts:
            try:
                return convert(value)
            except ShapeError as error:
                furthest = max(furthest, error, key=lambda one: len(one.path))
        raise furthest

    return check
