"""The peers, installed from their package indexes into a folder of their own; the repository is never written to."""

# ruff: noqa: T201 - a program that prints, and runs others
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
PYTHON = "3.12"
"""casty needs it, and everybody gets the same interpreter."""
PACKAGES = {
    "grpc": ("grpcio",),
    "rpyc": ("rpyc",),
    "http": ("uvicorn[standard]", "aiohttp"),
    "casty": ("casty",),
}


@dataclass
class Installed:
    """What there is to measure with, and why something is not."""

    python: Path
    node: str | None
    folder: Path
    missing: dict[str, str] = field(default_factory=dict)


def default_folder() -> Path:
    """Where caches of this user belong."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "swimring-bench"


def install(folder: Path, wanted: set[str]) -> Installed:
    """Make sure that ``folder`` has an interpreter with swimring's dependencies, and those peers that can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Installed(_python(folder), shutil.which("node"), folder)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if (reason := _pip(found.python, *project["dependencies"])) is not None:
        sys.exit(f"swimring's own dependencies cannot be installed: {reason}")
    for peer, packages in PACKAGES.items():
        if peer in wanted and (reason := _pip(found.python, *packages)) is not None:
            found.missing[peer] = reason
    if "tentacoli" in wanted and (reason := _npm(folder, found.node)) is not None:
        found.missing["tentacoli"] = reason
    return found


def install_one(folder: Path, peer: str) -> tuple[Path, str | None]:
    """Make sure of the interpreter and one peer, without what swimring needs; why there is none."""
    python = folder / f"python-{PYTHON}" / "bin" / "python"
    if not python.exists() and _interpreter() is None:
        return python, f"there is no Python {PYTHON} in PATH or pyenv"
    folder.mkdir(parents=True, exist_ok=True)
    return python, _pip(_python(folder), *PACKAGES[peer])


def versions(found: Installed) -> str:
    """What was measured, for the reader of the table."""
    program = (
        "import importlib.metadata as m, platform\n"
        "print('Python', platform.python_version(), end='')\n"
        "for name in ('trio', 'grpcio', 'rpyc', 'uvicorn', 'aiohttp', 'casty'):\n"
        "    try: print(',', name, m.version(name), end='')\n"
        "    except m.PackageNotFoundError: pass"
    )
    said = _output(str(found.python), "-c", program)
    script = f"console.log(require({str(found.folder / 'node_modules' / 'tentacoli' / 'package.json')!r}).version)"
    if found.node is not None and (tentacoli := _output(found.node, "-e", script)):
        said += f"; Node {_output(found.node, '-v').lstrip('v')}, tentacoli {tentacoli}"
    return said


def _python(folder: Path) -> Path:
    """An environment of its own, of the wanted version where there is one, else of the one that runs this."""
    place = folder / f"python-{PYTHON}"
    python = place / "bin" / "python"
    if not python.exists():
        base = _interpreter()
        if base is None:
            print(f"no Python {PYTHON} in PATH or pyenv: measuring with {sys.version.split()[0]}, casty may be missing")
            base = sys.executable
        subprocess.run([base, "-m", "venv", str(place)], check=True)
    return python


def _interpreter() -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{PYTHON}")
    for candidate in [*map(str, sorted(pyenv.glob(f"{PYTHON}.*/bin/python"))), *([on_path] if on_path else [])]:
        # A pyenv shim is on PATH even when the version behind it is not active: only one that runs counts.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def _pip(python: Path, *packages: str) -> str | None:
    """Install what is not there yet; why that failed."""
    return _try(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)


def _npm(folder: Path, node: str | None) -> str | None:
    if (folder / "node_modules" / "tentacoli").exists():
        return None
    npm = shutil.which("npm")
    if node is None or npm is None:
        return "there is no Node on this machine"
    return _try(npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "tentacoli")


def _try(*command: str) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return said[-1] if said else f"exit status {done.returncode}"


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
