"""Accounts in SQLite that only the present owner of a key can change: ``python examples/fenced_table.py``.

Each row knows the greatest fence that was shown to it. An owner stamps the row before it serves, and every write asks
that the stamp is still its own; so an owner that was replaced and does not know it, after a long pause for instance,
changes nothing. The table can be shared by any number of processes.
"""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio

from swimring import KeyState, Request, Service, open_node


class Replaced(Exception):
    """A later owner has stamped the row."""


class Accounts:
    """Balances by key, each with the fence of its owner."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._connect() as db:
            db.execute("CREATE TABLE IF NOT EXISTS accounts (key TEXT PRIMARY KEY, fence INTEGER, balance INTEGER)")

    def stamp(self, key: str, fence: int) -> int:
        """Before anything else: from now on lesser fences change nothing. Return the balance."""
        with self._connect() as db:
            db.execute("INSERT OR IGNORE INTO accounts VALUES (?, 0, 0)", (key,))
            changed = db.execute("UPDATE accounts SET fence = ? WHERE key = ? AND fence <= ?", (fence, key, fence))
            self._check(changed, key, fence)
            return int(db.execute("SELECT balance FROM accounts WHERE key = ?", (key,)).fetchone()[0])

    def write(self, key: str, fence: int, balance: int) -> None:
        with self._connect() as db:
            sql = "UPDATE accounts SET balance = ? WHERE key = ? AND fence = ?"
            self._check(db.execute(sql, (balance, key, fence)), key, fence)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level="IMMEDIATE")

    def _check(self, changed: sqlite3.Cursor, key: str, fence: int) -> None:
        if not changed.rowcount:
            raise Replaced(f"{key} has a later owner than {fence}")


@dataclass
class Account:
    """What is held for an open account; the table has the truth."""

    balance: int = 0
    stamped: int = 0
    """The fence under which it was read."""


app = Service("bank")
open_accounts = app.own_keys(Account)
table: Accounts


@app.on("deposit")
async def deposit(request: Request, amount: int) -> int:
    own: KeyState[Account] = open_accounts.of(request)
    key, fence, account = str(request.key), own.fence.number, own.state
    if account.stamped != fence:  # the first call since this node owns the key
        account.balance = await trio.to_thread.run_sync(table.stamp, key, fence)
        account.stamped = fence
    await trio.to_thread.run_sync(table.write, key, fence, account.balance + amount)
    account.balance += amount
    return account.balance


async def main() -> None:
    async with open_node(app, name="left", cluster="bank") as left:
        async with open_node(app, name="right", cluster="bank", join=[str(left.me.address)]) as right:
            await left.wait_ring(app, nodes=2)
            key = next(key for key in map(str, range(100)) if left.lookup(key).name == right.name)
            balance = await left.call(deposit, key, 10)
            print("right:", balance)
            old = next(open_key.fence.number for open_key in right.ownership.open_keys())
        balance = await left.call(deposit, key, 5)
        print("left:", balance)
        try:
            table.write(key, old, 1_000_000)
        except Replaced:
            print("right, too late: refused")
        balance = await left.call(deposit, key, 1)
        print("left:", balance)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        table = Accounts(str(Path(folder) / "bank.db"))
        trio.run(main)
