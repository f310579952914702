"""Runs an async function in virtual time, by a seed: the same seed, the same schedule.

Trio has all the parts but no public switch for a seeded scheduler (its own Hypothesis plug-in uses a private one), so
this module sets private names while a simulation runs and puts them back. It does so for the versions of Trio it was
tested with and refuses others by name.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import trio
from trio import _threads as threads
from trio._core import _run as scheduler

from swimring.errors import ConfigError

from .clock import VirtualClock
from .culprits import note_start
from .guard import ask, guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableSequence

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

TESTED_WITH: Final = ("0.31", "0.32", "0.33", "0.34", "0.35")
"""The versions of Trio whose private switches are known to do what this module needs."""

_running: list[int] = []
"""The seed of the simulation that runs in this process, if one does: the switches are global, so it is alone."""


def run_simulation(main: Callable[[*Ts], Awaitable[T]], *args: *Ts, seed: int) -> T:
    """Run ``main(*args)`` to its end in virtual time, and return what it returns.

    Whenever every task waits, the clock jumps to the next deadline: hours take milliseconds. What would not repeat
    (real files, sockets, threads, processes, clocks, the dice of the operating system) is refused where it is called,
    unless that is within `allow`.

    Raises:
        NotRepeatable: that has happened; also if the code under test has swallowed the refusal.
        ConfigError: this version of Trio is not one that was tested, or a simulation is running already.
        BaseException: what ``main`` raises, with a note that names the seed.
    """
    _check_trio()
    if _running:
        raise ConfigError("seed", seed, "one simulation at a time in a process: Trio's scheduler is global")
    _running.append(seed)
    try:
        with _seeded_scheduler(seed), _seeded_random(seed), _no_threads(), guarded(run_simulation.__code__):
            return trio.run(main, *args, clock=VirtualClock())
    except BaseException as error:
        error.add_note(f"simulation failed with seed={seed}; run_simulation(..., seed={seed}) repeats it")
        raise
    finally:
        _running.clear()


def dice(*purpose: object) -> random.Random:
    """Dice that follow from what they are for, seed included, and from nothing else."""
    return random.Random(" ".join(map(str, purpose)))  # noqa: S311 - to repeat is what they are for


def current_seed() -> int:
    """The seed of the running simulation.

    Raises:
        ConfigError: none is running.
    """
    if not _running:
        raise ConfigError("seed", None, "outside run_simulation a seed has to be given")
    return _running[0]


def _check_trio() -> None:
    if ".".join(trio.__version__.split(".")[:2]) not in TESTED_WITH:
        raise ConfigError("trio", trio.__version__, f"simulation was tested with {', '.join(TESTED_WITH)}")


@contextlib.contextmanager
def _seeded_scheduler(seed: int) -> Iterator[None]:
    """Every batch of runnable tasks is ordered by age, then shuffled by seeded dice.

    Trio keeps tasks and cancel scopes in sets, whose order follows from memory addresses. That order shows when several
    waits are cancelled at once and their abort functions do something, such as sending a frame. So both get a hash
    that follows from the order of their creation instead.
    """
    with contextlib.ExitStack() as undo:
        _replace(undo, scheduler, "_r", new=_Shuffler(seed))
        _replace(undo, scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True)
        first = itertools.count(1)
        births: dict[int, int] = {}

        def remember(original: Callable[..., None]) -> Callable[..., None]:
            def create(self: object, *args: Any, **kwargs: Any) -> None:
                births[id(self)] = next(first)  # an address is used again only by a newer object, which comes by here
                original(self, *args, **kwargs)
                if isinstance(self, scheduler.Task):
                    note_start(self)

            return create

        for kind in (scheduler.Task, scheduler.CancelStatus):
            _replace(undo, kind, "__init__", new=remember(kind.__init__))
            _replace(undo, kind, "__hash__", new=lambda self: births.get(id(self), 0))
        yield


class _Shuffler(random.Random):
    """Most batches are of one task."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if len(x) > 1:
            super().shuffle(x)


@contextlib.contextmanager
def _seeded_random(seed: int) -> Iterator[None]:
    """Applications use the dice of the module `random`: seed them, and give the old state back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextlib.contextmanager
def _no_threads() -> Iterator[None]:
    start = vars(threads)["start_thread_soon"]

    def start_if_allowed(*args: Any, **kwargs: Any) -> None:
        ask("a thread of Trio")
        start(*args, **kwargs)

    with contextlib.ExitStack() as undo:
        _replace(undo, threads, "start_thread_soon", new=start_if_allowed)
        yield


def _replace(undo: contextlib.ExitStack, owner: object, name: str, *, new: object) -> None:
    if name in vars(owner):
        undo.callback(setattr, owner, name, vars(owner)[name])
    else:
        undo.callback(delattr, owner, name)  # it was inherited
    setattr(owner, name, new)
