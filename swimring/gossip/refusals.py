"""Bytes that make no sense: counted, observed, logged now and then; the node goes on."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from swimring.instrument import Instrument

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.instrument import Instruments
    from swimring.swim import BytesRefused

_log = logging.getLogger("swimring.gossip")
LOG_INTERVAL: Final = 10.0


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
