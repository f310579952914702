"""Refuses, inside a simulation, what would make it another one each time, and names who did it.

Three nets, because there is no one that catches all: an audit hook for files, sockets and processes; functions of the
standard library that are replaced while a simulation runs, also where the user's modules have imported them by name;
and methods of `datetime`, a type of the interpreter, in place. Not caught: a function of the clock or the dice that was
stored elsewhere before (a default argument, an attribute), and what extension modules do by themselves.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import datetime
import functools
import gc
import os
import random
import socket
import sys
import threading
import time
import uuid
import zoneinfo
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swimring.errors import ConfigError

from .culprits import Origin, find_culprit, find_waiting, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, ModuleType

    from .culprits import Culprit

_CLOCK: Final = "the clock of a simulation is trio.current_time(), a node's is request.node.host.wall_ms()"
_SLEEP: Final = "await trio.sleep(...), which takes no time here"
_DICE: Final = "draw from request.node.host.rng or .entropy(size), or from the module random, which are seeded here"
_FILE: Final = "keep it in request.node.store, whose disk is simulated here"
_SOCKET: Final = "nodes talk over the simulated network: by calls, or by cluster.network.at(host)"
_THREAD: Final = "virtual time would jump past it: await instead"

_CLOCKS: Final = (
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "clock_gettime",
    "clock_gettime_ns", "process_time", "process_time_ns", "thread_time", "thread_time_ns",
)  # fmt: skip
_CONVERSIONS: Final = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""They ask the clock if they are given no time; where that argument is."""
_LOOKS: Final = ("stat", "lstat", "access", "readlink", "statvfs", "mkfifo", "mknod")
"""What looks at the disk, or makes something on it, without an audit event."""
_THREADS: Final = ("start_new_thread", "start_new", "start_joinable_thread")
_EVENTS: Final = {
    **dict.fromkeys(["socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg"], _SOCKET),
    **dict.fromkeys(["socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"], _SOCKET),
    **dict.fromkeys(["subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"], _THREAD),
    **dict.fromkeys(["open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir"], _FILE),
    **dict.fromkeys(["os.truncate", "os.link", "os.symlink", "os.utime", "os.chmod", "sqlite3.connect"], _FILE),
    **dict.fromkeys(["os.chdir", "os.chown"], _FILE),
}
_NOT_STRICT: Final = _FILE
"""Libraries read files of their own; sockets, threads and processes are nobody's."""

_allowed: Final[ContextVar[bool]] = ContextVar("simulation_allows", default=False)


class NotRepeatable(AssertionError):
    """Code in a simulation did what would not be the same the next time; the text says where, what, and what instead.

    Attributes:
        culprit: the line that did it.
    """

    def __init__(self, culprit: Culprit, instead: str) -> None:
        """Blame ``culprit``."""
        super().__init__(culprit, instead)
        self.culprit = culprit
        self.instead = instead

    def __str__(self) -> str:
        return (
            f"{self.culprit}, which a simulation cannot repeat: {self.instead}; "
            "or accept that: with swimring.testing.allow('reason')"
        )


class Guard:
    """What one simulation has caught."""

    def __init__(self, until: CodeType) -> None:
        """Look at the frames that ``until`` has called, in this thread."""
        self.caught: NotRepeatable | None = None
        self._until = until
        self._thread = threading.get_ident()

    def ask(self, primitive: str, instead: str, *, strict: bool, forgiving: bool = False) -> None:
        """Whether ``primitive`` may be called now; see `find_culprit` for ``strict``.

        With ``forgiving``, libraries and Trio may call it unless the user's code has made them.

        Raises:
            NotRepeatable: no; the first one is remembered, in case the code under test swallows it.
        """
        if _allowed.get() or threading.get_ident() != self._thread:
            return
        culprit = find_culprit(sys._getframe(2), primitive, strict=strict, until=self._until)  # noqa: SLF001
        if culprit is not None and culprit.origin is not Origin.USER:
            culprit = find_waiting(primitive) or (None if forgiving else culprit)
        if culprit is not None:
            refusal = NotRepeatable(culprit, instead)
            self.caught = self.caught or refusal
            raise refusal


