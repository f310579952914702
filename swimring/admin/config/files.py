"""The file with settings: ``swimring.toml``, or the table ``[tool.swimring]`` of a ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME: Final = "swimring.toml"
_PROJECT: Final = "pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a file says.

    Attributes:
        where: its path as people write it, with the table for a ``pyproject.toml``.
        keys: what it says.
    """

    where: str
    keys: Mapping[str, Any]


def find_file(folder: Path) -> Path | None:
    """The file of a folder: ``swimring.toml``, or else a ``pyproject.toml`` with the table ``[tool.swimring]``."""
    own, project = folder / NAME, folder / _PROJECT
    if own.is_file():
        return own
    if project.is_file() and "swimring" in _load(project).get("tool", {}):
        return project
    return None


def read_file(path: Path) -> ConfigFile:
    """What the file says.

    Raises:
        ConfigError: it cannot be read, or is no TOML, or has no table where the settings should be.
    """
    keys, where = _load(path), str(path)
    if path.name == _PROJECT:
        keys, where = keys.get("tool", {}).get("swimring"), f"[tool.swimring] of {path}"
    if not isinstance(keys, dict):
        raise ConfigError("config", str(path), "a table [tool.swimring] with the settings")
    return ConfigFile(where=where, keys=keys)


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("config", str(path), error.strerror or "a file that can be read") from error
    except ValueError as error:
        raise ConfigError("config", str(path), f"a file in TOML: {error}") from error
