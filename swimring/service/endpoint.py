"""A registered handler: callable like the function it wraps, and typed like it for whoever calls it from afar."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar

from swimring.codec import ShapeError, json_form
from swimring.errors import InvalidRequest, LocalProtocolError, RemoteProtocolError

from .parameters import Parameters
from .raising import UNDECLARED, ErrorTypes
from .request import Request, StreamSource
from .schema import MessageSchema

if TYPE_CHECKING:
    from swimring.codec import JsonSchema, Schemas
    from swimring.patterns import Pattern

P = ParamSpec("P")
R = TypeVar("R")

Handler: TypeAlias = Callable[Concatenate[Request, P], Coroutine[Any, Any, R]]


class Endpoint(Generic[P, R]):
    """A handler and the pattern it answers to; made by `Service.on`.

    Attributes:
        service: the name of the service, which is the ``ns`` of its messages.
        pattern: what a message must look like.
        idempotent: whether a call may be repeated when nobody knows if it ran.
        function: the undecorated handler.
        errors: the types of errors that its callers see as themselves.
    """

    __wrapped__: Handler[P, R]

    def __init__(
        self,
        function: Handler[P, R],
        *,
        service: str,
        pattern: Pattern,
        idempotent: bool,
        lenient: bool = False,
        errors: ErrorTypes = UNDECLARED,
        schema: Mapping[str, Any] | None = None,
    ) -> None:
        """Check and compile ``function``; with ``lenient`` a message may have fields that are not parameters.

        A message that arrives has to satisfy ``schema``, too.

        Raises:
            ConfigError: the function cannot be a handler, an annotation cannot be checked, or the schema is none.
            MissingExtra: there is a schema, and no jsonschema.
        """
        self.service: Final = service
        self.pattern: Final = pattern
        self.idempotent: Final = idempotent
        self.function: Final = function
        self.errors: Final = errors
        functools.update_wrapper(self, function)
        name = getattr(function, "__qualname__", repr(function))
        asked = frozenset(field for field, _condition in pattern.fields)
        self._parameters = Parameters(function, setting=f"handler {name}", consumed=asked, lenient=lenient)
        self._schema = None if schema is None else MessageSchema(schema, setting=f"handler {name}: schema")
        self._literals: Final = pattern.literals
        # A message with the literals matches a pattern of ns and cmd by construction.
        self._must_be_matched: Final = asked != self._literals.keys() or not asked.isdisjoint(self._parameters.names)

    def __call__(self, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run the handler here and now, as if it had not been decorated."""
        return self.function(request, *args, **kwargs)

    @property
    def cmd(self) -> str | None:
        """The command of its messages, if the pattern asks for one."""
        cmd = self._literals.get("cmd")
        return cmd if isinstance(cmd, str) else None

    def with_streams(self, **sources: StreamSource) -> WithStreams[P, R]:
        """This endpoint called with named byte streams, each fed by its source: see `StreamSource`."""
        return WithStreams(endpoint=self, streams=sources)

    # ------------------------------------------------------------------------------------------- the side of the caller

    def message(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The message, without its key, that a call with these arguments sends: plain wire values.

        Raises:
            InvalidRequest: the arguments do not fit the handler, or the message would not match its pattern.
        """
        try:
            message = {**self._literals, **self._parameters.dump(args, kwargs or {})}
        except ShapeError as error:
            raise InvalidRequest(f"{self}: {error}") from error
        if self._must_be_matched and not self.pattern.matches(message):
            raise InvalidRequest(f"{self}: {'; '.join(self.pattern.differences(message))}")
        return message

    def load_result(self, value: Any) -> R:
        """What the handler returned, from the wire value that arrived.

        Raises:
            RemoteProtocolError: it does not fit the annotation of the result.
        """
        try:
            result: R = self._parameters.result.load(value)
        except ShapeError as error:
            raise RemoteProtocolError(f"{self} returned what its annotation does not allow: {error}") from error
        return result

    # ------------------------------------------------------------------------------------------ the side of the handler

    def load_arguments(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the handler, from a message that matches the pattern.

        Raises:
            InvalidRequest: a field is missing, unknown or does not fit; the text names it.
        """
        try:
            if self._schema is not None:
                self._schema.check(message)
            return self._parameters.load(message)
        except ShapeError as error:
            raise InvalidRequest(f"{self}: {error}", key=message.get("key")) from error

    def dump_result(self, value: R) -> Any:
        """The wire value of what the handler returned.

        Raises:
            LocalProtocolError: it does not fit the annotation of the result: a bug in the handler.
        """
        try:
            return self._parameters.result.dump(value)
        except ShapeError as error:
            raise LocalProtocolError(f"{self} returned what its annotation does not allow: {error}") from error

    # ----------------------------------------------------------------------------------------------------- for people

    def describe(self, schemas: Schemas) -> JsonSchema:
        """What it answers to, takes and returns, with JSON Schemas that share the definitions of ``schemas``."""
        found: JsonSchema = {
            "handler": str(self),
            "pattern": {
                name: {"const": json_form(self._literals[name])}
                if name in self._literals
                else {"description": str(condition)}
                for name, condition in self.pattern.fields
            },
            "idempotent": self.idempotent,
            "parameters": self._parameters.schema(schemas),
            "result": self._parameters.result_schema(schemas),
        }
        return found if self._schema is None else {**found, "schema": self._schema.source}

    def __str__(self) -> str:
        return f"{self.service}:{self.cmd or self.pattern}"

    def __repr__(self) -> str:
        return f"<Endpoint {self}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithStreams(Generic[P, R]):
    """An endpoint with the byte streams of one call to it."""

    endpoint: Endpoint[P, R]
    """What is called."""
    streams: Mapping[str, StreamSource]
    """By name, what feeds each stream."""