_guard: Guard | None = None
"""The one of the simulation that runs in this process."""

_hooked = False


@contextlib.contextmanager
def allow(reason: str) -> Iterator[None]:
    """Within the block, and in tasks that begin in it, a simulation may touch the real world; ``reason`` says why.

    Virtual time does not wait for it, and whether runs still repeat is then up to the code in the block.

    Raises:
        ConfigError: there is no reason.
    """
    if not reason:
        raise ConfigError("reason", reason, "say why this may touch the real world")
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def ask(primitive: str, instead: str = _THREAD) -> None:
    """Refuse ``primitive``, a thread, wherever it is called from; nothing happens where it is allowed.

    Raises:
        NotRepeatable: it is not.
    """
    if _guard is not None:
        _guard.ask(primitive, instead, strict=True)


@contextlib.contextmanager
def guarded(until: CodeType) -> Iterator[Guard]:
    """Within the block, what ``until`` calls is watched; what was caught and swallowed is raised at the end."""
    global _guard  # noqa: PLW0603 - audit hooks are for ever, and know nothing but their process
    _hook_once()
    with contextlib.ExitStack() as undo:
        guard = _guard = Guard(until)
        undo.callback(_forget)
        _watch_functions(undo)
        _watch_datetime(undo)
        try:
            yield guard
        except BaseException as error:
            if guard.caught is not None and error is not guard.caught:
                error.add_note(f"first of all, {guard.caught}")
            raise
    if guard.caught is not None:
        raise guard.caught


def _forget() -> None:
    global _guard  # noqa: PLW0603 - see above
    _guard = None


# ------------------------------------------------------------------------------------------------------ the audit hook


def _hook_once() -> None:
    global _hooked  # noqa: PLW0603 - a hook cannot be removed
    if not _hooked:
        _hooked = True
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _guard is not None and event in _EVENTS and (event != "open" or _is_file(args[0])):
        instead = _EVENTS[event]
        _guard.ask(event, instead, strict=instead is not _NOT_STRICT)


def _is_file(path: object) -> bool:
    """Whether ``path`` names one that can be another the next time."""
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a descriptor, which was opened before
    name = os.fsdecode(path)
    return name != os.devnull and not name.startswith(zoneinfo.TZPATH)


# ------------------------------------------------------------------------------------------------------- the functions


def _watch_functions(undo: contextlib.ExitStack) -> None:
    """Replace them in their modules, and in the user's modules that have imported them by name."""
    replaced: dict[int, Any] = {}
    originals: dict[int, Any] = {}
    for watched in _watched():
        original = vars(watched.module)[watched.name]
        originals[id(original)] = original
        replaced[id(original)] = guarding = _guarding(original, watched)
        undo.callback(setattr, watched.module, watched.name, original)
        setattr(watched.module, watched.name, guarding)
    undo.callback(_swap, {id(guarding): originals[known] for known, guarding in replaced.items()}, set(sys.modules))
    _swap(replaced, set(sys.modules))
    for owner, name, guarding in (
        (threading.Thread, "start", _guarding(threading.Thread.start, _THREAD_START)),
        (random.Random, "seed", _seeding(random.Random.seed, "random.Random")),
        (random, "seed", _seeding(random.seed, "random.seed")),
    ):
        undo.callback(setattr, owner, name, vars(owner)[name])
        setattr(owner, name, guarding)


