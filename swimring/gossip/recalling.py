"""The end of an exchange of states, if it is needed: both sides compare the broadcasts they heard.

Each says by id what it has heard; then each shows what the other one missed. A new node takes what it did not hear for
heard: it was said before its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring.swim import BytesRefused, Envelope, Recall, Replay

from .parts import PARTS_LIMIT, replays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimring.identity import NodeId
    from swimring.swim import Broadcast, Membership, Message, Recap

    from .broadcasting import Broadcasting
    from .frames import Frames


class Recalling:
    """Both ends of it."""

    def __init__(self, broadcasting: Broadcasting, membership: Membership) -> None:
        """Compare what ``broadcasting`` has heard."""
        self._broadcasting = broadcasting
        self._broadcasts = broadcasting.broadcasts
        self._membership = membership

    @property
    def recap(self) -> Recap:
        """What goes with our first word."""
        return self._broadcasts.recap

    async def dial(self, frames: Frames, partner: NodeId, recap: Recap | None) -> None:
        """The part of the one who dialled, after the states; ``recap`` is that of the other side."""
        if recap is not None and self._broadcasts.differs(recap):
            await self._send(frames, partner, self._broadcasts.recall())
            answer = await frames.receive()
            if answer is not None:
                theirs = _recall_in(answer)
                wanted = self._broadcasting.take_recall(theirs)
                await self._replay(frames, partner, self._broadcasts.news_for(theirs), wanted)
                if wanted:
                    await self._hear(frames)
        self._broadcasting.new = False

    async def answer(self, frames: Frames, partner: NodeId, recap: Recap | None) -> None:
        """The part of the other one, who cannot know whether the dialler will say more."""
        if recap is not None and self._broadcasts.differs(recap):
            question = await frames.receive()
            if question is not None:
                self._broadcasting.take_recall(_recall_in(question))
                await self._send(frames, partner, self._broadcasts.recall())
                wanted = await self._hear(frames)
                if wanted:
                    await self._replay(frames, partner, self._broadcasts.named(wanted))
        self._broadcasting.new = False

    async def _hear(self, frames: Frames) -> list[bytes]:
        """Take what the other side replays, and return the ids of what it wants itself."""
        wanted: list[bytes] = []
        for _part in range(PARTS_LIMIT):
            envelope = await frames.receive()
            if envelope is None:
                raise BytesRefused("truncated", "the connection ended in the middle of a replay")
            if not isinstance(envelope.message, Replay):
                raise BytesRefused("malformed", "something else in the middle of a replay")
            wanted += envelope.message.wanted
            self._broadcasting.hear(envelope.broadcasts)
            if not envelope.message.more:
                return wanted
        raise BytesRefused("oversized", f"a replay of more than {PARTS_LIMIT} parts")

    async def _replay(
        self, frames: Frames, partner: NodeId, broadcasts: Sequence[Broadcast], wanted: tuple[bytes, ...] = ()
    ) -> None:
        for message, told in replays(broadcasts, wanted=wanted):
            await self._send(frames, partner, message, told)

    async def _send(
        self, frames: Frames, partner: NodeId, message: Message, broadcasts: tuple[Broadcast, ...] = ()
    ) -> None:
        me = self._membership.me
        await frames.send(
            Envelope(
                source=me.id,
                incarnation=me.incarnation,
                destination=partner,
                message=message,
                broadcasts=broadcasts,
            )
        )


def _recall_in(envelope: Envelope) -> Recall:
    if not isinstance(envelope.message, Recall):
        raise BytesRefused("malformed", "something else where a recall should be")
    return envelope.message
