"""What a simulation refuses, whom it names, and what it lets pass."""

# ruff: noqa: TID251, PLW0108, PTH110, PTH115, PTH116, PTH123, PTH208, SIM115, ASYNC105
# All that is forbidden is what these tests are made of, and a lambda is the line that is named.

from __future__ import annotations

import _thread
import concurrent.futures
import datetime
import importlib
import logging
import os
import random
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
import zoneinfo
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import ConfigError, HandlerFailed
from swimring.node import open_node
from swimring.service import Request, Service
from swimring.testing import NotRepeatable, SimCluster, allow, open_sim_cluster, run_simulation

from . import clocks_by_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, kw_only=True)
class Order:
    number: uuid.UUID = field(default_factory=uuid.uuid4)


def run(act: Callable[[], Any]) -> Any:
    async def main() -> Any:
        found = act()
        await trio.sleep(1)
        return found

    return run_simulation(main, seed=1)


def with_socket(use: Callable[[socket.socket], None]) -> None:
    with socket.socket() as own:
        use(own)


HERE = re.escape(__file__)

CULPRITS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "time": (lambda: time.time(), r"time\.time", "wall_ms"),
    "monotonic": (lambda: time.monotonic_ns(), r"time\.monotonic_ns", "current_time"),
    "perf_counter": (lambda: time.perf_counter(), r"time\.perf_counter", "current_time"),
    "localtime": (lambda: time.localtime(), r"time\.localtime", "wall_ms"),
    "gmtime": (lambda: time.gmtime(None), r"time\.gmtime", "wall_ms"),
    "ctime": (lambda: time.ctime(), r"time\.ctime", "wall_ms"),
    "asctime": (lambda: time.asctime(), r"time\.asctime", "wall_ms"),
    "strftime": (lambda: time.strftime("%H"), r"time\.strftime", "wall_ms"),
    "process_time": (lambda: time.process_time(), r"time\.process_time", "current_time"),
    "thread_time": (lambda: time.thread_time_ns(), r"time\.thread_time_ns", "current_time"),
    "times": (lambda: os.times(), r"os\.times", "current_time"),
    "sleep": (lambda: time.sleep(0), r"time\.sleep", r"trio\.sleep"),
    "now": (lambda: datetime.datetime.now(), r"datetime\.datetime\.now", "wall_ms"),
    "now in a zone": (lambda: datetime.datetime.now(tz=datetime.UTC), r"datetime\.datetime\.now", "wall_ms"),
    "utcnow": (lambda: datetime.datetime.utcnow(), r"datetime\.datetime\.utcnow", "wall_ms"),
    "today": (lambda: datetime.date.today(), r"time\.time", "wall_ms"),
    "urandom": (lambda: os.urandom(4), r"os\.urandom", "entropy"),
    "uuid4": (lambda: uuid.uuid4(), r"uuid\.uuid4", "entropy"),
    "uuid1": (lambda: uuid.uuid1(), r"uuid\.uuid1", "entropy"),
    "a default factory": (lambda: Order(), r"uuid\.uuid4 \(os\.urandom\)", "entropy"),
    "token_hex": (lambda: secrets.token_hex(), r"secrets\.token_hex \(random\._urandom\)", "entropy"),
    "randbelow": (lambda: secrets.randbelow(10), r"secrets\.randbelow \(random\._urandom\)", "entropy"),
    "SystemRandom": (lambda: random.SystemRandom().random(), r"random\.SystemRandom\.random", "entropy"),
    "dice without a seed": (lambda: random.Random(), r"random\.Random without a seed", r"host\.rng"),
    "dice seeded anew": (lambda: random.seed(), r"random\.seed without a seed", r"host\.rng"),
    "open": (lambda: Path(__file__).open().close(), "open", r"request\.node\.store"),
    "open bytes": (lambda: open(os.fsencode(__file__)).close(), "open", r"request\.node\.store"),
    "link": (lambda: os.link("/tmp/never", "/tmp/ever"), r"os\.link", r"request\.node\.store"),
    "read_text": (lambda: Path(__file__).read_text(), r"pathlib.*\.read_text \(open\)", r"request\.node\.store"),
    "write_text": (lambda: Path("/tmp/never").write_text(""), r"\.write_text \(open\)", r"request\.node\.store"),
    "listdir": (lambda: os.listdir("."), r"os\.listdir", r"request\.node\.store"),
    "opened by number": (lambda: os.close(os.open("/tmp", os.O_RDONLY)), "open", r"request\.node\.store"),
    "stat": (lambda: os.stat("/tmp"), r"os\.stat", r"request\.node\.store"),
    "stat of a path": (lambda: Path("/tmp").stat(), r"pathlib.*\.stat \(os\.stat\)", r"request\.node\.store"),
    "lstat": (lambda: os.lstat(b"/tmp"), r"os\.lstat", r"request\.node\.store"),
    "exists": (lambda: os.path.exists("/tmp"), r"os\.stat", r"request\.node\.store"),
    "is_file": (lambda: Path("/tmp").is_file(), r"\(os\.stat\)", r"request\.node\.store"),
    "resolve": (lambda: Path("/tmp").resolve(), r"\(os\.lstat\)", r"request\.node\.store"),
    "access": (lambda: os.access("/tmp", os.R_OK), r"os\.access", r"request\.node\.store"),
    "readlink": (lambda: os.readlink("/proc/self/exe"), r"os\.readlink", r"request\.node\.store"),
    "statvfs": (lambda: os.statvfs("/tmp"), r"os\.statvfs", r"request\.node\.store"),
    "scandir": (lambda: os.scandir("."), r"os\.scandir", r"request\.node\.store"),
    "walk": (lambda: next(os.walk(".")), r"os.*scandir", r"request\.node\.store"),
    "chdir": (lambda: os.chdir("."), r"os\.chdir", r"request\.node\.store"),
    "temporary file": (lambda: tempfile.TemporaryFile(), r"tempfile\.", r"request\.node\.store"),
    "sqlite": (lambda: sqlite3.connect(":memory:"), r"sqlite3\.connect", r"request\.node\.store"),
    "thread": (lambda: threading.Thread(target=int).start(), r"threading\.Thread\.start", "await instead"),
    "bare thread": (lambda: _thread.start_new_thread(int, ()), r"_thread\.start_new_thread", "await instead"),
    "executor": (
        lambda: concurrent.futures.ThreadPoolExecutor(1).submit(int),
        r"concurrent\.futures\.thread\.ThreadPoolExecutor\.submit \(threading\.Thread\.start\)",
        "await instead",
    ),
    "process": (lambda: subprocess.run(["true"], check=False), r"subprocess\.run", "await instead"),
    "process left alone": (lambda: subprocess.Popen(["true"]).wait(), r"subprocess\.Popen", "await instead"),
    "shell": (lambda: os.system("true"), r"os\.system", "await instead"),
    "connection": (
        lambda: socket.create_connection(("127.0.0.1", 1)),
        r"socket\.create_connection",
        "simulated network",
    ),
    "address": (lambda: with_socket(lambda own: own.bind(("127.0.0.1", 0))), r"socket\.bind", "simulated network"),
    "pair of sockets": (
        lambda: list(map(socket.socket.close, socket.socketpair())),
        r"socket\.socketpair",
        "simulated network",
    ),
    "pipe": (lambda: list(map(os.close, os.pipe())), r"os\.pipe", "simulated network"),
    "imported by name": (lambda: clocks_by_name.now(), r"time\.monotonic", "current_time"),
}


