"""Two sessions and the link between them, which the test pumps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swimring.identity import NodeId
from swimring.mux import CallHeader, Limits, Session, encode_fields

if TYPE_CHECKING:
    import random

    from swimring.mux import Event

BODY = encode_fields({"n": 1})
ASK = CallHeader(ns="s", cmd="c")


class Link:
    """``here`` dialled ``there``. `pump` carries all bytes until both are silent and returns what each reported."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        there_limits: Limits | None = None,
        cluster: str = "test",
        there_cluster: str = "test",
        connect: bool = True,
    ) -> None:
        limits = limits or Limits()
        self.here = Session(me=NodeId("here", 1), cluster=cluster, limits=limits, dialled=True)
        self.there = Session(me=NodeId("there", 1), cluster=there_cluster, limits=there_limits or limits, dialled=False)
        if connect:
            self.pump()

    def pump(self) -> tuple[list[Event], list[Event]]:
        at_here: list[Event] = []
        at_there: list[Event] = []
        while self.here.has_bytes_to_send or self.there.has_bytes_to_send:
            at_there += self.there.receive(self.here.bytes_to_send())
            at_here += self.here.receive(self.there.bytes_to_send())
        return at_here, at_there

    def pump_in_pieces(self, dice: random.Random) -> tuple[list[Event], list[Event]]:
        """The same, cut at random places and with either direction delayed."""
        events: tuple[list[Event], list[Event]] = ([], [])
        wires = [b"", b""]
        sessions = (self.here, self.there)
        while any(wires) or any(session.has_bytes_to_send for session in sessions):
            side = dice.randrange(2)
            wires[1 - side] += sessions[side].bytes_to_send(dice.choice((1, 1000, 65536)))
            cut = dice.randrange(1, 40_000)
            piece, wires[side] = wires[side][:cut], wires[side][cut:]
            events[side].extend(sessions[side].receive(piece))
        return events

    def ask(self, **header: Any) -> int:
        return self.here.request(CallHeader(ns="s", cmd="c", **header), BODY)

    @property
    def idle(self) -> bool:
        return self.here.idle and self.there.idle


def raw(kind: int, stream_id: int, body: bytes = b"", flags: int = 0) -> bytes:
    """A frame written by hand, as a second implementation would."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(7, "big") + body
