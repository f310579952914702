"""The accounts of the example, in a SQLite table that also writes down who wrote what, and when it was not to.

Writing takes a while, in a thread that nobody can cancel: an owner that stands still is always in the middle of it.
"""

from __future__ import annotations

import os
import time

import trio

from examples import fenced_table
from examples.fenced_table import Accounts, Replaced, app, deposit
from swimring import Request  # noqa: TC001 - annotations of handlers are evaluated

__all__ = ["Noted", "Replaced", "app", "balance", "deposit"]

WRITES_TAKE = 0.5


class Noted(Accounts):
    """Accounts with a journal: the fence of every write, beside the greatest that any owner had shown before."""

    def __init__(self, path: str, *, checks: bool = True) -> None:
        super().__init__(path)
        self._checks = checks
        with self._connect() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS shown (key TEXT PRIMARY KEY, fence INTEGER)")
            db.execute("CREATE TABLE IF NOT EXISTS journal (key TEXT, fence INTEGER, shown INTEGER, taken INTEGER)")

    def stamp(self, key: str, fence: int) -> int:
        with self._connect() as db:
            sql = "INSERT INTO shown VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET fence = max(fence, excluded.fence)"
            db.execute(sql, (key, fence))
        return super().stamp(key, fence)

    def write(self, key: str, fence: int, balance: int) -> None:
        time.sleep(WRITES_TAKE)  # noqa: TID251 - in a thread: what Trio cannot cancel
        with self._connect() as db:
            (shown,) = db.execute("SELECT fence FROM shown WHERE key = ?", (key,)).fetchone()
            if self._checks:
                sql = "UPDATE accounts SET balance = ? WHERE key = ? AND fence = ?"
                changed = db.execute(sql, (balance, key, fence))
            else:  # the planted bug
                changed = db.execute("UPDATE accounts SET balance = ? WHERE key = ?", (balance, key))
            db.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", (key, fence, shown, changed.rowcount))
        self._check(changed, key, fence)

    def balance(self, key: str) -> int:
        with self._connect() as db:
            row = db.execute("SELECT balance FROM accounts WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else 0

    def old_writes(self) -> tuple[int, int]:
        """How many writes with an old fence were tried, and how many of them were taken."""
        with self._connect() as db:
            sql = "SELECT count(*), coalesce(sum(taken), 0) FROM journal WHERE fence < shown"
            tried, taken = db.execute(sql).fetchone()
        return int(tried), int(taken)


@app.on("balance", idempotent=True)
async def balance(request: Request) -> int:
    """What the table says, whoever has written it."""
    assert isinstance(fenced_table.table, Noted)
    return await trio.to_thread.run_sync(fenced_table.table.balance, str(request.key))


app.error(Replaced)
if (path := os.environ.get("CHAOS_BANK")) is not None:
    fenced_table.table = Noted(path, checks=os.environ.get("CHAOS_CARELESS") is None)
