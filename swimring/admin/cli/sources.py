"""Fills the options of a command that no flag has set from the environment and from a file.

An option is a knob if it is one of the groups below; options of a single command (``--json``, ``--key``) are not.
"""

from __future__ import annotations

import os
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from cyclopts import UNSET, Token

from swimring.admin.config import CONFIG, PREFIX, Kind, Knob, Origin, Setting, find_file, read_file, resolve
from swimring.errors import ConfigError

from .access import Access, Tls
from .node_options import NodeOptions, WatchOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App
    from cyclopts.argument import Argument, ArgumentCollection


_GROUPS: Final = (NodeOptions, Tls, WatchOptions, Access)
_SECRETS: Final = frozenset({"secret"})
_KINDS: Final = {str: Kind.TEXT, int: Kind.WHOLE, float: Kind.NUMBER, bool: Kind.TRUTH, tuple: Kind.TEXTS}
_NAMED: Final = "dns+"
_UNIX: Final = "unix:"
_GROUP: Final = re.compile(r"multicast|file:|srv://")
"""How the ways to find nodes begin that only a node follows."""


def _knobs() -> Iterator[Knob]:
    for group in _GROUPS:
        hints = get_type_hints(group)
        for field in fields(group):
            kind = next((_KINDS[part] for part in _parts(hints[field.name]) if part in _KINDS), None)
            name = field.name.replace("_", "-")
            if kind is not None and name != CONFIG:
                yield Knob(name=name, kind=kind, secret=name in _SECRETS)


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types in an annotation such as ``str | None`` or ``tuple[str, ...]``."""
    origin = get_origin(hint)
    return (origin,) if origin is tuple else get_args(hint) or (hint,)


KNOBS: Final = {knob.name: knob for knob in _knobs()}
"""All that can be set, by name."""


class Sources:
    """Where the settings of the command that runs came from; the command line asks it once, as its ``config``."""

    def __init__(self) -> None:
        """No command yet."""
        self.settings: dict[str, Setting] = {}
        """Every knob that the command has, by name."""
        self.path: Path | None = None
        """The file, if there is one."""
        self._defaults: dict[str, Setting] = {}
        self._flags: dict[str, Setting] = {}

    def __call__(self, _app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give each option that is a knob, and that no flag has set, what it is set to elsewhere.

        Raises:
            ConfigError: as `resolve`; or a secret is on the command line.
        """
        options = {argument.name.removeprefix("--"): argument for argument in arguments if not argument.children}
        mine = {name: argument for name, argument in options.items() if name in KNOBS}
        if not mine:
            return
        self._defaults = {name: _default(KNOBS[name], argument) for name, argument in mine.items()}
        self._flags = {name: _flagged(KNOBS[name], argument) for name, argument in mine.items() if argument.tokens}
        self.path = _path_of(options.get(CONFIG))
        self.settings = self._read()
        for name, setting in self.settings.items():
            if setting.origin in {Origin.ENVIRONMENT, Origin.FILE}:
                _give(mine[name], setting)

    @property
    def flagged(self) -> set[str]:
        """The names of those that the command line says."""
        return set(self._flags)

    def read_again(self) -> dict[str, Setting]:
        """What `settings` would be now that the file is read again; flags and the environment stay.

        Raises:
            ConfigError: as when it was read first.
        """
        return self._read()

    def take(self, settings: dict[str, Setting]) -> None:
        """These are the settings from now on: what was read again was found good."""
        self.settings = settings

    def _read(self) -> dict[str, Setting]:
        file = None if self.path is None else read_file(self.path)
        found = resolve(KNOBS.values(), flags=self._flags, environment=os.environ, file=file)
        told = {name: setting for name, setting in found.items() if name in self._defaults}
        if "join" in told and "listen" not in self._defaults:
            told["join"] = _for_clients(told["join"])
        return {**self._defaults, **told, **self._flags}


sources = Sources()
"""Those of this process, which runs one command."""


def _path_of(option: Argument | None) -> Path | None:
    """The file that was named, or else the one of this folder."""
    if option is not None and option.tokens:
        return Path(option.tokens[0].value)
    named = os.environ.get(f"{PREFIX}{CONFIG.upper()}")
    return Path(named) if named else find_file(Path())


def _default(knob: Knob, argument: Argument) -> Setting:
    default = argument.field_info.default
    return Setting(knob=knob, value=None if default is argument.field_info.empty else default, origin=Origin.DEFAULT)


def _flagged(knob: Knob, argument: Argument) -> Setting:
    flag = f"--{knob.name}"
    if knob.secret:
        raise ConfigError(
            knob.name, None, f"everybody on this machine can read a command line: use {flag}-file or {knob.variable}"
        )
    said = [token.value if token.implicit_value is UNSET else token.implicit_value for token in argument.tokens]
    value = tuple(said) if knob.kind is Kind.TEXTS else said[-1]
    return Setting(knob=knob, value=value, origin=Origin.FLAG, place=flag)


def _for_clients(join: Setting) -> Setting:
    """The same nodes for a command that asks one of them: it follows no groups, no files and no records."""
    told = (one.removeprefix(_NAMED) for one in join.value)
    return replace(join, value=tuple(one for one in told if one.startswith(_UNIX) or not _GROUP.match(one)))


def _give(option: Argument, setting: Setting) -> None:
    values = setting.value if isinstance(setting.value, tuple) else (setting.value,)
    for index, value in enumerate(values):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        option.append(Token(keyword=setting.place, value=text, source=setting.origin.value, index=index))
