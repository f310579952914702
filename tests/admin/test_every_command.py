"""What holds for each command there is, or will be."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .command import Run, run
from .every_command import ASKING, COMMANDS, NEEDED, options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run"]

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "command-line.md"
TESTS = Path(__file__).parents[1]
ONE = {
    "run": "admin/test_command_line.py::test_a_state_that_cannot_be_used_is_one_line_and_status_1",
    "dev": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "lookup": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "trace": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "call": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "bench": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "doctor": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "keys list": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "keys add": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "keys use": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "keys remove": "integration/test_statuses.py::test_what_fails_ends_with_status_1",
    "drain": "integration/test_statuses.py::test_an_operation_that_takes_too_long_ends_with_status_1",
    "cordon": "integration/test_statuses.py::test_an_operation_that_takes_too_long_ends_with_status_1",
    "uncordon": "integration/test_statuses.py::test_an_operation_that_takes_too_long_ends_with_status_1",
    "evict": "integration/test_statuses.py::test_an_operation_that_takes_too_long_ends_with_status_1",
    "sim": "integration/test_new.py::test_a_sweep_that_fails_says_why_and_ends_with_its_status",
    "demo": "admin/test_demo_parts.py::test_the_demo_succeeds_only_if_the_totals_are_equal",
}
"""Which test shows each command that ends with status 1."""


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "ring.secret"
    file.touch(mode=0o600)
    file.write_text("ab" * 32)
    return str(file)


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where somebody takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def typed(name: str, *more: str, secret: str = "") -> list[str]:
    arguments = [secret if one == "FILE" else one for one in NEEDED.get(name, [])]
    return [*name.split(), *arguments, *more]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_and_each_of_its_options(run: Run, name: str) -> None:
    status, out, err = run(*name.split(), "--help")
    assert (status, err) == (0, "")
    assert f"Usage: swimring {name}" in out
    assert "\x1b" not in out
    unexplained = [option for option, text in options_of(name).items() if not text]
    assert unexplained == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_json(name: str) -> None:
    assert "--json" in options_of(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_of_a_command_is_one_line_that_says_what_is_right_and_status_2(run: Run, name: str) -> None:
    status, out, err = run(*typed(name), "--jsn")
    assert (status, out) == (2, "")
    assert err == "swimring: Unknown option: --jsn. Did you mean --json?\n"


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_an_argument_that_is_missing_is_named(run: Run, name: str) -> None:
    status, out, err = run(*name.split())
    assert (status, out) == (2, "")
    assert re.fullmatch(r".*(requires an argument|write MODULE:NAME).*\n", err)


@pytest.mark.parametrize("name", [name for name in ASKING if name != "doctor"])
@pytest.mark.parametrize("where", ["nobody", "silent"])
def test_no_node_is_one_line_and_status_3_for_each_that_asks_one(
    run: Run, name: str, where: str, silent: str, secret: str
) -> None:
    join = "127.0.0.1:1" if where == "nobody" else silent
    options = ("--join", join, "--secret-file", secret, "--within", "0.05", "--json")
    status, out, err = run(*typed(name, secret=secret), *options)
    assert (status, out) == (3, "")
    assert re.fullmatch(rf"swimring: no node answers at {join} .*\n", err)


@pytest.mark.parametrize("name", ASKING)
def test_a_time_that_is_none_is_refused_by_each_that_asks(run: Run, name: str, secret: str) -> None:
    status, out, err = run(*typed(name, secret=secret), "--within", "0", "--secret-file", secret)
    assert (status, out) == (2, "")
    assert "seconds above 0" in err


def test_the_page_says_which_command_ends_how() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text().partition("## Exit status")[2], re.M)
    assert [name for name, _, _ in rows] == sorted(COMMANDS)
    assert {name for name, failed, _ in rows if failed != "-"} == set(ONE)
    assert {name for name, _, unreached in rows if unreached != "-"} == set(ASKING) - {"doctor"}
    assert set(re.findall(r"^\| `swimring ([a-z]+)", PAGE.read_text(), re.M)) >= {
        name.split()[0] for name in COMMANDS if name != "uncordon"
    }


@pytest.mark.parametrize("test", sorted(set(ONE.values())))
def test_what_is_said_to_show_a_status_is_there(test: str) -> None:
    file, name = test.split("::")
    assert f"def {name}(" in (TESTS / file).read_text()
