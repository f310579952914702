"""What `swimring new` writes: its tests pass, and its service runs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.admin.command import Run, run

from .processes import environment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run"]
THREE_SEEDS = """
import pytest, sys

for seed in range(3):
    if status := pytest.main(["-q", "-p", "no:cacheprovider", f"--swimring-seed={seed}"]):
        sys.exit(status)
"""


def typed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("template", ["hello", "kv", "chat"])
def test_the_tests_of_a_new_project_pass_under_several_schedules(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run("new", f"my-{template}", "--template", template)
    assert (status, err) == (0, "")
    folder = tmp_path / f"my-{template}"
    assert "next: cd my-" in out
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "app.py", "pyproject.toml", "test_app.py"]
    assert "$" not in "".join(path.read_text() for path in folder.iterdir())
    # In one process: `swimring sim` starts one for each test, which is its own rule, below.
    swept = typed("-c", THREE_SEEDS, cwd=folder)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert swept.stdout.count(" passed") == 3
    monkeypatch.chdir(folder)
    status, _, err = run("config", "check", f"{folder / 'app.py'}:app")
    assert (status, err) == (0, "")


def test_new_writes_nothing_where_something_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    for arguments, says in [
        (("there",), "there already"),
        (("x", "--template", "shop"), "hello, kv, chat"),
        (("Not A Name",), "small letters"),
        (("there/file/x",), "Not a directory"),
    ]:
        status, out, err = run("new", *arguments)
        assert (status, out) == (2, "")
        assert says in err
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "there", tmp_path / "there" / "file"]


@pytest.mark.parametrize(
    ("source", "status", "says"),
    [
        ("async def test_it(cluster):\n    assert False, 'as planned'\n", 1, ["as planned", "seed 0"]),
        ("async def test_it(cluster:\n", 2, ["SyntaxError"]),
    ],
    ids=["a test fails", "Python cannot read it"],
)
def test_a_sweep_that_fails_says_why_and_ends_with_its_status(
    tmp_path: Path, source: str, status: int, says: list[str]
) -> None:
    (tmp_path / "test_it.py").write_text(source)
    swept = typed("-m", "swimring", "sim", "--seeds", "2", "--processes", "1", "--json", cwd=tmp_path)
    assert swept.returncode == status
    assert json.loads(swept.stdout) == {"passed": False, "seeds": 2, "first": 0, "status": status}
    assert not [said for said in says if said not in swept.stderr]
