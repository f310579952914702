"""The pytest plugin: coroutine tests that take the fixture ``cluster`` run in virtual time, by a seed.

It loads nothing of the kit until such a test runs. What it runs is no coroutine function any more when other plugins
look at it, so pytest-trio and anyio's plugin leave it alone, whatever their modes are.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from .sweep import Share, hash_seed, sweep, sweep_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SEED: Final = pytest.StashKey[int]()
_SEED_OPTION: Final = "--swimring-seed"
_OF_A_RUN: Final = ("--swimring", "--basetemp")
"""How the kit runs, and where a sweep's process keeps its files, which is gone when somebody replays."""
_LOUDNESS: Final = ("--quiet", "--verbose", "--exitfirst", "--pdb")
_FUNCTION: Final = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the kit."""
    group = parser.getgroup("swimring", "simulated clusters")
    group.addoption(_SEED_OPTION, type=int, default=0, metavar="N", help="the seed of every simulated cluster")
    group.addoption(
        "--swimring-seeds",
        type=int,
        default=1,
        metavar="N",
        help="run every test that takes `cluster` under N seeds, in a process for each processor; "
        "the lowest seed that fails is shown with the command that replays it",
    )
    group.addoption(
        "--swimring-real",
        action="store_true",
        help="run tests that take `cluster` on real processes and in real time; "
        "a test that asks for what cannot be done to them is skipped",
    )
    group.addoption("--swimring-processes", type=int, default=None, metavar="N", help="how many processes sweep")
    group.addoption("--swimring-share", default=None, help="what one process of a sweep does (used by the sweep)")


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker.

    Raises:
        UsageError: real processes are to be swept by seeds.
    """
    if config.getoption("swimring_real") and config.getoption("swimring_seeds") != 1:
        raise pytest.UsageError("--swimring-seeds sweeps schedules, and real processes (--swimring-real) have none")
    config.addinivalue_line(
        "markers", "swimring(**settings): what `open_sim_cluster` opens the fixture `cluster` of this test with"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Begin anew with a fixed hash seed if a seed is given: what is in the order of sets of strings repeats, too."""
    if _SEED_OPTION in _given(config) and not hash_seed() and _is_the_program(config):
        config._ensure_unconfigure()  # noqa: SLF001 - there is no public way to give the standard streams back
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **hash_seed(default="0")})  # noqa: S606


def _given(config: pytest.Config) -> set[str]:
    return {str(argument).partition("=")[0] for argument in config.invocation_params.args}


def _is_the_program(config: pytest.Config) -> bool:
    """Whether this process is pytest and nothing else, so that another one can take its place."""
    program = Path(sys.argv[0])
    named = program.name in ("pytest", "py.test") or program.parts[-2:] == ("pytest", "__main__.py")
    return named and sys.argv[1:] == [*map(str, config.invocation_params.args)] and sys.gettrace() is None


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> object:
    """A cluster without nodes (`swimring.testing.Cluster`), for coroutine tests: simulated, unless told otherwise."""
    if _FUNCTION not in request.node.stash:
        pytest.fail("the fixture `cluster` is for tests that are coroutine functions", pytrace=False)
    return None  # the test gets the cluster itself: it has to be made inside the event loop


@pytest.fixture
def swimring_seed(request: pytest.FixtureRequest) -> int:
    """The seed that this test runs under."""
    return seed_of(request.node)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Turn coroutine functions that take `cluster` into functions that simulate."""
    if not isinstance(item, pytest.Function) or not _takes_our_cluster(item):
        return
    if inspect.iscoroutinefunction(item.obj):
        item.stash[_FUNCTION] = item.obj
        item.obj = (_reality if item.config.getoption("swimring_real") else _simulation)(item, item.obj)
        if type(item) is not pytest.Function:  # pytest-asyncio's, in its auto mode: it would await what we return
            vars(item)["runtest"] = functools.partial(pytest.Function.runtest, item)


def _takes_our_cluster(item: pytest.Function) -> bool:
    """Whether the fixture `cluster` of ``item`` is the one above, and not one of its project's own."""
    found = item._fixtureinfo.name2fixturedefs.get("cluster")  # noqa: SLF001 - pytest has no public way to look it up
    return found is not None and found[-1].func.__module__ == __name__


def seed_of(item: pytest.Item) -> int:
    """The seed that ``item`` runs under now."""
    seed: int = item.stash.get(_SEED, item.config.getoption("swimring_seed"))
    return seed


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test under many seeds, if that is asked for."""
    seeds = item.config.getoption("swimring_seeds")
    if seeds == 1 or _FUNCTION not in item.stash:
        return None
    share = item.config.getoption("swimring_share")
    first = item.config.getoption("swimring_seed")
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    if share is None:
        reports: Sequence[pytest.TestReport] = sweep(
            item, range(first, first + seeds), processes=item.config.getoption("swimring_processes")
        )
    else:

        def prepare(seed: int) -> None:
            item.stash[_SEED] = seed

        reports = sweep_share(item, Share.read(share), prepare=prepare, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _simulation(item: pytest.Function, function: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(function)
    def simulate(**fixtures: Any) -> None:
        from .report import failure_report  # noqa: PLC0415 - loaded by those who simulate
        from .simulation import run_simulation  # noqa: PLC0415

        settings, seen = _settings(item), list[Any]()
        try:
            run_simulation(_run, function, fixtures, settings, seen, seed=seed_of(item))
        except BaseException as error:  # noqa: BLE001 - re-raised; every failure has its report
            if seen:
                report = failure_report(seen[0], _replay(item), known=bool(hash_seed()))
                item.add_report_section("call", "simulated cluster", report)
            raise _alone_in(error) from None

    return simulate


def _reality(item: pytest.Function, function: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(function)
    def run(**fixtures: Any) -> None:
        import trio  # noqa: PLC0415 - loaded by those who need it

        from .report import real_report  # noqa: PLC0415

        settings, seen = {"seed": seed_of(item), **_settings(item)}, list[Any]()
        try:
            trio.run(_run_real, function, fixtures, settings, seen)
        except BaseException as error:  # noqa: BLE001 - re-raised; every failure has its report
            if seen:
                item.add_report_section("call", "cluster of processes", real_report(seen[0]))
            raise _skipped_in(error) or _alone_in(error) from None

    return run


async def _run_real(
    function: Callable[..., Any], fixtures: dict[str, Any], settings: dict[str, Any], seen: list[Any]
) -> None:
    from .real import open_real_cluster  # noqa: PLC0415 - loaded by those who need it

    async with open_real_cluster(**settings) as opened:
        seen.append(opened)
        await function(**{**fixtures, "cluster": opened})


def _settings(item: pytest.Item) -> dict[str, Any]:
    marker = item.get_closest_marker("swimring")
    return {} if marker is None else dict(marker.kwargs)


def _skipped_in(error: BaseException) -> BaseException | None:
    """The wish to skip the test among all that came of it."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _skipped_in(inner))), None)
    return error if isinstance(error, pytest.skip.Exception) else None


async def _run(
    function: Callable[..., Any], fixtures: dict[str, Any], settings: dict[str, Any], seen: list[Any]
) -> None:
    from .cluster import open_sim_cluster  # noqa: PLC0415 - loaded by those who simulate

    async with open_sim_cluster(**settings) as opened:
        seen.append(opened)
        await function(**{**fixtures, "cluster": opened})


def _alone_in(error: BaseException) -> BaseException:
    """The only error in groups of groups, as the author of a test expects to see it; else ``error``."""
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        if len(inner.exceptions) > 1:
            return error
        inner = inner.exceptions[0]
    return inner


def _replay(item: pytest.Item) -> str:
    environment = [f"{name}={value}" for name, value in hash_seed().items()]
    command = ["pytest", repr(item.nodeid), *_own_options(item.config), f"--swimring-seed {seed_of(item)}"]
    return " ".join([*environment, *command])


def _own_options(config: pytest.Config) -> list[str]:
    """The options of this run that are the project's own: not which tests, how loud, or how the kit runs them."""
    given = [str(argument) for argument in config.invocation_params.args if argument not in config.args]
    options, kept = list[str](), False
    for argument in given:
        if argument.startswith("-"):
            kept = argument.startswith("--") and not argument.startswith(_OF_A_RUN) and argument not in _LOUDNESS
        if kept:  # an option, or the value that follows it
            options.append(shlex.quote(argument))
    return options
