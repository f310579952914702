"""What a simulation did, as a hash: two runs with equal traces delivered the same bytes at the same times."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Final

_KEPT: Final = 200


class Trace:
    """Every delivery, hashed in order; the text of the last 200 is kept for people, older text is dropped."""

    def __init__(self) -> None:
        """Nothing has been delivered."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[str] = deque(maxlen=_KEPT)
        self._count = 0

    def __repr__(self) -> str:
        return f"<Trace of {self._count} deliveries, {self.digest}>"

    def record(self, now: float, what: str, payload: bytes = b"") -> None:
        """Add one delivery at virtual time ``now`` (seconds)."""
        line = f"{now:.9f} {what} {len(payload)}"
        self._hash.update(f"{line}\n".encode())
        self._hash.update(payload)
        self._last.append(line)
        self._count += 1

    @property
    def digest(self) -> str:
        """The hash so far, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def count(self) -> int:
        """How many deliveries there were."""
        return self._count

    @property
    def last(self) -> tuple[str, ...]:
        """The last 200 deliveries, oldest first: time, what, size."""
        return tuple(self._last)
