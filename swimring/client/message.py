"""One call as it is sent, however often: what routes it, and its fields, encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swimring.errors import ConfigError, InvalidRequest
from swimring.identity import key_bytes
from swimring.mux import encode_fields

if TYPE_CHECKING:
    from swimring.identity import Key

_ROUTING = ("ns", "cmd", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One call, complete but for its destination."""

    ns: str
    """The service."""
    cmd: str
    """The command."""
    key: Key | None
    """What the call is routed by."""
    body: bytes
    """The other fields, encoded."""
    idempotent: bool
    """Whether it may run twice."""


def read_message(message: Mapping[str, object], *, idempotent: bool = False) -> Message:
    """Read a whole message as the application wrote it.

    Raises:
        InvalidRequest: it is no mapping with text keys, or its ns, cmd or key is of the wrong kind; nothing was sent.
        LocalProtocolError: a field has no place in CBOR; nothing was sent.
    """
    if not _is_message(message):
        raise InvalidRequest("a message is a mapping with text keys")
    ns, cmd, key = message.get("ns", ""), message.get("cmd", ""), message.get("key")
    if not isinstance(ns, str) or not isinstance(cmd, str):
        raise InvalidRequest("ns and cmd of a message are text")
    fields = {name: value for name, value in message.items() if name not in _ROUTING}
    return Message(ns=ns, cmd=cmd, key=_checked_key(key), body=encode_fields(fields), idempotent=idempotent)


def _is_message(message: object) -> bool:
    return isinstance(message, Mapping) and all(type(name) is str for name in message)


def _checked_key(key: object) -> Key | None:
    if key is None:
        return None
    if not isinstance(key, (str, bytes)):
        raise InvalidRequest(f"the key of a message is str or bytes, not {type(key).__name__}")
    try:
        key_bytes(key)
    except ConfigError as error:
        raise InvalidRequest(str(error)) from None
    return key
