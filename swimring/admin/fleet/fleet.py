"""Children with labels: started, restarted one after the other, drained together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from .child import Child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence


class Fleet:
    """The nodes of one owner; `open_fleet` makes one."""

    def __init__(
        self,
        nursery: trio.Nursery,
        command: Callable[[str], Sequence[str]],
        *,
        hear: Callable[[str, str], None],
        environment: Mapping[str, str],
    ) -> None:
        """``command`` starts the node of a label; ``hear`` is called with a label and a line it said."""
        self.children: dict[str, Child] = {}
        """The last process of each label, in the order in which they were started first."""
        self._nursery = nursery
        self._command = command
        self._hear = hear
        self._environment = environment

    @property
    def running(self) -> list[Child]:
        """Those that have not ended."""
        return [child for child in self.children.values() if not child.ended.is_set()]

    async def start(self, label: str) -> Child:
        """Start the node of that label; it may not serve yet."""
        child = Child(label, self._command(label), hear=self._hear)
        self.children[label] = child
        await self._nursery.start(child.run, self._environment)
        return child

    async def restart(self, label: str) -> Child:
        """Drain the node of that label, start it again, and wait until it serves or has ended."""
        before = self.children[label]
        before.drain()
        await before.ended.wait()
        child = await self.start(label)
        await child.settled.wait()
        return child

    async def drain(self) -> None:
        """Ask all to leave, at the same time, and wait until they have ended."""
        for child in self.running:
            child.drain()
        for child in self.running:
            await child.ended.wait()


@asynccontextmanager
async def open_fleet(
    command: Callable[[str], Sequence[str]], *, hear: Callable[[str, str], None], environment: Mapping[str, str]
) -> AsyncIterator[Fleet]:
    """Own processes while the block runs; those that are left at its end are killed."""
    async with trio.open_nursery() as nursery:
        yield Fleet(nursery, command, hear=hear, environment=environment)
        nursery.cancel_scope.cancel()
