"""A running node: what a program asks of it.

Every method hands the question to the part that knows; `opening.py` puts the parts together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.errors import ConfigError, NodeClosed, NotJoined, Unreachable
from swimring.rpc import outgoing
from swimring.service import NO_STREAMS, Asker, Service
from swimring.swim import Details
from swimring.tracing import use_trace

from .details import DetailsOfMembers
from .peer import NodePeer
from .querying import open_query, queried, query_message
from .reporting import Reporting
from .settings import changed_metadata, read_addresses
from .statistics import NodeStatistics, gather_statistics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from swimring.gossip import BroadcastSubscription, Gossiper, Subscription
    from swimring.identity import Address
    from swimring.instrument import Instruments
    from swimring.net import Host
    from swimring.ownership import Rebalancer
    from swimring.rpc import Here, Pool, Routing
    from swimring.service import OpenedCall, Store, Streams
    from swimring.swim import Member, MemberEvent, Metadata
    from swimring.tracing import Trace

    from .counting import Counters
    from .keys import Keys
    from .querying import Answers
    from .settings import Settings

_log = logging.getLogger("swimring.node")

_handling: Final[ContextVar[Node | None]] = ContextVar("swimring_handling", default=None)


class Node(Reporting, Asker):
    """A member of a cluster. `open_node` makes one; leaving its block leaves the cluster."""

    def __init__(
        self,
        *,
        settings: Settings,
        gossiper: Gossiper,
        rebalancer: Rebalancer,
        counters: Counters,
        host: Host,
        keys: Keys | None = None,
        instruments: Instruments | None = None,
    ) -> None:
        """Made by `open_node`."""
        super().__init__(settings=settings, gossiper=gossiper, rebalancer=rebalancer, instruments=instruments)
        self._counters = counters
        self._host = host
        self._keys = keys
        self._details = DetailsOfMembers(settings.details)
        self._routing: Routing | None = None
        self._doors: tuple[Pool | Here, ...] = ()
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
    def host(self) -> Host:
        """The machine this node runs on: its clocks and its dice, which are virtual and seeded in a simulation."""
        return self._host

    @property
    def store(self) -> Store:
        """This node's files: in the directory ``state``; in a simulation on a simulated disk.

        Raises:
            ConfigError: it was opened without ``state``.
        """
        if self._settings.store is None:
            raise ConfigError("state", None, "a node that keeps files is opened with a directory of its own")
        return self._settings.store

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

    def member_events(self) -> AbstractAsyncContextManager[Subscription[MemberEvent]]:
        """Listen to changes of the membership alone, for the built-in service; `events` is for applications."""
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

        def changed(metadata: Metadata) -> Metadata:
            return changed_metadata(metadata, tags=tags, weight=weight, zone=zone, version=version, details=mine)

        _ = changed(self.me.metadata)  # what is wrong with it is said before anything waits
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
        _log.info("%s leaves cluster %s", self.name, self.cluster, extra={"event": "node.leaving"})
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

    def statistics(self) -> NodeStatistics:
        """How this node is at this moment: membership, rings, connections and calls under way."""
        return gather_statistics(self._gossiper, self._rebalancer, self._doors, self._ownership)

    def suspect_connection(self, name: str) -> None:
        """Probe the member ``name`` at once, because somebody lost its connection to it; unknown names are ignored."""
        self._gossiper.suspect_connection(name)

    # ------------------------------------------------------------------------------------------------- calling

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
                self.hand_off.finish()
                await self.leave()
                with trio.CancelScope(deadline=drained_by):
                    for door in doors:
                        await door.drain()
        finally:
            self._left = True
            if self._routing is not None:
                self._routing.close()

    async def _ask_member(self, name: str, message: dict[str, Any]) -> Any:
        return await self.peer(name).request(message, idempotent=True)

    def let_handler_call(self) -> None:
        """The call that is handled in this context may make calls of its own even while the node is leaving."""
        _handling.set(self)  # nobody resets it: each call has a context of its own

    def use(self, routing: Routing, *doors: Pool | Here, nursery: trio.Nursery) -> None:
        """Calls can be made from now on, through ``doors``; `open_node` says so when the node has joined.

        ``nursery`` owns the tasks that handle calls.
        """
        self._routing, self._doors, self._nursery = routing, doors, nursery

    def _routes(self) -> Routing:
        if self._routing is None or (self._left and _handling.get() is not self):
            raise NodeClosed(f"{self.name} has left cluster {self.cluster}")
        return self._routing

    def _ask(self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams = NO_STREAMS) -> Awaitable[Any]:
        return self._routes().request(outgoing(self._complete(message), idempotent=idempotent, streams=streams))

    def _tell(self, message: Mapping[str, Any]) -> Awaitable[None]:
        return self._routes().cast(outgoing(self._complete(message)))

    def _hold(
        self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams
    ) -> AbstractAsyncContextManager[OpenedCall]:
        return self._routes().open(outgoing(self._complete(message), idempotent=idempotent, streams=streams))

    def _complete(self, message: Any) -> Mapping[str, Any]:
        if (type(message) is not dict and not isinstance(message, Mapping)) or "ns" in message:
            complete: Mapping[str, Any] = message  # or not what it should be: who reads it says so
            return complete
        return {**message, "ns": self._service(None)}
