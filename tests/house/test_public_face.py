"""What a newcomer sees first: the public names, and the programs in README."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

import swimring
from examples.hello import app as hello
from examples.hello import greet

ROOT = Path(__file__).parents[2]
PLUGIN = [] if "swimring" in entry_points(group="pytest11").names else ["-p", "swimring.testing.plugin"]


def test_every_public_name_is_there() -> None:
    assert {name: hasattr(swimring, name) for name in swimring.__all__} == dict.fromkeys(swimring.__all__, True)


def test_public_names_are_listed_in_order() -> None:
    assert swimring.__all__ == sorted(swimring.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        swimring.nothing_of_the_kind  # noqa: B018


def programs_in_readme() -> dict[str, str]:
    """The code of each block that says which file it is, by that name."""
    blocks = re.findall(r"```python\n# ([\w/]+\.py)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return dict(blocks)


@pytest.mark.parametrize(("program", "example"), [("examples/hello.py", "hello.py"), ("counter.py", "counter.py")])
def test_the_programs_in_readme_are_the_examples(program: str, example: str) -> None:
    _docstring, _blank, code = (ROOT / "examples" / example).read_text().partition("\n\n")
    assert programs_in_readme()[program] == code


def test_the_first_program_in_readme_has_fifteen_lines() -> None:
    program = programs_in_readme()["examples/hello.py"]
    assert len([line for line in program.splitlines() if line]) <= 15


def test_the_test_in_readme_passes(tmp_path: Path) -> None:
    programs = programs_in_readme()
    for name in ("counter.py", "test_counter.py"):
        (tmp_path / name).write_text(programs[name])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *PLUGIN, "-W", "error"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_node_in_readme_asks() -> None:
    block = re.search(r"```python\n(async with swimring\.open_node.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    # A node that finds nobody: others may run on this machine.
    alone = functools.partial(swimring.open_node, name="alone", listen="127.0.0.1:0", join=["127.0.0.1:1"])
    names = {"swimring": SimpleNamespace(open_node=alone), "trio": trio, "app": hello, "greet": greet}
    exec(f"async def program():\n{textwrap.indent(block[1], '    ')}\n    return text", names)
    assert await names["program"]() == "hello World! from alone"  # type: ignore[operator]


def test_pages_that_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\(((?:docs|examples)/[^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_service_is_declared_without_loading_trio() -> None:
    program = "import sys; sys.path.insert(0, 'examples'); import hello; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
