"""Keys of a cluster: what they seal, open and refuse. Bytes in, bytes out; no clock and no dice."""

from .keyring import KEY_ID_SIZE, KEY_SIZE, Keyring, key_id
from .sealing import (
    BOX_OVERHEAD,
    NEW_KEY,
    SALT_SIZE,
    SEALED_MAGIC,
    Opened,
    Opener,
    Sealer,
    Sealing,
    SealRefused,
    require_seal,
)
from .secrets import parse_secret, read_secret_file, secret_keys
from .windows import Window, Windows

__all__ = [
    "BOX_OVERHEAD",
    "KEY_ID_SIZE",
    "KEY_SIZE",
    "NEW_KEY",
    "SALT_SIZE",
    "SEALED_MAGIC",
    "Keyring",
    "Opened",
    "Opener",
    "SealRefused",
    "Sealer",
    "Sealing",
    "Window",
    "Windows",
    "key_id",
    "parse_secret",
    "read_secret_file",
    "require_seal",
    "secret_keys",
]
