"""What `swimring new` writes: its tests pass, and its service runs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .processes import environment

if TYPE_CHECKING:
    from pathlib import Path


def typed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("template", ["hello", "kv", "chat"])
def test_the_tests_of_a_new_project_pass_under_several_schedules(tmp_path: Path, template: str) -> None:
    made = typed("swimring", "new", f"my-{template}", "--template", template, cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    folder = tmp_path / f"my-{template}"
    assert "next: cd my-" in made.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "app.py", "pyproject.toml", "test_app.py"]
    assert "$" not in "".join(path.read_text() for path in folder.iterdir())
    swept = typed("swimring", "sim", "--seeds", "3", "--processes", "1", cwd=folder)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "passed" in swept.stdout
    checked = typed("swimring", "config", "check", "app:app", cwd=folder)
    assert checked.returncode == 0, checked.stderr


def test_new_writes_nothing_where_something_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for arguments, says in [
        (("there",), "there already"),
        (("x", "--template", "shop"), "hello, kv, chat"),
        (("Not A Name",), "small letters"),
    ]:
        refused = typed("swimring", "new", *arguments, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert says in refused.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_a_sweep_that_fails_says_the_seed_and_ends_with_status_1(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("async def test_it(cluster):\n    assert False, 'as planned'\n")
    swept = typed("swimring", "sim", "--seeds", "2", "--processes", "1", cwd=tmp_path)
    assert swept.returncode == 1
    assert "as planned" in swept.stdout
    assert "seed" in swept.stdout
