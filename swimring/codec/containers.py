"""Annotations of containers: list, tuple, set, dict and their abstract relatives.

Arrays arrive as what the annotation names: a list for list and Sequence, a tuple, a set. A set of anything travels as
an array. The error of an item is put under its index or key.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_args, get_origin

from swimring.errors import ConfigError

from .checker import ARRAY, MAP, Checker, Compile, Convert, ShapeError, mismatch

MAX_SET_MEMBERS: Final = 4096
"""Of a set of anything but str and bytes: hashes of numbers can be made to collide (4096 that do cost about 0.1 s)."""

LISTS: Final = (list, abc.Sequence, abc.MutableSequence, abc.Collection)
SETS: Final[Mapping[object, type[set[Any] | frozenset[Any]]]] = {
    set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
    abc.Set: frozenset,
}
MAPS: Final = (dict, abc.Mapping, abc.MutableMapping)
_TEXT: Final[frozenset[type[object]]] = frozenset({str})
_TEXT_TO_ANYTHING: Final = ((str, object), (str, Any))
HASHED_WITH_A_SECRET: Final[frozenset[type[object]]] = frozenset({str, bytes})


def container(hint: object, where: str, compile_part: Compile) -> Checker | None:
    """The checker of a container annotation; None for any other.

    Raises:
        ConfigError: a part is not supported, or keys of a map are not str or bytes.
    """
    origin = get_origin(hint) or hint
    arguments = get_args(hint)
    if origin in LISTS:
        (item,) = arguments or (Any,)
        return _list(compile_part(item, where))
    if origin is tuple:
        return _tuple(hint, arguments, where, compile_part)
    if origin in SETS:
        (item,) = arguments or (Any,)
        return _set(SETS[origin], compile_part(item, where))
    if origin in MAPS:
        key, item = arguments or (str | bytes, Any)
        return _map(compile_part(key, where), compile_part(item, where), hint, where)
    return None


def _convert_items(value: Iterable[object], convert: Convert) -> list[Any]:
    done: list[Any] = []
    try:
        for item in value:
            done.append(convert(item))  # noqa: PERF401 (its length is the index of the item that fails)
    except ShapeError as error:
        error.put_under(len(done))
        raise
    return done


def _array(convert: Convert, allowed: str, build: Callable[[list[Any]], Any] | None = None) -> Convert:
    def check(value: object) -> object:
        if type(value) is not list and not isinstance(value, (list, tuple)):
            raise mismatch(value, allowed)
        done = _convert_items(value, convert)
        return done if build is None else build(done)

    return check


def _list(item: Checker) -> Checker:
    allowed = f"list[{item.allowed}]"
    return Checker(allowed=allowed, load=_array(item.load, allowed), dump=_array(item.dump, allowed), kinds=ARRAY)


def _tuple(hint: object, arguments: tuple[Any, ...], where: str, compile_part: Compile) -> Checker:
    if hint is tuple or (len(arguments) == 2 and arguments[1] is Ellipsis):
        item = compile_part(arguments[0] if arguments else Any, where)
        allowed = f"tuple[{item.allowed}, ...]"
        load = _array(item.load, allowed, tuple)
        return Checker(allowed=allowed, load=load, dump=_array(item.dump, allowed), kinds=ARRAY)
    parts = [compile_part(argument, where) for argument in arguments]
    allowed = f"tuple[{', '.join(part.allowed for part in parts) or '()'}]"
    load = positions([part.load for part in parts], allowed, tuple)
    return Checker(allowed=allowed, load=load, dump=positions([part.dump for part in parts], allowed), kinds=ARRAY)


def positions(
    parts: list[Convert], allowed: str, build: Callable[[list[Any]], Any] | None = None, *, required: int | None = None
) -> Convert:
    """Convert an array whose positions have a meaning each, the first ``required`` of which must be there."""
    least = len(parts) if required is None else required

    def check(value: object) -> object:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= len(parts):
            raise mismatch(value, allowed)
        done: list[Any] = []
        try:
            for convert, item in zip(parts, value, strict=False):
                done.append(convert(item))
        except ShapeError as error:
            error.put_under(len(done))
            raise
        return done if build is None else build(done)

    return check


def _set(build: type[set[Any] | frozenset[Any]], item: Checker) -> Checker:
    allowed = f"{build.__name__}[{item.allowed}]"
    most = None if item.kinds <= HASHED_WITH_A_SECRET else MAX_SET_MEMBERS

    def load(value: object) -> object:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise mismatch(value, allowed)
        if most is not None and len(value) > most:
            raise mismatch(value, f"{allowed} with at most {most} members")
        done = _convert_items(value, item.load)
        try:
            return build(done)
        except TypeError:
            raise mismatch(value, f"{allowed} with hashable members") from None

    def dump(value: object) -> object:
        if not isinstance(value, (set, frozenset)):
            raise mismatch(value, allowed)
        if most is not None and len(value) > most:
            raise mismatch(value, f"{allowed} with at most {most} members")
        return _convert_items(value, item.dump)

    return Checker(allowed=allowed, load=load, dump=dump, kinds=ARRAY | {set, frozenset})


def _map(key: Checker, item: Checker, hint: object, where: str) -> Checker:
    if not key.kinds <= HASHED_WITH_A_SECRET:
        raise ConfigError(where, hint, "the keys of a map are str, bytes, or choices among these")
    allowed = f"dict[{key.allowed}, {item.allowed}]"
    load = _entries(key.load, item.load, allowed)
    dump = _entries(key.dump, item.dump, allowed)
    if get_args(hint) in _TEXT_TO_ANYTHING:
        return Checker(allowed=allowed, load=_copied(load), dump=_copied(dump), kinds=MAP)
    return Checker(allowed=allowed, load=load, dump=dump, kinds=MAP)


def _copied(check: Convert) -> Convert:
    """``check`` of text to anything: nothing in a usual one needs a look of its own."""

    def take(value: object) -> object:
        return dict(value) if type(value) is dict and _TEXT.issuperset(map(type, value)) else check(value)

    return take


def _entries(convert_key: Convert, convert_item: Convert, allowed: str) -> Convert:
    def check(value: object) -> object:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise mismatch(value, allowed)
        done: dict[Any, Any] = {}
        key: object = None
        try:
            for key, item in value.items():
                done[convert_key(key)] = convert_item(item)
        except ShapeError as error:
            error.put_under(key if isinstance(key, str) else repr(key))
            raise
        return done

    return check
