"""A refused connection is evidence: nobody listens any more where a member did.

One refusal proves little (a firewall, a wrong route); when as many other members as the profile asks for are refused,
too, that generation of the member is dead, without waiting for the suspicion to end. A killed process is thus known
in the time of a few round trips; a lost host or a partition refuses nothing and costs the time of the profile. A
profile whose number is None does without this rule.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.swim import RefusalQuery, Status

from .relay import is_refused

if TYPE_CHECKING:
    import random

    from swimring.net import Network
    from swimring.swim import Member, Profile

    from .beliefs import Beliefs
    from .mail import Mail
    from .rounds import Rounds

_log = logging.getLogger("swimring.gossip")
_SPARE_WITNESSES: Final = 2
_ATTEMPTS: Final = 2


class Evidence:
    """Collects refusals."""

    def __init__(
        self, *, beliefs: Beliefs, mail: Mail, rounds: Rounds, network: Network, profile: Profile, rng: random.Random
    ) -> None:
        """Ask others through ``mail``."""
        self._beliefs = beliefs
        self._membership = beliefs.membership
        self._mail = mail
        self._rounds = rounds
        self._network = network
        self._profile = profile
        self._rng = rng
        self._open: set[str] = set()

    async def examine(self, member: Member) -> None:
        """Try to connect to ``member``; if that is refused, ask the others."""
        if self._profile.refusals_to_confirm is not None and await is_refused(
            self._network, member, patience=self._profile.probe_timeout
        ):
            await self.collect(member)

    async def collect(self, member: Member) -> None:
        """Our connection to ``member`` was refused: declare it dead if enough others are refused as well."""
        confirmations = self._profile.refusals_to_confirm
        if confirmations is None or member.name in self._open:
            return
        self._open.add(member.name)
        try:
            if await self._confirmed(member, confirmations):
                _log.info(
                    "%s refuses connections to us and to others: it is dead",
                    member.name,
                    extra={"event": "member.refused", "peer": member.name},
                )
                self._beliefs.bury(member.id)
        finally:
            self._open.discard(member.name)

    async def _confirmed(self, member: Member, confirmations: int) -> bool:
        needed = min(confirmations, self._membership.active_count - 2)
        if needed <= 0:
            return True
        with self._rounds.open(member.id) as asking:
            for _attempt in range(_ATTEMPTS):
                with trio.move_on_after(self._profile.probe_timeout):
                    await self._ask(asking.sequence, asking.asked, member, needed + _SPARE_WITNESSES)
                    await asking.wait_refused(needed)
                    return True
        return False

    async def _ask(self, sequence: int, asked: set[str], member: Member, count: int) -> None:
        def can_tell(each: Member) -> bool:
            return each.status is Status.ALIVE and each.name != member.name

        for witness in self._membership.sample(self._rng, count, can_tell):
            asked.add(witness.name)
            await self._mail.send(RefusalQuery(target=member.id), to=witness, sequence=sequence)
