"""Bytes that make no sense: counted, observed, logged now and then; the node goes on."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from swimring.swim import BytesRefused, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.identity import Address
    from swimring.instrument import Instruments
    from swimring.swim import Message

_REMEDIES: Final[Mapping[str, str]] = {
    "key": "it has none of our keys: give this node a key of its cluster, or install ours there (swimring keys add)",
    "unsealed": "it takes sealed gossip only: give this node the secret of its cluster (--secret-file)",
    "sealed": "it has no secret: give it ours, or let both take plain gossip while the cluster migrates (--seal)",
}


class Refusals:
    """Counts refusals by port and reason."""

    def __init__(self, instruments: Instruments) -> None:
        """Start with no refusal."""
        self._instruments = instruments
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """How many refusals of each kind, as ``port:reason``."""
        return {f"{port}:{reason}": count for (port, reason), count in sorted(self._counts.items())}

    def refuse(self, port: str, refusal: BytesRefused, source: Address) -> None:
        """Take note that bytes from ``source`` were refused on ``port`` (``datagram`` or ``stream``)."""
        self._counts[port, refusal.reason] += 1
        # A neighbour of another cluster, on a machine that has several, is nothing to warn of.
        level = logging.INFO if refusal.reason == "cluster" else logging.WARNING
        self._instruments.refuse_bytes(
            port, refusal.reason, source=source, now=trio.current_time(), detail=str(refusal), level=level
        )


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
