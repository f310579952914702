"""The client on asyncio and on Trio against real node processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from swimring.client import connect
from swimring.errors import ConfigError, HandlerFailed

from .lab import TooMuch, divide, echo, list_cancelled, list_noted, patience, refuse, wait, where
from .processes import address_in, ring_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

LAB = f"{Path(__file__).parent / 'lab.py'}:app"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one of three nodes that know each other."""
    cluster = f"lab-{abs(hash(str(tmp_path_factory.mktemp('lab')))) % 10**8}"
    with ring_of(LAB, dict.fromkeys("abc", ()), cluster=cluster) as line:
        yield address_in(line)


async def test_keys_are_answered_where_the_client_looks_them_up(lab: str) -> None:
    with anyio.fail_after(10):
        async with connect(lab) as mesh:
            keys = [f"k{number}" for number in range(50)]
            assert [await mesh.call(where, key) for key in keys] == [mesh.lookup(key).name for key in keys]
            assert {await mesh.call(where, None) for _ in range(9)} == {"a", "b", "c"}
            assert [member.name for member in mesh.members] == ["a", "b", "c"]


async def test_a_request_by_message_does_what_a_call_does(lab: str) -> None:
    with anyio.fail_after(10):
        async with connect(lab) as mesh:
            message = {"ns": "lab", "cmd": "echo", "key": b"\x00", "data": b"x" * 500_000}
            assert await mesh.request(message) == await mesh.call(echo, b"\x00", message["data"])  # type: ignore[arg-type]  # read from a mapping


async def test_an_error_of_a_handler_comes_bare_with_its_type_and_place(lab: str) -> None:
    with anyio.fail_after(10), pytest.raises(HandlerFailed, match="ZeroDivisionError") as caught:
        async with connect(lab) as mesh:
            await mesh.call(divide, "k", 0)
    assert "divide" in caught.value.frames
    assert caught.value.maybe_executed


async def test_a_declared_error_of_a_handler_is_raised_as_itself(lab: str) -> None:
    with anyio.fail_after(10):
        async with connect(lab) as mesh:
            with pytest.raises(TooMuch) as caught:
                await mesh.call(refuse, "k", "apples")
            assert caught.value.args == ("apples", 7)
            failed = caught.value.__cause__
            assert isinstance(failed, HandlerFailed)
            assert (failed.node, failed.key, failed.maybe_executed) == (mesh.lookup("k").name, "k", True)
            with pytest.raises(HandlerFailed, match="TooMuch"):
                await mesh.request({"ns": "lab", "cmd": "refuse", "key": "k", "how": "by message"})
            found: list[BaseException] = []
            try:
                await mesh.call(refuse, "k", "group")
            except* TooMuch as group:
                found += group.exceptions
            except* (ValueError, HandlerFailed) as group:
                found += group.exceptions
            assert [type(error) for error in found] == [TooMuch, ValueError, HandlerFailed]


async def test_the_deadline_reaches_the_handler(lab: str) -> None:
    async with connect(lab) as mesh:
        with anyio.fail_after(7):
            assert 6 < await mesh.call(patience, "k") <= 7


async def test_cancelling_a_call_ends_its_handler(lab: str, anyio_backend_name: str) -> None:
    with anyio.fail_after(10):
        async with connect(lab) as mesh:
            key = f"cancel-{anyio_backend_name}"
            with anyio.move_on_after(0.1) as scope:
                await mesh.call(wait, key)
            assert scope.cancelled_caught
            assert key in await mesh.call(list_cancelled, key)


async def test_casts_arrive_although_the_block_ends_at_once(lab: str, anyio_backend_name: str) -> None:
    numbers = list(range(100, 200)) if anyio_backend_name == "trio" else list(range(100))
    key = f"note-{anyio_backend_name}"
    with anyio.fail_after(10):
        async with connect(lab) as mesh:
            for number in numbers:
                await mesh.cast({"ns": "lab", "cmd": "note", "key": key, "number": number})
        async with connect(lab) as mesh:
            noted = await mesh.call(list_noted, key)
            assert set(numbers) <= set(noted)


async def test_a_wrong_cluster_is_named_by_the_error(lab: str) -> None:
    with anyio.fail_after(10), pytest.raises(ConfigError, match=r"belong to: lab-\d+"):
        async with connect(lab, cluster="other"):
            pass


async def test_a_thousand_calls_at_once_are_all_answered(lab: str) -> None:
    answers: list[bytes] = []
    with anyio.fail_after(20):
        async with connect(lab) as mesh, anyio.create_task_group() as tasks:

            async def ask(number: int) -> None:
                answers.append(await mesh.call(echo, f"k{number}", b"%d" % number))

            for number in range(1000):
                tasks.start_soon(ask, number)
    assert sorted(answers) == sorted(b"%d" % number for number in range(1000))
