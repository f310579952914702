"""Bytes that make no sense: counted, observed, logged now and then; the node goes on."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from swimring.instrument import Instrument
from swimring.swim import BytesRefused, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.identity import Address
    from swimring.instrument import Instruments
    from swimring.swim import Message

_log = logging.getLogger("swimring.gossip")
LOG_INTERVAL: Final = 10.0
_REMEDIES: Final[Mapping[str, str]] = {
    "key": "it has none of our keys: give this node a key of its cluster, or install ours there (swimring keys add)",
    "unsealed": "it takes sealed gossip only: give this node the secret of its cluster (--secret-file)",
    "sealed": "it has no secret: give it ours, or let both take plain gossip while the cluster migrates (--seal)",
}


class Refusals:
    """Counts refusals by port and reason; logs each such pair at most every 10 s, with how many were kept back."""

    def __init__(self, instruments: Instruments) -> None:
        """Start with no refusal."""
        self._instruments = instruments
        self._counts: Counter[tuple[str, str]] = Counter()
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many refusals of each kind, as ``port:reason``."""
        return {f"{port}:{reason}": count for (port, reason), count in sorted(self._counts.items())}

    def refuse(self, port: str, refusal: BytesRefused, source: Address) -> None:
        """Take note that bytes from ``source`` were refused on ``port`` (``datagram`` or ``stream``)."""
        kind = (port, refusal.reason)
        self._counts[kind] += 1
        self._instruments.tell(Instrument.bytes_refused, port, refusal.reason)
        now = trio.current_time()
        logged_at, logged_count = self._logged.get(kind, (-LOG_INTERVAL, 0))
        if now - logged_at >= LOG_INTERVAL:
            self._logged[kind] = (now, self._counts[kind])
            kept_back = self._counts[kind] - logged_count - 1
            _log.warning("refused bytes on the %s port from %s: %s (%d more since)", port, source, refusal, kept_back)


def is_for_the_key(message: Message) -> bool:
    """Whether ``message`` says that its sender does not have the key of what we sent."""
    return isinstance(message, Refused) and _word(message.reason) == "key"


def refused_by_peer(reason: str) -> BytesRefused:
    """What a peer's refusal means to us; with what to do, where that is known."""
    word = _word(reason)
    if word in _REMEDIES:
        return BytesRefused(word, f"it refuses us: {_REMEDIES[word]}")
    return BytesRefused("malformed", f"it refuses us: {reason}")


def _word(reason: str) -> str:
    return reason.partition(":")[0]
