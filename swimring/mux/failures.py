"""Errors of a handler as a record of bounded size, and back. Nothing is ever unpickled.

A record is a CBOR array: code, reason, maybe executed, retry after in milliseconds, detail. `CallError`s travel as
themselves; any other exception as a `HandlerFailed` whose detail is a tree: type name, message, frames, cause, members,
and for each error that can be raised as itself how to make it, and where it came from if that is another node.
"""

from __future__ import annotations

import traceback
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from swimring.codec import decode, encode
from swimring.errors import (
    CallError,
    CircuitOpen,
    ConnectionLost,
    DeadlineExceeded,
    Draining,
    HandlerFailed,
    InvalidRequest,
    LocalProtocolError,
    Moved,
    NoSuchHandler,
    NotOwner,
    Overloaded,
    OwnershipLost,
    RemoteProtocolError,
    StreamLost,
    StreamReset,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from swimring.identity import Key

MAX_DEPTH: Final = 8
MAX_NODES: Final = 64
MAX_TEXT: Final = 16 * 1024
MAX_RECORDS: Final = 64
MAX_NAME: Final = 128
GROUP: Final = "ExceptionGroup"
"""The declared name of every exception group; it needs no arguments, because its members are in the tree."""

Declare: TypeAlias = "Callable[[BaseException], tuple[str, bytes] | None]"
"""The name under which the type of an error is declared and its arguments as CBOR; None if it is not."""

_MAX_FRAMES: Final = 16
_MAX_REASON: Final = 4 * 1024

CODES: Final[Mapping[type[CallError], int]] = {
    Unreachable: 1,
    Overloaded: 2,
    CircuitOpen: 3,
    NotOwner: 4,
    Moved: 5,
    Draining: 6,
    DeadlineExceeded: 7,
    ConnectionLost: 8,
    StreamLost: 9,
    StreamReset: 10,
    NoSuchHandler: 11,
    InvalidRequest: 12,
    HandlerFailed: 13,
    OwnershipLost: 14,
}
"""What each class is on the wire; a subclass of the application travels as the nearest of these."""

_PLAIN: Final = {
    code: kind for kind, code in CODES.items() if kind not in (Moved, StreamLost, StreamReset, HandlerFailed)
}


def encode_failure(error: Exception, *, executed: bool, declare: Declare | None = None) -> bytes:
    """The record of ``error``; ``executed`` says that the handler had begun, whatever the error believes.

    ``declare`` says which errors can be raised as themselves by the caller; without it none can, but for groups.
    """
    if not isinstance(error, CallError):
        return encode([CODES[HandlerFailed], "", True, None, _Teller(declare).tree(error, 0)])
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    hint = None if error.retry_after is None else max(0, int(error.retry_after * 1000))
    reason = _printable(error.reason)[:_MAX_REASON]
    record = [code, reason, executed or error.maybe_executed, hint]
    try:
        return encode([*record, _detail(error, declare)])
    except LocalProtocolError:
        # Member records come from the application's side of the interface; one that cannot be encoded is left out.
        return encode([*record, None])


def decode_failure(record: bytes, *, key: Key | None = None, owner: str | None = None) -> CallError:
    """The error to raise for a record that ``owner`` sent about a call for ``key``.

    Raises:
        RemoteProtocolError: the record is malformed.
    """
    match decode(record):
        case [int(code), str(reason), bool(executed), (int() | None) as hint, *rest]:
            pass
        case _:
            raise RemoteProtocolError("malformed failure record")
    error = _build(code, reason, rest[0] if rest else None, key, owner)
    error.maybe_executed = executed
    error.retry_after = None if hint is None else min(max(hint, 0), 3_600_000) / 1000
    return error


def _build(code: int, reason: str, detail: Any, key: Key | None, owner: str | None) -> CallError:
    kind = _PLAIN.get(code)
    if kind is not None:
        return kind(reason, key=key, owner=owner)
    if code == CODES[Moved]:
        records = tuple(detail) if isinstance(detail, list) else ()
        return Moved(reason, records=records, key=key, owner=owner)
    if code == CODES[StreamLost]:
        return StreamLost(reason, offset=_number(detail), key=key, owner=owner)
    if code == CODES[StreamReset]:
        return StreamReset(reason, code=_number(detail), key=key, owner=owner)
    if code == CODES[HandlerFailed]:
        return _failed(detail, _Budget(), 0, key, owner)
    return HandlerFailed(type_name=f"failure {code}", message=reason, key=key, owner=owner)


def _detail(error: CallError, declare: Declare | None) -> object:
    match error:
        case Moved():
            return list(error.records[:MAX_RECORDS])
        case StreamLost():
            return error.offset
        case StreamReset():
            return error.code
        case HandlerFailed():
            return _Teller(declare).tree(error, 0)
        case _:
            return None


class _Budget:
    """What is left for one tree: nodes and characters."""

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.text = MAX_TEXT

    def node(self, depth: int) -> bool:
        """Whether there is room for one more node at that depth; takes it."""
        if self.nodes == 0 or depth >= MAX_DEPTH:
            return False
        self.nodes -= 1
        return True

    def clip(self, text: str) -> str:
        """As much of ``text`` as there is room for; takes it."""
        clipped = _printable(text[: self.text])[: self.text]
        self.text -= len(clipped)
        return clipped

    def take(self, size: int) -> bool:
        """Whether there is room for ``size`` bytes that cannot be cut short; takes it."""
        if size > self.text:
            return False
        self.text -= size
        return True


class _Teller:
    """Makes the tree of one failure."""

    def __init__(self, declare: Declare | None) -> None:
        self._declare = declare
        self._budget = _Budget()

    def tree(self, error: BaseException | None, depth: int) -> list[object] | None:
        """The tree below ``error``; None where there is no room, and for what is no error: a cancellation, an exit."""
        if not isinstance(error, Exception) or not self._budget.node(depth):
            return None
        if isinstance(error, HandlerFailed):
            return self._passed_on(error, depth)
        declared = self._declared(error)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        clip = self._budget.clip
        return [
            clip(_type_name(error)),
            clip(_text(error)),
            clip(_frames(error)),
            self.tree(cause, depth + 1),
            self._trees(members, depth + 1),
            *([] if declared is None else [declared]),
        ]

    def _passed_on(self, error: HandlerFailed, depth: int) -> list[object]:
        # It failed elsewhere and passes through here: its own story is worth more than ours. What it was declared as
        # there says nothing to whoever called us.
        clip = self._budget.clip
        return [
            clip(error.type_name),
            clip(error.message),
            clip(error.frames),
            self.tree(error.remote_cause, depth + 1),
            self._trees(error.members, depth + 1),
            None,
            None if error.node is None else clip(error.node),
            error.key if error.key is not None and self._budget.take(len(error.key)) else None,
        ]

    def _trees(self, errors: Iterable[BaseException], depth: int) -> list[list[object]]:
        return [packed for packed in (self.tree(error, depth) for error in errors) if packed is not None]

    def _declared(self, error: Exception) -> list[object] | None:
        found: tuple[str, bytes] | None = None
        if isinstance(error, ExceptionGroup):
            found = (GROUP, b"")
        elif self._declare is not None:
            found = self._declare(error)
        return list(found) if found is not None and self._budget.take(len(found[0]) + len(found[1])) else None


def _failed(node: Any, budget: _Budget, depth: int, key: Key | None, owner: str | None) -> HandlerFailed:
    match node:
        case [str(type_name), str(message), str(frames), cause, [*members], *more] if budget.node(depth):
            declared, raised_on, raised_for = _more(more)
            return HandlerFailed(
                type_name=type_name,
                message=message,
                frames=frames,
                remote_cause=None if cause is None else _failed(cause, budget, depth + 1, key, owner),
                members=tuple(_failed(member, budget, depth + 1, key, owner) for member in members),
                key=key if raised_on is None else raised_for,
                owner=owner,
                node=raised_on,
                declared=declared,
            )
        case _:
            raise RemoteProtocolError("malformed or oversized tree of a failure record")


def _more(items: list[Any]) -> tuple[tuple[str, bytes] | None, str | None, Key | None]:
    """The items that a tree has grown: how to raise it, and for one that passed on its node and key."""
    declared, node, key = [*items, None, None, None][:3]
    if isinstance(node, (str, NoneType)) and isinstance(key, (str, bytes, NoneType)):
        match declared:
            case None:
                return None, node, key
            case [str(name), bytes(arguments), *_]:
                return (name, arguments) if len(name) <= MAX_NAME else None, node, key
    raise RemoteProtocolError("malformed tree of a failure record")


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return error.message if isinstance(error, BaseExceptionGroup) else str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ of the application must not hide that the handler failed
        return "<no text: its __str__ raised>"


def _frames(error: BaseException) -> str:
    summary = traceback.extract_tb(error.__traceback__, limit=-_MAX_FRAMES)
    return "\n".join(f"{entry.filename}:{entry.lineno} in {entry.name}" for entry in summary)


def _printable(text: str) -> str:
    """Text that UTF-8 can carry."""
    return text.encode("utf-8", "backslashreplace").decode()


def _number(detail: object) -> int:
    if type(detail) is not int or not 0 <= detail < 2**63:
        raise RemoteProtocolError("malformed detail of a failure record")
    return detail
