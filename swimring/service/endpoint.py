"""A registered handler: callable like the function it wraps, and typed like it for whoever calls it from afar."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Self,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
)

from swimring.codec import ShapeError, checker, json_form
from swimring.errors import ConfigError, InvalidRequest, LocalProtocolError, RemoteProtocolError
from swimring.mux import ITEMS, RESERVED_STREAM

from .parameters import Parameters
from .raising import UNDECLARED, ErrorTypes
from .reply import Reply
from .request import ByteStream, Request, StreamSource
from .schema import MessageSchema

if TYPE_CHECKING:
    from swimring.codec import JsonSchema, Schemas
    from swimring.patterns import Pattern

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
E_co = TypeVar("E_co", bound="Registered[...]", covariant=True)

Handler: TypeAlias = Callable[Concatenate[Request, P], Coroutine[Any, Any, R]]


class Registered(Generic[P]):
    """What all kinds of endpoints have in common; made by `Service.on`.

    Attributes:
        service: the name of the service, which is the ``ns`` of its messages.
        pattern: what a message must look like.
        idempotent: whether a call may be repeated when nobody knows if it ran.
        function: the undecorated handler.
        errors: the types of errors that its callers see as themselves.
    """

    has_items: ClassVar[bool] = False
    """Whether a call of it has a stream of items."""
    way_to_call: ClassVar[str] = "it returns one value: call it, or open it as what it is declared"
    """For a caller who went about it in another way."""

    def __init__(
        self,
        function: Callable[..., Any],
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
        functools.update_wrapper(cast("Callable[..., Any]", self), function)  # each subclass is callable
        name = getattr(function, "__qualname__", repr(function))
        asked = frozenset(field for field, _condition in pattern.fields)
        self._parameters: Final = Parameters(function, setting=f"handler {name}", consumed=asked, lenient=lenient)
        self._schema = None if schema is None else MessageSchema(schema, setting=f"handler {name}: schema")
        self._literals: Final = pattern.literals
        # A message with the literals matches a pattern of ns and cmd by construction.
        self._must_be_matched: Final = asked != self._literals.keys() or not asked.isdisjoint(self._parameters.names)

    @property
    def cmd(self) -> str | None:
        """The command of its messages, if the pattern asks for one."""
        cmd = self._literals.get("cmd")
        return cmd if isinstance(cmd, str) else None

    def with_streams(self, **sources: StreamSource) -> WithStreams[Self]:
        """This endpoint called with named streams, each fed by its source: see `StreamSource`."""
        return WithStreams(endpoint=self, streams=sources)

    async def run(self, request: Request, arguments: Mapping[str, Any], items: ByteStream | None = None) -> Any:
        """Run the handler; return its result as a wire value. ``items`` is the stream of items, if it has one.

        Raises:
            LocalProtocolError: the result or an item does not fit its annotation.
            Exception: whatever the handler raises.
        """
        raise NotImplementedError

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

    # ----------------------------------------------------------------------------------------------------- for people

    def describe(self, schemas: Schemas) -> JsonSchema:
        """What it answers to, takes and gives, with JSON Schemas that share the definitions of ``schemas``."""
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
            **self.describe_answer(schemas),
        }
        return found if self._schema is None else {**found, "schema": self._schema.source}

    def describe_answer(self, schemas: Schemas) -> JsonSchema:
        """The JSON Schemas of what it gives, by what that is: ``result``, ``items``, ``receives``."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.service}:{self.cmd or self.pattern}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class Answering(Registered[P], Generic[P, R_co]):
    """An endpoint whose handler returns one value in the end."""

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        """As `Registered`."""
        super().__init__(function, **settings)
        returns = self._parameters.returns
        self._hands_over: Final = (get_origin(returns) or returns) is Reply
        if self._hands_over:
            returns = (*get_args(returns), Any)[0]
        self._returns: Final = returns
        self._result: Final = checker(returns, setting=f"{self._parameters.setting} -> result")

    def describe_answer(self, schemas: Schemas) -> JsonSchema:
        """As `Registered.describe_answer`."""
        return {"result": schemas.of(self._returns)}

    def load_result(self, value: Any, opened: Mapping[str, ByteStream] | None = None) -> R_co:
        """What the handler returned, from the wire value that arrived and the streams that were ``opened`` with it.

        Raises:
            RemoteProtocolError: it does not fit the annotation of the result.
        """
        try:
            result: Any = self._result.load(value)
        except ShapeError as error:
            raise RemoteProtocolError(f"{self} returned what its annotation does not allow: {error}") from error
        answer: Any = Reply(result, opened=opened or {}) if self._hands_over else result
        return cast("R_co", answer)

    def dump_result(self, value: object) -> Any:
        """The wire value of what the handler returned; if it hands streams over, a `Reply` with it.

        Raises:
            LocalProtocolError: it does not fit the annotation of the result: a bug in the handler.
        """
        try:
            if self._hands_over and isinstance(value, Reply):
                return Reply(self._result.dump(value.value), value.sources)
            return self._result.dump(value)
        except ShapeError as error:
            raise LocalProtocolError(f"{self} returned what its annotation does not allow: {error}") from error


class Endpoint(Answering[P, R_co]):
    """A handler that is asked once and answers once."""

    __wrapped__: Handler[P, R_co]

    def __call__(self, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Run the handler here and now, as if it had not been decorated."""
        answer: Coroutine[Any, Any, R_co] = self.function(request, *args, **kwargs)
        return answer

    async def run(self, request: Request, arguments: Mapping[str, Any], _items: ByteStream | None = None) -> Any:
        """As `Registered.run`."""
        return self.dump_result(await self.function(request, **arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class WithStreams(Generic[E_co]):
    """An endpoint with the named streams of one call to it."""

    endpoint: E_co
    """What is called."""
    streams: Mapping[str, StreamSource]
    """By name, what feeds each stream."""


def streams_of_call(endpoint: Registered[...], sources: Mapping[str, StreamSource]) -> dict[str, StreamSource]:
    """All streams that a call of ``endpoint`` announces: the one of its items first, if it has one.

    Raises:
        ConfigError: the name of one of them belongs to the protocol.
    """
    for name in sources:
        if name.startswith(RESERVED_STREAM):
            raise ConfigError(f"streams of {endpoint}", name, f"names that begin with {RESERVED_STREAM} are ours")
    return {ITEMS: None, **sources} if endpoint.has_items else dict(sources)
