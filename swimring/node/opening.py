"""From settings to a running node, and back to nothing: the order in which the parts start and stop.

Start: bind, listen, join, then take calls. Joining comes before calls because an earlier life of the same name, met
while joining, changes this node's generation, and every connection says it. Stop: say farewell, so that new calls go
elsewhere; let calls in flight finish, for a bounded time; end every task.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Unpack

import trio

from swimring import mux, swim
from swimring.builtin import MONITORING, builtin_service
from swimring.discovery import loopback_seeds, open_finder, take_loopback_port
from swimring.gossip import open_gossiper
from swimring.identity import NodeId
from swimring.instrument import Instrument, Instruments
from swimring.net import Host, Network, SocketNetwork, SystemHost, TlsNetwork
from swimring.ownership import Rebalancer, open_ownership
from swimring.rpc import Forwarding, Routing, open_here, open_pool
from swimring.security import SEALED_MAGIC, Keyring, Sealing
from swimring.service import Dispatcher, Service

from .counting import Counters
from .gathering import answering_while_gathering, gather
from .generations import keep_generation, new_generation
from .groups import lone_error_raised_bare
from .handling import Handling
from .keys import Keys
from .listening import MAX_GOSSIP, MAX_MUX, TLS_REQUIRED, Protocol, Reception
from .monitoring import monitoring_service
from .node import Node
from .settings import Settings, check_settings, name_of
from .watching import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from swimring.discovery import Finder
    from swimring.gossip import Gossiper
    from swimring.identity import Address
    from swimring.net import Binding, StreamListener
    from swimring.ownership import Ownership
    from swimring.rpc import Here, Pool, Serve

    from .settings import NodeSettings

_log = logging.getLogger("swimring.node")


@asynccontextmanager
async def open_node(
    *services: Service,
    instruments: Iterable[Instrument] = (),
    network: Network | None = None,
    host: Host | None = None,
    **settings: Unpack[NodeSettings],
) -> AsyncIterator[Node]:
    """Run a node while the block runs; leaving the block leaves the cluster.

    Args:
        services: what this node answers; none for a node that only asks.
        instruments: observers.
        network: the network; default: the real one.
        host: the machine; default: the real one.
        **settings: all that `NodeSettings` names, such as ``name``, ``listen`` and ``join``.

    Raises:
        ConfigError: a setting is wrong; nothing was started.
        OSError: the address cannot be bound.
        StoreError: the state cannot be read or written.
        NameConflict: another process runs under this name with a newer generation; the block is cancelled.
    """
    checked = check_settings(services, **settings)
    async with _Opening(checked, instruments, network or SocketNetwork(), host or SystemHost()).run() as node:
        yield node


class _Opening:
    """One node from bind to close."""

    def __init__(self, settings: Settings, observers: Iterable[Instrument], network: Network, host: Host) -> None:
        self._settings = settings
        self._counters = Counters()
        self._instruments = Instruments([self._counters, *observers])
        self._network = network if settings.certificates is None else TlsNetwork(network, settings.certificates)
        self._host = host
        self._keyring = Keyring(settings.keys) if settings.keys else None
        self._keys = self._keys_of(self._keyring)
        self._pool: Pool | None = None
        self._pool_ready = trio.Event()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Node]:
        """The node, running; a lone error comes out as itself."""
        with lone_error_raised_bare() as block:
            async with self._run() as node:
                with block.watched():
                    yield node

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[Node]:
        """The node, running; in the order the module's first lines give."""
        async with (
            self._bound() as (binding, local),
            self._finding(binding) as finder,
            self._gossiping(binding, finder) as gossiper,
            trio.open_nursery() as nursery,
        ):
            rebalancer = self._rebalancer(gossiper)
            node = Node(
                settings=self._settings,
                gossiper=gossiper,
                rebalancer=rebalancer,
                counters=self._counters,
                host=self._host,
                keys=self._keys,
                instruments=self._instruments,
            )
            for reception in self._receptions(gossiper, binding.listener, local):
                nursery.start_soon(reception.run, name="swimring reception")
            nursery.start_soon(rebalancer.run, name="swimring rebalancer")
            nursery.start_soon(self._follow, gossiper, rebalancer, name="swimring ring follower")
            first = gossiper.me.generation
            await self._join(node, gossiper, finder)
            if gossiper.me.generation != first:  # an earlier life was met
                await keep_generation(self._settings.store, gossiper.me.generation)
            settling = node.settling(gradual=self._settings.gradual)
            await settling.begin()
            rebalancer.update(gossiper.members)
            rebalancer.flush()
            async with self._answering(node, gossiper, rebalancer, nursery) as doors:
                watch = Watch(node.name, view=rebalancer, pool=doors[0], rng=self._host.rng)
                nursery.start_soon(watch.run, name="swimring watch")
                nursery.start_soon(node.settle, settling, name="swimring settling")
                nursery.start_soon(node.tell_state, name="swimring state")
                nursery.start_soon(node.tell_bringing, name="swimring copies due")
                try:
                    yield node
                finally:
                    await node.say_farewell(*doors)
                    rebalancer.update(gossiper.members)
                    rebalancer.flush()
                    rebalancer.close()
            nursery.cancel_scope.cancel()

    # ------------------------------------------------------------------------------------------------- starting

    @asynccontextmanager
    async def _bound(self) -> AsyncIterator[tuple[Binding, StreamListener | None]]:
        """The port, and the Unix socket beside it if there is to be one."""
        listen, local = self._settings.listen, None
        binding = await (take_loopback_port(self._network) if listen is None else self._network.bind(listen))
        try:
            self._warn_if_readable(binding.address)
            if (door := self._settings.unix_socket) is not None:
                local = await self._network.bind_unix(str(door.path))
            yield binding, local
        finally:
            binding.close()
            if local is not None:
                local.close()

    def _warn_if_readable(self, bound: Address) -> None:
        certificates = self._settings.certificates
        if not self._settings.leaves_the_machine or (certificates is not None and certificates.required):
            return
        if self._network.private:
            return
        _log.warning(
            "%s is not on loopback: calls are %s and %s encrypted; let nobody listen in between, or %s",
            bound,
            "not authenticated" if self._keyring is None else "authenticated when they connect",
            "never" if certificates is None else "not always",
            "use TLS" if certificates is None else "require TLS as soon as every node has it",
            extra={"event": "node.exposed"},
        )

    def _receptions(
        self, gossiper: Gossiper, listener: StreamListener, local: StreamListener | None
    ) -> Iterable[Reception]:
        without = mux.Session(
            me=gossiper.me.id, cluster=self._settings.cluster, limits=self._settings.limits, dialled=False
        )
        without.refuse(mux.RefusalCode.PROTOCOL, TLS_REQUIRED)
        gossip = Protocol(serve=gossiper.serve_stream, most=MAX_GOSSIP)
        calls = Protocol(serve=self._serve_mux, most=MAX_MUX, without_tls=without.bytes_to_send())
        # The next version is not spoken, and its refusal has to come from who speaks ours: it will try that next.
        everything = {swim.MAGIC: gossip, swim.MAGIC + 1: gossip, mux.MAGIC: calls}
        everything |= {SEALED_MAGIC: gossip, SEALED_MAGIC + 1: gossip}
        yield Reception(listener, everything, instruments=self._instruments, certificates=self._settings.certificates)
        if local is not None:  # of gossip's no: a member is where its datagrams are
            yield Reception(local, {mux.MAGIC: calls}, instruments=self._instruments)

    def _finding(self, binding: Binding) -> AbstractAsyncContextManager[Finder]:
        return open_finder(
            self._settings.join or loopback_seeds(binding.address),
            network=self._network,
            host=self._host,
            cluster=self._settings.cluster,
            bound=binding.address,
            advertised=self._settings.address_for(binding.address),
        )

    @asynccontextmanager
    async def _gossiping(self, binding: Binding, finder: Finder) -> AsyncIterator[Gossiper]:
        settings = self._settings
        address = settings.address_for(binding.address)
        generation = await new_generation(settings.store, now_ms=self._host.wall_ms())
        async with open_gossiper(
            cluster=settings.cluster,
            me=NodeId(settings.name or name_of(address), generation),
            address=address,
            metadata=settings.first_metadata,
            datagrams=binding.datagrams,
            network=self._network,
            host=self._host,
            profile=settings.profile,
            instruments=self._instruments,
            seeds=finder.addresses,
            keyring=self._keyring,
            sealing=settings.sealing,
        ) as gossiper:
            yield gossiper

    async def _join(self, node: Node, gossiper: Gossiper, finder: Finder) -> None:
        settings = self._settings
        try:
            if settings.expect > 1:
                await self._gather(node, gossiper)
                return
            joined = await gossiper.join(await finder.addresses())
        except BaseException:
            await node.say_farewell()  # some may know us already
            raise
        if joined:
            _log.info(
                "%s joined cluster %s; members that answered: %d",
                node.name,
                settings.cluster,
                joined,
                extra={"event": "node.joined"},
            )
        elif settings.join:
            _log.warning(
                "nobody of cluster %s answers at %s; %s goes on alone and keeps trying",
                settings.cluster,
                ", ".join(map(str, settings.join)),
                node.name,
                extra={"event": "node.alone"},
            )

    def _rebalancer(self, gossiper: Gossiper) -> Rebalancer:
        return Rebalancer(
            gossiper, cluster=self._settings.cluster, points=self._settings.points, instruments=self._instruments
        )

    @asynccontextmanager
    async def _answering(
        self, node: Node, gossiper: Gossiper, rebalancer: Rebalancer, nursery: trio.Nursery
    ) -> AsyncIterator[tuple[Pool, Here]]:
        me = gossiper.me.id
        limits = self._settings.limits
        forwarding = Forwarding(me=me.name, view=rebalancer, pool=lambda: self._pool, instruments=self._instruments)
        builtin = builtin_service(node, self._keys, node)
        async with self._owning(gossiper, rebalancer) as ownership:
            ownership.register(builtin)
            services = [builtin, *self._settings.services]
            if all(service.name != MONITORING for service in services):
                services.append(monitoring_service(node))
            serve = Handling(
                node,
                services,
                rings=rebalancer,
                forwarding=forwarding,
                ownership=ownership,
                instruments=self._instruments,
            )
            async with (
                self._taking_calls(gossiper, serve, nursery) as pool,
                open_here(me=me, serve=serve, instruments=self._instruments, limits=limits, nursery=nursery) as here,
            ):
                routing = Routing(
                    me=me,
                    view=rebalancer,
                    peers=pool,
                    here=here,
                    handles=serve.dispatcher.handles,
                    rng=self._host.rng,
                    instruments=self._instruments,
                )
                node.use(routing, pool, here, nursery=nursery)
                ownership.use(routing)
                node.use_ownership(ownership)
                with node.following():
                    yield pool, here

    def _owning(self, gossiper: Gossiper, rebalancer: Rebalancer) -> AbstractAsyncContextManager[Ownership]:
        return open_ownership(
            gossiper.me.name,
            membership=gossiper,
            rings=rebalancer,
            host=self._host,
            # A living process is declared dead no sooner; half of it, because a suspicion may be older than the pause.
            patience=swim.shortest_suspicion(self._settings.profile, 1) / 2,
        )

    @asynccontextmanager
    async def _taking_calls(
        self, gossiper: Gossiper, serve: Serve, nursery: trio.Nursery | None = None
    ) -> AsyncIterator[Pool]:
        """Connections of calls, those that have waited for it included, are answered by ``serve``."""

        def is_suspect(name: str) -> bool:
            member = gossiper.member(name)
            return member is not None and member.status is not swim.Status.ALIVE

        async with open_pool(
            me=gossiper.me.id,
            cluster=self._settings.cluster,
            network=self._network,
            host=self._host,
            serve=serve,
            instruments=self._instruments,
            limits=self._settings.limits,
            connection_lost=gossiper.suspect_connection,
            is_suspect=is_suspect,
            secret=self._secret,
            nursery=nursery,
        ) as pool:
            self._pool = pool
            self._pool_ready.set()
            try:
                yield pool
            finally:
                self._let_connections_wait()

    def _let_connections_wait(self) -> None:
        self._pool, self._pool_ready = None, trio.Event()

    async def _gather(self, node: Node, gossiper: Gossiper) -> None:
        """Wait for the cluster to form; who asks meanwhile hears whom this node waits for, and nothing else."""
        dispatcher = Dispatcher([builtin_service(node, self._keys)])
        async with self._taking_calls(gossiper, answering_while_gathering(node, dispatcher)) as pool:
            await gather(gossiper, metadata=self._settings.metadata, expect=self._settings.expect)
            self._let_connections_wait()
            with trio.move_on_after(self._settings.limits.cancel_grace):
                await pool.drain()

    def _secret(self) -> mux.Secret | None:
        """What one more connection needs to prove who we are; the keys are those of the moment."""
        if self._keyring is None:
            return None
        return mux.Secret(
            keys=self._keyring.keys,
            nonce=self._host.entropy(mux.NONCE_SIZE),
            required=self._settings.sealing is Sealing.REQUIRE,
        )

    def _keys_of(self, keyring: Keyring | None) -> Keys | None:
        if keyring is None:
            return None
        settings = self._settings
        return Keys(keyring, cluster=settings.cluster, host=self._host, file=settings.secret_file)

    async def _serve_mux(self, stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        await self._pool_ready.wait()  # a peer that is faster than our own joining waits, within its own patience
        assert self._pool is not None
        await self._pool.serve_stream(stream, remote, received)

    async def _follow(self, gossiper: Gossiper, rebalancer: Rebalancer) -> None:
        """Show every change of the membership to those who have to follow it."""
        async with gossiper.events() as events:
            rebalancer.update(gossiper.members)
            async for event in events:
                rebalancer.update(gossiper.members)
                if self._pool is not None:
                    for dead in _newly_dead(event):
                        self._pool.end_life(dead.name, dead.generation)


def _newly_dead(event: swim.MemberEvent) -> Iterable[swim.Member]:
    match event:
        case swim.MemberFailed(member=member):
            return (member,)
        case swim.Resynced(members=members):
            return (member for member in members if member.status is swim.Status.DEAD)
        case _:
            return ()
