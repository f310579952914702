"""Completion in real shells: a command, an option, and the name of a node that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from .processes import Serving, Terminal, environment, in_terminal, nodes_of
from .test_run import HELLO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES = [
    (["dra"], "drain"),
    (["keys", "re"], "remove"),
    (["lookup", "--repl"], "--replicas"),
    (["drain", "node-o"], "node-one"),
    (["call", "hel"], "hello"),
]
"""What is typed after `swimring`, and what has to be offered."""


def needed(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell} here")
    return path


@pytest.fixture(scope="module")
def node() -> Iterator[Serving]:
    with nodes_of(HELLO, {"node-one": []}, cluster=f"completion-{os.getpid()}") as nodes:
        yield nodes["node-one"]


@pytest.fixture
def environ(node: Serving, tmp_path: Path) -> dict[str, str]:
    """`swimring` is in the path, and knows a node to ask."""
    program = tmp_path / "swimring"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m swimring "$@"\n')
    program.chmod(0o755)
    found = environment()
    return {**found, "PATH": f"{tmp_path}:{found['PATH']}", "SWIMRING_JOIN": node.address, "HOME": str(tmp_path)}


@pytest.fixture
def script(environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    shell = request.node.name.split("_")[1]
    needed(shell)
    file = tmp_path / f"completion.{shell}"
    file.write_text(shown(["swimring", "completion", shell], environ))
    return file


def shown(command: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_bash_completes_commands_options_and_names_of_nodes(environ: dict[str, str], script: Path) -> None:
    for typed, offered in LINES:
        words = " ".join(["swimring", *typed])
        ask = f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _swimring; echo ${{COMPREPLY[@]}}"
        assert offered in shown(["bash", "--norc", "-c", ask], environ).split(), typed


def test_fish_completes_commands_options_and_names_of_nodes(environ: dict[str, str], script: Path) -> None:
    for typed, offered in LINES:
        ask = f"source {script}; complete -C 'swimring {' '.join(typed)}'"
        lines = shown(["fish", "--no-config", "-c", ask], environ).splitlines()
        assert offered in [line.split("\t")[0] for line in lines], typed


async def test_zsh_completes_commands_options_and_names_of_nodes(environ: dict[str, str], script: Path) -> None:
    """Its completion runs in its line editor only: so it is a terminal in which Tab is pressed."""
    with trio.fail_after(60):
        async with in_terminal(command=[needed("zsh"), "-f", "-i"], environ=environ, columns=200) as shell:
            await shell.press(
                "PS1='ready> '; autoload -Uz compinit; compinit -D; source " + str(script) + "; echo so''urced\n"
            )
            await shell.wait_said("sourced")
            for typed, offered in LINES:
                before = len(shell.said)
                await shell.press(f"swimring {' '.join(typed)}\t")
                await wait_after(shell, before, offered)
                await shell.press("\x15")  # forget the line


async def wait_after(shell: Terminal, before: int, words: str) -> None:
    while words not in shell.said[before:]:
        await shell.wait_more()


def test_installed_for_bash_it_is_where_bash_looks(environ: dict[str, str], tmp_path: Path) -> None:
    said = shown(["swimring", "completion", "bash", "--install"], environ)
    (file,) = (tmp_path / ".local" / "share" / "bash-completion" / "completions").iterdir()
    assert said == f"written to {file}, and to .bashrc how it is loaded: open a new shell\n"
    assert str(file) in (tmp_path / ".bashrc").read_text()
    assert subprocess.run(["bash", "-n", str(file)], check=False).returncode == 0


def test_what_cannot_be_installed_is_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".local").touch()
    command = ["swimring", "completion", "bash", "--install"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: Not a directory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_shell_that_is_not_known_is_wrong_usage(environ: dict[str, str]) -> None:
    done = subprocess.run(["swimring", "completion", "tcsh"], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "swimring: shell: found 'tcsh'; use one of: bash, zsh, fish\n")
