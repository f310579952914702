"""The rules of the house that no linter holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "swimring").rglob("*.py"))
PACKAGES = sorted((ROOT / "swimring").rglob("__init__.py"))
MEANINGLESS = {"manager", "helper", "helpers", "util", "utils", "common", "base", "misc", "data", "info"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_file_is_longer_than_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_function_is_longer_than_60_lines(path: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, functions) and node.end_lineno is not None and node.end_lineno - node.lineno >= 60
    ]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_names_say_what_is_inside(path: Path) -> None:
    assert not MEANINGLESS & set(path.stem.split("_"))


@pytest.mark.parametrize("path", PACKAGES, ids=relative)
def test_every_package_lists_its_public_names(path: Path) -> None:
    exported = None
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                exported = ast.literal_eval(value)
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                exported = ast.literal_eval(value)
            case _:
                pass
    assert exported is not None, "a package says in __all__ what it offers"
    assert len(exported) == len(set(exported))  # their order is ruff's RUF022
    package = import_module(".".join(path.parent.relative_to(ROOT).parts))
    assert [name for name in exported if not hasattr(package, name)] == []


@pytest.mark.parametrize("module", ["swimring", "swimring.service", "swimring.client", "swimring.mux", "swimring.swim"])
def test_what_an_asyncio_program_imports_does_not_import_trio(module: str) -> None:
    program = f"import sys, {module}; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What is in ``node``, without what is in functions there."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _inside(child)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_async_generator_yields_inside_a_with_block(path: Path) -> None:
    """Whoever stops iterating would leave the block to the garbage collector (flake8-async's ASYNC119).

    Context managers and handlers are exempt: both are run whole, in one task.
    """
    risky = [
        f"{function.name}, line {block.lineno}"
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.AsyncFunctionDef)
        and not any(re.search(r"contextmanager|\.on\(", ast.unparse(one)) for one in function.decorator_list)
        for block in _inside(function)
        if isinstance(block, (ast.With, ast.AsyncWith)) and any(isinstance(one, ast.Yield) for one in _inside(block))
    ]
    assert risky == []
