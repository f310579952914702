"""Which errors of handlers are raised at their callers as themselves, and how they are made there.

A service declares its own types; a few built-in ones are always on the list. Only such a class is ever made, of wire
values that were checked: by the fields of a dataclass, by the annotated parameters of an `__init__` of its own, else as
its ``args``. Whatever cannot be made stays a `HandlerFailed`, which tells everything.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from swimring.codec import Checker, JsonSchema, Schemas, ShapeError, checker, decode, encode, mapping, resolve_hints
from swimring.errors import CallError, ConfigError, HandlerFailed, LocalProtocolError
from swimring.mux import GROUP

E = TypeVar("E", bound=Exception)

_Dump: TypeAlias = Callable[[Any], object]
_Load: TypeAlias = Callable[[Any], Exception]

_log = logging.getLogger("swimring.service")

BUILT_IN: Final[tuple[type[Exception], ...]] = (
    FileExistsError,
    FileNotFoundError,
    IndexError,
    KeyError,
    LookupError,
    NotImplementedError,
    PermissionError,
    TimeoutError,
    TypeError,
    ValueError,
)
"""Raised as themselves without being declared: what handlers say on purpose. Their subclasses are other types."""

_MAX_ARGUMENTS: Final = 8
_MAX_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How an error of one type travels."""

    kind: type[Exception]
    dump: _Dump
    """Its arguments as a wire value; raises ShapeError or AttributeError."""
    load: _Load
    """Another one, made of them; raises anything."""
    schema: Callable[[Schemas], JsonSchema]
    """The JSON Schema of its arguments."""


class ErrorTypes:
    """The types of errors that one service declares, by name, and the built-in ones."""

    def __init__(self, *, setting: str) -> None:
        """Declare none yet; ``setting`` names the service in errors."""
        self._setting = setting
        self._by_name: dict[str, _Recipe] = dict(_BUILT_IN)
        self._names: dict[type[BaseException], str] = {recipe.kind: name for name, recipe in _BUILT_IN.items()}

    @property
    def declared(self) -> tuple[type[Exception], ...]:
        """The declared types, without the built-in ones, in the order of their declaration."""
        return tuple(recipe.kind for name, recipe in self._by_name.items() if name not in _BUILT_IN)

    def declare(self, kind: type[E]) -> type[E]:
        """Let errors of exactly this type be raised as themselves at the caller.

        Raises:
            ConfigError: they cannot be: its name is taken, or how to make one cannot be told from the class.
        """
        if not issubclass(kind, Exception):
            raise ConfigError(self._setting, kind, "a declared error is a subclass of Exception")
        name = kind.__qualname__.rpartition("<locals>.")[2]
        where = f"{self._setting}: error {name}"
        if issubclass(kind, (CallError, ExceptionGroup)):
            raise ConfigError(where, kind.__mro__[1].__name__, "calls and groups have rules of their own")
        if name == GROUP or len(name) > _MAX_NAME or (name in self._by_name and kind not in self._names):
            raise ConfigError(where, "its name", "each name once, none of a built-in error, at most 128 characters")
        self._by_name[name] = _recipe(kind, where)
        self._names[kind] = name
        return kind

    def describe_all(self, schemas: Schemas) -> dict[str, JsonSchema]:
        """The JSON Schemas of the arguments of the declared errors, by name."""
        return {name: recipe.schema(schemas) for name, recipe in self._by_name.items() if name not in _BUILT_IN}

    def describe(self, error: BaseException) -> tuple[str, bytes] | None:
        """The declared name and the arguments, as CBOR, of an error that can be raised as itself; None for others."""
        name = self._names.get(type(error))
        if name is None:
            return None
        try:
            return name, encode(self._by_name[name].dump(error))
        except (ShapeError, AttributeError, LocalProtocolError) as reason:
            _log.debug("%s cannot be raised at its caller as itself: %s", name, reason)
            return None

    def rebuild(self, failed: HandlerFailed) -> Exception:
        """The error as it was raised, with ``failed`` as its cause; ``failed`` itself if it cannot be made."""
        made = self._make(failed)
        if made is None:
            return failed
        made.__cause__ = failed
        return made

    def _make(self, failed: HandlerFailed) -> Exception | None:
        name, arguments = failed.declared or (None, b"")
        if name == GROUP:
            members = [self.rebuild(member) for member in failed.members]
            return ExceptionGroup(failed.message, members) if members else None
        recipe = self._by_name.get(name or "")
        if recipe is None:
            return None
        try:
            made = recipe.load(decode(arguments))
        except Exception as reason:  # noqa: BLE001 - a constructor of the application, given what a stranger sent
            _log.debug("no %s can be made of what %s sent: %s", name, failed.node, reason)
            return None
        return made if type(made) is recipe.kind else None


