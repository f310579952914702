"""What a node counts about itself, for its built-in service and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring.instrument import Instrument

if TYPE_CHECKING:
    from swimring.identity import Key


class Counters(Instrument):
    """Counts since the node was opened."""

    timed = False

    def __init__(self) -> None:
        """Everything is 0."""
        self._calls = 0
        self._retries = 0
        self._failed = 0
        self._handled = 0
        self._refused = 0

    def counts(self) -> dict[str, int]:
        """The numbers by name: calls made here, retries and failures among them, calls handled, bytes refused."""
        return {
            "calls": self._calls,
            "retries": self._retries,
            "failed": self._failed,
            "handled": self._handled,
            "refused": self._refused,
        }

    def call_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call, maybe a failed one."""
        self._calls += 1
        self._failed += outcome not in {"ok", "cancelled"}

    def call_retried(self, ns: str, cmd: str, key: Key | None, reason: str) -> None:
        """One more attempt."""
        self._retries += 1

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call handled here."""
        self._handled += 1

    def bytes_refused(self, port: str, reason: str) -> None:
        """Somebody sent what makes no sense."""
        self._refused += 1
