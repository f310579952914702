"""``swimring keys``: the same question to every node, each over a connection of its own."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from cyclopts import Parameter

from swimring.builtin import NAMESPACE
from swimring.errors import CallError, ConfigError, NotJoined
from swimring.security import NEW_KEY, SALT_SIZE, Keyring, Sealer, read_secret_file, require_seal

from .access import ANY, Access, AsJson
from .asking import dial
from .output import print_json, print_table, print_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swimring.swim import Member


KeyDigits = Annotated[str, Parameter(help="Its 8 digits, as `swimring keys list` shows them.")]


def list_keys(*, access: Access = ANY, as_json: AsJson = False) -> int:
    """Print which keys each node has; 1 if one of them did not say."""
    return _ask_all("keys", {}, access, as_json=as_json)


def add(
    new: Annotated[str, Parameter(help="The file with the new key in its first line.")],
    /,
    *,
    access: Access = ANY,
    as_json: AsJson = False,
) -> int:
    """Install a new key on every node; 1 if one of them did not do it."""
    key = read_secret_file(new, setting="new")[0]
    return _ask_all("add key", {}, access, new=key, as_json=as_json)


def use(key: KeyDigits, /, *, access: Access = ANY, as_json: AsJson = False) -> int:
    """Have every node seal with another key; 1 if one of them did not do it."""
    return _ask_all("use key", {"identity": key}, access, as_json=as_json)


def remove(key: KeyDigits, /, *, access: Access = ANY, as_json: AsJson = False) -> int:
    """Have every node forget a key; 1 if one of them did not do it."""
    return _ask_all("remove key", {"identity": key}, access, as_json=as_json)


def _ask_all(cmd: str, fields: Mapping[str, str], access: Access, *, new: bytes | None = None, as_json: bool) -> int:
    """Print what each node has afterwards; 1 if one of them did not do it.

    Raises:
        ConfigError: there is no secret to ask with, or the new key is none.
        NotJoined: nobody answers.
    """
    access.check()
    own = access.keys()
    if own is None:
        raise ConfigError("secret-file", None, "say which file has the secret of the cluster")

    async def run() -> int:
        async with dial(access) as mesh:
            members = [member for member in mesh.members if member.status.active]
            name = mesh.cluster
        change = dict(fields) if new is None else {"sealed": _sealed(new, own, cluster=name)}
        replies = _Replies(name, access)
        with anyio.move_on_after(access.within):
            async with anyio.create_task_group() as tasks:
                for member in members:
                    tasks.start_soon(replies.ask, member, {"ns": NAMESPACE, "cmd": cmd, **change})
        for one in members:
            replies.failures.setdefault(one.name, f"no answer within {access.within:g} s")
        _tell(name, members, replies, as_json=as_json)
        if cmd != "keys" and not as_json:
            print_text("In memory only: change the secret files in the same way, for restarts and for who is away.")
        return 0 if len(replies.keys) == len(members) else 1

    return anyio.run(run)


def _tell(cluster: str, members: Sequence[Member], replies: _Replies, *, as_json: bool) -> None:
    if as_json:
        nodes = [
            {"name": one.name, "keys": replies.keys[one.name]}
            if one.name in replies.keys
            else {"name": one.name, "error": replies.failures[one.name]}
            for one in members
        ]
        print_json({"cluster": cluster, "nodes": nodes})
        return
    rows = [(one.name, ", ".join(replies.keys.get(one.name, ())) or replies.failures[one.name]) for one in members]
    print_table(("node", "keys, the primary one first"), rows, title=f"cluster {cluster}")


class _Replies:
    """The keys that the members say they have, the primary one first, or why they do not say it."""

    def __init__(self, cluster: str, access: Access) -> None:
        self.keys: dict[str, list[str]] = {}
        self.failures: dict[str, str] = {}
        self._cluster = cluster
        self._access = access

    async def ask(self, member: Member, message: Mapping[str, Any]) -> None:
        try:
            async with dial(self._access, member, cluster=self._cluster) as mesh:
                self.keys[member.name] = await mesh.request(message, idempotent=True)
        except (CallError, ConfigError, NotJoined) as error:
            self.failures[member.name] = str(error)


def _sealed(new: bytes, own: tuple[bytes, ...], *, cluster: str) -> bytes:
    """The new key as it may cross a network on which others listen."""
    require_seal()
    minute = int(datetime.now(tz=UTC).timestamp()) // 60
    sealer = Sealer(Keyring(own), cluster=cluster, salt=secrets.token_bytes(SALT_SIZE))
    return sealer.seal(new, minute=minute, purpose=NEW_KEY)
