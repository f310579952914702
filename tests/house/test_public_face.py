"""What a newcomer sees first: the public names, and the program in README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import swimring

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there() -> None:
    assert {name: hasattr(swimring, name) for name in swimring.__all__} == dict.fromkeys(swimring.__all__, True)


def test_public_names_are_listed_in_order() -> None:
    assert swimring.__all__ == sorted(swimring.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        swimring.nothing_of_the_kind  # noqa: B018


def test_the_program_in_readme_is_the_example() -> None:
    readme = (ROOT / "README.md").read_text()
    program = re.search(r"```python\n# examples/hello\.py\n(.*?)```", readme, re.DOTALL)
    assert program is not None
    _docstring, _blank, example = (ROOT / "examples" / "hello.py").read_text().partition("\n\n")
    assert program.group(1) == example


def test_a_service_is_declared_without_loading_trio() -> None:
    program = "import sys; sys.path.insert(0, 'examples'); import hello; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
