"""Seals: AES-256-GCM under a subkey of the sender's own, and the checks on the way in.

box    prefix | key id, 4 | salt, 16 | counter, 8 | minute, 4 | ciphertext | tag, 16

The prefix is the caller's (byte 0, a length). The subkey is HKDF-SHA256 of the key, the salt and the cluster's name,
the nonce is the counter. What stands before the ciphertext is authenticated with it, and so is a purpose that is not
sent.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.errors import GossipRefused, MissingExtra

from .keyring import KEY_ID_SIZE, KEY_SIZE
from .windows import Windows

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from .keyring import Keyring

SEALED_MAGIC: Final = 0xD1
SALT_SIZE: Final = 16
TAG_SIZE: Final = 16
_HEADER: Final = struct.Struct(f">{KEY_ID_SIZE}s{SALT_SIZE}sQI")
BOX_OVERHEAD: Final = _HEADER.size + TAG_SIZE
"""How much longer a box is than its prefix and what it seals: 48 bytes."""
NEW_KEY: Final = b"new key"
"""The purpose of a box that holds a key for the other side's keyring."""
MAX_SENDERS: Final = 4096
MAX_MINUTES_OFF: Final = 5
_COUNTER_LIMIT: Final = 1 << 64
_MINUTE_LIMIT: Final = 1 << 32


class Sealing(enum.Enum):
    """What a node with a secret does; a cluster goes from plain to sealed by a rolling restart into each in turn."""

    ACCEPT = "accept"
    """Sends plain, takes plain and sealed."""
    PREFER = "prefer"
    """Sends sealed, takes plain and sealed."""
    REQUIRE = "require"
    """Sends sealed, takes sealed."""


class SealRefused(GossipRefused):
    """A box that is not opened.

    Attributes:
        reason: one of ``truncated``, ``key``, ``seal``, ``replay``, ``time``.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was in a box, and what its header said."""

    plaintext: bytes
    key_id: bytes
    salt: bytes
    counter: int


class Sealer:
    """One sender: seals under its salt, never twice under the same counter."""

    def __init__(self, keyring: Keyring, *, cluster: str, salt: bytes) -> None:
        """Seal for ``cluster``. The ``salt`` is 16 bytes drawn for this object and never used for another."""
        self.salt: Final = salt
        self._keyring = keyring
        self._cluster = cluster
        self._counter = 0
        self._ciphers: dict[bytes, AESGCM] = {}

    def seal(
        self, plaintext: bytes, *, minute: int, prefix: bytes = b"", purpose: bytes = b"", key_id: bytes | None = None
    ) -> bytes:
        """The box with ``plaintext``, behind ``prefix``; under the primary key, or that of ``key_id`` if it is held."""
        if key_id is None or self._keyring.get(key_id) is None:
            key_id = self._keyring.primary
        assert self._counter < _COUNTER_LIMIT
        counter, self._counter = self._counter, self._counter + 1
        head = prefix + _HEADER.pack(key_id, self.salt, counter, minute % _MINUTE_LIMIT)
        return head + self._cipher(key_id).encrypt(_nonce(counter), plaintext, head + purpose)

    def _cipher(self, key_id: bytes) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            key = self._keyring.get(key_id)
            assert key is not None
            cipher = self._ciphers[key_id] = _cipher(key, self.salt, self._cluster)
        return cipher


class Opener:
    """Opens boxes of all senders of a cluster, each of them once."""

    def __init__(self, keyring: Keyring, *, cluster: str, senders: int = MAX_SENDERS) -> None:
        """Remember the counters of so many ``senders``; of more, those not heard for longest are forgotten."""
        self._keyring = keyring
        self._cluster = cluster
        self._windows: Windows[tuple[bytes, bytes]] = Windows(senders)
        self._ciphers: dict[tuple[bytes, bytes], AESGCM] = {}  # of authentic senders only, the latest heard last
        self._senders = senders

    def open(self, box: bytes, *, minute: int, start: int = 0, purpose: bytes = b"") -> Opened:
        """What is in ``box`` behind its prefix of ``start`` bytes. Cheap checks come first; a box opens once.

        Raises:
            SealRefused: it is too short or too old, its key is not held, it is not authentic, or it arrived before.
        """
        opened = self.peek(box, minute=minute, start=start, purpose=purpose)
        self._windows.take((opened.key_id, opened.salt), opened.counter)
        return opened

    def peek(self, box: bytes, *, minute: int, start: int = 0, purpose: bytes = b"") -> Opened:
        """The same, without remembering that it arrived: for what is ordered by other means.

        Raises:
            SealRefused: as `open`.
        """
        if len(box) < start + BOX_OVERHEAD:
            raise SealRefused("truncated", "too short for a seal")
        key_id, salt, counter, sealed_at = _HEADER.unpack_from(box, start)
        off = abs(minute - sealed_at)
        if off > MAX_MINUTES_OFF:
            raise SealRefused("time", f"sealed {off} minutes off our clock: set the clocks of both machines")
        key = self._keyring.get(key_id)
        if key is None:
            raise SealRefused(
                "key",
                f"sealed with key {key_id.hex()}, which is not in this keyring ({self._known()}): "
                "install it here, or give the sender a key of this keyring",
            )
        if not self._windows.is_new((key_id, salt), counter):
            raise SealRefused("replay", "it arrived before")
        end_of_head = start + _HEADER.size
        # A subkey is worth remembering, its derivation costs more than a seal; one of a forged salt is not.
        cipher = self._ciphers.pop((key_id, salt), None) or _cipher(key, salt, self._cluster)
        plaintext = _decrypt(cipher, counter, box[end_of_head:], box[:end_of_head] + purpose)
        self._ciphers[key_id, salt] = cipher
        if len(self._ciphers) > self._senders:
            del self._ciphers[next(iter(self._ciphers))]
        return Opened(plaintext=plaintext, key_id=key_id, salt=salt, counter=counter)

    def _known(self) -> str:
        return ", ".join(each.hex() for each in self._keyring.ids)


def require_seal() -> None:
    """Make sure that seals can be made.

    Raises:
        MissingExtra: the package ``cryptography`` is not installed.
    """
    try:
        import cryptography  # noqa: F401, PLC0415 - optional: only sealed clusters need it
    except ImportError as error:
        raise MissingExtra("seal", "cryptography") from error


def _cipher(key: bytes, salt: bytes, cluster: str) -> AESGCM:
    """The cipher of one sender."""
    require_seal()
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - optional, see above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    derivation = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=b"swimring-seal" + cluster.encode())
    return AESGCM(derivation.derive(key))


def _decrypt(cipher: AESGCM, counter: int, sealed: bytes, associated: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - optional, see above

    try:
        return cipher.decrypt(_nonce(counter), sealed, associated)
    except InvalidTag as error:
        raise SealRefused("seal", "not authentic: of another cluster, damaged on the way, or forged") from error


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")
