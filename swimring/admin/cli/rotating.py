"""``swimring keys``: the same question to every node, each over a connection of its own."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio

from swimring.builtin import NAMESPACE
from swimring.client import connect
from swimring.errors import CallError, ConfigError, NotJoined
from swimring.security import NEW_KEY, SALT_SIZE, Keyring, Sealer, read_secret_file, require_seal

from .output import print_table, print_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.certificates import TlsSettings
    from swimring.swim import Member

    from .access import Access


def ask_all(
    cmd: str,
    fields: Mapping[str, str],
    access: Access,
) -> int:
    """Print what each node has afterwards; 1 if one of them did not do it.

    Raises:
        ConfigError: there is no secret to ask with, or the new key is none.
        NotJoined: nobody answers.
    """
    own, tls = access.keys(), access.tls.settings()
    if own is None:
        raise ConfigError("secret-file", None, "say which file has the secret of the cluster")
    new = read_secret_file(fields["file"], setting="new")[0] if "file" in fields else None

    async def run() -> int:
        async with connect(*access.join, cluster=access.cluster, secret=own, tls=tls) as mesh:
            members = [member for member in mesh.members if member.status.active]
            name = mesh.cluster
        change = dict(fields) if new is None else {"sealed": _sealed(new, own, cluster=name)}
        replies = _Replies(name, own, tls)
        with anyio.move_on_after(access.within):
            async with anyio.create_task_group() as tasks:
                for member in members:
                    tasks.start_soon(replies.ask, member, {"ns": NAMESPACE, "cmd": cmd, **change})
        rows = [(one.name, replies.words.get(one.name, f"no answer within {access.within:g} s")) for one in members]
        print_table(("node", "keys, the primary one first"), rows, title=f"cluster {name}")
        if cmd != "keys":
            print_text("In memory only: change the secret files in the same way, for restarts and for who is away.")
        return 0 if len(replies.done) == len(members) else 1

    return anyio.run(run)


class _Replies:
    """What the members say, in words, and which of them did as asked."""

    def __init__(self, cluster: str, secret: tuple[bytes, ...], tls: TlsSettings | None) -> None:
        self.words: dict[str, str] = {}
        self.done: set[str] = set()
        self._cluster = cluster
        self._secret = secret
        self._tls = tls

    async def ask(self, member: Member, message: Mapping[str, Any]) -> None:
        try:
            async with connect(member.address, cluster=self._cluster, secret=self._secret, tls=self._tls) as mesh:
                self.words[member.name] = ", ".join(await mesh.request(message, idempotent=True))
        except (CallError, ConfigError, NotJoined) as error:
            self.words[member.name] = str(error)
        else:
            self.done.add(member.name)


def _sealed(new: bytes, own: tuple[bytes, ...], *, cluster: str) -> bytes:
    """The new key as it may cross a network on which others listen."""
    require_seal()
    minute = int(datetime.now(tz=UTC).timestamp()) // 60
    sealer = Sealer(Keyring(own), cluster=cluster, salt=secrets.token_bytes(SALT_SIZE))
    return sealer.seal(new, minute=minute, purpose=NEW_KEY)
