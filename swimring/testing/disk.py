"""Simulated disks: each machine has one, which outlives the processes that run on it; a process sees it as its `Store`.

When a process is killed, what it was doing is done or not, and all that it had done stays: the kernel has it. When the
machine is lost, what was not synced is lost from the end on, or all. Faults make it worse, each a `with` block:

| verdict | what becomes of it |
|---|---|
| full | writing and appending raise `StoreFull` |
| failing | any operation raises `StoreError` with that chance |
| latency | replaces the usual 0.5 to 3 ms of an operation |
| torn | at a crash, appending under way and what was not synced survive up to any byte, with blocks of zeros |
| forgets | a killed process loses what it had not synced, as a lost machine does |
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from swimring.errors import StoreError, StoreFull
from swimring.net import check_content, check_file_name

from .faults import Latency
from .simulation import dice

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from .fabric import Life
    from .trace import Trace

T = TypeVar("T")

USUAL: Final = Latency(low=0.0005, high=0.003)
"""How long an operation takes on a disk that is not slow."""

_BLOCK: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskVerdict:
    """How a disk is at the moment: see the table at the top of this module."""

    full: bool = False
    failing: float = 0.0
    latency: Latency | None = None
    torn: bool = False
    forgets: bool = False

    def and_also(self, other: DiskVerdict) -> DiskVerdict:
        """Both at once: chances are independent, the later latency wins."""
        return DiskVerdict(
            full=self.full or other.full,
            failing=1 - (1 - self.failing) * (1 - other.failing),
            latency=other.latency or self.latency,
            torn=self.torn or other.torn,
            forgets=self.forgets or other.forgets,
        )


class DiskFault(Protocol):
    """Anything that judges disks: the one below, or yours."""

    def judge_disk(self, host: str) -> DiskVerdict:
        """The verdict on the disk of ``host``. Pure."""
        ...


@dataclass(frozen=True, slots=True)
class DiskTrouble:
    """The disks of ``hosts`` (None: all disks) get one and the same verdict."""

    verdict: DiskVerdict
    hosts: frozenset[str] | None = None

    def judge_disk(self, host: str) -> DiskVerdict:
        """The verdict, for those concerned."""
        return self.verdict if self.hosts is None or host in self.hosts else DiskVerdict()


@dataclass(slots=True)
class _File:
    """``content`` as processes see it; its first ``synced`` bytes survive anything, if ``listed`` does."""

    content: bytearray = field(default_factory=bytearray)
    synced: int = 0
    listed: bool = False
    """Whether the directory says on the disk that this file is there."""
    ends: list[int] = field(default_factory=list)
    """Where each piece that was appended and not synced ends."""

    def settle(self) -> None:
        """All of it is on the disk."""
        self.synced, self.listed = len(self.content), True
        self.ends.clear()

    def add(self, content: bytes) -> None:
        """A piece more, not on the disk yet."""
        self.content += content
        self.ends.append(len(self.content))


class SimulatedDisk:
    """What one machine keeps."""

    def __init__(self, rng: random.Random) -> None:
        """Empty."""
        self.rng = rng
        self.files: dict[str, _File] = {}

    def content(self, name: str) -> bytes | None:
        """What a process would read now; None if there is no such file. For invariants and tests: it takes no time."""
        file = self.files.get(name)
        return None if file is None else bytes(file.content)

    def wipe(self) -> None:
        """Another disk, an empty one."""
        self.files.clear()

    def append(self, name: str, content: bytes) -> None:
        """Add to a file, which is made if need be."""
        self.files.setdefault(name, _File()).add(content)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file beside, sync it, rename it, sync the directory."""
        file = self.files[name] = _File(bytearray(content))
        file.settle()

    def sync(self, name: str) -> None:
        """What is in the file is on the disk."""
        if name in self.files:
            self.files[name].settle()

    def lose_unsynced(self, *, torn: bool) -> None:
        """The machine is lost: of what was not synced some is there, from the beginning on, or nothing."""
        for name, file in sorted(self.files.items()):
            if not file.listed and self.rng.random() < 0.5:
                del self.files[name]
            elif file.ends:
                kept = self.rng.randint(file.synced, file.ends[-1]) if torn else self._some_end(file)
                tail = bytes(file.content[file.synced : kept])
                file.content[file.synced :] = self.tear(tail) if torn else tail
                file.settle()

    def tear(self, content: bytes) -> bytes:
        """``content`` as it can be found when its blocks were written in any order: some are still zeros."""
        blocks = [content[at : at + _BLOCK] for at in range(0, len(content), _BLOCK)]
        return b"".join(block if self.rng.random() < 0.8 else bytes(len(block)) for block in blocks)

    def _some_end(self, file: _File) -> int:
        return self.rng.choice([file.synced, *file.ends])


