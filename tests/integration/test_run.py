"""Real processes on the loopback interface: start, find each other, answer, leave, die."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from examples.hello import greet
from swimring.client import connect
from swimring.security import key_id

from .processes import Running, running, started, swimring, swimring_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

EXAMPLES = Path(__file__).parents[2] / "examples"
HELLO = f"{EXAMPLES / 'hello.py'}:app"

STUCK = """
import time
import trio
from swimring import Request, Service

app = Service("stuck")

@app.on("shield")
async def shield(request: Request) -> None:
    print("shielded", flush=True)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

@app.on("block")
async def block(request: Request) -> None:
    print("blocked", flush=True)
    while True:
        time.sleep(60)
"""


@asynccontextmanager
async def three(cluster: str) -> AsyncIterator[dict[str, Running]]:
    """Three nodes that know each other."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            running(HELLO, "--cluster", cluster, "--name", "a", "--join", "127.0.0.1:1")
        )
        address = await first.wait_address()
        nodes = {"a": first}
        for name in "bc":
            options = ("--cluster", cluster, "--name", name, "--join", address)
            nodes[name] = await stack.enter_async_context(running(HELLO, *options))
        for name, node in nodes.items():
            await node.wait_address()
            for other in nodes.keys() - {name}:
                await node.wait_said(f"{other} alive")
        yield nodes


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A name no other test run on this machine uses."""
    return f"run-{abs(hash(str(tmp_path))) % 10**8}"


async def test_three_processes_find_each_other_without_any_setting_but_their_cluster(cluster: str) -> None:
    with trio.fail_after(60):
        async with AsyncExitStack() as stack:
            for name, company in {"a": "nobody else is here yet", "b": "with a", "c": "with a, b"}.items():
                arguments = ("run", "hello:app", "--cluster", cluster, "--name", name)
                node = await stack.enter_async_context(started(*arguments, cwd=EXAMPLES))
                line = await node.wait_said(f"{name} in cluster {cluster} at 127.0.0.1:")
                assert line.endswith(company)
            rows = await swimring_json("members", "--cluster", cluster)
            assert [(row["name"], row["status"]) for row in rows] == [(name, "alive") for name in "abc"]
            owner = (await swimring_json("lookup", "k1", "--cluster", cluster))["owner"]["name"]
            greet = ("call", "hello", "greet", "--key", "k1", "name=World", "--cluster", cluster)
            assert await swimring(*greet) == (0, f"hello World from {owner}\n", "")


async def test_three_processes_find_each_other_and_answer_the_command_line(cluster: str) -> None:
    answers: dict[str, object] = {}

    async def ask(name: str, command: Callable[..., Awaitable[object]], *arguments: str) -> None:
        answers[name] = await command(*arguments, *via)

    with trio.fail_after(30):
        async with three(cluster) as nodes:
            via = ("--join", await nodes["b"].wait_address())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "members", swimring_json, "members")
                nursery.start_soon(ask, "lookup", swimring_json, "lookup", "k1", "--replicas", "2")
                nursery.start_soon(
                    ask, "greet", swimring, "call", "hello", "greet", "--key", "k1", "name=World", "excited=true"
                )
                nursery.start_soon(ask, "wrong", swimring, "call", "hello", "greet", "--key", "k1", "name=5")
                nursery.start_soon(ask, "nobody", swimring, "call", "chat", "say")
            visits = [await swimring_json("call", "hello", "visit", "--key", "k1", *via) for _ in range(2)]
    members: Any = answers["members"]
    found: Any = answers["lookup"]
    owner = found["owner"]["name"]
    rows = [(row["name"], row["status"], row["services"]) for row in members]
    assert rows == [(name, "alive", ["hello"]) for name in "abc"]
    assert {owner, *(replica["name"] for replica in found["replicas"])} == {"a", "b", "c"}
    assert answers["greet"] == (0, f"hello World! from {owner}\n", "")
    assert visits == [1, 2]
    for name, says in (("wrong", "name: found int 5, allowed is str"), ("nobody", "offered: hello")):
        status, out, err = cast("tuple[int, str, str]", answers[name])
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert says in err


async def test_the_first_signal_leaves_within_3_seconds_with_status_0(cluster: str) -> None:
    with trio.fail_after(30):
        async with three(cluster) as nodes:
            for name, number in (("a", signal.SIGTERM), ("b", signal.SIGINT)):
                nodes[name].signal(number)
                with trio.fail_after(3):
                    assert await nodes[name].wait_ended() == 0
                    await nodes["c"].wait_said(f"{name} left")
                assert "Traceback" not in nodes[name].said
            async with connect(await nodes["c"].wait_address()) as mesh:
                assert [member.status.word for member in mesh.members] == ["left", "left", "alive"]


async def test_a_killed_process_is_dead_and_its_keys_are_answered_by_another(cluster: str) -> None:
    keys = [f"k{number}" for number in range(50)]
    with trio.fail_after(30):
        async with three(cluster) as nodes, connect(await nodes["a"].wait_address()) as mesh:
            before = {key: await mesh.call(greet, key, "World") for key in keys}
            nodes["c"].signal(signal.SIGKILL)
            after = {key: await mesh.call(greet, key, "World") for key in keys}
            for key in keys:
                assert after[key] == before[key] or (before[key].endswith("c") and not after[key].endswith("c"))
            await nodes["a"].wait_said("c dead")
            rows = await swimring_json("members", "--join", await nodes["a"].wait_address())
            assert [(row["name"], row["status"]) for row in rows] == [("a", "alive"), ("b", "alive"), ("c", "dead")]


@pytest.mark.parametrize(("cmd", "says"), [("shield", "shielded"), ("block", "blocked")])
async def test_the_second_signal_ends_it_whatever_a_handler_does(
    cluster: str, tmp_path: Path, cmd: str, says: str
) -> None:
    (tmp_path / "stuck_app.py").write_text(STUCK)
    with trio.fail_after(30):
        options = ("--cluster", cluster, "--join", "127.0.0.1:1")
        async with running(f"{tmp_path / 'stuck_app.py'}:app", *options) as node, trio.open_nursery() as nursery:
            nursery.start_soon(swimring, "call", "stuck", cmd, "--join", await node.wait_address())
            await node.wait_said(says)
            node.signal(signal.SIGINT)
            if cmd == "shield":
                await node.wait_said("leaves")
            node.signal(signal.SIGTERM)  # another one: two of a kind, sent at once, may arrive as one
            assert await node.wait_ended() == 130  # the handler would keep it for ever
            assert "Traceback" not in node.said
            nursery.cancel_scope.cancel()


async def test_of_two_processes_with_one_name_one_ends_with_one_line(cluster: str) -> None:
    ended: list[tuple[int, str]] = []

    async def wait(node: Running, enough: trio.CancelScope) -> None:
        ended.append((await node.wait_ended(), node.said))
        enough.cancel()

    options = ("--cluster", cluster, "--name", "same", "--log-level", "error")
    with trio.fail_after(30):
        async with running(HELLO, *options, "--join", "127.0.0.1:1") as first:
            async with running(HELLO, *options, "--join", await first.wait_address()) as second:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait, first, nursery.cancel_scope)
                    nursery.start_soon(wait, second, nursery.cancel_scope)
    (status, said), *_ = ended
    assert status == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("swimring: another process runs under the name same")


async def test_a_ring_with_a_secret_answers_those_who_have_it(cluster: str, tmp_path: Path) -> None:
    secret = tmp_path / "ring.secret"
    secret.write_text(bytes(range(32)).hex())
    secret.chmod(0o600)
    options = ("--cluster", cluster, "--secret-file", str(secret))
    with trio.fail_after(30):
        async with running(HELLO, *options, "--name", "a", "--join", "127.0.0.1:1") as first:
            address = await first.wait_address()
            async with running(HELLO, *options, "--name", "b", "--join", address):
                await first.wait_said("b alive")
                rows = await swimring_json("members", "--join", address, "--secret-file", str(secret))
                assert [(row["name"], row["status"]) for row in rows] == [("a", "alive"), ("b", "alive")]
                status, out, err = await swimring("members", "--join", address)
                assert (status, out) == (2, "")
                assert "give it the secret (--secret-file)" in err
                new = tmp_path / "new.secret"
                new.write_text(bytes(range(1, 33)).hex())
                new.chmod(0o600)
                status, out, err = await swimring(
                    "keys", "add", str(new), "--join", address, "--secret-file", str(secret)
                )
                assert (status, err) == (0, "")
                old_id, new_id = (key_id(bytes(range(first, first + 32))).hex() for first in (0, 1))
                assert [line.strip().split(maxsplit=1) for line in out.splitlines()[1:3]] == [
                    ["a", f"{old_id}, {new_id}"],
                    ["b", f"{old_id}, {new_id}"],
                ]
                status, out, err = await swimring("keys", "use", new_id, "--join", address, "--secret-file", str(new))
                assert status == 0, out + err
                status, out, err = await swimring(
                    "keys", "remove", new_id, "--join", address, "--secret-file", str(new)
                )
                assert status == 1
                assert out.count("use another one first") == 2
                assert "Traceback" not in err + first.said
                assert secret.read_text() not in first.said


async def test_a_signal_makes_a_node_read_its_secret_file_again_and_a_bad_file_changes_nothing(
    cluster: str, tmp_path: Path
) -> None:
    old, new = bytes(range(32)), bytes(range(1, 33))
    own, clients = tmp_path / "ring.secret", tmp_path / "client.secret"
    for file, key in ((own, old), (clients, new)):
        file.touch(mode=0o600)
        file.write_text(key.hex())
    with trio.fail_after(30):
        async with running(HELLO, "--cluster", cluster, "--secret-file", str(own), "--join", "127.0.0.1:1") as node:
            address = await node.wait_address()
            own.write_text("not a key")
            node.signal(signal.SIGHUP)
            assert "stays: secret_file" in await node.wait_said("a file was not taken")
            own.write_text(f"{new.hex()}\n{old.hex()}")
            node.signal(signal.SIGHUP)
            await node.wait_said(f"{key_id(new).hex()}, {key_id(old).hex()}")
            assert await swimring_json("members", "--join", address, "--secret-file", str(clients))
            assert not [word for word in ("Traceback", old.hex(), new.hex()) if word in node.said]
