"""Bytes that make no sense: counted, observed, logged now and then; the node goes on."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.instrument import Instruments
    from swimring.swim import BytesRefused


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
