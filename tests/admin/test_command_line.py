"""What the command line says and returns when it is used wrongly, and how it reads arguments."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from swimring.admin.cli.asking import read_fields
from swimring.admin.cli.entry import exit_status
from swimring.admin.cli.output import print_json, print_table, print_text
from swimring.errors import (
    ConfigError,
    ConnectionLost,
    HandlerFailed,
    MissingExtra,
    NameConflict,
    NoSuchHandler,
    NotJoined,
    SwimringError,
    Unreachable,
)

from .command import Run, run

__all__ = ["run"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frob"], "Unknown command"),
        (["members", "--frob"], "Unknown option"),
        (["lookup"], "requires an argument"),
        (["lookup", "k", "--replicas", "many"], "Invalid value"),
        (["call", "hello"], "CMD requires an argument"),
        (["call", "hello", "greet", "World"], "write NAME=VALUE"),
        (["call", "hello", "greet", "key=k1"], "--key"),
        (["run", "hello"], "write MODULE:NAME"),
        (["run", "examples/hello.py:app", "--log-level", "loud"], "use one of: debug, info"),
        (["run", "examples/hello.py:app", "--listen", "0.0.0.0:0"], "--insecure"),
        (["run", "examples/hello.py:app", "--listen", "127.0.0.1:http"], "listen"),
        (["run", "examples/hello.py:app", "--profile", "moon"], "local"),
        (["run", "examples/hello.py:app", "--hand-over-within", "-1"], "hand_over_within: found -1.0; seconds"),
        (["run", "examples/hello.py:app", "--drain-within", "-1"], "drain_within: found -1.0; seconds"),
        (["run", "examples/hello.py:app", "--secret-file", "/nowhere/secret"], "no such file"),
        (["run", "examples/hello.py:app", "--seal", "maybe"], "accept, prefer, require"),
        (["members", "--secret-file", "/nowhere/secret"], "no such file"),
        (["run", "examples/hello.py:app", "--listen", "192.0.2.1:0", "--insecure"], "cannot bind 192.0.2.1:0"),
        (
            ["run", "examples/hello.py:app", "--listen", "192.0.2.1:0", "--insecure", "--admin", "127.0.0.1:0"],
            "listen: found '192.0.2.1:0'; cannot bind",
        ),
        (["members", "--within", "0"], "seconds above 0"),
        (["members", "--cluster", "no spaces"], "cluster"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run: Run, arguments: list[str], says: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("swimring: ")
    assert says in err
    assert err.count("\n") == 1


def test_a_state_that_cannot_be_used_is_one_line_and_status_1(run: Run) -> None:
    status, out, err = run("run", "examples/hello.py:app", "--state", "README.md")
    assert (status, out) == (1, "")
    assert "swimring-generation: Not a directory" in err


def test_that_there_is_no_node_says_why(run: Run) -> None:
    status, out, err = run("members", "--join", "127.0.0.1:1", "--json")
    assert (status, out) == (3, "")
    assert err == "swimring: no node answers at 127.0.0.1:1 (connection refused)\n"


def test_the_list_of_commands_explains_itself(run: Run) -> None:
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert "Usage: swimring" in out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x", 1, "2"), 2),
        (MissingExtra("cli", "rich"), 2),
        (NotJoined("nobody"), 3),
        (Unreachable("gone"), 3),
        (NoSuchHandler("none"), 1),
        (ConnectionLost("lost"), 1),
        (HandlerFailed(type_name="ValueError", message="no"), 1),
        (NameConflict("two"), 1),
        (SwimringError("any"), 1),
    ],
)
def test_the_exit_status_says_what_kind_of_error_it_was(error: SwimringError, status: int) -> None:
    assert exit_status(error) == status


def test_values_of_a_call_are_json_where_they_parse_and_text_elsewhere() -> None:
    fields = [
        "name=World",
        "excited=true",
        "n=5",
        "x=1.5",
        "none=null",
        "list=[1, 2]",
        'quoted="5"',
        "empty=",
        "eq=a=b",
    ]
    assert read_fields(fields) == {
        "name": "World",
        "excited": True,
        "n": 5,
        "x": 1.5,
        "none": None,
        "list": [1, 2],
        "quoted": "5",
        "empty": "",
        "eq": "a=b",
    }


@pytest.mark.parametrize("fields", [["World"], ["=5"], ["ns=x"], ["cmd=x"], ["key=x"], ["a=1", "a=2"]])
def test_an_argument_that_is_no_field_is_a_config_error(fields: list[str]) -> None:
    with pytest.raises(ConfigError):
        read_fields(fields)


def test_what_is_piped_has_no_colours_no_frame_and_no_broken_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    print_table(["name", "status"], [[long, "alive"], ["[red]b[/red]", "dead"]], title="cluster hello")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["name", "status"],
        [long, "alive"],
        ["[red]b[/red]", "dead"],
    ]
    print_text(f"[bold]{long}")
    assert capsys.readouterr().out == f"[bold]{long}\n"


def test_control_characters_that_others_made_up_are_shown_to_a_terminal_and_not_obeyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    hostile = "a\x1b]0;title\x07b\x9b2Jc\nd"
    monkeypatch.setattr(sys, "stdout", shown := Terminal())
    print_text(hostile)
    assert shown.getvalue() == "a\\x1b]0;title\\x07b\\x9b2Jc\nd\n"
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", shown := Terminal())
    print_table(["zone"], [[hostile]], title="")
    assert "a\\x1b]0;title\\x07b\\x9b2Jc\\nd" in shown.getvalue()


def test_a_reply_goes_into_a_pipe_as_it_is_and_a_cell_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("\x1b[31mred\x1b[0m")
    assert capsys.readouterr().out == "\x1b[31mred\x1b[0m\n"
    print_table(["zone"], [["east\nwest"]], title="")
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == ["zone", "east\\nwest"]


def test_an_error_cannot_write_to_the_terminal_more_than_its_line(run: Run) -> None:
    status, out, err = run("fr\x1b[2Job")
    assert (status, out) == (2, "")
    assert "fr\\x1b[2Job" in err
    assert "\x1b" not in err


def test_any_reply_has_a_json_form(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": b"\x00\xff", b"k": {3, 1}, "inf": float("inf"), "n": None, "l": [1, (2, "ü")]})
    assert capsys.readouterr().out == '{"b": "00ff", "6b": [1, 3], "inf": null, "n": null, "l": [1, [2, "ü"]]}\n'


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("cyclopts", ["members"]),
        ("rich", ["members"]),
        ("anyio", ["members"]),
        ("watchfiles", ["dev", "examples/hello.py:app", "--reload"]),
    ],
)
def test_a_missing_extra_is_one_line_that_says_how_to_install_it(module: str, command: list[str]) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; from swimring.admin.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'swimring[cli]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_stops_reading_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "swimring", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_asking_loads_no_trio() -> None:
    program = (
        "import sys\n"
        "from swimring.admin.cli import main\n"
        "try:\n"
        "    main(['members', '--join', '127.0.0.1:1'])\n"
        "except SystemExit:\n"
        "    print(sorted({'trio', 'trio_util'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_schema_shows_what_handlers_take_and_needs_no_node(run: Run) -> None:
    status, shown, _ = run("schema", "examples/hello.py:app")
    assert status == 0
    assert "hello:greet" in shown
    assert "name: string" in shown
    assert "excited?: boolean" in shown
    status, shown, _ = run("schema", "examples/hello.py:app", "--json")
    (document,) = json.loads(shown)
    assert status == 0
    assert document["handlers"][0]["parameters"]["required"] == ["name"]
    assert run("schema", "examples/hello.py:nothing")[0] == 2
