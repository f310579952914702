"""Helps others to reach a member: pings it for them, tries its port for them.

Only members of our own records are contacted, at the addresses we know, so that nobody can point us at a stranger.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.swim import Nack, Ping, PingRequest, RefusalAnswer, RefusalQuery

if TYPE_CHECKING:
    from swimring.identity import NodeId
    from swimring.net import Network
    from swimring.swim import Member, Profile

    from .beliefs import Beliefs
    from .mail import Delivery, Mail
    from .rounds import Rounds

_log = logging.getLogger("swimring.gossip")
_RELAY_LIMIT: Final = 64


class Relay:
    """The duty that works for other members' probes: at most 64 at once; further requests go unanswered."""

    def __init__(self, *, beliefs: Beliefs, mail: Mail, rounds: Rounds, network: Network, profile: Profile) -> None:
        """Work through ``mail`` and ``network``."""
        self._membership = beliefs.membership
        self._mail = mail
        self._rounds = rounds
        self._network = network
        self._profile = profile
        # That of the prober in the worst health; a place is not held for longer on anybody's word.
        self._longest_budget = profile.relay_budget * (profile.health_limit + 1)
        self._requests, self._pending = trio.open_memory_channel["Delivery"](_RELAY_LIMIT)

    def help_soon(self, request: Delivery) -> None:
        """Take a `PingRequest` or a `RefusalQuery`."""
        try:
            self._requests.send_nowait(request)
        except trio.WouldBlock:
            _log.debug("too busy to help %s", request.envelope.source)

    async def run(self) -> None:
        """Help, for ever."""
        limit = trio.CapacityLimiter(_RELAY_LIMIT)
        async with trio.open_nursery() as nursery:
            async for request in self._pending:
                if limit.available_tokens:
                    nursery.start_soon(self._help, request, limit)

    async def _help(self, request: Delivery, limit: trio.CapacityLimiter) -> None:
        async with limit:
            match request.envelope.message:
                case PingRequest(target=target, budget=budget):
                    await self._ping(request, target, budget)
                case RefusalQuery(target=target):
                    await self._try_port(request, target)

    async def _ping(self, request: Delivery, target: NodeId, budget: float) -> None:
        member = self._known(target)
        if member is None:
            await self._mail.reply(Nack(), to=request)
            return
        with self._rounds.open(target) as asking:
            await self._mail.send(Ping(checksum=self._membership.checksum), to=member, sequence=asking.sequence)
            with trio.move_on_after(min(budget, self._longest_budget)):
                await asking.acked.wait()
            if not asking.acked.is_set():
                await self._mail.reply(Nack(), to=request)
                with trio.move_on_after(self._profile.probe_interval):
                    await asking.acked.wait()  # late is better than never
        if asking.acked.is_set():
            await self._mail.reply(self._membership.ack(), to=request)

    async def _try_port(self, request: Delivery, target: NodeId) -> None:
        member = self._known(target)
        if member is None:
            return
        answer = RefusalAnswer(refused=await is_refused(self._network, member, patience=self._profile.probe_timeout))
        await self._mail.reply(answer, to=request)

    def _known(self, target: NodeId) -> Member | None:
        member = self._membership.get(target.name)
        return member if member is not None and member.id == target else None


async def is_refused(network: Network, member: Member, *, patience: float) -> bool:
    """Whether a connection to ``member`` is refused: its machine is there and says that nobody listens.

    Silence for ``patience`` seconds, or any other failure, is no refusal.
    """
    with trio.move_on_after(patience):
        try:
            stream = await network.connect(member.address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        await trio.aclose_forcefully(stream)
    return False