@pytest.mark.parametrize("name", CULPRITS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_would_not_repeat_is_refused_and_the_line_that_did_it_is_named(name: str) -> None:
    act, called, instead = CULPRITS[name]
    with pytest.raises(NotRepeatable) as refusal:
        run(act)
    line = act.__code__.co_firstlineno
    where = re.escape(clocks_by_name.__file__) if name == "imported by name" else f"{HERE}:{line}, in <lambda>"
    assert re.match(f"{where}.* calls .*{called}.*{instead}", str(refusal.value))


@pytest.mark.parametrize("name", CULPRITS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_outside_a_simulation_and_where_it_is_allowed_nothing_is_refused(name: str) -> None:
    act, *_ = CULPRITS[name]
    before = random.getstate()

    def allowed() -> Any:
        with allow("this test wants to know"):
            return attempt(act)

    run(allowed)
    attempt(act)
    random.setstate(before)


def attempt(act: Callable[[], Any]) -> None:
    try:
        found = act()
    except OSError:
        return  # nobody listens at port 1
    if hasattr(found, "close"):
        found.close()
    Path("/tmp/never").unlink(missing_ok=True)


ASYNC: dict[str, tuple[Callable[[], Awaitable[object]], str]] = {
    "a thread": (lambda: trio.to_thread.run_sync(int), r"trio\.\S*to_thread_run_sync"),
    "a file": (lambda: trio.Path(__file__).read_text(), r"trio\.\S*"),
    "a name": (lambda: trio.socket.getaddrinfo("localhost", 1), r"trio\.\S*getaddrinfo"),
    "a connection": (lambda: trio.open_tcp_stream("127.0.0.1", 1), r"trio\.\S*open_tcp_stream"),
    "a process": (lambda: trio.run_process(["true"]), r"trio\.\S*"),
}


@pytest.mark.parametrize("name", ASYNC)
def test_what_trio_would_do_in_the_real_world_is_refused_too(name: str) -> None:
    act, called = ASYNC[name]

    async def main() -> None:
        await act()  # the line that is named

    with pytest.raises((NotRepeatable, ExceptionGroup)) as refusal:
        run_simulation(main, seed=1)
    error = refusal.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, NotRepeatable)
    assert re.match(rf"{HERE}:\d+, in test_what_trio\S*main, calls {called}", str(error))


def test_a_pair_of_sockets_is_refused_to_who_asks_trio_for_it_and_not_to_trio_itself() -> None:
    async def main() -> None:
        trio.socket.socketpair()

    with pytest.raises(
        NotRepeatable, match=rf"{HERE}:\d+, in .*main, calls trio\.\S*socketpair \(socket\.socketpair\)"
    ):
        run_simulation(main, seed=1)


def test_a_real_node_in_a_simulation_is_refused() -> None:
    async def main() -> None:
        async with open_node(cluster="real"):
            raise AssertionError

    with pytest.RaisesGroup(pytest.RaisesExc(NotRepeatable, match="simulated network"), allow_unwrapped=True):
        run_simulation(main, seed=1)


# -------------------------------------------------------------------------------------------------------- in a cluster

app = Service("app")


@app.on("stamp", idempotent=True)
async def stamp(request: Request) -> float:
    return time.time()


@app.on("swallow", idempotent=True)
async def swallow(request: Request) -> str:
    try:
        return uuid.uuid4().hex
    except AssertionError:
        return "never mind"


@app.on("identify", idempotent=True)
async def identify(request: Request) -> str:
    host = request.node.host
    return f"{uuid.UUID(bytes=host.entropy(16), version=4)} {host.wall_ms()} {host.rng.random()} {random.random()}"


async def with_a_node(cluster: SimCluster, endpoint: Any) -> Any:
    (node,) = await cluster.start(1, app)
    return await node.node.call(endpoint, "k")


def in_a_cluster(endpoint: Any) -> Any:
    async def main() -> Any:
        async with open_sim_cluster() as cluster:
            return await with_a_node(cluster, endpoint)

    return run_simulation(main, seed=1)


def test_a_handler_is_named_even_if_its_caller_hears_of_it_first() -> None:
    with pytest.raises((HandlerFailed, AssertionError, ExceptionGroup)) as failure:
        in_a_cluster(stamp)
    assert any(
        re.match(rf"first of all, {HERE}:\d+, in stamp, calls time\.time", note) for note in failure.value.__notes__
    )


def test_a_file_that_is_to_be_streamed_is_the_fault_of_who_makes_the_call() -> None:
    files = Service("files")

    @files.on("count", idempotent=True)
    async def count(request: Request) -> int:
        async with request.streams["text"] as stream:
            return len(await stream.receive())

    async def main() -> None:
        async with open_sim_cluster() as cluster:
            (node,) = await cluster.start(1, files)
            await node.node.call(count.with_streams(text=Path(__file__)), "k")  # the line that is named

    line = main.__code__.co_firstlineno + 3
    with pytest.raises(BaseException) as failure:
        run_simulation(main, seed=1)
    told = "".join(traceback.format_exception(failure.value))
    assert re.search(rf"{HERE}:{line}, in test_a_file\S*main, calls swimring\.\S*call \(a thread of Trio\)", told)


def test_what_the_code_under_test_swallows_fails_the_simulation_at_its_end() -> None:
    with pytest.raises(NotRepeatable, match=r"in swallow, calls uuid\.uuid4"):
        in_a_cluster(swallow)


def test_what_a_handler_asks_its_node_for_repeats() -> None:
    first = in_a_cluster(identify)
    assert first == in_a_cluster(identify)
    assert " 17500000" in first


# ----------------------------------------------------------------------------------------------------- no false alarms


def test_logging_with_time_stamps_into_a_file_is_nobodys_fault(tmp_path: Path) -> None:
    logger = logging.getLogger("tests.guard")
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    try:
        run(lambda: logger.warning("noted"))
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert "noted" in (tmp_path / "log").read_text()


def test_importing_is_nobodys_fault_whatever_the_module_does_meanwhile() -> None:
    def import_anew() -> None:
        sys.modules.pop("tests.testing.clocks_by_name", None)
        importlib.import_module("tests.testing.clocks_by_name")
        sys.modules.pop("wave", None)
        import wave  # noqa: F401

    run(import_anew)


def test_warnings_tracebacks_and_time_zones_are_nobodys_fault() -> None:
    def act() -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("careful", stacklevel=1)
        zoneinfo.ZoneInfo.clear_cache()
        zoneinfo.ZoneInfo("Europe/Berlin")
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            return traceback.format_exc()

    assert "ZeroDivisionError" in run(act)


def test_dates_that_do_not_ask_the_clock_and_dice_with_a_seed_are_fine() -> None:
    def act() -> None:
        day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=1)
        assert isinstance(day, datetime.datetime)
        assert datetime.datetime.fromtimestamp(0, tz=datetime.UTC).year == 1970
        assert datetime.datetime.fromisoformat(day.isoformat()) == day
        assert time.strftime("%Y", time.gmtime(0)) == time.asctime(time.gmtime(0))[-4:] == "1970"
        assert time.localtime(86_400 * 9).tm_year == 1970
        assert time.ctime(86_400 * 9).endswith("1970")
        random.Random(7).random()
        random.seed(7)
        random.choice([1, 2])

    run(act)