def raise_as_declared(failed: HandlerFailed, types: ErrorTypes) -> NoReturn:
    """Raise what the handler raised, if it is one of ``types``; else ``failed``.

    Raises:
        Exception: with ``failed`` as its cause.
        HandlerFailed: it cannot be raised as itself.
    """
    made = types.rebuild(failed)
    if made is failed:
        raise failed
    raise made from failed


def as_told(error: Exception) -> Exception:
    """The `HandlerFailed` behind an error that was raised as itself; any other error as it is."""
    return error.__cause__ if isinstance(error.__cause__, HandlerFailed) else error


# ------------------------------------------------------------------------------------------------------ how to make one


def _recipe(kind: type[Exception], where: str) -> _Recipe:
    if dataclasses.is_dataclass(kind):
        return _of_fields(kind, where)
    if inspect.isfunction(kind.__init__):
        return _of_parameters(kind, where)
    return _of_args(kind)


def _of_fields(kind: type[Exception], where: str) -> _Recipe:
    if kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # every dataclass has them
        raise ConfigError(where, "a frozen dataclass", "raising an error sets its traceback: do not freeze it")
    compiled = checker(kind, setting=where)
    names = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]  # it is one

    def load(value: Any) -> Exception:
        made: Exception = compiled.load(value)
        return _with_args(made, [getattr(made, name) for name in names])

    return _Recipe(kind, compiled.dump, load, lambda schemas: schemas.of(kind))


def _of_parameters(kind: type[Exception], where: str) -> _Recipe:
    first, *rest = inspect.signature(kind.__init__).parameters.values()
    hints = resolve_hints(kind.__init__, where)
    checkers: dict[str, Checker] = {}
    for one in rest:
        if one.kind not in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            allowed = "parameters with names, each kept in an attribute of the same name"
            raise ConfigError(where, f"{one} after {first} in its __init__", allowed)
        checkers[one.name] = checker(hints.get(one.name, Any), setting=f"{where}({one.name})")
    required = frozenset(one.name for one in rest if one.default is Parameter.empty)

    def dump(error: Exception) -> object:
        return {name: one.dump(getattr(error, name)) for name, one in checkers.items()}

    def load(value: Any) -> Exception:
        if not isinstance(value, dict) or not required <= value.keys() <= checkers.keys():
            raise ShapeError("other names", ", ".join(checkers))
        given = {name: checkers[name].load(value[name]) for name in checkers if name in value}
        return _with_args(kind(**given), list(given.values()))

    def schema(schemas: Schemas) -> JsonSchema:
        return mapping({name: schemas.of(hints.get(name, Any)) for name in checkers}, required=sorted(required))

    return _Recipe(kind, dump, load, schema)


def _with_args(made: Exception, args: list[Any]) -> Exception:
    """``made`` by keywords, which leave its args empty, and so its text, unless its `__init__` saw to that."""
    made.args = made.args or tuple(args)
    return made


def _of_args(kind: type[Exception]) -> _Recipe:
    def dump(error: Exception) -> object:
        args = list(error.args)
        if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
            # Its constructor takes it, and leaves it out of args.
            args.append(os.fspath(error.filename) if isinstance(error.filename, os.PathLike) else error.filename)
        if len(args) > _MAX_ARGUMENTS:
            raise ShapeError(f"{len(args)} arguments", f"at most {_MAX_ARGUMENTS}")
        return args

    def load(value: Any) -> Exception:
        if not isinstance(value, list) or len(value) > _MAX_ARGUMENTS:
            raise ShapeError("other arguments", f"a list of at most {_MAX_ARGUMENTS}")
        return kind(*value)

    return _Recipe(kind, dump, load, lambda _schemas: {"type": "array", "maxItems": _MAX_ARGUMENTS})


_BUILT_IN: Final = {kind.__name__: _of_args(kind) for kind in BUILT_IN}

UNDECLARED: Final = ErrorTypes(setting="no service")
"""The built-in types only: what a call by a plain message raises, since it knows nothing of the declaration."""
