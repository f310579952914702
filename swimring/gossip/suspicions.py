"""Watches every suspect: a task each, whose cancel scope's deadline is the end of the suspect's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from swimring.swim import Change, Profile, Suspicion

    from .beliefs import Beliefs


class Suspicions:
    """The duty that declares suspects dead."""

    def __init__(self, beliefs: Beliefs, profile: Profile) -> None:
        """Follow ``beliefs``."""
        self._beliefs = beliefs
        self._profile = profile
        self._nursery: trio.Nursery | None = None
        self._patience: dict[str, tuple[Suspicion, trio.CancelScope]] = {}
        beliefs.followers.append(self._follow)

    def __len__(self) -> int:
        return len(self._patience)

    async def run(self) -> None:
        """Watch, for ever."""
        self._patience.clear()
        try:
            async with trio.open_nursery() as self._nursery:
                for suspicion in self._beliefs.membership.suspicions:
                    self._watch(suspicion)
                await trio.sleep_forever()
        finally:
            self._nursery = None  # a closed one takes no tasks; what begins before the next run is found by it

    def _follow(self, change: Change) -> None:
        if change.suspicion is not None:
            self._watch(change.suspicion)
        elif self._beliefs.membership.suspicion(change.member.name) is None:
            _, patience = self._patience.pop(change.member.name, (None, None))
            if patience is not None:
                patience.cancel()

    def _watch(self, suspicion: Suspicion) -> None:
        watched, patience = self._patience.get(suspicion.suspect.name, (None, None))
        if patience is not None and watched is suspicion:
            patience.deadline = suspicion.deadline  # a confirmation draws it nearer
            return
        if patience is not None:
            patience.cancel()
        if self._nursery is not None:
            patience = trio.CancelScope(deadline=suspicion.deadline)
            self._patience[suspicion.suspect.name] = (suspicion, patience)
            self._nursery.start_soon(
                self._await_refutation, suspicion, patience, name=f"suspicion of {suspicion.suspect}"
            )

    async def _await_refutation(self, suspicion: Suspicion, patience: trio.CancelScope) -> None:
        with patience:
            await trio.sleep_forever()
        if self._watched(suspicion) and trio.current_time() - patience.deadline > self._profile.probe_timeout / 2:
            # We were not running when the time ended: the refutation may wait in our socket.
            await trio.sleep(self._profile.probe_interval)
        if self._watched(suspicion):
            del self._patience[suspicion.suspect.name]
            self._beliefs.declare_dead(suspicion)

    def _watched(self, suspicion: Suspicion) -> bool:
        return self._patience.get(suspicion.suspect.name, (None, None))[0] is suspicion
