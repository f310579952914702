"""Membership, running: the nursery of the duties, the loop that receives datagrams, and what a node asks of it."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import NodeClosed
from swimring.security import Sealing
from swimring.swim import (
    Ack,
    BytesRefused,
    Divergence,
    Gossip,
    Member,
    Membership,
    Nack,
    Ping,
    PingRequest,
    RefusalAnswer,
    RefusalQuery,
    Rumour,
    Status,
)

from .beliefs import Beliefs
from .broadcasting import Broadcasting
from .envelopes import Envelopes
from .evidence import Evidence
from .healer import Healer
from .mail import Delivery, Mail
from .names import Names
from .prober import Prober
from .push_pull import PushPull
from .recalling import Recalling
from .refusals import Refusals
from .relay import Relay
from .rounds import Rounds
from .spreader import Spreader
from .statistics import GossipStatistics
from .supervision import supervise
from .suspicions import Suspicions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Address, NodeId
    from swimring.instrument import Instruments
    from swimring.net import Datagrams, Host, Network
    from swimring.security import Keyring
    from swimring.swim import Envelope, MemberEvent, Metadata, Profile

    from .broadcasting import BroadcastSubscription
    from .subscriptions import Subscription

_CORRECTION_INTERVAL: Final = 1.0


class Gossiper:
    """One node's membership. Opened by `open_gossiper`."""

    def __init__(
        self,
        *,
        membership: Membership,
        datagrams: Datagrams,
        network: Network,
        host: Host,
        envelopes: Envelopes,
        profile: Profile,
        instruments: Instruments,
        seeds: Callable[[], Awaitable[Sequence[Address]]],
    ) -> None:
        """Put the duties together; nothing runs yet."""
        self._membership = membership
        self._datagrams = datagrams
        self._network = network
        self._envelopes = envelopes
        self._profile = profile
        self._instruments = instruments
        self._misdirected = 0
        self._divergence = Divergence(profile)
        self._corrected: dict[str, float] = {}
        self._lags: dict[str, float] = {}
        self._rng = rng = host.rng
        self._beliefs = beliefs = Beliefs(membership, instruments)
        self._refusals = refusals = Refusals(instruments)
        self._broadcasting = broadcasting = Broadcasting(membership, profile)
        self._names = names = Names(network)
        self._mail = mail = Mail(
            beliefs=beliefs,
            broadcasting=broadcasting,
            datagrams=datagrams,
            names=names,
            envelopes=envelopes,
            profile=profile,
        )
        self._rounds = rounds = Rounds(mail)
        self._suspicions = Suspicions(beliefs, profile)
        self._spreader = Spreader(beliefs, broadcasting, mail, profile, rng)
        self._relay = Relay(beliefs=beliefs, mail=mail, rounds=rounds, network=network, profile=profile)
        self._streams = streams = PushPull(
            beliefs=beliefs,
            mail=mail,
            network=network,
            envelopes=envelopes,
            profile=profile,
            rng=rng,
            refusals=refusals,
            recalling=Recalling(broadcasting, membership),
        )
        evidence = Evidence(beliefs=beliefs, mail=mail, rounds=rounds, network=network, profile=profile, rng=rng)
        self._prober = Prober(
            beliefs=beliefs, mail=mail, rounds=rounds, streams=streams, evidence=evidence, profile=profile, rng=rng
        )
        forget = self._forget
        self._healer = Healer(beliefs=beliefs, streams=streams, seeds=seeds, profile=profile, rng=rng, forget=forget)

    # ------------------------------------------------------------------------------------------------ looking

    @property
    def me(self) -> Member:
        """This node's own record; its generation grows once if an earlier life is met while joining."""
        return self._membership.me

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody known, this node and the dead and gone included, sorted by name."""
        return self._membership.members

    def member(self, name: str) -> Member | None:
        """The record of the member ``name``."""
        return self._membership.get(name)

    @property
    def checksum(self) -> int:
        """A number below 2^64 that is equal where everybody who takes part is believed to be the same."""
        return self._membership.checksum

    def lag(self, name: str) -> float | None:
        """Seconds by which the timers of the member ``name`` are late, as it last told; None if it never has."""
        return self._membership.health.lag if name == self.me.name else self._lags.get(name)

    def statistics(self) -> GossipStatistics:
        """Numbers for people and monitors."""
        counts = Counter(member.status for member in self.members)
        traffic, heard = self._mail.traffic, self._broadcasting.broadcasts
        return GossipStatistics(
            alive=counts[Status.ALIVE],
            suspect=counts[Status.SUSPECT],
            dead=counts[Status.DEAD],
            left=counts[Status.LEFT],
            suspicions=self._membership.suspicions,
            health=self._membership.health.score,
            incarnation=self.me.incarnation,
            rumours=len(self._membership.rumours),
            broadcasts=len(heard.queue),
            broadcasts_ignored=heard.ignored + heard.queue.shed,
            probes=self._prober.probes,
            probes_failed=self._prober.probes_failed,
            exchanges=self._streams.exchanges,
            records_heard=self._streams.records_heard,
            datagrams_sent=traffic.datagrams_sent,
            datagrams_received=traffic.datagrams_received,
            bytes_sent=traffic.bytes_sent,
            bytes_received=traffic.bytes_received,
            packets=dict(traffic.packets),
            misdirected=self._misdirected,
            refused=self._refusals.counts,
        )

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Subscription[MemberEvent]]:
        """Listen: an asynchronous iterator of the events from now on; it ends with the gossiper.

        A listener that lets 256 events wait gets `Resynced` with everybody instead of them.
        """
        await trio.lowlevel.checkpoint()
        subscription = self._beliefs.listeners.add()
        try:
            yield subscription
        finally:
            self._beliefs.listeners.discard(subscription)

    def broadcasts(self) -> AbstractAsyncContextManager[BroadcastSubscription]:
        """Listen: an asynchronous iterator of the broadcasts from now on, our own included; ends with the gossiper.

        A listener that lets 256 broadcasts wait loses the oldest and gets `Missed` with their number.
        """
        return self._broadcasting.listen()

    # ------------------------------------------------------------------------------------------------ acting

    async def join(self, addresses: Iterable[Address]) -> int:
        """Exchange full states with whoever is at each of ``addresses``, and with a random member they know.

        Returns how many members answered. One that does not, or that belongs to another cluster, is counted and
        logged.
        """
        with self.joining():
            numeric = [literal for address in addresses for literal in await self._resolve(address)]
            before = self.me.id
            found = await self._healer.try_all(numeric)
            if self.me.id != before:  # an earlier life of ours was known there: introduce ourselves again
                found = await self._healer.try_all(numeric)
        if found:
            self._spreader.wake()
            await self._ask_one_more(set(numeric))
        return found

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Within this block a life of this node that somebody remembers is an earlier one, whatever its generation.

        Raises:
            NodeClosed: this node has left.
        """
        self._check_open()
        self._streams.joins_under_way += 1
        try:
            yield
        finally:
            self._streams.joins_under_way -= 1
        # Whoever found nobody is the first: a later process of its name must not be taken for an earlier life.
        self._membership.joined()

    async def leave(self) -> None:
        """Say farewell, and keep answering until it has spread, for ``leave_propagate`` seconds; nobody probes us then.

        It cannot join again. When it is cancelled, the farewell has been said as far as it got.
        """
        await trio.lowlevel.checkpoint()
        if self._membership.leaving:
            return
        self._beliefs.leave()
        if self._membership.active_count == 0:
            return
        with trio.move_on_after(self._profile.leave_propagate):
            await self._spreader.spread_once(fanout=self._membership.retransmit_limit)
            await trio.sleep_forever()

    async def update_metadata(self, change: Metadata | Callable[[Metadata], Metadata]) -> None:
        """Tell everybody new metadata, or what a function makes of what is told at that moment.

        Raises:
            NodeClosed: this node has left.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._beliefs.update_metadata(change(self.me.metadata) if callable(change) else change)

    def evict(self, name: str) -> bool:
        """Declare the present life of that member dead, whatever it says; False if it takes no part anyway.

        Raises:
            NodeClosed: this node has left.
        """
        self._check_open()
        return self._beliefs.evict(name)

    async def broadcast(self, name: str, payload: object) -> None:
        """Say something to everybody, once; waits while max(4096, 2n) broadcasts have still to be passed on.

        Raises:
            LocalProtocolError: it is too large, or cannot be encoded.
            NodeClosed: this node has left.
        """
        await self._broadcasting.say(name, payload)

    def learn(self, members: Iterable[Member]) -> None:
        """Believe records that somebody showed us, as far as they are news; a death only as a suspicion."""
        self._beliefs.merge(Rumour(member=member) for member in members)

    def suspect_connection(self, name: str) -> None:
        """A connection to the member ``name`` was lost: probe it at once."""
        self._prober.probe_soon(name)

    async def serve_stream(self, stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        """Answer a gossip connection accepted on the node's port, after the bytes ``received`` already; closes it."""
        await self._streams.serve(stream, remote, received)

    # ------------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Run all duties under supervision.

        Raises:
            NameConflict: somebody runs under our name with a newer generation (in an exception group).
            Evicted: an operator has declared us dead (in an exception group).
        """
        duties: dict[str, Callable[[], Awaitable[None]]] = {
            "receiver": self._receive,
            "prober": self._prober.run,
            "suspicions": self._suspicions.run,
            "spreader": self._spreader.run,
            "push-pull": self._streams.run,
            "healer": self._healer.run,
            "relay": self._relay.run,
            "names": self._names.run,
        }
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beliefs.wait_outbid, name="swimring name watch")
            for duty, run in duties.items():
                nursery.start_soon(supervise, duty, run, self._instruments, name=f"swimring {duty}")

    def close(self) -> None:
        """End the listeners' iterations."""
        self._beliefs.listeners.close()
        self._broadcasting.close()

    async def _receive(self) -> None:
        while True:
            for payload, source in await self._datagrams.receive():
                try:
                    envelope = self._envelopes.read_datagram(payload)
                except BytesRefused as refusal:
                    self._mail.traffic.received(len(payload), None)
                    self._refusals.refuse("datagram", refusal, source)
                    if refusal.reason == "key":
                        await self._mail.show_key(source, at_most=len(payload))
                else:
                    self._mail.traffic.received(len(payload), envelope.message)
                    await self._take(Delivery(envelope=envelope, source=source, size=len(payload)))

    async def _take(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        if envelope.source == self.me.id:
            return
        to_answer = self._beliefs.hear(envelope.rumours, source=envelope.source.name)
        self._broadcasting.hear(envelope.broadcasts)
        await self._answer(delivery)
        await self._contradict_dead(envelope)
        for name in to_answer:
            accuser = self._membership.get(name)
            if accuser is not None:
                await self._mail.send(Gossip(), to=accuser)
        if self._is_ahead(envelope):
            self._streams.nudge(envelope.source.name, seen=(envelope.source.generation, envelope.incarnation))
        elif self._differs(envelope):
            self._streams.nudge(envelope.source.name)

    async def _answer(self, delivery: Delivery) -> None:
        match delivery.envelope.message:
            case Ping():
                await self._answer_ping(delivery)
            case Ack() | Nack() | RefusalAnswer():
                self._note_lag(delivery.envelope)
                self._rounds.take(delivery.envelope)
            case PingRequest() | RefusalQuery():
                self._relay.help_soon(delivery)

    async def _contradict_dead(self, envelope: Envelope) -> None:
        """Let a sender that we take for dead hear of it; the answer to a ping says so anyway."""
        sender = self._membership.get(envelope.source.name)
        if sender is None or sender.status is not Status.DEAD or isinstance(envelope.message, Ping):
            return
        if sender.id == envelope.source and self._may_correct(sender.name):
            await self._mail.send(Gossip(), to=sender)

    async def _answer_ping(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        if envelope.destination == self.me.id:
            await self._mail.reply(self._membership.ack(), to=delivery)
            return
        # Meant for another process that had this address, or for an earlier life of ours: it is not here.
        self._misdirected += 1
        sender = self._membership.get(envelope.source.name)
        mistaken = envelope.destination is not None and envelope.destination.name == self.me.name
        if mistaken and sender is not None and self._may_correct(sender.name):
            self._membership.announce()
            await self._mail.send(Gossip(), to=sender)

    def _note_lag(self, envelope: Envelope) -> None:
        message, name = envelope.message, envelope.source.name
        if isinstance(message, Ack) and message.checksum is not None and self._membership.get(name) is not None:
            self._lags[name] = message.lag

    def _may_correct(self, name: str) -> bool:
        now = trio.current_time()
        if now - self._corrected.get(name, -_CORRECTION_INTERVAL) < _CORRECTION_INTERVAL:
            return False
        self._corrected[name] = now
        return True

    def _is_ahead(self, envelope: Envelope) -> bool:
        known = self._membership.get(envelope.source.name)
        ours = envelope.source.name == self.me.name
        if known is None or ours:
            return False
        return (envelope.source.generation, envelope.incarnation) > (known.generation, known.incarnation)

    def _differs(self, envelope: Envelope) -> bool:
        """Whether all is quiet, here and there, and yet the sender's view is not ours."""
        message, sender = envelope.message, self._membership.get(envelope.source.name)
        if not isinstance(message, Ping | Ack) or message.checksum is None or envelope.rumours:
            return False
        if sender is None or sender.status is not Status.ALIVE or self._membership.rumours:
            return False
        return self._divergence.calls_for_exchange(
            mine=self._membership.checksum,
            theirs=message.checksum,
            quiet_since=self._beliefs.quiet_since,
            now=trio.current_time(),
        )

    async def _resolve(self, address: Address) -> list[Address]:
        with trio.move_on_after(self._profile.stream_patience), suppress(OSError):
            return await self._network.resolve(address)
        return [address]  # the exchange will fail and say why

    async def _ask_one_more(self, asked: set[Address]) -> None:
        others = [m for m in self._membership.others if m.status is Status.ALIVE and m.address not in asked]
        if others:
            await self._streams.try_exchange(self._rng.choice(others).address)

    def _forget(self) -> None:
        for name in self._beliefs.forget():
            self._lags.pop(name, None)
            self._corrected.pop(name, None)
        self._prober.forget()

    def _check_open(self) -> None:
        if self._membership.leaving:
            raise NodeClosed("this node has left its cluster")


def _record(me: NodeId, address: Address, metadata: Metadata) -> Member:
    return Member(
        name=me.name,
        address=address,
        generation=me.generation,
        incarnation=1,
        status=Status.ALIVE,
        metadata=metadata,
    )


@asynccontextmanager
async def open_gossiper(
    *,
    cluster: str,
    me: NodeId,
    address: Address,
    metadata: Metadata,
    datagrams: Datagrams,
    network: Network,
    host: Host,
    profile: Profile,
    instruments: Instruments,
    seeds: Sequence[Address] | Callable[[], Awaitable[Sequence[Address]]] = (),
    keyring: Keyring | None = None,
    sealing: Sealing = Sealing.REQUIRE,
) -> AsyncIterator[Gossiper]:
    """Run one node's membership while the block runs; it starts alone, and finds others by `join` and by ``seeds``.

    Args:
        cluster: the name that all members share; it keeps clusters apart.
        me: name and generation of this node.
        address: where others reach this node, for datagrams and for streams.
        metadata: what it tells about itself.
        datagrams: the bound socket; it stays the caller's to close, after this block.
        network: for dialling.
        host: for dice, salts, and the coarse time in seals.
        profile: the constants.
        instruments: who observes.
        seeds: addresses to try for ever while this node is alone, and now and then afterwards; or a function that
            finds them.
        keyring: the keys of the cluster; without them gossip is plain. What changes in it holds from then on.
        sealing: with a ``keyring``, what is sealed and what is taken.

    Raises:
        NameConflict: somebody runs under our name with a newer generation (in an exception group).
    """

    async def find_seeds() -> Sequence[Address]:
        return await seeds() if callable(seeds) else seeds

    gossiper = Gossiper(
        membership=Membership(me=_record(me, address, metadata), profile=profile),
        datagrams=datagrams,
        network=network,
        host=host,
        envelopes=Envelopes(cluster=cluster, host=host, keyring=keyring, sealing=sealing),
        profile=profile,
        instruments=instruments,
        seeds=find_seeds,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gossiper.run, name=f"swimring gossip of {me}")
            yield gossiper
            nursery.cancel_scope.cancel()
    finally:
        gossiper.close()
