"""What waits for each of the other nodes: one message to each is under way, and what comes meanwhile shares the next.

So nothing waits longer than for one answer, and the busier a node is the more goes with one message.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

T = TypeVar("T")


class Lines(Generic[T]):
    """A line for each node that something waits for, and a task for each that is not empty.

    Nothing is refused here: who puts in bounds how much waits.
    """

    def __init__(
        self,
        send: Callable[[str, list[T]], Awaitable[None]],
        *,
        cost: Callable[[T], int],
        most: int,
        most_bytes: int,
        nursery: trio.Nursery,
    ) -> None:
        """``send(name, batch)`` makes one message of at most ``most`` and ``most_bytes`` by ``cost``, or of one."""
        self._send = send
        self._cost = cost
        self._most = most
        self._most_bytes = most_bytes
        self._nursery = nursery
        self._waiting: dict[str, deque[T]] = {}

    def waiting(self, name: str) -> int:
        """How many wait for that node, besides those under way."""
        return len(self._waiting.get(name, ()))

    def put(self, name: str, one: T) -> None:
        """Have ``one`` sent to that node."""
        line = self._waiting.get(name)
        if line is None:
            line = self._waiting[name] = deque()
            self._nursery.start_soon(self._work_off, name, line)
        line.append(one)

    async def _work_off(self, name: str, line: deque[T]) -> None:
        while line:
            await self._send(name, self._take(line))
        del self._waiting[name]

    def _take(self, line: deque[T]) -> list[T]:
        batch = [line.popleft()]
        size = self._cost(batch[0])
        while line and len(batch) < self._most and (size := size + self._cost(line[0])) <= self._most_bytes:
            batch.append(line.popleft())
        return batch
