"""What each command prints for programs, and with which status it ends when something fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from swimring.admin.cli import main
from swimring.client import connect
from swimring.security import key_id
from tests.admin.every_command import COMMANDS

from . import test_demo, test_new
from .processes import Serving, environment, nodes_of
from .test_run import HELLO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY, NEW = "ab" * 32, "cd" * 32
CLUSTER = f"statuses-{os.getpid()}"
APP_THAT_ENDS = """
import sys
from swimring import Service

app = Service("ends")
if "schema" not in sys.argv:
    sys.exit(1)
"""
SLOW = ["--within", "0.4"]
ELSEWHERE = {
    "demo": test_demo.test_the_demo_counts_to_the_last_word_although_a_node_is_killed_and_leaves_nothing_behind,
    "sim": test_new.test_a_sweep_that_fails_says_why_and_ends_with_its_status,
}
"""Commands that take long, and the tests that read their JSON."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statuses")
    for name, key in (("ring.secret", KEY), ("new.secret", NEW)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(key)
    (folder / "ends.py").write_text(APP_THAT_ENDS)
    return folder


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[dict[str, Serving]]:
    """A cluster with a secret, which a command finds by the environment."""
    secret = ["--secret-file", str(folder / "ring.secret")]
    with nodes_of(HELLO, {"a": secret, "b": secret, "c": secret}, cluster=CLUSTER) as nodes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SWIMRING_JOIN", nodes["a"].address)
            patch.setenv("SWIMRING_SECRET_FILE", str(folder / "ring.secret"))
            yield nodes


@pytest.fixture
def ended(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as over:
            main(list(arguments))
        out, err = capfd.readouterr()
        assert "\x1b" not in out + err
        assert isinstance(over.value.code, int)
        return over.value.code, out, err

    return run


def documents(text: str) -> list[Any]:
    """The JSON documents in ``text``, one a line; there is nothing else."""
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def begun(*arguments: str, said: list[str]) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A command that goes on, until Ctrl-C at the end of the block; waits for a line with some text."""
    environ = {**environment(), "SWIMRING_JOIN": ""} if arguments[0] in {"run", "dev"} else environment()
    process = subprocess.Popen(
        [sys.executable, "-m", "swimring", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip
    assert process.stdout is not None

    def wait(words: str) -> dict[str, Any]:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if words in line:
                return dict(document) if isinstance(document := json.loads(line), dict) else {"list": document}
        raise AssertionError(f"{arguments} ended and never said {words}: {said}")

    with process:
        try:
            yield wait
            process.send_signal(signal.SIGINT)
            said.extend(process.stdout)
            process.wait(30)
        finally:
            process.kill()


class Typing:
    """Types commands with ``--json`` and keeps what they printed."""

    def __init__(self, ended: Callable[..., tuple[int, str, str]]) -> None:
        self.found: dict[str, list[Any]] = {}
        self._ended = ended

    def __call__(self, command: str, *arguments: str) -> Any:
        """The first document that it prints."""
        status, out, err = self._ended(*command.split(), *arguments, "--json")
        assert status == 0, (command, err)
        self.found[command] = documents(out)
        return self.found[command][0]

    @contextmanager
    def going_on(self, command: str, *arguments: str) -> Iterator[Callable[[str], dict[str, Any]]]:
        said: list[str] = []
        with begun(command, *arguments, "--json", said=said) as wait:
            yield wait
        self.found[command] = documents("".join(said))


@contextmanager
def visits(key: str) -> Iterator[None]:
    """The key is visited again and again while the block runs."""
    over, secret = threading.Event(), Path(os.environ["SWIMRING_SECRET_FILE"]).read_text()

    async def visit() -> None:
        async with connect(os.environ["SWIMRING_JOIN"], secret=secret) as mesh:
            while not over.is_set():
                await mesh.request({"ns": "hello", "cmd": "visit", "key": key})

    visitor = threading.Thread(target=anyio.run, args=[visit])
    visitor.start()
    try:
        yield
    finally:
        over.set()
        visitor.join()


def watch_and_operate(typed: Typing, folder: Path) -> None:
    old, new = (key_id(bytes.fromhex(key)).hex() for key in (KEY, NEW))
    assert [one["name"] for one in typed("members")] == ["a", "b", "c"]
    assert typed("lookup", "k")["key"] == "k"
    assert typed("ring")["service"] == "hello"
    assert typed("call", "hello", "greet", "name=World", "--key", "k").startswith("hello World")
    assert typed("keys list")["nodes"][0] == {"name": "a", "keys": [old]}
    assert len(typed("keys add", str(folder / "new.secret"))["nodes"][2]["keys"]) == 2
    assert typed("keys use", new)["nodes"][1]["keys"][0] == new
    typed("keys use", old)
    assert typed("keys remove", new)["cluster"] == CLUSTER
    assert {one["verdict"] for one in typed("doctor")} == {"good"}
    load = typed("bench", "hello", "greet", "name=World", "--calls", "30", "--warm-up", "0")
    assert (load["calls"], load["failed"]) == (30, 0)
    with visits("k"):
        assert typed("trace", "k", "--for", "500ms")["cmd"] == "visit"
    assert typed("cordon", "b")["takes"] == "cordoned"
    assert typed("uncordon", "b")["takes"] == "all"
    assert typed("drain", "c")["status"] == "left"
    assert typed("evict", "b")["status"] == "dead"


def test_with_json_every_command_prints_json_documents_and_nothing_else(
    nodes: dict[str, Serving], folder: Path, ended: Callable[..., tuple[int, str, str]]
) -> None:
    typed = Typing(ended)
    with typed.going_on("tail") as tail, typed.going_on("top", "--every", "0.2") as top:
        assert top("handlers")["silent"] == []
        watch_and_operate(typed, folder)
        assert tail("cordon")["member"] == "b"
    assert [one["service"] for one in typed("schema", HELLO)] == ["hello"]
    assert typed("new", str(folder / "made"))["files"]
    assert typed("completion", "bash")["shell"] == "bash"
    assert "cluster" in typed("config show")
    assert typed("config check", HELLO)["good"]
    with typed.going_on("run", HELLO, "--listen", "127.0.0.1:0", "--admin", "off") as run:
        assert run("serves")["address"].startswith("127.0.0.1:")
    with typed.going_on("dev", HELLO, "-n", "1", "--cluster", f"{CLUSTER}-dev") as dev:
        assert dev("serves")["node"] == "n1"
    assert typed.found.keys() | ELSEWHERE.keys() == COMMANDS.keys()
    assert all(typed.found.values())


def test_what_fails_ends_with_status_1(
    nodes: dict[str, Serving], folder: Path, ended: Callable[..., tuple[int, str, str]]
) -> None:
    for arguments, says in (
        (["lookup", "k", "--service", "nope"], "nope"),
        (["trace", "k", "--service", "nope"], "nope"),
        (["call", "hello", "nope"], "nope"),
        (["keys", "use", "00000000"], ""),
        (["keys", "remove", key_id(bytes.fromhex(KEY)).hex()], ""),
    ):
        status, out, err = ended(*arguments)
        assert status == 1, arguments
        assert says in err
        assert bool(out) == (arguments[0] == "keys")
    status, out, _ = ended("doctor", "--join", "127.0.0.1:1")
    assert status == 1
    assert "do: " in out
    status, out, _ = ended("bench", "hello", "nope", "--calls", "3", "--warm-up", "0")
    assert status == 1
    assert ["NoSuchHandler", "3"] in [line.split() for line in out.splitlines()]
    ends = [sys.executable, "-m", "swimring", "dev", f"{folder / 'ends.py'}:app", "-n", "1"]
    done = subprocess.run(ends, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 1


def test_an_operation_that_takes_too_long_ends_with_status_1(
    folder: Path, ended: Callable[..., tuple[int, str, str]]
) -> None:
    secret = ["--secret-file", str(folder / "ring.secret")]
    with nodes_of(HELLO, {"a": secret, "b": secret}, cluster=f"{CLUSTER}-slow") as nodes:
        via = ["--join", nodes["a"].address, *secret, *SLOW]
        for arguments in (["drain", "b"], ["cordon", "b"], ["uncordon", "b"], ["evict", "a"]):
            with nodes["b"].frozen():
                status, out, err = ended(*arguments, *via)
            assert (status, out) == (1, ""), arguments
            assert err.startswith("swimring: not done within 0.4 s; what was asked goes on (--within waits longer)")
        for arguments in (["keys", "list"], ["keys", "add", str(folder / "new.secret")]):
            with nodes["b"].frozen():
                status, out, err = ended(*arguments, *via, "--json")
            assert (status, err) == (1, ""), arguments
            (document,) = documents(out)
            assert "keys" in document["nodes"][0]
            assert "0.4 s" in document["nodes"][1]["error"]
