"""Whose doing it is: finds, on the stack, the line of the user's code that led to a call."""

from __future__ import annotations

import enum
import functools
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import ReferenceType, WeakKeyDictionary, ref

import trio

from .gate import begun_by

if TYPE_CHECKING:
    from types import CodeType, FrameType


class Origin(enum.Enum):
    """Whose code a frame runs."""

    USER = "tests and services: everything that is not below"
    LIBRARY = "installed packages"
    STANDARD = "the standard library, and code made at run time"
    OURS = "swimring and Trio"
    MACHINERY = "what runs, imports, logs, measures and debugs tests; never to blame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """A line of code and what it called.

    Attributes:
        file: where it is.
        line: its number.
        function: the function it is in.
        called: what it called, which led to what is refused.
    """

    file: str
    line: int
    function: str
    called: str

    @property
    def origin(self) -> Origin:
        """Whose line it is."""
        return origin_of(self.file)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}, calls {self.called}"


_OF_TRIO: Final = frozenset({"trio", "trio_util", "outcome", "sniffio", "swimring"})
_OF_TESTS: Final = frozenset(
    {"pytest", "_pytest", "pluggy", "hypothesis", "coverage", "pytest_trio", "pytest_cov", "xdist", "execnet", "rich"}
)
_NEVER_TO_BLAME: Final = frozenset(
    {
        "importlib", "logging", "warnings", "traceback", "linecache", "tokenize", "inspect", "pdb", "bdb", "cmd", "gc",
        "zipimport", "zoneinfo", "gettext", "locale", "mimetypes", "encodings", "faulthandler", "trace", "doctest",
    }
)  # fmt: skip
_FROZEN_IMPORT: Final = ("<frozen importlib", "<frozen zipimport")
_PACKAGES: Final = ("site-packages", "dist-packages")
_STANDARD: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_SWIMRING: Final = str(Path(__file__).parents[1])


@functools.lru_cache(maxsize=4096)
def origin_of(file: str) -> Origin:
    """Whose code is in ``file``, as code objects call it."""
    if file.startswith("<"):
        return Origin.MACHINERY if file.startswith(_FROZEN_IMPORT) else Origin.STANDARD
    if file.startswith(_SWIMRING):
        return Origin.OURS
    parts = Path(file).parts
    for packages in _PACKAGES:
        if packages in parts:
            package = Path(parts[parts.index(packages) + 1]).stem
            return _origin_of_package(package)
    for folder in _STANDARD:
        if file.startswith(folder):
            module = Path(Path(file).relative_to(folder).parts[0]).stem
            return Origin.MACHINERY if module in _NEVER_TO_BLAME else Origin.STANDARD
    return Origin.USER


def _origin_of_package(package: str) -> Origin:
    if package in _OF_TRIO:
        return Origin.OURS
    return Origin.MACHINERY if package in _OF_TESTS else Origin.LIBRARY


def find_culprit(frame: FrameType | None, primitive: str, *, strict: bool, until: CodeType) -> Culprit | None:
    """Who called ``primitive``, from ``frame`` outwards up to the code ``until``; None if nobody is to blame.

    The user's code is, unless machinery or, without ``strict``, a library or Trio did it for purposes of its own; with
    ``strict`` these are to blame themselves. Code that runs because it is being imported is innocent.
    """
    called, suspect, user = primitive, None, None
    while frame is not None and frame.f_code is not until:
        origin = origin_of(frame.f_code.co_filename)
        if origin is Origin.MACHINERY:
            if user is None or frame.f_code.co_filename.startswith(_FROZEN_IMPORT):
                return None
        elif user is None and origin is not Origin.STANDARD:
            if origin is not Origin.USER and not strict:
                return None
            found = _culprit(frame, called)
            suspect = suspect or found
            user = found if origin is Origin.USER else None
        if user is None:
            called = _outer_name(frame, primitive) or called
        frame = frame.f_back
    return user or suspect


_started_by: Final[WeakKeyDictionary[trio.lowlevel.Task, ReferenceType[trio.lowlevel.Task]]] = WeakKeyDictionary()


def note_start(task: trio.lowlevel.Task) -> None:
    """Remember who has begun ``task``: the task that runs."""
    if trio.lowlevel.in_trio_task():
        _started_by[task] = ref(trio.lowlevel.current_task())


def find_waiting(primitive: str) -> Culprit | None:
    """Who waits, in the user's code, while the current task does that for it.

    A file that is to be streamed is opened by a task of its own, which has no line of the user on its stack; whoever
    has begun that task may have. Those of a node were not begun by whoever started the node.
    """
    task = trio.lowlevel.current_task() if trio.lowlevel.in_trio_task() else None
    while task is not None:
        starter = _started_by[task]() if task in _started_by else None
        if starter is None or begun_by(starter) != begun_by(task):
            return None
        found = _find_in(starter, primitive)
        if found is not None:
            return found
        task = starter
    return None


def _find_in(task: trio.lowlevel.Task, primitive: str) -> Culprit | None:
    called = primitive
    for frame, line in reversed(list(task.iter_await_frames())):
        if origin_of(frame.f_code.co_filename) is Origin.USER:
            return _culprit(frame, called, line=line)
        if origin_of(frame.f_code.co_filename) is Origin.OURS:
            called = _outer_name(frame, primitive) or called
    return None


def _culprit(frame: FrameType, called: str, *, line: int | None = None) -> Culprit:
    code = frame.f_code
    return Culprit(file=code.co_filename, line=line or frame.f_lineno, function=code.co_qualname, called=called)


def _outer_name(frame: FrameType, primitive: str) -> str | None:
    """What the caller of ``frame`` called; None if it is code without a name of its own, such as a dataclass has."""
    if frame.f_code.co_filename.startswith("<"):
        return None
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname} ({primitive})"
