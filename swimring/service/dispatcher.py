"""From a message to the handler that answers it, with its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swimring.errors import ConfigError, NoSuchHandler
from swimring.patterns import Match, Router

from .streaming import check_streams

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence

    from .endpoint import Registered
    from .request import ByteStream, Request
    from .service import Service


# Not frozen, because that would make it three times as dear, and each call makes one; nobody changes it.
@dataclass(slots=True)
class BoundCall:
    """A handler and the validated arguments for one run of it."""

    endpoint: Registered[...]
    """What runs."""
    arguments: Mapping[str, Any]
    """Its keyword arguments, loaded from the message."""

    def check_streams(self, streams: Mapping[str, ByteStream]) -> None:
        """See that the call came with the streams that this handler is called with.

        Raises:
            InvalidRequest: the stream of items is missing, or there is one that nobody would read.
        """
        if streams or self.endpoint.has_items:
            check_streams(self.endpoint, streams)

    def invoke(self, request: Request, items: ByteStream | None = None) -> Coroutine[Any, Any, Any]:
        """Run the handler, when awaited, for its result as a wire value; ``items`` is the stream of items, if any.

        Raises:
            LocalProtocolError: the result or an item does not fit its annotation.
            Exception: whatever the handler raises.
        """
        return self.endpoint.run(request, self.arguments, items)


class Dispatcher:
    """The handlers of several services behind one door. It knows the handlers registered when it was made."""

    def __init__(self, services: Iterable[Service]) -> None:
        """Collect the handlers of ``services``.

        Raises:
            ConfigError: two services have one name.
        """
        self._routers: dict[str, Router[Registered[...]]] = {}
        self._all: Router[None] = Router()
        self._only: dict[tuple[object, object], Registered[...]] = {}
        for service in services:
            if service.name in self._routers:
                raise ConfigError("services", service.name, "each name once: the name is the namespace of its messages")
            router = self._routers[service.name] = Router(service.order)
            for endpoint in service.endpoints:
                router.add(endpoint.pattern, endpoint)
                self._all.add(endpoint.pattern, None)
            self._only.update(((service.name, cmd), endpoint) for cmd, endpoint in _without_rivals(service.endpoints))
        self.services = tuple(self._routers)
        """The names of the services."""

    def match(self, message: Mapping[str, Any]) -> BoundCall:
        """The handler for ``message``, ready to run.

        Raises:
            NoSuchHandler: no pattern matches; the text names the nearest one and what differs.
            InvalidRequest: a field does not fit the handler; the text names the field, what was found, what is allowed.
        """
        ns, cmd = message.get("ns"), message.get("cmd")
        endpoint = self._only.get((ns, cmd)) if type(ns) is str and type(cmd) is str else None
        if endpoint is None:
            found = self._lookup(message)
            if found is None:
                raise NoSuchHandler(self._explain(message), key=message.get("key"))
            endpoint = found.handler
        return BoundCall(endpoint, endpoint.load_arguments(message))

    def handles(self, message: Mapping[str, Any]) -> bool:
        """Whether a handler here answers ``message``, well or not."""
        return self._lookup(message) is not None

    def _lookup(self, message: Mapping[str, Any]) -> Match[Registered[...]] | None:
        ns = message.get("ns")
        router = self._routers.get(ns) if isinstance(ns, str) else None
        return None if router is None else router.lookup(message)

    def _explain(self, message: Mapping[str, Any]) -> str:
        asked = ", ".join(f"{name} {str(message[name])[:64]!r}" for name in ("ns", "cmd") if name in message)
        nearest = self._all.nearest(message)
        if nearest is None:
            return f"no handler for {asked or 'this message'}: this node offers no service"
        return (
            f"no handler for {asked or 'this message'}; nearest is {nearest}: {'; '.join(nearest.differences(message))}"
        )


def _without_rivals(endpoints: Sequence[Registered[...]]) -> Iterator[tuple[str, Registered[...]]]:
    """The endpoints of one service that ask for a command and nothing else, which no other one could answer.

    For nearly every message one look at this table tells what asking the patterns would.
    """
    for endpoint in endpoints:
        cmd = endpoint.cmd
        if cmd is None or {name for name, _condition in endpoint.pattern.fields} != {"ns", "cmd"}:
            continue
        if endpoint.pattern.literals != {"ns": endpoint.service, "cmd": cmd}:
            continue
        if all(one is endpoint or one.pattern.literals.get("cmd", cmd) != cmd for one in endpoints):
            yield cmd, endpoint
