"""What code on a node may ask of the machine under it: clocks, dice, files. The same in production and in simulation.

Code that asks here, and not the standard library, runs under `swimring.testing` as it is: there the clocks are virtual,
the dice are seeded and the disk is simulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random


class Machine(Protocol):
    """The clocks and the dice of the machine that a node runs on."""

    @property
    def rng(self) -> random.Random:
        """Dice for staggering, shuffling and jitter; never for secrets."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by the wall clock, which other machines do not share and which may be set back."""
        ...

    def boot_time(self) -> float:
        """Seconds by a clock that runs on while the machine sleeps, from a moment that means nothing."""
        ...

    def entropy(self, size: int, /) -> bytes:
        """``size`` unpredictable bytes: for secrets and identifiers."""
        ...


class Store(Protocol):
    """Files of one node, of up to 64 MiB each; the disk bounds their number.

    Operations take turns, in the order in which they were asked for. One that has begun is finished even if it is
    cancelled meanwhile; one that raises has changed nothing. A name is 1 to 100 letters, digits, dots, dashes and
    underscores and begins with a letter or digit; those that begin with ``swimring`` are the node's own.

    Raises:
        ConfigError: this cannot be a name.
        StoreFull: there is no room, on the disk or in the file.
        StoreError: the disk cannot be read or written.
    """

    async def read(self, name: str, /) -> bytes | None:
        """What is in the file; None if there is none."""
        ...

    async def write(self, name: str, content: bytes, /) -> None:
        """Make the file hold just this. When it returns the content is on the disk.

        Whatever happens meanwhile, a crash of the machine included, the file holds the old content or the new one.
        """
        ...

    async def append(self, name: str, content: bytes, /) -> None:
        """Add to the end of the file. Until `sync` it is not on the disk: a crash can lose it, or a part of it."""
        ...

    async def sync(self, name: str, /) -> None:
        """Wait until everything in the file is on the disk."""
        ...

    async def delete(self, name: str, /) -> None:
        """Remove the file, for good; nothing happens if there is none."""
        ...

    async def names(self) -> tuple[str, ...]:
        """The names of all files, in order."""
        ...
