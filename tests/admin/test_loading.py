"""From what a user types to the services it names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from swimring.admin.loading import load_services
from swimring.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

APP = """
from swimring import Service
app = Service("{name}")
both = [app, Service("{name}-2")]
number = 5
none = []
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, that leaves no trace in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_service_is_named_by_module_or_by_file(here: Path) -> None:
    write(here / "hallo_a.py", APP.format(name="hallo"))
    assert [service.name for service in load_services("hallo_a:app")] == ["hallo"]
    assert [service.name for service in load_services("hallo_a.py:app")] == ["hallo"]
    assert [service.name for service in load_services(f"{here / 'hallo_a.py'}:app")] == ["hallo"]


def test_a_list_of_services_runs_on_one_node(here: Path) -> None:
    write(here / "hallo_b.py", APP.format(name="hallo"))
    assert [service.name for service in load_services("hallo_b:both")] == ["hallo", "hallo-2"]


def test_a_file_finds_the_modules_beside_it(here: Path) -> None:
    write(here / "there" / "beside_c.py", "NAME = 'beside'")
    write(here / "there" / "hallo_c.py", "import beside_c\nfrom swimring import Service\napp = Service(beside_c.NAME)")
    assert load_services("there/hallo_c.py:app")[0].name == "beside"


def test_a_file_with_the_name_of_a_loaded_module_does_not_replace_it(here: Path) -> None:
    import json

    write(here / "json.py", APP.format(name="hallo"))
    assert load_services("json.py:app")[0].name == "hallo"
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("hallo_d", "write MODULE:NAME or FILE.py:NAME"),
        (":app", "write MODULE:NAME"),
        ("hallo_d:", "write MODULE:NAME"),
        ("nothing_there:app", "no module 'nothing_there'"),
        ("hallo_d.nothing:app", "no module"),
        ("nothing_there.py:app", "no such file"),
        ("hallo_d:appp", "hallo_d has app"),
        ("hallo_d:number", "hallo_d has app"),
        ("hallo_d:none", "hallo_d has app"),
        ("empty_d:app", "empty_d declares no Service"),
    ],
)
def test_what_names_no_service_is_a_config_error_that_says_what_would(here: Path, target: str, says: str) -> None:
    write(here / "hallo_d.py", APP.format(name="hallo"))
    write(here / "empty_d.py", "")
    with pytest.raises(ConfigError, match=says):
        load_services(target)


def test_an_error_inside_the_users_module_is_raised_as_it_is(here: Path) -> None:
    write(here / "broken_e.py", "import nothing_of_the_kind")
    for target in ("broken_e:app", "broken_e.py:app"):
        with pytest.raises(ModuleNotFoundError, match="nothing_of_the_kind"):
            load_services(target)
    assert "broken_e" not in sys.modules
