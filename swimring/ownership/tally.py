"""What the hand-offs of one node came to: how they ended for each key and node, and how long they took."""

from __future__ import annotations

from collections import Counter

BROUGHT = "brought"
"""The other node had no copy, or an older one, and has it now."""
KEPT = "kept"
"""It had one as new."""
REFUSED = "refused"
"""It took none: it has promised not to, or the key is not its business; the key is offered again."""
FAILED = "failed"
"""It could not be asked, or did not answer."""


class Tally:
    """Counts since the start of the node."""

    def __init__(self) -> None:
        """Nothing was handed off."""
        self.results = Counter[str](dict.fromkeys((BROUGHT, KEPT, REFUSED, FAILED), 0))
        """Copies that were to be brought to a node, by what became of that."""
        self.finished = 0
        """Hand-offs that are over: from the first key that is due to when none is."""
        self.seconds = 0.0
        """What these took."""
        self.began: float | None = None
        """When the hand-off began that is not over."""

    def begin(self, *, now: float) -> None:
        """Keys are due; nothing happens if they were before."""
        if self.began is None:
            self.began = now

    def end(self, *, now: float) -> None:
        """No key is due; nothing happens if none was."""
        if self.began is not None:
            self.finished += 1
            self.seconds += now - self.began
            self.began = None
