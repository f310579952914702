"""A real directory: a full disk, a killed process, rights, and what is no directory at all."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from swimring.errors import StoreError, StoreFull
from swimring.net import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does, as far as a test can have it: writing stops in the middle, with an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_on_a_full_disk_nothing_changes(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    await store.write("whole", b"old")
    await store.append("log", b"x" * 4000)
    with files_of_at_most(5000):
        with pytest.raises(StoreFull, match="whole: File too large"):
            await store.write("whole", b"new" * 4000)
        with pytest.raises(StoreFull):
            await store.append("log", b"y" * 4000)
    assert await store.read("whole") == b"old"
    assert await store.read("log") == b"x" * 4000
    assert names_in(tmp_path) == ["log", "whole"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


_WRITER = """
import itertools, sys, trio
from pathlib import Path
from swimring.net import DirectoryStore

async def main():
    store = DirectoryStore(Path(sys.argv[1]))
    for number in itertools.count():
        await store.write("a", bytes([number % 256]) * 50_000)
        if number == 20:
            print("ready", flush=True)

trio.run(main)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    content = (tmp_path / "a").read_bytes()
    assert len(content) == 50_000
    assert len(set(content)) == 1


async def test_only_its_user_reads_the_files_and_the_folder(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "deep" / "state")
    await store.write("a", b"1")
    await store.append("b", b"1")
    assert {path.stat().st_mode & 0o777 for path in store.path.iterdir()} == {0o600}
    assert store.path.stat().st_mode & 0o777 == 0o700


async def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = DirectoryStore(tmp_path / "file")
    with pytest.raises(StoreError, match=r"a: (File exists|Not a directory)"):
        await store.write("a", b"1")
    with pytest.raises(StoreError, match="Not a directory"):
        await store.read("a")


async def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "none")
    assert await store.read("a") is None
    assert await store.names() == ()
    await store.delete("a")
    assert not store.path.exists()


async def test_the_remains_of_a_crash_are_no_files_and_do_not_hurt(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"half")
    store = DirectoryStore(tmp_path)
    assert await store.names() == ()
    await store.write("a", b"1")
    assert names_in(tmp_path) == ["a"]
