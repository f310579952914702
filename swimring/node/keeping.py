"""The keys of a running node: scopes for a program's own work, and how all of them go elsewhere when it drains."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import trio

from swimring.errors import NodeClosed
from swimring.ownership import Progress
from swimring.service import StateForm, Terms
from swimring.swim import Phase

from .placing import Placing

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from swimring.gossip import Gossiper
    from swimring.identity import Key
    from swimring.ownership import Own, Ownership, OwnershipStatistics, Rebalancer
    from swimring.service import Service

    from .settings import Settings

_log = logging.getLogger("swimring.node")

S = TypeVar("S")


class Keeping(Placing):
    """What a `Node` does with keys: it runs what belongs to them, and hands them over."""

    def __init__(self, *, settings: Settings, gossiper: Gossiper, rebalancer: Rebalancer) -> None:
        """Nothing is owned before `use_ownership`."""
        super().__init__(settings=settings, gossiper=gossiper, rebalancer=rebalancer)
        self._ownership: Ownership | None = None
        self._hand_off = Progress()
        self._draining = False

    @property
    def hand_off(self) -> Progress:
        """How far this node is with handing its keys to others, while it drains."""
        return self._hand_off

    @property
    def ready(self) -> bool:
        """Whether this node takes keys and calls: false from the first word of draining or leaving on."""
        return self._ownership is not None and not self._draining

    @property
    def ownership(self) -> Ownership:
        """The scopes and the copies of this node, for tests and observers.

        Raises:
            NodeClosed: it has not joined yet.
        """
        if self._ownership is None:
            raise NodeClosed("this node has not joined its cluster yet")
        return self._ownership

    def ownership_statistics(self) -> OwnershipStatistics:
        """How many keys are open and kept here, and how many are still to be brought elsewhere."""
        return self.ownership.statistics()

    def own(
        self,
        key: Key,
        kind: type[S],
        /,
        *,
        service: Service | str | None = None,
        replicas: int = 0,
        sync: bool = True,
        budget: float = 1.0,
    ) -> AbstractAsyncContextManager[Own[S]]:
        """Run the block while this node owns ``key``: ``async with node.own("cron:nightly", State) as own``.

        Entering waits until it does and the last owner's scope is closed. When the key moves the block is cancelled,
        may checkpoint for ``budget`` seconds more, and ends without an error; ``own.moved`` says why.

        Args:
            key: what is owned, in the ring of ``service``, which this node has to offer.
            kind: the type of the state, as the annotation of a handler.
            service: default: this node's only one.
            replicas: nodes besides this one that keep each checkpoint in memory, at most 16.
            sync: whether a checkpoint waits for them.
            budget: seconds that the block has to end, at most 60.

        Raises:
            ConfigError: one of these is wrong.
            NodeClosed: this node leaves before it owns the key.
        """
        terms = Terms(replicas=replicas, sync=sync, budget=budget)
        return self.ownership.own(self._service(service), key, StateForm(kind, setting=f"own {key!r}"), terms)

    async def drain(self) -> None:
        """Take no more keys, and bring what is here to whoever owns it next; bounded by ``hand_over_within``.

        Calls for keys are refused with the name of the next owner meanwhile. Leaving does this by itself; after it,
        this node takes part without keys until it leaves.
        """
        self._draining = True
        await self._tell_standing(phase=Phase.DRAINING)
        self._show_members()
        await trio.lowlevel.checkpoint()
        if self._ownership is not None:
            began, within = trio.current_time(), self._settings.hand_over_within
            with trio.move_on_after(within) as patience:
                await self._ownership.hand_over(self._hand_off)
            now, took = self._hand_off.now, trio.current_time() - began
            if patience.cancelled_caught:
                text = "%d of %d keys with state were not handed over within %g s"
                _log.warning(text, now.left, now.total, within, extra={"event": "handoff.late"})
            else:
                _log.info(
                    "%d keys with state were handed over in %.1f s", now.total, took, extra={"event": "handoff.done"}
                )

    async def _hand_over(self) -> None:
        """Drain, if there is anything to hand over; once, or what was not done in its time would get twice that."""
        self._draining = True
        if self._ownership is not None and not self._ownership.is_closed:
            if self._ownership.has_state:
                await self.drain()
            self._ownership.close()

    def use_ownership(self, ownership: Ownership) -> None:
        """Keys can be owned from now on; `open_node` says so when the node has joined."""
        self._ownership = ownership

    def _show_members(self) -> None:
        """Let calls be routed by what is known now, without waiting for quiet."""
        self._rebalancer.update(self._gossiper.members)
        self._rebalancer.flush()
