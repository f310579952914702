"""Whose doing it is: finds, on the stack, the line of the user's code that led to a call."""

from __future__ import annotations

import enum
import functools
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from .gate import host_of

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


def find_waiting(primitive: str) -> Culprit | None:
    """Who waits, in the user's code, for what the current task does: the nearest task around it that has such a line.

    A file that is to be streamed is opened by a task of its own, which has no line of the user on its stack. Tasks of
    a node belong to it, not to whoever waits for the node to end.
    """
    if not trio.lowlevel.in_trio_task():
        return None
    task = trio.lowlevel.current_task()
    while task.parent_nursery is not None and host_of(task.parent_nursery.parent_task) == host_of(task):
        task = task.parent_nursery.parent_task
        called, found = primitive, None
        for frame, line in reversed(list(task.iter_await_frames())):
            if origin_of(frame.f_code.co_filename) is Origin.USER:
                found = _culprit(frame, called, line=line)
                break
            called = _outer_name(frame, primitive) or called
        if found is not None:
            return found
    return None


def _culprit(frame: FrameType, called: str, *, line: int | None = None) -> Culprit:
    code = frame.f_code
    return Culprit(file=code.co_filename, line=line or frame.f_lineno, function=code.co_qualname, called=called)


def _outer_name(frame: FrameType, primitive: str) -> str | None:
    """What the caller of ``frame`` called; None if it is code without a name of its own, such as a dataclass has."""
    if frame.f_code.co_filename.startswith("<"):
        return None
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname} ({primitive})"
