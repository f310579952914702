"""Streams that a callee hands over with its answer: which ids and which names, as CBOR `[first id, [names]]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

from .header import problem_with_streams

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_names(names: Sequence[str]) -> None:
    """See that ``names`` can be offered.

    Raises:
        LocalProtocolError: none, too many, or one that is no name.
    """
    problem = problem_with_streams(names) if names else "an offer of no streams"
    if problem:
        raise LocalProtocolError(problem)


def encode_offer(first_id: int, names: Sequence[str]) -> bytes:
    """The body of an OFFER."""
    return encode([first_id, list(names)])


def decode_offer(body: bytes) -> tuple[int, tuple[str, ...]]:
    """The first id and the names.

    Raises:
        RemoteProtocolError: malformed, or no streams that can be offered.
    """
    match decode(body):
        case [int(first_id), [*names], *_] if not isinstance(first_id, bool):
            pass
        case _:
            raise RemoteProtocolError("malformed offer")
    problem = problem_with_streams(names) if names else "an offer of no streams"
    if problem:
        raise RemoteProtocolError(problem)
    return first_id, tuple(names)
