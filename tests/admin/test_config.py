"""Where a setting comes from, as a table; and what is said of names and values that there are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from swimring.admin.cli.sources import KNOBS
from swimring.admin.config import ConfigFile, Kind, Knob, Origin, find_file, read_file, resolve
from swimring.errors import ConfigError

from .command import Run, run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run"]

SOME = (
    Knob(name="listen"),
    Knob(name="log-level"),
    Knob(name="weight", kind=Kind.WHOLE),
    Knob(name="within", kind=Kind.NUMBER),
    Knob(name="insecure", kind=Kind.TRUTH),
    Knob(name="join", kind=Kind.TEXTS),
    Knob(name="secret", secret=True),
    Knob(name="secret-file"),
)
SECRET = "00" * 32


def settled(
    flags: tuple[str, ...] = (), environment: dict[str, str] | None = None, file: dict[str, Any] | None = None
) -> dict[str, tuple[Any, Origin]]:
    told = None if file is None else ConfigFile(where="swimring.toml", keys=file)
    found = resolve(SOME, flags=flags, environment=environment or {}, file=told)
    return {name: (setting.value, setting.origin) for name, setting in found.items()}


@pytest.mark.parametrize(
    ("flags", "environment", "file", "found"),
    [
        ((), {}, None, {}),
        ((), {}, {"weight": 3}, {"weight": (3, Origin.FILE)}),
        ((), {"SWIMRING_WEIGHT": "2"}, {"weight": 3}, {"weight": (2, Origin.ENVIRONMENT)}),
        (("weight",), {"SWIMRING_WEIGHT": "2"}, {"weight": 3}, {}),
        (("weight",), {"SWIMRING_LISTEN": "x"}, {"log-level": "debug"},
         {"listen": ("x", Origin.ENVIRONMENT), "log-level": ("debug", Origin.FILE)}),
        ((), {"SWIMRING_WEIGHT": ""}, {"weight": 3}, {"weight": (3, Origin.FILE)}),
        ((), {"SWIMRING_JOIN": "a:1, b:2,"}, None, {"join": (("a:1", "b:2"), Origin.ENVIRONMENT)}),
        ((), {}, {"join": ["a:1"]}, {"join": (("a:1",), Origin.FILE)}),
        ((), {"SWIMRING_INSECURE": "Yes"}, {"within": 3}, {"insecure": (True, Origin.ENVIRONMENT),
                                                          "within": (3, Origin.FILE)}),
        ((), {"SWIMRING_SECRET": "k"}, {"secret-file": "f"}, {"secret": ("k", Origin.ENVIRONMENT)}),
        (("secret-file",), {"SWIMRING_SECRET": "k"}, {"secret-file": "f"}, {}),
        ((), {"SWIMRING_SECRET_FILE": "e"}, {"secret-file": "f"}, {"secret-file": ("e", Origin.ENVIRONMENT)}),
        ((), {"SWIMRING_CONFIG": "x", "OTHER": "y"}, {}, {}),
    ],
)  # fmt: skip
def test_flags_win_over_the_environment_over_the_file(
    flags: tuple[str, ...], environment: dict[str, str], file: dict[str, Any] | None, found: dict[str, Any]
) -> None:
    assert settled(flags, environment, file) == found


@pytest.mark.parametrize(
    ("environment", "file", "says"),
    [
        ({}, {"log-levle": "x"}, "swimring.toml: found 'log-levle'; there is no such setting; the nearest"),
        ({}, {"log_level": "x"}, "the nearest is log-level"),
        ({}, {"Weight": 1}, "the nearest is weight"),
        ({"SWIMRING_WIEGHT": "1"}, {}, "and there is no such setting; the nearest is SWIMRING_WEIGHT"),
        ({"SWIMRING_WEIGHT": "many"}, {}, "SWIMRING_WEIGHT: found 'many'; it takes a whole number"),
        ({"SWIMRING_INSECURE": "maybe"}, {}, "it takes true or false"),
        ({"SWIMRING_WITHIN": "soon"}, {}, "it takes a number"),
        ({}, {"weight": "3"}, "weight: found '3'; in swimring.toml it takes a whole number"),
        ({}, {"weight": True}, "it takes a whole number"),
        ({}, {"join": "a:1"}, "it takes a list of texts"),
        ({}, {"listen": {"port": 1}}, "it takes a text"),
        ({}, {"secret": SECRET}, "write secret-file = PATH there"),
        ({"SWIMRING_SECRET": SECRET, "SWIMRING_SECRET_FILE": "f"}, {}, "SWIMRING_SECRET and SWIMRING_SECRET_FILE both"),
    ],
)  # fmt: skip
def test_a_name_or_a_value_that_there_is_not_is_an_error_that_names_the_nearest(
    environment: dict[str, str], file: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        settled((), environment, file)
    assert says in str(wrong.value)
    assert SECRET not in str(wrong.value)


def test_swimring_toml_comes_before_pyproject_toml_which_counts_only_with_its_table(tmp_path: Path) -> None:
    assert find_file(tmp_path) is None
    project, own = tmp_path / "pyproject.toml", tmp_path / "swimring.toml"
    project.write_text("[project]\nname = 'x'\n")
    assert find_file(tmp_path) is None
    project.write_text("[tool.swimring]\nweight = 2\n")
    assert find_file(tmp_path) == project
    assert read_file(project).keys == {"weight": 2}
    own.write_text("weight = 3\n")
    assert find_file(tmp_path) == own
    assert read_file(own).keys == {"weight": 3}


def test_every_option_of_a_node_and_of_reaching_one_is_a_knob() -> None:
    assert {"listen", "join", "log-level", "admin", "tls-cert", "secret", "secret-file", "within"} <= KNOBS.keys()
    assert KNOBS["secret"].secret
    assert KNOBS["weight"].kind is Kind.WHOLE
    assert "config" not in KNOBS


# ------------------------------------------------------------------------------------------------ as a user types it


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_config_show_says_where_each_value_comes_from(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "swimring.toml").write_text('zone = "east"\nweight = 2\njoin = ["10.0.0.7:7979"]\ninsecure = true\n')
    monkeypatch.setenv("SWIMRING_WEIGHT", "3")
    monkeypatch.setenv("SWIMRING_SECRET", SECRET)
    status, out, err = run("config", "show", "--origin", "--json", "--name", "a")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["name"] == {"value": "a", "origin": "flag", "place": "--name"}
    assert told["weight"] == {"value": 3, "origin": "environment", "place": "SWIMRING_WEIGHT"}
    assert told["zone"] == {"value": "east", "origin": "file", "place": "swimring.toml"}
    assert told["join"]["value"] == ["10.0.0.7:7979"]
    assert told["insecure"]["value"] is True
    assert told["listen"] == {"value": None, "origin": "default", "place": ""}
    assert told["secret"] == {"value": "(secret)", "origin": "environment", "place": "SWIMRING_SECRET"}
    assert SECRET not in out
    status, out, _ = run("config", "show")
    assert status == 0
    assert any(line.split() == ["zone", "east"] for line in out.splitlines())
    assert "(secret)" in out
    assert SECRET not in out


def test_config_check_says_what_would_keep_a_node_from_starting(folder: Path, run: Run) -> None:
    file = folder / "swimring.toml"
    file.write_text('listen = "127.0.0.1:0"\n')
    assert run("config", "check") == (0, "good: 1 settings said, the rest are defaults; file: swimring.toml\n", "")
    file.write_text('listen = "0.0.0.0:7979"\n')
    status, out, err = run("config", "check")
    assert (status, out) == (2, "")
    assert "--secret-file" in err
    file.write_text('log-level = "loud"\n')
    assert "use one of: debug, info" in run("config", "check")[2]
    file.write_text('admin = "here:there"\n')
    assert "admin" in run("config", "check")[2]
    file.write_text("workers = 0\n")
    assert "from 1 to 64" in run("config", "check")[2]
    file.write_text("weight =\n")
    assert "a file in TOML" in run("config", "check")[2]
    assert "No such file" in run("config", "check", "--config", "nowhere.toml")[2]


@pytest.mark.parametrize("command", [["run", "hello:app"], ["members"], ["config", "show"]])
def test_a_command_refuses_settings_that_there_are_not(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("SWIMRING_LISTENS", "x")
    status, out, err = run(*command)
    assert (status, out) == (2, "")
    assert "the nearest is SWIMRING_LISTEN" in err
    monkeypatch.delenv("SWIMRING_LISTENS")
    (folder / "swimring.toml").write_text("wieght = 1\n")
    assert "the nearest is weight" in run(*command)[2]


def test_a_secret_on_the_command_line_is_refused(folder: Path, run: Run) -> None:
    status, out, err = run("run", "hello:app", "--secret", SECRET)
    assert (status, out) == (2, "")
    assert "SWIMRING_SECRET" in err
    assert SECRET not in err


def test_commands_that_ask_a_node_use_the_same_file(folder: Path, run: Run) -> None:
    (folder / "swimring.toml").write_text('join = ["multicast", "dns+127.0.0.1:1"]\nweight = 4\n')
    status, _, err = run("members")
    assert status == 3
    assert err == "swimring: no node answers at 127.0.0.1:1 (connection refused)\n"
