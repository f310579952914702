"""Questions under way: which number, to whom, and who has answered."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from swimring.swim import Ack, Nack, RefusalAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swimring.identity import NodeId
    from swimring.swim import Envelope

    from .mail import Mail


class Round:
    """One question about one member: to itself and to those asked for help."""

    def __init__(self, sequence: int, target: NodeId) -> None:
        """Wait for the ack of ``target`` under the number ``sequence``."""
        self.sequence = sequence
        self.target = target
        self.acked = trio.Event()
        self.asked: set[str] = set()
        self.answered: set[str] = set()
        self.nacked: set[str] = set()
        self.refused: set[str] = set()
        self.vouched: str = ""
        self.news = trio.Event()

    def take(self, envelope: Envelope) -> None:
        """Note an answer, if it comes from the target or from somebody who was asked."""
        source = envelope.source
        helper = source.name in self.asked
        self.answered.add(source.name)
        match envelope.message:
            case Ack() if helper or source == self.target:
                self.vouched = self.vouched or source.name
                self.acked.set()
            case Nack() if helper:
                self.nacked.add(source.name)
            case RefusalAnswer(refused=True) if helper:
                self.refused.add(source.name)
        self.news.set()

    async def wait_refused(self, count: int) -> None:
        """Wait until ``count`` of those asked are refused, too."""
        while len(self.refused) < count:
            self.news = trio.Event()
            await self.news.wait()


class Rounds:
    """All rounds under way; as many as there are tasks that opened them."""

    def __init__(self, mail: Mail) -> None:
        """Number rounds as ``mail`` numbers messages.

        ``silent`` are those who have not answered since a failed round, ``vouchers`` who reached a member last that
        did not answer us itself.
        """
        self._mail = mail
        self._open: dict[int, Round] = {}
        self.silent: set[str] = set()
        self.vouchers: dict[str, str] = {}

    @contextmanager
    def open(self, target: NodeId) -> Iterator[Round]:
        """A round about ``target``; answers after the end of the block are ignored."""
        asking = Round(self._mail.next_sequence(), target)
        self._open[asking.sequence] = asking
        try:
            yield asking
        finally:
            del self._open[asking.sequence]
            if not asking.acked.is_set():
                self.silent |= {target.name, *asking.asked} - asking.answered
            self._note_voucher(asking)

    def _note_voucher(self, asking: Round) -> None:
        name = asking.target.name
        if asking.vouched in asking.asked:
            self.vouchers[name] = asking.vouched
        elif asking.vouched == name or self.vouchers.get(name) in asking.asked:
            self.vouchers.pop(name, None)

    def take(self, envelope: Envelope) -> None:
        """Hand an answer to its round."""
        asking = self._open.get(envelope.sequence)
        if asking is not None:
            self.silent.discard(envelope.source.name)
            asking.take(envelope)

    def forget(self, known: Callable[[str], object]) -> None:
        """Drop names that are not ``known`` any more."""
        self.silent = {name for name in self.silent if known(name)}
        self.vouchers = {name: voucher for name, voucher in self.vouchers.items() if known(name)}
