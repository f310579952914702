"""The workshop: every check and every long run is a session here. `nox -l` lists them."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_missing_interpreters = False

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
TESTED = ("-e", ".[test,cli,client]")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite with the interpreter that runs nox; arguments go to pytest."""
    session.install(*TESTED)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint rules, and the direction of imports."""
    session.install("ruff==0.17.5", "import-linter==2.16", "-e", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Type-check everything with mypy --strict, and the public face with pyright."""
    session.install("mypy==2.4.1", "pyright[nodejs]==1.1.414", "nox", *TESTED)
    session.run("mypy")
    session.run("pyright")
