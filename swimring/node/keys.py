"""The keyring of a running node, as the handlers in the namespace ``swimring`` show and change it.

A new key crosses the network sealed under a key that both sides have: calls are not encrypted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import ConfigError, InvalidRequest
from swimring.security import NEW_KEY, Opener, SealRefused, read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from swimring.net import Host
    from swimring.security import Keyring

_MS_PER_MINUTE: Final = 60_000
_log = logging.getLogger("swimring.node")


class Keys:
    """Shows and changes a keyring, in memory only; `reload` and a restart read the secret file again."""

    def __init__(self, keyring: Keyring, *, cluster: str, host: Host, file: Path | None = None) -> None:
        """Work on ``keyring``, whose keys came from ``file``, if they did."""
        self._keyring = keyring
        self._file = file
        self._host = host
        self._opener = Opener(keyring, cluster=cluster)

    def ids(self) -> list[str]:
        """The ids of all keys in hex, the primary one first."""
        return [each.hex() for each in self._keyring.ids]

    async def reload(self) -> None:
        """Hold the keys that are in the secret file now. What cannot be used changes nothing.

        Raises:
            ConfigError: there is no such file, or it holds something else than keys; the keys are what they were.
        """
        if self._file is None:
            raise ConfigError("secret_file", None, "the keys of this node did not come from a file")
        before = set(self._keyring.ids)
        self._keyring.replace(await trio.to_thread.run_sync(read_secret_file, self._file))
        _log.info(
            "the keys are those of %s now: %s", self._file, ", ".join(self.ids()), extra={"event": "secret.reloaded"}
        )
        if before.isdisjoint(self._keyring.ids):
            _log.warning(
                "none of the keys of before is among them: members without a new one are refused from now on",
                extra={"event": "secret.replaced"},
            )

    def install(self, sealed: bytes) -> None:
        """Open with the key in the box ``sealed``, too.

        Raises:
            InvalidRequest: it does not open, or holds no key for this ring.
        """
        try:
            box = self._opener.peek(sealed, minute=self._host.wall_ms() // _MS_PER_MINUTE, purpose=NEW_KEY)
            identity = self._keyring.install(box.plaintext)
        except (SealRefused, ConfigError) as error:
            raise InvalidRequest(f"the key cannot be installed: {error}") from error
        _log.info("key %s installed", identity.hex(), extra={"event": "secret.installed"})

    def use(self, identity: str) -> None:
        """Seal with that key.

        Raises:
            InvalidRequest: it is not installed.
        """
        try:
            self._keyring.use(_read(identity))
        except ConfigError as error:
            raise InvalidRequest(str(error)) from error
        _log.info("key %s is the primary key", identity, extra={"event": "secret.primary"})

    def remove(self, identity: str) -> None:
        """Open nothing with that key any more; one that is not there is no error, so that this can be repeated.

        Raises:
            InvalidRequest: it is the primary key.
        """
        key_id = _read(identity)
        if self._keyring.get(key_id) is None:
            return
        try:
            self._keyring.remove(key_id)
        except ConfigError as error:
            raise InvalidRequest(str(error)) from error
        _log.info("key %s removed", identity, extra={"event": "secret.removed"})


def _read(identity: str) -> bytes:
    try:
        return bytes.fromhex(identity)
    except ValueError as error:
        raise InvalidRequest("a key is named by the 8 hexadecimal digits that the list of keys shows") from error
