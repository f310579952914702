"""Keys as people keep them: a file with one key a line, the primary one first."""

from __future__ import annotations

import base64
import binascii
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError

from .keyring import KEY_SIZE, Keyring

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOW_TO: Final = f"each line is one key of {KEY_SIZE} bytes in hex or base64, made by: openssl rand -hex 32"
_READ_AT_MOST: Final = 64 * 1024


def parse_secret(text: str, *, setting: str = "secret") -> tuple[bytes, ...]:
    """The keys in ``text``: one a line, hex or base64, the primary one first; blank lines and # comments are skipped.

    Raises:
        ConfigError: there is none, or a line is no key; the text names the line and never quotes it.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if word:
            keys.append(_key(word, setting=setting, number=number))
    if not keys:
        raise ConfigError(setting, "no key", _HOW_TO)
    return Keyring(keys).keys


def secret_keys(secret: bytes | str | Iterable[bytes] | None, *, setting: str = "secret") -> tuple[bytes, ...]:
    """The keys that a program was given: one, several with the primary one first, or text as in a file; none for None.

    Raises:
        ConfigError: one of them is no key.
    """
    if secret is None:
        return ()
    if isinstance(secret, str):
        return parse_secret(secret, setting=setting)
    return Keyring([secret] if isinstance(secret, bytes) else secret).keys


def read_secret_file(path: str | Path, *, setting: str = "secret_file") -> tuple[bytes, ...]:
    """The keys in the file at ``path``. It blocks.

    Raises:
        ConfigError: it cannot be read, others than its owner may read or write it, or it holds something else.
    """
    place = Path(path).expanduser()
    try:
        with place.open("rb") as file:
            mode = stat.S_IMODE(place.stat().st_mode)
            content = file.read(_READ_AT_MOST)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(setting, str(path), f"a file that can be read; this one: {reason.lower()}") from error
    if mode & 0o077:
        raise ConfigError(setting, f"{path} with mode {mode:04o}", f"only its owner may read it: chmod 600 {place}")
    try:
        return parse_secret(content.decode(), setting=setting)
    except UnicodeDecodeError as error:
        raise ConfigError(setting, str(path), _HOW_TO) from error


def _key(word: str, *, setting: str, number: int) -> bytes:
    found = _from_hex(word) if len(word) == 2 * KEY_SIZE else _from_base64(word)
    if found is None or len(found) != KEY_SIZE:
        what = "no hex or base64" if found is None else f"{len(found)} bytes"
        raise ConfigError(setting, f"{what} in line {number}", _HOW_TO)
    return found


def _from_hex(word: str) -> bytes | None:
    try:
        return bytes.fromhex(word)
    except ValueError:
        return None


def _from_base64(word: str) -> bytes | None:
    try:
        return base64.b64decode(word.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return None
