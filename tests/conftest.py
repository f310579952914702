"""Marks coroutine tests for Trio unless they are marked for anyio, and runs tests that take a ``seed`` under several.

``--seeds N`` says under how many; `nox -s simulate` uses it for long sweeps. Without it, tests marked ``costly`` run
under one. The seed is in the name of the test.
Hypothesis draws the same examples in every run and never looks at the time: a slow machine is no failure.
``--examples N`` draws that many new ones instead; `nox -s fuzz` uses it.
With several processes (`pytest -n auto --dist loadgroup`) the tests that start nodes as processes stay in one of them:
nodes of one machine find each other by themselves.
"""

from __future__ import annotations

import inspect
import logging
import signal
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.examples import LONG

if TYPE_CHECKING:
    from collections.abc import Generator

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

SEEDS = 3
STARTS_PROCESSES = (
    "contracts/test_clusters.py",
    "dashboard/",
    "discovery/test_multicast.py",
    "house/",
    "integration/",
    "testing/test_real.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, help=f"how many seeds to run each simulation under, by default {SEEDS}")
    parser.addoption("--first-seed", type=int, default=0, help="the first of them")
    parser.addoption("--browser", action="store_true", help="run the tests that drive a Chromium, too")
    parser.addoption("--examples", type=int, help="how many new examples Hypothesis draws for each property")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell has jobs in the background ignore it, and they hand that on: no process of a test would hear a Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    count = config.getoption("examples")
    if count is not None:
        hypothesis.settings.register_profile(LONG, deadline=None, max_examples=count, print_blob=True)
        hypothesis.settings.load_profile(LONG)


@pytest.fixture
def in_a_sweep(pytestconfig: pytest.Config) -> bool:
    """Whether this run takes its time: more seeds than by default, as `nox -s simulate` has."""
    return (pytestconfig.getoption("seeds") or SEEDS) > SEEDS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # A test that chooses its seeds itself is left alone.
    chosen = any("seed" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "seed" in metafunc.fixturenames and not chosen:
        first = metafunc.config.getoption("first_seed")
        few = 1 if metafunc.definition.get_closest_marker("costly") else SEEDS
        seeds = range(first, first + (metafunc.config.getoption("seeds") or few))
        metafunc.parametrize("seed", seeds, ids=[f"seed={seed}" for seed in seeds])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if inspect.iscoroutinefunction(function) and item.get_closest_marker("anyio") is None:
            item.add_marker(pytest.mark.trio)
        if item.nodeid.removeprefix("tests/").startswith(STARTS_PROCESSES):
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Leave logging as it was: a command in this process would write to the stderr of a test that is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return (yield)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
