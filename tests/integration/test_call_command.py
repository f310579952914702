"""``swimring call`` as a process: items line by line, files as streams, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, BinaryIO

import pytest
import trio

from .processes import Running, environment, running, swimring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

APP = """
from collections.abc import AsyncIterator
import trio
from swimring import Channel, Request, Service

app = Service("talk")

@app.on("greet")
async def greet(request: Request, name: str) -> str:
    return f"hello {name}"

@app.on("nothing")
async def nothing(request: Request) -> None:
    pass

@app.on("count")
async def count(request: Request, up_to: int, fail: bool = False) -> AsyncIterator[dict[str, int]]:
    for number in range(up_to):
        yield {"number": number}
    if fail:
        raise ValueError("too far")

@app.on("words")
async def words(request: Request) -> AsyncIterator[str]:
    yield "one"
    yield "two words"

@app.on("for ever")
async def for_ever(request: Request) -> AsyncIterator[int]:
    try:
        yield 1
        await trio.sleep_forever()
    except trio.Cancelled:
        print("the handler was cancelled", flush=True)
        raise

@app.on("add")
async def add(channel: Channel[int, str]) -> int:
    total = 0
    async for number in channel:
        total += number
        await channel.send(f"so far {total}")
    return total

@app.on("size")
async def size(request: Request) -> int:
    total = 0
    async for chunk in request.streams["file"]:
        total += len(chunk)
    return total

@app.on("shout")
async def shout(request: Request) -> None:
    async for chunk in request.streams["file"]:
        await request.streams["file"].send(chunk.upper())

@app.on("lines")
async def lines(request: Request) -> AsyncIterator[str]:
    text = b""
    async for chunk in request.streams["file"]:
        text += chunk
    for line in text.decode().splitlines():
        yield line
"""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "talk_app.py").write_text(APP)
    cluster = f"call-{abs(hash(str(tmp_path))) % 10**8}"
    options = ("--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1")
    with trio.fail_after(60):
        async with running("talk_app.py:app", *options, cwd=tmp_path) as one:
            yield one


async def call(node: Running, *arguments: str, stdin: bytes | BinaryIO = b"") -> tuple[int, str, str]:
    command = [sys.executable, "-m", "swimring", "call", "talk", *arguments, "--join", await node.wait_address()]
    done = await trio.run_process(
        command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False, env=environment()
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_items_are_printed_line_by_line(node: Running) -> None:
    status, out, err = await call(node, "count", "up_to=3")
    assert (status, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [{"number": number} for number in range(3)]
    assert await call(node, "words") == (0, "one\ntwo words\n", "")
    assert await call(node, "words", "--json") == (0, '"one"\n"two words"\n', "")
    assert await call(node, "greet", "name=World") == (0, "hello World\n", "")
    assert await call(node, "nothing") == (0, "null\n", "")


async def test_what_was_yielded_before_a_failure_is_printed_before_the_error(node: Running) -> None:
    status, out, err = await call(node, "count", "up_to=2", "fail=true")
    assert (status, out.splitlines()) == (1, ['{"number": 0}', '{"number": 1}'])
    assert err.count("\n") == 1
    assert "too far" in err


async def test_lines_of_json_are_items_for_a_handler_with_a_channel(node: Running, tmp_path: Path) -> None:
    expected = (0, "so far 1\nso far 3\n3\n", "")
    assert await call(node, "add", "--file", "-", stdin=b"1\n\n2") == expected
    (tmp_path / "numbers").write_text("1\n2\n")
    assert await call(node, "add", "--file", str(tmp_path / "numbers")) == expected
    assert await call(node, "add") == (0, "0\n", "")
    status, _out, err = await call(node, "add", "--file", "-", stdin=b"1\nno json\n")
    assert status == 2
    assert "line 2" in err
    status, _out, err = await call(node, "greet", "name=x", "--file", "-", stdin=b"1\n")
    assert status == 1
    assert "it returns one value" in err


async def test_files_are_named_streams_of_the_call(node: Running, tmp_path: Path) -> None:
    large = bytes(range(256)) * 8192
    (tmp_path / "large").write_bytes(large)
    assert await call(node, "size", "--file", f"file={tmp_path / 'large'}") == (0, f"{len(large)}\n", "")
    assert await call(node, "size", "--file", "file=-", stdin=large) == (0, f"{len(large)}\n", "")
    assert await call(node, "shout", "--file", "file=-", stdin=b"quiet\n") == (0, "QUIET\nnull\n", "")
    told = await call(node, "shout", "--file", "file=-", "--json", stdin=b"quiet\n")
    assert told == (0, f'{{"stream": "file", "bytes": "{b"QUIET".hex()}0a"}}\nnull\n', "")
    # It is called as one that answers once before it is called as what it is: nothing of stdin gets lost on the way.
    text = "\n".join(f"line {number}" for number in range(10_000))
    status, out, err = await call(node, "lines", "--file", "file=-", stdin=text.encode())
    assert (status, out, err) == (0, f"{text}\n", "")
    with (tmp_path / "large").open("rb") as plain:
        assert await call(node, "size", "--file", "file=-", stdin=plain) == (0, f"{len(large)}\n", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--file", "file=/no/such/file"), "/no/such/file"),
        (("--file", "a=-", "--file", "b=-"), "stdin can be read once"),
        (("--file", "a=-", "--file", "a=-"), "once"),
    ],
)
async def test_a_file_that_cannot_be_sent_is_wrong_usage(options: tuple[str, ...], says: str) -> None:
    status, out, err = await swimring("call", "talk", "size", *options, "--join", "127.0.0.1:1")
    assert (status, out) == (2, "")
    assert says in err


async def test_a_file_that_cannot_be_read_is_one_line_that_names_it(node: Running) -> None:
    for said in ("file=/proc/self/mem", "/proc/self/mem"):
        status, out, err = await call(node, "size" if "=" in said else "add", "--file", said)
        assert (status, out) == (2, ""), err
        assert err.startswith("swimring: file: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("handler", ["shout", "lines"])
async def test_a_reader_that_has_seen_enough_of_an_answer_gets_no_traceback(
    node: Running, tmp_path: Path, handler: str
) -> None:
    (tmp_path / "large").write_bytes(b"a line\n" * 100_000)
    arguments = ["call", "talk", handler, "--file", f"file={tmp_path / 'large'}", "--join", await node.wait_address()]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "swimring", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert (await process.stdout.receive_some(1)).lower() == b"a"
    await process.stdout.aclose()
    assert await process.stderr.receive_some() == b""
    assert await process.wait() == 1


async def test_ctrl_c_cancels_the_handler(node: Running) -> None:
    command = [sys.executable, "-m", "swimring", "call", "talk", "for ever", "--join", await node.wait_address()]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert await process.stdout.receive_some() == b"1\n"
    process.send_signal(signal.SIGINT)
    await node.wait_said("the handler was cancelled")
    assert await process.wait() == 130
    assert await process.stderr.receive_some() == b""
