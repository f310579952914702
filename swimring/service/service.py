"""A service: a name and the handlers registered under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from swimring.errors import ConfigError
from swimring.identity import check_name
from swimring.patterns import Pattern

from .endpoint import Registered
from .streaming import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .endpoint import Endpoint, Handler
    from .items import In, Out
    from .streaming import ChannelEndpoint, ChannelHandler, StreamingEndpoint, StreamingHandler

P = ParamSpec("P")
R = TypeVar("R")
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

    def __init__(self, name: str) -> None:
        """Name the service; the name is the ``ns`` of its messages, and its keys have a ring of their own.

        Raises:
            ConfigError: this cannot be a name.
        """
        check_name(name, setting="service")
        self.name: Final = name
        self._endpoints: list[Registered[...]] = []
        self._default: Registered[...] | None = None

    @property
    def endpoints(self) -> tuple[Registered[...], ...]:
        """The registered handlers, in the order of registration, the default one last."""
        return (*self._endpoints, *([self._default] if self._default is not None else []))

    def on(self, pattern: str | Mapping[str, object] | Pattern, *, idempotent: bool = False) -> Registration:
        """Register the decorated function for messages that match ``pattern``.

        What it is says how it is called: one with a `Request` that returns answers once (`Endpoint`), one that yields
        streams its items (`StreamingEndpoint`), one with a `Channel` exchanges items (`ChannelEndpoint`).

        ``"greet"`` is short for ``{"cmd": "greet"}``; ``ns`` is the name of the service. ``idempotent`` allows a call
        to be repeated when its connection broke before the answer.

        Raises:
            ConfigError: the pattern is not one, or is registered already; or, when decorating, the function cannot be
                a handler.
        """
        read = self._pattern(pattern)

        def register(function: Callable[..., Any]) -> Registered[...]:
            if any(endpoint.pattern == read for endpoint in self._endpoints):
                raise ConfigError(f"service {self.name}", str(read), "a pattern is registered once")
            endpoint = self._endpoint(function, read, idempotent=idempotent)
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
        self, function: Callable[..., Any], pattern: Pattern, *, idempotent: bool = False, lenient: bool = False
    ) -> Registered[...]:
        if isinstance(function, Registered):  # one function under several patterns
            function = function.function
        return endpoint_of(function, service=self.name, pattern=pattern, idempotent=idempotent, lenient=lenient)

    def __repr__(self) -> str:
        return f"<Service {self.name}: {len(self.endpoints)} handlers>"