def test_other_threads_go_on_as_they_like() -> None:
    begun, done = threading.Event(), threading.Event()
    found: list[object] = []

    def work() -> None:
        begun.wait(10)
        found.append(time.time())
        found.append(Path(__file__).read_text()[:3])
        done.set()

    def act() -> None:
        begun.set()
        done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    run(act)
    thread.join()
    assert found[1] == '"""'


def test_a_module_that_was_imported_in_a_simulation_has_the_real_clock_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, clocks_by_name.__name__)
    again = run(lambda: importlib.import_module(clocks_by_name.__name__))
    assert vars(again)["monotonic"] is time.monotonic


def test_an_import_that_somebody_forbids_is_no_module_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "not_to_be_imported", None)
    assert run(lambda: 7) == 7


def test_everything_is_as_before_when_a_simulation_has_ended() -> None:
    def watched() -> list[object]:
        return [
            time.time, time.sleep, os.urandom, uuid.uuid4, threading.Thread.start, random.Random.seed, random.seed,
            time.strftime, time.process_time, os.stat, os.pipe, socket.socketpair, _thread.start_new_thread,
            vars(datetime.datetime)["now"], vars(clocks_by_name)["monotonic"],
        ]  # fmt: skip

    before = watched()
    run(int)
    with pytest.raises(NotRepeatable):
        run(lambda: time.time())
    assert watched() == before


def test_allowing_takes_a_reason() -> None:
    with pytest.raises(ConfigError, match="why"), allow(""):
        pass