def _swap(others: dict[int, Any], known: set[str]) -> None:
    """Put ``others`` in the place of what has these ids: in the user's modules, and in all that are not ``known``."""
    for module, found in list(sys.modules.items()):
        names = getattr(found, "__dict__", {})  # not all is a module: None forbids an import
        file = names.get("__file__")
        if module not in known or (isinstance(file, str) and origin_of(file) is Origin.USER):
            for name, value in list(names.items()):
                if id(value) in others:
                    names[name] = others[id(value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """A function that is replaced; ``matters`` tells by its arguments whether a call would be another each time."""

    module: ModuleType
    name: str
    instead: str
    strict: bool = False
    forgiving: bool = False
    matters: Callable[..., bool] = lambda *_args, **_kwargs: True
    called: str = ""


_THREAD_START: Final = _Watched(
    module=threading, name="Thread", called="threading.Thread.start", instead=_THREAD, strict=True
)


def _watched() -> Iterator[_Watched]:
    for each in _all_watched():
        if hasattr(each.module, each.name):  # not all systems and versions have all of them
            yield each


def _all_watched() -> Iterator[_Watched]:
    for name in _CLOCKS:
        yield _Watched(module=time, name=name, instead=_CLOCK)
    yield _Watched(module=os, name="times", instead=_CLOCK)
    for name, place in _CONVERSIONS.items():
        yield _Watched(module=time, name=name, instead=_CLOCK, matters=functools.partial(_lacks, place))
    yield _Watched(module=time, name="sleep", instead=_SLEEP)
    for module, name in ((os, "urandom"), (os, "getrandom"), (random, "_urandom"), (uuid, "uuid1"), (uuid, "uuid4")):
        yield _Watched(module=module, name=name, instead=_DICE)
    for name in _LOOKS:
        yield _Watched(module=os, name=name, instead=_FILE, matters=lambda path, *_args, **_kwargs: _is_file(path))
    for module, name in ((socket, "socketpair"), (os, "pipe"), (os, "pipe2")):
        yield _Watched(module=module, name=name, instead=_SOCKET, strict=True, forgiving=True)
    for name in _THREADS:
        yield _Watched(module=_thread, name=name, instead=_THREAD, strict=True)


def _lacks(place: int, *args: Any) -> bool:
    """Whether no time is given at ``place``."""
    return len(args) <= place or args[place] is None


def _guarding(original: Callable[..., Any], watched: _Watched) -> Callable[..., Any]:
    called = watched.called or f"{watched.module.__name__}.{watched.name}"

    @functools.wraps(original)
    def guarding(*args: Any, **kwargs: Any) -> Any:
        if _guard is not None and watched.matters(*args, **kwargs):
            _guard.ask(called, watched.instead, strict=watched.strict, forgiving=watched.forgiving)
        return original(*args, **kwargs)

    return guarding


def _seeding(original: Callable[..., None], primitive: str) -> Callable[..., None]:
    """Dice without a seed take one from the operating system."""

    @functools.wraps(original)
    def seed(*args: Any, **kwargs: Any) -> None:
        given = [*args, *kwargs.values()]
        if _guard is not None and all(each is None or isinstance(each, random.Random) for each in given):
            _guard.ask(f"{primitive} without a seed", _DICE, strict=False)
        original(*args, **kwargs)

    return seed


# ------------------------------------------------------------------------------------------------------------ datetime


def _watch_datetime(undo: contextlib.ExitStack) -> None:
    """Replace `now` and `utcnow` in the type itself: a type in its place would be another one to `isinstance`."""
    attributes = gc.get_referents(vars(datetime.datetime))[0]  # behind the read-only view; of CPython only
    for name in ("now", "utcnow"):
        original = attributes[name]

        def guarding(cls: type, /, *args: Any, _original: Any = original, _name: str = name, **kwargs: Any) -> Any:
            if _guard is not None:
                _guard.ask(f"datetime.datetime.{_name}", _CLOCK, strict=False)
            return _original.__get__(None, cls)(*args, **kwargs)

        undo.callback(_set_attribute, attributes, name, original)
        _set_attribute(attributes, name, classmethod(guarding))


def _set_attribute(attributes: dict[str, Any], name: str, value: object) -> None:
    attributes[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