class Disks:
    """The disks of all machines, and the faults in force."""

    def __init__(self, seed: int, trace: Trace) -> None:
        """No disks yet."""
        self._seed = seed
        self._trace = trace
        self._disks: dict[str, SimulatedDisk] = {}
        self._faults: list[DiskFault] = []

    def of(self, host: str) -> SimulatedDisk:
        """The disk of ``host``."""
        if host not in self._disks:
            self._disks[host] = SimulatedDisk(dice("disk", self._seed, host))
        return self._disks[host]

    def store(self, life: Life) -> SimulatedStore:
        """The disk of its host, as one life sees it."""
        return SimulatedStore(self.of(life.host), life, judge=lambda: self._judge(life.host), trace=self._trace)

    @contextmanager
    def inject(self, fault: DiskFault) -> Iterator[None]:
        """``fault`` is in force within the block."""
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults = [known for known in self._faults if known is not fault]

    def _judge(self, host: str) -> DiskVerdict:
        verdict = DiskVerdict()
        for fault in self._faults:
            verdict = verdict.and_also(fault.judge_disk(host))
        return verdict


class SimulatedStore:
    """The files of one life of a machine: a `swimring.service.Store`."""

    def __init__(self, disk: SimulatedDisk, life: Life, *, judge: Callable[[], DiskVerdict], trace: Trace) -> None:
        """Made by `Disks.store`."""
        self._disk = disk
        self._life = life
        self._judge = judge
        self._trace = trace
        self._turn = trio.Lock()
        self._scope = trio.CancelScope()
        self._under_way: Callable[[], object] | None = None
        self._appending: tuple[str, bytes] | None = None
        self._grows = False
        life.opened(self)

    def __repr__(self) -> str:
        return f"<SimulatedStore of {self._life}>"

    async def read(self, name: str, /) -> bytes | None:
        """See `swimring.service.Store.read`."""
        check_file_name(name)
        return await self._operate(name, lambda: self._disk.content(name))

    async def write(self, name: str, content: bytes, /) -> None:
        """See `swimring.service.Store.write`."""
        check_content(check_file_name(name), len(content))
        await self._operate(name, lambda: self._disk.replace(name, content), changes="write", content=content)

    async def append(self, name: str, content: bytes, /) -> None:
        """See `swimring.service.Store.append`."""
        check_file_name(name)

        def add() -> None:
            file = self._disk.files.get(name)
            check_content(name, len(content) + (0 if file is None else len(file.content)))
            self._disk.append(name, content)

        await self._operate(name, add, changes="append", content=content)

    async def sync(self, name: str, /) -> None:
        """See `swimring.service.Store.sync`."""
        check_file_name(name)
        await self._operate(name, lambda: self._disk.sync(name), changes="sync")

    async def delete(self, name: str, /) -> None:
        """See `swimring.service.Store.delete`."""
        check_file_name(name)
        await self._operate(name, lambda: self._disk.files.pop(name, None), changes="delete")

    async def names(self) -> tuple[str, ...]:
        """See `swimring.service.Store.names`."""
        return await self._operate("names", lambda: tuple(sorted(self._disk.files)))

    def die(self, *, silently: bool) -> None:
        """The process is gone, or with ``silently`` the machine: what was under way is done, or not, or half done."""
        rng, verdict = self._disk.rng, self._judge()
        effect, appending = self._under_way, self._appending
        self._under_way = None
        if effect is not None and not (verdict.full and self._grows):
            if appending is not None and verdict.torn:
                name, content = appending
                self._disk.append(name, self._disk.tear(content[: rng.randint(0, len(content))]))
            elif rng.random() < 0.5:
                effect()
        if silently or verdict.forgets:
            self._disk.lose_unsynced(torn=verdict.torn)
        self._scope.cancel()

    async def _operate(self, name: str, effect: Callable[[], T], *, changes: str = "", content: bytes = b"") -> T:
        async with self._turn:
            self._check_life()
            verdict = self._judge()
            if changes:
                self._under_way = effect
                self._appending = (name, content) if changes == "append" else None
                self._grows = changes in ("write", "append")
            with trio.CancelScope(shield=True) as self._scope:
                await trio.sleep((verdict.latency or USUAL).draw(self._disk.rng))
            if not self._life.alive:
                await trio.lowlevel.checkpoint()  # its process is being cancelled
            self._check_life()
            self._under_way = None
            if verdict.failing and self._disk.rng.random() < verdict.failing:
                raise StoreError(name, "Input/output error (simulated)")
            if verdict.full and changes in ("write", "append"):
                raise StoreFull(name, "No space left on device (simulated)")
            result = effect()
            if changes:
                self._trace.record(trio.current_time(), f"{changes} {self._life.host}/{name}", content)
            return result

    def _check_life(self) -> None:
        if not self._life.alive:
            raise trio.ClosedResourceError(f"{self._life} is over")
