"""What a member tells about itself that is too large for gossip: gossip carries its hash, who wants it fetches it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from swimring.codec import decode, encode
from swimring.errors import ConfigError, LocalProtocolError, RemoteProtocolError

from .member import DETAILS_DIGEST_SIZE

DETAILS_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Details:
    """A map of at most 64 KiB, as CBOR; empty bytes for nothing."""

    encoded: bytes = b""

    @classmethod
    def of(cls, details: Mapping[str, object]) -> Details:
        """The details that say ``details``.

        Raises:
            ConfigError: it is no mapping with text keys, has no place on the wire, or is too large.
        """
        if not _has_text_keys(details):
            raise ConfigError("details", type(details).__name__, "a mapping whose keys are text")
        try:
            encoded = encode(dict(details)) if details else b""
        except LocalProtocolError as error:
            raise ConfigError("details", str(error), "use values that have a place on the wire") from error
        if len(encoded) > DETAILS_LIMIT:
            raise ConfigError("details", f"{len(encoded)} bytes", f"at most {DETAILS_LIMIT} bytes when encoded")
        return cls(encoded)

    @classmethod
    def from_wire(cls, wire: object) -> Details:
        """Read what a member answered.

        Raises:
            RemoteProtocolError: these are no details.
        """
        if not isinstance(wire, bytes) or len(wire) > DETAILS_LIMIT:
            raise RemoteProtocolError(f"details: at most {DETAILS_LIMIT} bytes")
        if wire and not isinstance(decode(wire), dict):
            raise RemoteProtocolError("details: a map")
        return cls(wire)

    @property
    def digest(self) -> bytes:
        """What gossip carries: equal for equal details, empty for none."""
        return hashlib.blake2b(self.encoded, digest_size=DETAILS_DIGEST_SIZE).digest() if self.encoded else b""

    @property
    def contents(self) -> dict[str, Any]:
        """What they say: a new copy each time."""
        contents: dict[str, Any] = decode(self.encoded) if self.encoded else {}
        return contents


def _has_text_keys(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
