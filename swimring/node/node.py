"""A running node: what a program asks of it.

Every method hands the question to the part that knows; `opening.py` puts the parts together.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

import trio

from swimring.errors import ConfigError, HandlerFailed, NodeClosed, NoSuchHandler, NotJoined, Unreachable
from swimring.rpc import outgoing
from swimring.service import UNDECLARED, Service, raise_as_declared, read_call, read_open, returned, typed
from swimring.swim import Details
from swimring.tracing import use_trace

from .calls import NodePeer
from .details import DetailsOfMembers
from .owning import OwningNode
from .querying import open_query, queried, query_message
from .settings import changed_metadata, read_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from swimring.gossip import BroadcastSubscription, Gossiper, Subscription
    from swimring.identity import Address, Key
    from swimring.ownership import Rebalancer
    from swimring.ring import HashRing
    from swimring.rpc import Here, Pool, Routing
    from swimring.service import ChannelCall, ItemsCall, Streaming, Talking, TypedCall, Unary
    from swimring.swim import Member
    from swimring.tracing import Trace

    from .counting import Counters
    from .keys import Keys
    from .querying import Answers
    from .settings import Settings

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
_In = TypeVar("_In")
_Out = TypeVar("_Out")

_handling: Final[ContextVar[Node | None]] = ContextVar("swimring_handling", default=None)


class Node(OwningNode):
    """A member of a cluster. `open_node` makes one; leaving its block leaves the cluster."""

    def __init__(
        self,
        *,
        settings: Settings,
        gossiper: Gossiper,
        rebalancer: Rebalancer,
        counters: Counters,
        keys: Keys | None = None,
    ) -> None:
        """Made by `open_node`."""
        super().__init__(hand_over_within=settings.hand_over_within)
        self._settings = settings
        self._gossiper = gossiper
        self._rebalancer = rebalancer
        self._counters = counters
        self._keys = keys
        self._details = DetailsOfMembers(settings.details)
        self._routing: Routing | None = None
        self._left = False
        self._farewell = trio.CancelScope(shield=True)

    def __repr__(self) -> str:
        state = "left" if self._left else "running"
        return f"<Node {self.name} in {self.cluster}, {state}, {len(self._rebalancer.snapshot.members)} members>"

    # -------------------------------------------------------------------------------------------- who is here

    @property
    def name(self) -> str:
        """This node's name, unique in its cluster."""
        return self._gossiper.me.name

    @property
    def cluster(self) -> str:
        """The name of the cluster."""
        return self._settings.cluster

    @property
    def points(self) -> int:
        """Points on the ring per unit of weight."""
        return self._settings.points

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._gossiper.me

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody this node knows of, by name: itself included, and for a day the dead and those that left."""
        return self._gossiper.members

    def events(self) -> AbstractAsyncContextManager[Subscription]:
        """Listen to changes of the membership: ``async with node.events() as events: async for event in events``.

        A listener that lets 256 events wait gets a `Resynced` with everybody instead of them.
        """
        return self._gossiper.events()

    async def update(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
        weight: int | None = None,
        zone: str | None = None,
        version: str | None = None,
    ) -> None:
        """Change what this node tells about itself; the others hear of it by gossip, as `MemberUpdated`.

        What is not given stays as it is; ``tags`` and ``details`` are replaced as a whole. Another weight moves keys.

        Raises:
            ConfigError: one of them is wrong or too large, as in `open_node`; nothing was changed.
            NodeClosed: this node has left.
        """
        mine = self._details.mine if details is None else Details.of(details)
        changed = changed_metadata(self.me.metadata, tags=tags, weight=weight, zone=zone, version=version, details=mine)
        await self._gossiper.update_metadata(changed)
        self._details.mine = mine

    async def details(self, name: str) -> dict[str, Any]:
        """The larger metadata of the member ``name``: fetched from it, or as it was fetched if it did not change since.

        Raises:
            CallError: it is not here (`Unreachable`), or could not be asked.
            NodeClosed: this node has left.
        """
        peer = self.peer(name)
        await trio.lowlevel.checkpoint()
        if peer.name == self.name:
            return self._details.mine.contents
        member = self._gossiper.member(name)
        assert member is not None
        return (await self._details.fetch(member, self._routes())).contents

    def own_details(self) -> bytes:
        """This node's larger metadata as CBOR, for the built-in service."""
        return self._details.mine.encoded

    async def broadcast(self, name: str, payload: object = None, /) -> None:
        """Tell every member something small, once, by gossip; whoever listens (`broadcasts`) hears it, this node, too.

        It returns when it is queued, and waits while very many are. It reaches everybody who is here now or was cut off
        for a while; in no certain order, but ``time`` of what followed from something is greater.

        Raises:
            LocalProtocolError: name and payload have more than 512 bytes encoded, or cannot be encoded.
            NodeClosed: this node has left.
        """
        await self._gossiper.broadcast(name, payload)

    def broadcasts(self) -> AbstractAsyncContextManager[BroadcastSubscription]:
        """Listen: ``async with node.broadcasts() as broadcasts: async for broadcast in broadcasts``.

        A listener that lets 256 broadcasts wait loses the oldest and gets a `Missed` with their number.
        """
        return self._gossiper.broadcasts()

    async def join(self, addresses: Iterable[str | Address]) -> int:
        """Join whoever is at ``addresses`` (HOST:PORT); return how many answered.

        Raises:
            ConfigError: this is not an address.
            NotJoined: nobody answered as a member of this cluster.
            NodeClosed: this node has left.
        """
        read = read_addresses(addresses, setting="addresses")
        found = await self._gossiper.join(read)
        if not found:
            raise NotJoined(
                f"no member of cluster {self.cluster} answered at {', '.join(map(str, read)) or 'no address'}"
            )
        self._show_members()
        return found

    async def leave(self) -> None:
        """Leave the cluster now instead of at the end of the block.

        What is kept for keys is handed over first (`drain`), and keys pass to others. Handlers under way go on, and the
        calls they make do; other new calls raise `NodeClosed`.
        """
        await self._hand_over()
        self._left = True
        await self._gossiper.leave()

    def hurry(self) -> None:
        """Do not wait for anything while leaving: no farewell, no calls in flight that finish.

        The others learn of it by refused connections, like of a crash. It may be called at any time, by any task.
        """
        self._farewell.cancel()

    async def reload(self) -> None:
        """Read the secret file and the certificates again, and use what they hold from now on.

        A file that cannot be used changes nothing. Certificates that changed need no such word: the next handshake
        notices by itself.

        Raises:
            ConfigError: the node has neither, or a file cannot be read, or holds something else than it should.
        """
        certificates = self._settings.certificates
        keys = None if self._settings.secret_file is None else self._keys
        await trio.lowlevel.checkpoint()
        if keys is None and certificates is None:
            raise ConfigError("secret_file", None, "this node has neither a secret file nor certificates to read")
        if keys is not None:
            await keys.reload()
        if certificates is not None:
            certificates.reload()

    def lag(self, name: str) -> float | None:
        """Seconds by which the timers of the member ``name`` are late, as it last told; None if it never has."""
        return self._gossiper.lag(name)

    def counters(self) -> dict[str, int]:
        """What this node has counted since it started: calls made, retries, calls handled, bytes refused."""
        return self._counters.counts()

    def suspect_connection(self, name: str) -> None:
        """Probe the member ``name`` at once, because somebody lost its connection to it; unknown names are ignored."""
        self._gossiper.suspect_connection(name)

    # ------------------------------------------------------------------------------------------- who owns a key

    def ring(self, service: Service | str | None = None) -> HashRing:
        """The ring of ``service``: an immutable snapshot, empty if nobody offers it.

        Raises:
            ConfigError: no service is named, and it is not clear which one is meant.
        """
        return self._rebalancer.ring(self._service(service))

    def lookup(self, key: Key, /, *, service: Service | str | None = None) -> Member:
        """The owner of ``key`` as far as this node knows; no network is involved.

        Raises:
            ConfigError: this cannot be a key, or it is not clear which service is meant.
            NoSuchHandler: nobody offers the service.
            Unreachable: it is offered, but only by members that take no keys (weight 0).
        """
        name = self._service(service)
        owner = self._rebalancer.owner(name, key)
        if owner is not None:
            return owner
        if not self._rebalancer.offering(name):
            raise NoSuchHandler(f"no member offers service {name!r}", key=key)
        raise Unreachable(f"no member takes keys of service {name!r}", key=key)

    def replicas(self, key: Key, n: int, /, *, service: Service | str | None = None) -> tuple[Member, ...]:
        """The ``n`` members that follow the owner of ``key`` on the ring; fewer if there are not as many."""
        return self._rebalancer.owners(self._service(service), key, n + 1)[1:]

    def owns(self, key: Key, /, *, service: Service | str | None = None) -> bool:
        """Whether ``key`` lives on this node now, as far as this node knows."""
        owner = self._rebalancer.owner(self._service(service), key)
        return owner is not None and owner.id == self.me.id

    async def wait_ring(self, service: Service | str | None = None, *, nodes: int) -> HashRing:
        """Wait until exactly ``nodes`` members take keys of ``service``; return the ring."""
        name = self._service(service)
        await trio.lowlevel.checkpoint()
        while len(self._rebalancer.ring(name)) != nodes:
            await self._rebalancer.wait_changed(self._rebalancer.sequence)
        return self._rebalancer.ring(name)

    # ------------------------------------------------------------------------------------------------- calling

    async def call(
        self,
        endpoint: Unary[_P, _R],
        key: Key | None = None,
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """Run ``endpoint`` where ``key`` lives and return what it returns; the surrounding scope is the deadline.

        Streams given by `Endpoint.with_streams` are sent along, again with every attempt.

        Raises:
            CallError: it did not return; the class says why, ``maybe_executed`` whether it may have run.
            Exception: the handler raised it, of a built-in or declared type; its ``__cause__`` is a `HandlerFailed`.
        """
        target, message, streams = read_call(endpoint, key, args, kwargs)
        out = outgoing(message, idempotent=target.idempotent, streams=streams)
        return await returned(target, self._routes().request(out))

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        """Have ``message`` answered where its ``key`` lives, without one by any node that offers its service.

        Raises:
            CallError: as for `call`.
        """
        try:
            return await self._routes().request(outgoing(self._complete(message), idempotent=idempotent))
        except HandlerFailed as failed:
            raise_as_declared(failed, UNDECLARED)

    async def cast(self, message: Mapping[str, Any], /) -> None:
        """Send ``message`` to where its ``key`` lives; nobody answers, and nothing is promised about its arrival.

        Raises:
            CallError: it could not be sent.
        """
        await self._routes().cast(outgoing(self._complete(message)))

    @overload
    def open(
        self, endpoint: Streaming[_P, _T], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AbstractAsyncContextManager[ItemsCall[_T]]: ...

    @overload
    def open(
        self, endpoint: Talking[_P, _In, _Out, _R], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AbstractAsyncContextManager[ChannelCall[_In, _Out, _R]]: ...

    @overload
    def open(
        self, endpoint: Unary[_P, _R], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AbstractAsyncContextManager[TypedCall[_R]]: ...

    def open(self, endpoint: Any, key: Key | None = None, /, *args: Any, **kwargs: Any) -> Any:
        """Make a call and hold it open, with its items and streams; leaving the block before its end cancels it.

        What the block gets depends on the handler: the items of one that yields, both ends of one with a channel, the
        streams of any.

        Raises:
            CallError: as for `call`, from the block or from the call's ``result``.
        """
        target, message, streams = read_open(endpoint, key, args, kwargs)
        out = outgoing(message, idempotent=target.idempotent, streams=streams)
        return typed(target, self._routes().open(out))

    def query(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        /,
        *,
        service: Service | str | None = None,
        to: Iterable[str] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> AbstractAsyncContextManager[Answers]:
        """Ask every member that offers a service, this one included, and get the answers as they come.

        ``async with node.query("disk", {"path": "/"}) as answers: async for answer in answers``. What answers is the
        service's handler of the command ``name``; ``payload`` are its arguments. The surrounding scope is the deadline
        and travels; afterwards ``answers.unanswered`` names those that were too slow. A member that fails or cannot be
        reached answers with its error. Nobody is asked twice.

        Args:
            name: the command.
            payload: the arguments of the handler.
            service: whose handler; default: this node's only one. ``"swimring"`` is what every node answers.
            to: names of those to ask, whatever they offer; default: all that offer the service.
            tags: ask only members with these tags: for each a text, a compiled regular expression, or ``...`` for any.

        Raises:
            InvalidRequest: this cannot be a message; nobody was asked.
            ConfigError: it is not clear which service is meant, or ``to`` or ``tags`` makes no sense.
            NodeClosed: this node has left.
        """
        ns = self._service(service)
        out, names = query_message(ns, name, payload), queried(self.members, ns=ns, to=to, tags=tags)
        self._show_members()
        return open_query(self._routes(), out, names)

    def trace(self) -> AbstractContextManager[Trace | None]:
        """Begin a trace: all calls made in the block, and all that their handlers make, belong to it.

        The W3C trace context travels with them; `swimring.tracing.current_trace` tells it on each node.
        """
        return use_trace(self._routes().begin_trace())

    def peer(self, name: str) -> NodePeer:
        """One certain member to talk to, whatever the ring says.

        Raises:
            Unreachable: no member of that name takes part.
        """
        member = self._gossiper.member(name)
        if member is None or not member.status.active:
            raise Unreachable(f"no member named {name!r} is here", owner=name)
        if self._rebalancer.member(name) != member:  # learnt a moment ago, and not published yet
            self._show_members()
        return NodePeer(self._routes, name)

    # -------------------------------------------------------------------------------------------------- inside

    async def say_farewell(self, *doors: Pool | Here) -> None:
        """Leave, also when the block was cancelled or failed. Shielded, and bounded by ``drain_within``.

        Calls in flight have that many seconds from the first word of the farewell on. If it is infinite the farewell
        takes as long as they do, for ever if one never ends; only `hurry` cuts it short.
        """
        try:
            with self._farewell:
                await self._hand_over()
                drained_by = trio.current_time() + self._settings.drain_within
                await self.leave()
                with trio.CancelScope(deadline=drained_by):
                    for door in doors:
                        await door.drain()
        finally:
            self._left = True
            if self._routing is not None:
                self._routing.close()

    def let_handler_call(self) -> None:
        """The call that is handled in this context may make calls of its own even while the node is leaving."""
        _handling.set(self)  # nobody resets it: each call has a context of its own

    def use(self, routing: Routing) -> None:
        """Calls can be made from now on; `open_node` says so when the node has joined."""
        self._routing = routing

    def _show_members(self) -> None:
        """Let calls be routed by what is known now, without waiting for quiet."""
        self._rebalancer.update(self.members)
        self._rebalancer.flush()

    def _routes(self) -> Routing:
        if self._routing is None or (self._left and _handling.get() is not self):
            raise NodeClosed(f"{self.name} has left cluster {self.cluster}")
        return self._routing

    def _complete(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        return message if "ns" in message else {**message, "ns": self._service(None)}

    def _service(self, service: Service | str | None) -> str:
        if isinstance(service, Service):
            return service.name
        if service is not None:
            return service
        own = self._settings.services
        offered = [own[0].name] if len(own) == 1 else sorted(self._rebalancer.snapshot.rings)
        if len(offered) != 1:
            raise ConfigError("service", None, f"say which service is meant; offered: {', '.join(offered) or 'none'}")
        return offered[0]
