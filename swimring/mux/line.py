"""What the calls and the streams of one connection share: ids, credit, the outbox, and the limits of both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swimring.errors import LocalProtocolError, RemoteProtocolError

from .credit import Allowance, Window
from .frames import MAX_STREAM_ID, MESSAGES, Kind, frame
from .limits import MAX_UNREAD_ANSWERS, MAX_UNSENT
from .outbox import Outbox

if TYPE_CHECKING:
    from .limits import Limits

_PARITY: Final = 2


class Line:
    """Ids count up by two, odd for the side that dialled, and are never used again."""

    __slots__ = (
        "_answers",
        "allowance",
        "asking",
        "last_there",
        "limits",
        "message_allowance",
        "message_window",
        "next_here",
        "open_here",
        "open_there",
        "outbox",
        "peer",
        "refusing",
        "small",
        "window",
    )

    def __init__(self, limits: Limits, *, dialled: bool) -> None:
        """Until the hello, the peer is taken to have our own limits."""
        self.limits = limits
        self.outbox = Outbox()
        self.window = Window(limits.connection_window)
        self.message_window = Window(limits.message_window)
        self.next_here = 1 if dialled else 2
        self.last_there = 0
        self.open_here = 0
        self.open_there = 0
        self.refusing = False
        self.asking = False
        """Whether new calls may be sent."""
        self._answers = 0
        self.welcome(limits)

    @property
    def used(self) -> bool:
        """Whether either side has ever opened a call."""
        return self.next_here > _PARITY or self.last_there > 0

    def welcome(self, peer: Limits) -> None:
        """Take over what the peer announced."""
        self.peer = peer
        self.small = min(peer.frame_body, peer.message)
        """Bytes of a message that needs only one frame."""
        self.allowance = Allowance(min(peer.connection_window, MAX_UNSENT))
        self.message_allowance = Allowance(min(peer.message_window, MAX_UNSENT))

    def answer(self, packed: bytes) -> None:
        """Queue a frame that the peer can provoke at no cost of credit."""
        self.outbox.push(packed)
        self._answers += 1

    def check_answers(self) -> None:
        """Find out a peer that provokes answers and does not read them.

        Raises:
            RemoteProtocolError: more answers wait than it can have calls and pings open.
        """
        if self._answers > self.limits.streams + MAX_UNREAD_ANSWERS:
            raise RemoteProtocolError(f"{self._answers} answers wait to be read")

    def take(self, limit: int) -> tuple[bytes, list[int]]:
        """What the outbox gives to the writer now."""
        self._answers = 0
        return self.outbox.take(limit)

    def opened(self, stream_id: int) -> bool:
        """Whether that id was ever opened, by either side."""
        if stream_id % _PARITY == self.next_here % _PARITY:
            return stream_id < self.next_here
        return self.refusing or stream_id <= self.last_there

    def check_late(self, stream_id: int, what: str) -> None:
        """Accept a frame for a stream that is gone.

        Raises:
            RemoteProtocolError: there never was such a stream.
        """
        if stream_id == 0 or not self.opened(stream_id):
            raise RemoteProtocolError(f"{what} on stream {stream_id}, which was never opened")

    def open_remote(self, call_id: int) -> None:
        """Note that the other side opened a call.

        Raises:
            RemoteProtocolError: the id is not a new one of theirs, or they have too many open.
        """
        if call_id % _PARITY == self.next_here % _PARITY or call_id <= self.last_there:
            raise RemoteProtocolError(f"a request with the id {call_id} after {self.last_there}")
        self.last_there = call_id
        self.open_there += 1
        if self.open_there > self.limits.streams:
            self._count_there(0)

    def open_remote_streams(self, call_id: int, count: int) -> None:
        """Note that the newest call of the other side announced that many streams.

        Raises:
            RemoteProtocolError: another call was opened in between, or they have too many open.
        """
        if self.last_there != call_id:
            raise RemoteProtocolError(f"a request with streams, {call_id}, was interrupted by another request")
        self.last_there = call_id + _PARITY * count
        self._count_there(count)

    def open_remote_offer(self, first_id: int, count: int) -> None:
        """Note that the other side opened streams with an answer.

        Raises:
            RemoteProtocolError: the ids are not new ones of theirs, or they have too many open.
        """
        last = first_id + _PARITY * (count - 1)
        if first_id % _PARITY == self.next_here % _PARITY or not self.last_there < first_id <= last <= MAX_STREAM_ID:
            raise RemoteProtocolError(f"an offer of the id {first_id} after {self.last_there}")
        self.last_there = last
        self._count_there(count)

    def _count_there(self, count: int) -> None:
        self.open_there += count
        if self.open_there > self.limits.streams:
            raise RemoteProtocolError(f"more than {self.limits.streams} open streams")

    def open_local(self, streams: int) -> int:
        """Draw the id of a new call; its streams have the ids that follow.

        Raises:
            LocalProtocolError: the other side takes no more streams (`Session.has_room` tells).
        """
        if self.open_here + 1 + streams > self.peer.streams:
            raise LocalProtocolError(f"the peer takes at most {self.peer.streams} open streams")
        call_id = self.next_here
        self.next_here += _PARITY * (1 + streams)
        self.open_here += 1 + streams
        return call_id

    def open_local_offer(self, streams: int) -> int:
        """Draw the ids of streams that go with an answer; return the first.

        Raises:
            LocalProtocolError: the other side takes no more streams (`Session.can_offer` tells).
        """
        return self.open_local(streams - 1)

    def closed(self, stream_id: int) -> None:
        """Note that one call or stream is over."""
        if stream_id % _PARITY == self.next_here % _PARITY:
            self.open_here -= 1
        else:
            self.open_there -= 1

    def return_message(self, count: int) -> None:
        """Give credit back for that many bytes of messages that are complete or dropped."""
        grant = self.message_window.release(count)
        if grant:
            self.grant_messages(grant)

    def grant_messages(self, grant: int) -> None:
        """Announce credit for that many more bytes of messages."""
        self.outbox.push(frame(Kind.CREDIT, MESSAGES, 0, grant.to_bytes(4, "big")))

    def return_data(self, count: int) -> None:
        """Give connection credit back for that many bytes of stream data that are read or dropped."""
        grant = self.window.release(count)
        if grant:
            self.outbox.push(frame(Kind.CREDIT, 0, 0, grant.to_bytes(4, "big")))


def stream_ids(call_id: int, count: int) -> range:
    """The ids of the streams of a call."""
    return offered_ids(call_id + _PARITY, count)


def offered_ids(first_id: int, count: int) -> range:
    """The ids of the streams of an offer."""
    return range(first_id, first_id + _PARITY * count, _PARITY)
