"""The parameters of a handler as fields of a message: one table, read in both directions.

What a handler may look like is checked here, when it is registered.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from inspect import Parameter
from typing import Any, Final, NamedTuple, TypeAlias

from swimring.codec import Checker, JsonSchema, Schemas, ShapeError, checker, mapping, resolve_hints
from swimring.errors import ConfigError

RESERVED: Final = frozenset({"ns", "cmd", "key"})
"""Fields that route a message; no parameter can have their names."""

_Function: TypeAlias = Callable[..., Any]
_MISSING: Final = object()


class _Field(NamedTuple):
    name: str
    checker: Checker
    required: bool


class Parameters:
    """How the fields of a message become the arguments of one handler, and arguments become fields."""

    def __init__(self, function: _Function, *, setting: str, consumed: frozenset[str], lenient: bool) -> None:
        """Compile the signature of ``function``, called ``setting`` in errors.

        Fields named in ``consumed`` may be in a message without being a parameter; with ``lenient`` any other may.

        Raises:
            ConfigError: the function cannot be a handler.
        """
        _check_kind(function, setting)
        first, *rest = _signature(function, setting)
        hints = _hints(function, skip=first.name, setting=setting)
        self._fields = [_field(parameter, hints, setting) for parameter in rest if parameter.kind is not _VAR_KEYWORD]
        self._positional = [one.name for one in rest if one.kind is Parameter.POSITIONAL_OR_KEYWORD]
        self._by_name: Final[Mapping[str, _Field]] = {one.name: one for one in self._fields}
        self._rest = next((_field(one, hints, setting) for one in rest if one.kind is _VAR_KEYWORD), None)
        # A field with the name of the request itself cannot be handed to **kwargs beside it.
        self._unusable = RESERVED | ({first.name} if first.kind is not Parameter.POSITIONAL_ONLY else set())
        self._known = self._by_name.keys() | consumed | RESERVED
        self._lenient = lenient
        self._hints = hints
        self.setting: Final = setting
        self.returns: Final[Any] = hints.get("return", Any)
        """The annotation of the result."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in the order of the signature, without the request and ``**kwargs``."""
        return tuple(self._by_name)

    def schema(self, schemas: Schemas) -> JsonSchema:
        """The JSON Schema of the fields that `load` takes, without those that route the message."""
        further: JsonSchema | bool = self._lenient
        if self._rest is not None:
            further = schemas.of(self._hints.get(self._rest.name, Any))
        return mapping(
            {one.name: schemas.of(self._hints.get(one.name, Any)) for one in self._fields},
            required=[one.name for one in self._fields if one.required],
            further=further,
        )

    def load(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments that ``message`` holds.

        Raises:
            ShapeError: a field is missing, unknown, or does not fit its annotation.
        """
        arguments = {}
        name = ""
        try:
            for name, check, required in self._fields:
                value = message.get(name, _MISSING)
                if value is not _MISSING:
                    arguments[name] = check.load(value)
                elif required:
                    raise ShapeError("nothing", f"{check.allowed}, which is required")
        except ShapeError as error:
            error.put_under(name)
            raise
        if not message.keys() <= self._known:
            self._load_unknown(message.keys() - self._known, message, arguments)
        return arguments

    def _load_unknown(self, unknown: set[str], message: Mapping[str, Any], arguments: dict[str, Any]) -> None:
        if self._rest is not None:
            for name in sorted(unknown, key=str):
                if name in self._unusable or not isinstance(name, str):
                    raise self._refuse(name)
                arguments[name] = _under(name, self._rest.checker.load, message[name])
        elif not self._lenient:
            raise self._refuse(min(unknown, key=str))

    def dump(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the message that a call with these arguments sends; defaults are left to the other side.

        Raises:
            ShapeError: an argument is missing, unknown, given twice, or does not fit its annotation.
        """
        if len(args) > len(self._positional):
            raise ShapeError(f"{len(args)} positional arguments", f"at most {len(self._positional)}")
        fields = {}
        for name, value in zip(self._positional, args, strict=False):
            if name in kwargs:
                raise ShapeError("two values", "one", (name,))
            fields[name] = _under(name, self._by_name[name].checker.dump, value)
        for name, value in kwargs.items():
            one = self._by_name.get(name, self._rest)
            if one is None or name in self._unusable:
                raise self._refuse(name)
            fields[name] = _under(name, one.checker.dump, value)
        for one in self._fields:
            if one.required and one.name not in fields:
                raise ShapeError("nothing", f"{one.checker.allowed}, which is required", (one.name,))
        return fields

    def _refuse(self, name: object) -> ShapeError:
        allowed = f"one of {', '.join(self._by_name)}" if self._by_name else "no field"
        return ShapeError("an unknown field", allowed, (str(name),))


_VAR_KEYWORD: Final = Parameter.VAR_KEYWORD
_USUAL: Final = {kind.__name__: kind for kind in (AsyncGenerator, AsyncIterable, AsyncIterator)}


def _under(name: str, convert: Callable[[Any], Any], value: object) -> Any:
    try:
        return convert(value)
    except ShapeError as error:
        error.put_under(name)
        raise


def _check_kind(function: _Function, setting: str) -> None:
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise ConfigError(setting, function, "a handler is an `async def` function")


def _signature(function: _Function, setting: str) -> list[Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
        raise ConfigError(setting, "no first parameter", "a handler takes the request first")
    for parameter in parameters[1:]:
        if parameter.name in RESERVED and parameter.kind is not _VAR_KEYWORD:
            allowed = f"ns, cmd and key route the message: read request.{parameter.name}"
            if parameter.name != "key":
                allowed = f"ns, cmd and key route the message: read request.message[{parameter.name!r}]"
            raise ConfigError(setting, f"a parameter named {parameter.name}", allowed)
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            raise ConfigError(setting, f"positional-only {parameter.name}", "fields of a message have names")
        if parameter.kind is Parameter.VAR_POSITIONAL:
            raise ConfigError(setting, f"*{parameter.name}", "fields of a message have names: take a list")
    return parameters


def _inner(function: _Function) -> _Function:
    while isinstance(function, functools.partial):
        function = function.func
    unwrapped: _Function = inspect.unwrap(function)
    return unwrapped


def _names(function: _Function) -> dict[str, Any]:
    """What the annotations of ``function`` can name; what only says of which kind a handler is need not be imported."""
    return {**_USUAL, **getattr(function, "__globals__", {})}


def _hints(function: _Function, *, skip: str, setting: str) -> dict[str, Any]:
    """The resolved annotations, but for that of the request, which only a type checker needs to find."""
    inner = _inner(function)

    def holder() -> None: ...

    try:
        holder.__annotations__ = {name: hint for name, hint in inner.__annotations__.items() if name != skip}
    except NameError as error:  # from Python 3.14 on, looking at annotations evaluates them
        raise ConfigError(setting, str(error), "import what annotations name outside `if TYPE_CHECKING`") from error
    return resolve_hints(holder, setting, names=_names(inner))


def first_annotation(function: _Function, *, naming: str, setting: str) -> Any:
    """The annotation of the first parameter, resolved, if it says ``naming``; else None, and it is not resolved.

    Raises:
        ConfigError: it names something that does not exist when the program runs.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        return None
    annotation = parameters[0].annotation
    if naming not in (annotation if isinstance(annotation, str) else repr(annotation)):
        return None

    def holder() -> None: ...

    holder.__annotations__ = {"first": annotation}
    return resolve_hints(holder, setting, names=_names(_inner(function)))["first"]


def _field(parameter: Parameter, hints: Mapping[str, Any], setting: str) -> _Field:
    compiled = checker(hints.get(parameter.name, Any), setting=f"{setting}({parameter.name})")
    return _Field(parameter.name, compiled, parameter.default is Parameter.empty)
