"""Who has the secret: each side proves a key of 32 bytes by an HMAC over both nonces, without showing it (RFC 2104).

The dialler's hello offers a nonce and the ids of its keys; the listener picks a key that both have and proves it in
its own hello; the dialler proves it in a PROOF frame. It keeps strangers out. It hides nothing: that needs TLS.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.codec import encode

from .hello import HelloRefused, RefusalCode

if TYPE_CHECKING:
    from .hello import Hello

NONCE_SIZE: Final = 32
KEY_ID_SIZE: Final = 4
PROOF_SIZE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What one side of one connection needs to prove itself."""

    keys: tuple[bytes, ...]
    """The keys it has, the preferred one first; at least one."""
    nonce: bytes
    """32 bytes drawn for this connection."""
    required: bool = True
    """Whether to refuse a peer that proves nothing; False while a cluster gets its secret."""

    def __repr__(self) -> str:
        return f"<Secret of {len(self.keys)} keys>"

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The names of the keys that may be seen by everybody, the same as in sealed gossip."""
        return tuple(key_id(key) for key in self.keys)

    def agree(self, theirs: Hello) -> bytes | None:
        """The key to prove: the first of ours that they have, too; None for a peer that is welcome without.

        Raises:
            HelloRefused: a proof is required and they have no secret, or none of our keys.
        """
        for key in self.keys:
            if theirs.nonce and key_id(key) in theirs.key_ids:
                return key
        if not self.required:
            return None
        if not theirs.nonce:
            reason = f"this cluster has a secret and {theirs.node} has none: give it the secret (--secret-file)"
            raise HelloRefused(RefusalCode.SECRET, reason)
        offered = ", ".join(each.hex() for each in theirs.key_ids)
        known = ", ".join(each.hex() for each in self.ids)
        raise HelloRefused(RefusalCode.SECRET, f"{theirs.node} has another secret: key {offered}; known here: {known}")


def prove(key: bytes, *, dialler: Hello, listener: Hello, by_dialler: bool) -> bytes:
    """The proof of one side that it has ``key``, for this pair of hellos only."""
    side = "dialler" if by_dialler else "listener"
    nodes = [part for hello in (dialler, listener) for part in (hello.nonce, hello.node.name, hello.node.generation)]
    return hmac.digest(key, encode(["swimring-mux", side, *nodes, listener.cluster]), hashlib.sha256)


def check_proof(proof: bytes, expected: bytes, theirs: Hello) -> None:
    """Compare, in a time that tells nothing.

    Raises:
        HelloRefused: they differ.
    """
    if not hmac.compare_digest(proof, expected):
        raise HelloRefused(RefusalCode.SECRET, f"{theirs.node} does not prove that it has the secret")


def key_id(key: bytes) -> bytes:
    """The name of ``key`` that may be seen by everybody."""
    return hashlib.blake2b(key, digest_size=KEY_ID_SIZE, person=b"swimring-key").digest()
