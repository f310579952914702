"""The keys a node has: one to seal with, all of them to open with.

A rotation is three steps, each everywhere before the next: install the new key, use it, remove the old one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_SIZE: Final = 32
KEY_ID_SIZE: Final = 4
MAX_KEYS: Final = 16


def key_id(key: bytes) -> bytes:
    """The name of ``key`` that may be seen by everybody: 4 bytes of a digest."""
    return hashlib.blake2b(key, digest_size=KEY_ID_SIZE, person=b"swimring-key").digest()


class Keyring:
    """Between 1 and 16 keys of 32 bytes, the primary one first. It changes while the node runs."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Hold ``keys``, the primary one first.

        Raises:
            ConfigError: there is none, or one of them cannot be a key of this ring.
        """
        self._keys: dict[bytes, bytes] = {}
        for key in keys:
            self.install(key)
        if not self._keys:
            raise ConfigError("secret", None, "give at least one key")
        self._primary = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"<Keyring of {', '.join(each.hex() for each in self.ids)}>"  # never the keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def primary(self) -> bytes:
        """The id of the key to seal with."""
        return self._primary

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of all keys, the primary one first, then in the order of their installation."""
        return (self._primary, *(each for each in self._keys if each != self._primary))

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, in the order of `ids`. Not for logs."""
        return tuple(self._keys[each] for each in self.ids)

    def get(self, identity: bytes) -> bytes | None:
        """The key of that id."""
        return self._keys.get(identity)

    def install(self, key: bytes) -> bytes:
        """Open with ``key``, too, from now on; return its id. Nothing happens if it is there already.

        Raises:
            ConfigError: it has not 32 bytes, its id is the id of another key, or there are 16 keys.
        """
        if len(key) != KEY_SIZE:
            raise ConfigError("secret", f"{len(key)} bytes", f"a key has {KEY_SIZE}: openssl rand -hex 32 makes one")
        identity = key_id(key)
        known = self._keys.get(identity)
        if known is None and len(self._keys) >= MAX_KEYS:
            raise ConfigError("secret", identity.hex(), f"a keyring holds {MAX_KEYS} keys: remove an old one first")
        if known not in (None, key):
            raise ConfigError("secret", identity.hex(), "another key has the same id: make a new key")
        self._keys[identity] = key
        return identity

    def use(self, identity: bytes) -> None:
        """Seal with the key of that id from now on.

        Raises:
            ConfigError: it is not installed.
        """
        self._check_installed(identity)
        self._primary = identity

    def remove(self, identity: bytes) -> None:
        """Open nothing with the key of that id any more.

        Raises:
            ConfigError: it is not installed, or it is the primary one.
        """
        self._check_installed(identity)
        if identity == self._primary:
            raise ConfigError("key", identity.hex(), "it is the primary key: use another one first")
        del self._keys[identity]

    def replace(self, keys: Iterable[bytes]) -> None:
        """Hold exactly ``keys`` from now on, the primary one first; all of them or, if one is wrong, none.

        Raises:
            ConfigError: they make no keyring, or one of them has the id of another key that is held now.
        """
        new = Keyring(keys)
        for identity, key in new._keys.items():
            if self._keys.get(identity, key) != key:
                raise ConfigError("secret", identity.hex(), "another key has the same id: make a new key")
        self._keys, self._primary = new._keys, new._primary

    def _check_installed(self, identity: bytes) -> None:
        if identity not in self._keys:
            known = ", ".join(each.hex() for each in self.ids)
            raise ConfigError("key", identity.hex(), f"not installed; the keys here are {known}")
