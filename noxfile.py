"""The workshop: every check and every long run is a session here. `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types"]

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
WITH_TESTS = ("-e", ".[cli,client,examples,test]")
ON_ALL_CORES = ("-n", "auto", "--dist", "loadgroup")


def _supported_interpreters() -> dict[str, str]:
    """The supported interpreters of this machine by version, from PATH or from pyenv, newest patch release of each."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for version in SUPPORTED:
        candidates = sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
        on_path = shutil.which(f"python{version}")
        for candidate in [*map(str, candidates), *([on_path] if on_path else [])]:
            # A pyenv shim is on PATH even when the version behind it is not active: only one that runs counts.
            if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:  # noqa: S603
                found[version] = candidate
                break
    return found


@nox.session
def demo(session: nox.Session) -> None:
    """Count the words of the standard library on three processes, one of which is killed half way."""
    session.install("-e", ".[cli]")
    session.run("swimring", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite with the interpreter that runs nox, a process for each core; arguments go to pytest."""
    session.install(*WITH_TESTS)
    session.run("python", "-m", "pytest", *ON_ALL_CORES, *session.posargs)


@nox.session(python=False)
def matrix(session: nox.Session) -> None:
    """Run the test suite with every supported interpreter found in PATH or pyenv."""
    interpreters = _supported_interpreters()
    for version in SUPPORTED:
        if version not in interpreters:
            session.warn(f"Python {version}: none found in PATH or pyenv, not tested")
    for version, interpreter in interpreters.items():
        place = Path(session.create_tmp()) / version
        session.run(interpreter, "-m", "venv", "--clear", str(place), external=True)
        python = str(place / "bin" / "python")
        session.run(python, "-m", "pip", "install", "-q", *WITH_TESTS, external=True)
        session.run(python, "-m", "pytest", "-q", *ON_ALL_CORES, *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint rules, and the direction of imports."""
    session.install("ruff==0.17.5", "import-linter==2.16", "-e", ".[cli]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Type-check everything with mypy --strict, and the public face with pyright."""
    session.install("mypy==2.4.1", "pyright[nodejs]==1.1.414", "nox", *WITH_TESTS)
    session.run("mypy")
    session.run("pyright")


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the test suite under branch coverage and report what no test reaches."""
    session.install("coverage>=7.10", *WITH_TESTS)
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def simulate(session: nox.Session) -> None:
    """Sweep the simulation tests over many seeds: `nox -s simulate -- --seeds 200`; stops at the first failure."""
    session.install(*WITH_TESTS)
    session.run("python", "-m", "pytest", "tests/simulation", "-x", *(session.posargs or ["--seeds", "50"]))


@nox.session
def chaos(session: nox.Session) -> None:
    """Break real processes under load, `nox -s chaos -- rolling --quick`, or run the example's tests, 500 seeds each.

    Names: rolling, kill, freeze, zombie, partition (root and Linux), scale, and sweep, which runs the simulations of
    ownership: `nox -s chaos -- sweep --seeds 500`. Without one: `nox -s chaos -- --swimring-seeds 50`.
    """
    session.install(*WITH_TESTS)
    name, *arguments = session.posargs or ("",)
    if name == "sweep":
        files = [f"tests/simulation/test_{name}.py" for name in ("ownership", "fenced_store", "own", "copies")]
        session.run("python", "-m", "pytest", "-q", *files, *(arguments or ["--seeds", "500"]))
    elif name and not name.startswith("-"):
        session.run("python", "-m", "tests.chaos", name, *arguments)
    else:
        session.chdir("examples/carts")
        session.run("python", "-m", "pytest", *(session.posargs or ["--swimring-seeds", "500"]))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Let hostile bytes loose: `nox -s fuzz -- --examples 5000`, or by coverage `nox -s fuzz -- items -runs=100000`.

    The first draws that many examples for each property of bytes, and conversations of two sessions. The second needs
    atheris (Python 3.11 to 3.13 on Linux); `tests/fuzz/targets.py` names the targets.
    """
    session.install(*WITH_TESTS)
    if session.posargs and not session.posargs[0].startswith("-"):
        session.install("atheris==3.0.0")
        session.run("python", "-m", "tests.fuzz", *session.posargs)
        return
    places = ("tests/fuzz", "tests/mux/test_conversation.py")
    session.run("python", "-m", "pytest", "-q", *places, *(session.posargs or ["--examples", "2000"]))


@nox.session
def dashboard(session: nox.Session) -> None:
    """Drive the dashboard of real processes in a real Chromium; on Debian: apt install chromium chromium-driver."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        session.skip(f"no {' and no '.join(missing)}: apt install chromium chromium-driver")
    session.install(*WITH_TESTS)
    session.run("python", "-m", "pytest", "tests/dashboard", "--browser", *session.posargs)


@nox.session
def scale(session: nox.Session) -> None:
    """A bad day of a thousand members in one process, and what it costs: `nox -s scale -- --nodes 1000 --seed 1`."""
    session.install(*WITH_TESTS)
    session.run("python", "-m", "tests.simulation.bad_day", *session.posargs)


@nox.session
def sweep(session: nox.Session) -> None:
    """Ten members under random faults, and under 5 % loss alone, with 200 seeds each: `nox -s sweep -- --seeds 200`."""
    session.install(*WITH_TESTS)
    arguments = session.posargs or ["--seeds", "200"]
    session.run("python", "-m", "pytest", "tests/simulation", "-k", "five_percent_loss_kills_nobody", "-q", *arguments)
    session.run("python", "-m", "pytest", "tests/simulation", "-k", "random_faults_break_no_rule", "-q", *arguments)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the side-by-side measurements: `nox -s bench -- rpc --quick` (without a name: all of them)."""
    session.install(*WITH_TESTS)
    # A benchmark of several files is a package that can be run.
    known = sorted({path.stem for path in Path("tests/benchmarks").glob("[a-z]*")})
    name, *arguments = session.posargs or ("",)
    for each in [name] if name else known:
        session.run("python", "-m", f"tests.benchmarks.{each}", *arguments)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("sphinx>=8", "myst-parser>=4", "furo", "-e", ".[cli]")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")
