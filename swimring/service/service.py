"""A service: a name and the handlers registered under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from swimring.errors import ConfigError
from swimring.identity import check_name
from swimring.patterns import Order, Pattern

from .endpoint import Registered
from .owning import OwnedKeys, Terms
from .raising import ErrorTypes
from .schema import document
from .streaming import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from swimring.codec import JsonSchema

    from .endpoint import Endpoint, Handler
    from .items import In, Out
    from .streaming import ChannelEndpoint, ChannelHandler, StreamingEndpoint, StreamingHandler

E = TypeVar("E", bound=Exception)
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Registration:
    """The decorator that `Service.on` returns; what it makes of a function depends on what kind of handler that is."""

    def __init__(self, register: Callable[[Callable[..., Any]], Any]) -> None:
        """Made by `Service`."""
        self._register = register

    @overload
    def __call__(self, function: ChannelHandler[In, Out, P, R], /) -> ChannelEndpoint[P, In, Out, R]: ...

    @overload
    def __call__(self, function: StreamingHandler[P, T], /) -> StreamingEndpoint[P, T]: ...

    @overload
    def __call__(self, function: Handler[P, R], /) -> Endpoint[P, R]: ...

    def __call__(self, function: Callable[..., Any], /) -> Any:
        """Register ``function``.

        Raises:
            ConfigError: it cannot be a handler, or its pattern is registered already.
        """
        return self._register(function)


class Service:
    """Handlers for the messages of one namespace; whoever runs it offers the service to the cluster."""

    def __init__(self, name: str, *, errors: Iterable[type[Exception]] = (), order: Order | str = Order.DEPTH) -> None:
        """Name the service; the name is the ``ns`` of its messages, and its keys have a ring of their own.

        ``errors`` are types that its handlers raise and its callers see as themselves, as those given to `error`.
        ``order`` says which of several patterns that match wins: the most specific one (``"depth"``), or the one
        registered first (``"insertion"``); the default handler is the last in either.

        Raises:
            ConfigError: this cannot be a name or an order, or one of the errors cannot be declared.
        """
        check_name(name, setting="service")
        self.name: Final = name
        if order not in list(Order):
            raise ConfigError(f"service {name}: order", order, f"one of {', '.join(repr(one.value) for one in Order)}")
        self.order: Final = Order(order)
        self.errors: Final = ErrorTypes(setting=f"service {name}")
        for kind in errors:
            self.errors.declare(kind)
        self._endpoints: list[Registered[...]] = []
        self._default: Registered[...] | None = None
        self.owned: OwnedKeys[Any] | None = None
        """What `own_keys` said."""

    @property
    def endpoints(self) -> tuple[Registered[...], ...]:
        """The registered handlers, in the order of registration, the default one last."""
        return (*self._endpoints, *([self._default] if self._default is not None else []))

    def on(
        self,
        pattern: str | Mapping[str, object] | Pattern,
        *,
        idempotent: bool = False,
        schema: Mapping[str, Any] | None = None,
    ) -> Registration:
        """Register the decorated function for messages that match ``pattern``.

        What it is says how it is called: one with a `Request` that returns answers once (`Endpoint`), one that yields
        streams its items (`StreamingEndpoint`), one with a `Channel` exchanges items (`ChannelEndpoint`).

        ``"greet"`` is short for ``{"cmd": "greet"}``; ``ns`` is the name of the service. ``idempotent`` allows a call
        to be repeated when its connection broke before the answer. A message that arrives has to satisfy the JSON
        Schema ``schema``, besides the annotations: all of it, with ns, cmd and key, as `swimring.codec.json_form` shows
        it.

        Raises:
            ConfigError: the pattern is not one, or is registered already; or, when decorating, the function cannot be
                a handler, or the schema is none.
            MissingExtra: there is a schema, and the extra ``schema`` is not installed.
        """
        read = self._pattern(pattern)

        def register(function: Callable[..., Any]) -> Registered[...]:
            if any(endpoint.pattern == read for endpoint in self._endpoints):
                raise ConfigError(f"service {self.name}", str(read), "a pattern is registered once")
            endpoint = self._endpoint(function, read, idempotent=idempotent, schema=schema)
            self._endpoints.append(endpoint)
            return endpoint

        return Registration(register)

    @overload
    def default(self, function: ChannelHandler[In, Out, P, R], /) -> ChannelEndpoint[P, In, Out, R]: ...

    @overload
    def default(self, function: StreamingHandler[P, T], /) -> StreamingEndpoint[P, T]: ...

    @overload
    def default(self, function: Handler[P, R], /) -> Endpoint[P, R]: ...

    def default(self, function: Callable[..., Any], /) -> Any:
        """Register the decorated function for messages of this service that match no pattern.

        Fields that are not among its parameters are not an error: it finds them in ``request.message``.

        Raises:
            ConfigError: there is a default handler already, or the function cannot be a handler.
        """
        if self._default is not None:
            raise ConfigError(f"service {self.name}", f"a second default handler after {self._default!r}", "one is")
        endpoint = self._endpoint(function, Pattern({"ns": self.name}), lenient=True)
        self._default = endpoint
        return endpoint

    def own_keys(
        self,
        kind: type[S],
        *,
        initial: Callable[[], S] | None = None,
        replicas: int = 0,
        sync: bool = True,
        idle: float = 300.0,
        budget: float = 1.0,
        one_at_a_time: bool = True,
    ) -> OwnedKeys[S]:
        """Give every key of this service a state of type ``kind``, which lives where the key lives and moves with it.

        A key is opened by its first call, before the handler begins, and closed when it was not called for a while.

        Args:
            kind: the type of the state, as the annotation of a handler.
            initial: makes the state of a key that has none; default: ``kind()``.
            replicas: nodes besides the owner that keep each checkpoint in memory, at most 16.
            sync: whether a checkpoint waits for them.
            idle: seconds without a call after which a key is closed; its last checkpoint stays where it is.
            budget: seconds that calls under way have when their key moves, at most 60.
            one_at_a_time: whether the calls of one key take turns; else they run side by side.

        Raises:
            ConfigError: the service has said so already, or one of the arguments is wrong.
        """
        if self.owned is not None:
            raise ConfigError(
                f"service {self.name}", "a second own_keys", "all keys of a service have one kind of state"
            )
        if not idle > 0:
            raise ConfigError(f"service {self.name}: idle", idle, "seconds, above 0")
        self.owned = owned = OwnedKeys(
            kind,
            service=self.name,
            initial=kind if initial is None else initial,
            terms=Terms(replicas=replicas, sync=sync, budget=budget),
            idle=idle,
            one_at_a_time=one_at_a_time,
        )
        return owned

    def error(self, kind: type[E]) -> type[E]:
        """Declare the decorated exception: raised by a handler, it is raised as itself at callers of its endpoints.

        What it is made of travels as wire values: the fields of a dataclass, the parameters of an `__init__` of its own
        (read from the attributes of the same names), else its ``args``. Where that fails, and for a call by a plain
        message, a `HandlerFailed` is raised.

        Raises:
            ConfigError: its name is taken, or the class does not say how to make one.
        """
        return self.errors.declare(kind)

    def schema(self) -> JsonSchema:
        """What its handlers take and return, and the errors it declares, as a document of JSON Schemas (2020-12).

        They describe wire values in the form of `swimring.codec.json_form`, and are made from the annotations; what the
        handlers share is in its ``$defs``.
        """
        return document(self)

    def _pattern(self, source: str | Mapping[str, object] | Pattern) -> Pattern:
        read = Pattern(source)
        conditions = dict(read.fields)
        if "ns" not in conditions:
            return read.narrowed(ns=self.name)
        if read.literals.get("ns") != self.name:
            allowed = f"ns is {self.name!r}, the name of the service: owners are looked up by it"
            raise ConfigError(f"service {self.name}", f"ns {conditions['ns']}", allowed)
        return read

    def _endpoint(
        self,
        function: Callable[..., Any],
        pattern: Pattern,
        *,
        idempotent: bool = False,
        lenient: bool = False,
        schema: Mapping[str, Any] | None = None,
    ) -> Registered[...]:
        if isinstance(function, Registered):  # one function under several patterns
            function = function.function
        return endpoint_of(
            function,
            service=self.name,
            pattern=pattern,
            idempotent=idempotent,
            lenient=lenient,
            errors=self.errors,
            schema=schema,
        )

    def __repr__(self) -> str:
        return f"<Service {self.name}: {len(self.endpoints)} handlers>"
