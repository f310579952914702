"""Exchange of states, and ping, over short connections: gossip's own, never shared with calls.

The one who dials sends a digest, the other one answers with what the dialler lacks and names what it lacks itself;
both merge. Rumours spread fast and lose their last listeners; this is what makes all views equal in the end.
Where nothing suggests that something differs, a checksum goes before the digest, and mostly in place of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.identity import Generation, Incarnation
from swimring.swim import Ack, BytesRefused, Envelope, Gossip, Ping, Refused, Rumour, State, Status, Summary

from .frames import Frames
from .parts import PARTS_LIMIT, Heard, parts
from .refusals import is_for_the_key, refused_by_peer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from swimring.identity import Address, NodeId
    from swimring.net import Network
    from swimring.swim import Member, Message, Profile

    from .beliefs import Beliefs
    from .envelopes import Envelopes
    from .mail import Mail
    from .recalling import Recalling
    from .refusals import Refusals

_log = logging.getLogger("swimring.gossip")
_STRANGER_PATIENCE: Final = 5.0
_AT_ONCE: Final = 128
_NUDGE_INTERVAL: Final = 1.0


class PushPull:
    """The duty that compares whole states, and both ends of the connections it needs."""

    def __init__(
        self,
        *,
        beliefs: Beliefs,
        mail: Mail,
        network: Network,
        envelopes: Envelopes,
        profile: Profile,
        rng: random.Random,
        refusals: Refusals,
        recalling: Recalling,
    ) -> None:
        """Dial through ``network``."""
        self._beliefs = beliefs
        self._membership = beliefs.membership
        self._mail = mail
        self._network = network
        self._envelopes = envelopes
        self._profile = profile
        self._rng = rng
        self._refusals = refusals
        self._recalling = recalling
        self._serving = trio.CapacityLimiter(_AT_ONCE)
        self._nudges, self._nudged = trio.open_memory_channel[tuple[str, tuple[Generation, Incarnation] | None]](1)
        self.joins_under_way = 0
        self.exchanges = 0
        self.records_heard = 0

    # ------------------------------------------------------------------------------------------------ the duty

    async def run(self) -> None:
        """Exchange states with a random member at every period, and soon with one that a nudge names."""
        period = self._profile.push_pull_interval
        next_exchange = trio.current_time() + self._rng.uniform(0, period)
        while True:
            nudged = None
            with trio.CancelScope(deadline=next_exchange):
                nudged = await self._next_nudged()
            partner = nudged or self._random_partner()
            if partner is not None and not self._membership.leaving:
                await self.try_exchange(partner.address, briefly=nudged is None)
            if nudged is not None:
                await trio.sleep(_NUDGE_INTERVAL)
            else:
                period = self._profile.push_pull_period(self._membership.active_count)
                next_exchange = trio.current_time() + period

    async def _next_nudged(self) -> Member:
        while True:
            name, seen = await self._nudged.receive()
            member = self._membership.get(name)
            if member is not None and (seen is None or (member.generation, member.incarnation) < seen):
                return member

    def nudge(self, name: str, *, seen: tuple[Generation, Incarnation] | None = None) -> None:
        """Exchange states with the member ``name`` soon, at most once a second.

        If it was ``seen`` to be ahead of our record: only if it still is when its turn comes, as most news is a rumour.
        """
        try:
            self._nudges.send_nowait((name, seen))
        except trio.WouldBlock:
            _log.debug("an exchange is due already")

    def _random_partner(self) -> Member | None:
        partners = self._membership.sample(self._rng, 1, lambda member: member.status is Status.ALIVE)
        return partners[0] if partners else None

    # ------------------------------------------------------------------------------------------------ dialling

    async def try_exchange(self, address: Address, *, briefly: bool = False) -> NodeId | None:
        """Exchange states with whoever is at ``address``: its identity, or None when that failed (logged) or is us.

        Where nothing is known to differ it is cheaper to begin ``briefly``.
        """
        with trio.move_on_after(self._profile.stream_patience):
            try:
                partner = await self._exchange(address, briefly=briefly)
            except BytesRefused as refusal:
                self._refusals.refuse("stream", refusal, address)
                return None
            except (OSError, trio.BrokenResourceError) as error:
                _log.debug("no exchange with %s: %s", address, error)
                return None
            return partner if partner != self._membership.me.id else None
        _log.debug("no exchange with %s: not within %.1f s", address, self._profile.stream_patience)
        return None

    async def _exchange(self, address: Address, *, briefly: bool) -> NodeId:
        asked = self._question(briefly=briefly)
        name = self._name_at(address) if self._envelopes.seals else ""
        stream, frames, answer = await self._ask(address, name, self._envelopes_of(None, asked))
        async with stream:
            first = _checked(answer)
            if isinstance(first.message, State) and first.message.checksum is not None:  # something differs
                await self._say(frames, first.source, self._question(briefly=False))
                first = _checked(await frames.receive())
            if first.source == self._membership.me.id:
                return first.source
            heard = await self._hear(frames, first)
            if heard.wanted:
                await self._say(frames, first.source, parts(self._told(self._named(heard.wanted))))
            if heard.wanted is not None:
                await self._finish(heard)
                await self._recalling.dial(frames, first.source, heard.recap)
                return first.source
        await self._show_all(address, heard)
        await self._finish(heard)
        return first.source

    def _name_at(self, address: Address) -> str:
        return next((member.name for member in self._membership.others if member.address == address), "")

    def _question(self, *, briefly: bool) -> list[tuple[State, tuple[Rumour, ...]]]:
        me, now, recap = [Rumour(member=self._membership.me)], trio.current_time(), self._recalling.recap
        if briefly:
            return parts(me, recap=recap, checksum=self._membership.checksum_of_all(now=now))
        return parts(me, digest=self._membership.digest(now=now), recap=recap)

    async def _show_all(self, address: Address, heard: Heard) -> None:
        # A member of the first release knows no digests: it has shown us everything, and taken our own record only.
        shown = [Summary.of(member) for member in heard.records]
        if not self._membership.compare(shown, now=trio.current_time()).news:
            return
        everything = parts(self._told(self._membership.state(now=trio.current_time())))
        question = self._envelopes_of(heard.source, everything)
        stream, frames, answer = await self._ask(address, heard.source.name, question)
        async with stream:
            heard.refuted |= (await self._hear(frames, _checked(answer))).refuted

    async def ping(self, target: Member) -> bool:
        """Ask ``target`` over a stream whether it is there; the caller's scope is the deadline.

        Raises:
            ConnectionRefusedError: its machine answers that nobody listens.
        """
        try:
            question = self._envelope(Ping(), destination=target.id)
            stream, _, answer = await self._ask(target.address, target.name, [question])
            await trio.aclose_forcefully(stream)
        except ConnectionRefusedError:
            raise
        except (OSError, trio.BrokenResourceError, BytesRefused) as error:
            _log.debug("no ping over a stream to %s: %s", target.name, error)
            return False
        return answer is not None and isinstance(answer.message, Ack) and answer.source == target.id

    async def _ask(
        self, address: Address, name: str, question: list[Envelope]
    ) -> tuple[trio.abc.Stream, Frames, Envelope | None]:
        """Dial, send, and read the first envelope of the answer; again with another key if this one is refused."""
        talks = list(self._envelopes.dials(name))
        while True:
            stream = await self._network.connect(address)
            try:
                frames = Frames(stream, talks.pop(0))
                await frames.send(*question)
                first = await frames.receive()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            if not (talks and first is not None and is_for_the_key(first.message)):
                return stream, frames, first
            await trio.aclose_forcefully(stream)

    # ------------------------------------------------------------------------------------------------ answering

    async def serve(self, stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        """Answer one connection, until it ends. Whatever goes wrong with it ends only this connection."""
        patience = max(self._profile.stream_patience, _STRANGER_PATIENCE)
        async with stream:
            with trio.move_on_after(patience):
                async with self._serving:
                    frames = Frames(stream, self._envelopes.answer(), received=received)
                    try:
                        await self._answer(frames)
                    except BytesRefused as refusal:
                        self._refusals.refuse("stream", refusal, remote)
                        await self._say_refused(frames, refusal)
                    except trio.BrokenResourceError as error:
                        _log.debug("the connection from %s broke: %s", remote, error)

    async def _answer(self, frames: Frames) -> None:
        envelope = None
        with trio.move_on_after(_STRANGER_PATIENCE):
            envelope = await frames.receive()
        if envelope is None:
            return
        match envelope.message:
            case State():
                await self._answer_state(frames, envelope)
            case Ping():
                if envelope.destination == self._membership.me.id:  # else it is for an earlier life: hang up
                    await frames.send(self._envelope(Ack(), destination=envelope.source))
            case _:
                raise BytesRefused(
                    "malformed", f"begins with {type(envelope.message).__name__}, meant for somebody else"
                )

    async def _say_refused(self, frames: Frames, refusal: BytesRefused) -> None:
        try:
            await frames.send(self._envelope(Refused(reason=str(refusal)), destination=None))
        except trio.BrokenResourceError:
            _log.debug("it did not stay for the answer")

    async def _answer_state(self, frames: Frames, first: Envelope) -> None:
        heard = await self._hear(frames, first)
        brief = heard.digest is None and heard.checksum is not None
        mine = self._membership.checksum_of_all(now=trio.current_time()) if brief else None
        if brief and heard.checksum != mine:
            await self._say(frames, heard.source, parts((), checksum=mine))
            following = await frames.receive()
            if following is None:
                return
            heard = await self._hear(frames, following)
        if heard.digest is None and heard.checksum is not None:
            await self._say(frames, heard.source, parts((), wanted=(), recap=self._recalling.recap))
        else:
            await self._answer_digest(frames, heard)
        await self._finish(heard)
        await self._recalling.answer(frames, heard.source, heard.recap)

    async def _answer_digest(self, frames: Frames, heard: Heard) -> None:
        now = trio.current_time()
        if heard.digest is None:
            await self._say(frames, heard.source, parts(self._told(self._membership.state(now=now))))
            return
        difference = self._membership.compare(heard.digest, now=now)
        news = self._told(difference.news)
        await self._say(frames, heard.source, parts(news, wanted=difference.wanted, recap=self._recalling.recap))
        if difference.wanted:
            following = await frames.receive()
            if following is not None:
                heard.refuted |= (await self._hear(frames, following)).refuted

    # ------------------------------------------------------------------------------------------------ states

    async def _hear(self, frames: Frames, envelope: Envelope) -> Heard:
        """Merge what the other one says, part by part, from ``envelope`` on to the last one."""
        heard = Heard(envelope.source)
        for _part in range(PARTS_LIMIT):
            if not isinstance(envelope.message, State):
                raise BytesRefused("malformed", "something else in the middle of a state")
            heard.take(envelope.message, envelope.rumours)
            heard.refuted |= self._beliefs.merge(envelope.rumours, source=heard.source.name)
            if not envelope.message.more:
                return heard
            following = await frames.receive()
            if following is None:
                raise BytesRefused("truncated", "the connection ended in the middle of a state")
            envelope = following
        raise BytesRefused("oversized", f"a state of more than {PARTS_LIMIT} parts")

    async def _finish(self, heard: Heard) -> None:
        self.exchanges += 1
        self.records_heard += len(heard.records)
        if not self.joins_under_way and heard.source.name != self._membership.me.name:
            self._membership.joined()
        partner = self._membership.get(heard.source.name)
        if heard.refuted and partner is not None:
            await self._mail.send(Gossip(), to=partner)

    def _named(self, names: Iterable[str]) -> list[Member]:
        return [member for name in dict.fromkeys(names) if (member := self._membership.get(name)) is not None]

    def _told(self, records: Iterable[Member]) -> list[Rumour]:
        return [self._membership.told(record) for record in records]

    async def _say(
        self, frames: Frames, destination: NodeId | None, said: Iterable[tuple[State, tuple[Rumour, ...]]]
    ) -> None:
        await frames.send(*self._envelopes_of(destination, said))

    def _envelopes_of(
        self, destination: NodeId | None, said: Iterable[tuple[State, tuple[Rumour, ...]]]
    ) -> list[Envelope]:
        return [self._envelope(state, destination=destination, rumours=rumours) for state, rumours in said]

    def _envelope(self, message: Message, *, destination: NodeId | None, rumours: tuple[Rumour, ...] = ()) -> Envelope:
        me = self._membership.me
        return Envelope(
            source=me.id, incarnation=me.incarnation, destination=destination, message=message, rumours=rumours
        )


def _checked(first: Envelope | None) -> Envelope:
    """The first envelope of an answer, if it is one."""
    if first is None:
        raise BytesRefused(
            "truncated", "it hung up without an answer: another cluster, version or protocol, or it wants TLS"
        )
    if isinstance(first.message, Refused):
        raise refused_by_peer(first.message.reason)
    return first
