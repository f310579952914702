"""What ends a call made here: as an error, and in a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from swimring.errors import CallError, ConnectionLost, RemoteProtocolError

from .events import CallEnded, FailureArrived, ReplyArrived
from .failures import decode_failure

if TYPE_CHECKING:
    from swimring.identity import Key

Answer: TypeAlias = ReplyArrived | FailureArrived | CallEnded | CallError


def error_of(answer: Answer, *, key: Key | None, owner: str) -> CallError:
    """The error that an answer which is no reply is, with where it was asked.

    Raises:
        RemoteProtocolError: the record of a failure is malformed.
    """
    match answer:
        case FailureArrived(body=body):
            return decode_failure(body, key=key, owner=owner)
        case CallError():
            answer.key, answer.owner = key, owner
            return answer
        case _:
            return ConnectionLost("the call was cancelled", key=key, owner=owner)


def outcome_of(answer: Answer) -> str:
    """An answer in a word: ok, cancelled, or the class of the error."""
    match answer:
        case ReplyArrived():
            return "ok"
        case CallEnded():
            return "cancelled"
        case FailureArrived(body=body):
            try:
                return type(decode_failure(body)).__name__
            except RemoteProtocolError as error:
                return type(error).__name__
        case CallError():
            return type(answer).__name__


def why_cancelled(deadline: float, *, now: float) -> str:
    """Why a call was cancelled that had that ``deadline`` when it began: afterwards no scope tells it."""
    return "the deadline passed" if deadline <= now else "the caller was cancelled"
