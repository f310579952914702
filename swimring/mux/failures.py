"""Errors of a handler as a record of bounded size, and back. Nothing is ever unpickled.

A record is a CBOR array: code, reason, maybe executed, retry after in milliseconds, detail. `CallError`s travel as
themselves; any other exception as a `HandlerFailed` whose detail is a tree: type name, message, frames, cause, members.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

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
    RemoteProtocolError,
    StreamLost,
    StreamReset,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.identity import Key

MAX_DEPTH: Final = 8
MAX_NODES: Final = 64
MAX_TEXT: Final = 16 * 1024
MAX_RECORDS: Final = 64
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
}
"""What each class is on the wire; a subclass of the application travels as the nearest of these."""

_PLAIN: Final = {
    code: kind for kind, code in CODES.items() if kind not in (Moved, StreamLost, StreamReset, HandlerFailed)
}


def encode_failure(error: BaseException, *, executed: bool) -> bytes:
    """The record of ``error``; ``executed`` says that the handler had begun, whatever the error believes."""
    if not isinstance(error, CallError):
        return encode([CODES[HandlerFailed], "", True, None, _tree(error, _Budget(), 0)])
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    hint = None if error.retry_after is None else max(0, int(error.retry_after * 1000))
    reason = _printable(error.reason)[:_MAX_REASON]
    record = [code, reason, executed or error.maybe_executed, hint]
    try:
        return encode([*record, _detail(error)])
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


def _detail(error: CallError) -> object:
    match error:
        case Moved():
            return list(error.records[:MAX_RECORDS])
        case StreamLost():
            return error.offset
        case StreamReset():
            return error.code
        case HandlerFailed():
            return _tree(error, _Budget(), 0)
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
        clipped = _printable(text[: self.text])
        self.text -= len(clipped)
        return clipped


def _tree(error: BaseException, budget: _Budget, depth: int) -> list[object] | None:
    if not budget.node(depth):
        return None
    if isinstance(error, HandlerFailed):
        # It failed elsewhere and passes through here: its own story is worth more than ours.
        type_name, message, frames = error.type_name, error.message, error.frames
        cause: BaseException | None = error.remote_cause
        members: tuple[BaseException, ...] = error.members
    else:
        type_name, message, frames = _type_name(error), _text(error), _frames(error)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    node: list[object] = [budget.clip(type_name), budget.clip(message), budget.clip(frames)]
    node.append(None if cause is None else _tree(cause, budget, depth + 1))
    node.append([packed for packed in (_tree(member, budget, depth + 1) for member in members) if packed is not None])
    return node


def _failed(node: Any, budget: _Budget, depth: int, key: Key | None, owner: str | None) -> HandlerFailed:
    match node:
        case [str(type_name), str(message), str(frames), cause, [*members], *_] if budget.node(depth):
            return HandlerFailed(
                type_name=type_name,
                message=message,
                frames=frames,
                remote_cause=None if cause is None else _failed(cause, budget, depth + 1, key, owner),
                members=tuple(_failed(member, budget, depth + 1, key, owner) for member in members),
                key=key,
                owner=owner,
            )
        case _:
            raise RemoteProtocolError("malformed or oversized tree of a failure record")


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
