"""Which value a knob has and who said so. Pure: the environment and what a file holds are arguments.

A knob has one name: ``secret-file`` is the flag ``--secret-file``, the variable ``SWIMRING_SECRET_FILE`` and the key
``secret-file`` of a file. A secret has a second one with ``-file``: whichever source of the higher rank has either of
them decides for both.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .files import ConfigFile

PREFIX: Final = "SWIMRING_"
CONFIG: Final = "config"
"""The flag and the variable that name the file; no key of the file itself."""
_TRUTHS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


class Kind(Enum):
    """What a knob takes; its value is what a message calls it."""

    TEXT = "a text"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TRUTH = "true or false"
    TEXTS = "a list of texts"


class Origin(Enum):
    """Who said a value, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """Something that can be set.

    Attributes:
        name: of words and dashes.
        kind: what it takes.
        secret: its value is never shown, and is not taken from a file that others may read.
    """

    name: str
    kind: Kind = Kind.TEXT
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.replace("-", "_").upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The value of a knob.

    Attributes:
        knob: which one.
        value: as its kind says; None where nothing was said and nothing is the default.
        origin: who said it.
        place: where: the flag, the variable, the path of the file; empty for a default.
    """

    knob: Knob
    value: Any
    origin: Origin
    place: str = ""

    @property
    def shown(self) -> Any:
        """The value as it may be shown to anybody."""
        return "(secret)" if self.knob.secret and self.value is not None else self.value


def resolve(
    knobs: Iterable[Knob],
    *,
    flags: Iterable[str] = (),
    environment: Mapping[str, str],
    file: ConfigFile | None = None,
) -> dict[str, Setting]:
    """What the environment and ``file`` say, for those knobs that no flag has set.

    Args:
        knobs: all that there are.
        flags: the names of those that the command line has set.
        environment: of the process; empty variables count as not set.
        file: what a file says.

    Raises:
        ConfigError: a variable or key has a name that no knob has, or a value that the knob does not take, or both
            ways to say a secret are used in one place.
    """
    known = {knob.name: knob for knob in knobs}
    found = [_read_environment(known, environment), _read_keys(known, file)]
    taken, settled = _with_twins(flags, known), dict[str, Setting]()
    for source in found:
        _refuse_both(known, source)
        settled.update({name: setting for name, setting in source.items() if name not in taken})
        taken |= _with_twins(source, known)
    return settled


def _read_environment(known: Mapping[str, Knob], environment: Mapping[str, str]) -> dict[str, Setting]:
    variables = {knob.variable: knob for knob in known.values()}
    found = {}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name == PREFIX + CONFIG.upper() or not text:
            continue
        if name not in variables:
            raise ConfigError(
                name, None, f"the environment sets it, and there is no such setting{_near(name, variables)}"
            )
        knob = variables[name]
        value = _from_text(knob, text, name)
        found[knob.name] = Setting(knob=knob, value=value, origin=Origin.ENVIRONMENT, place=name)
    return found


def _read_keys(known: Mapping[str, Knob], file: ConfigFile | None) -> dict[str, Setting]:
    if file is None:
        return {}
    found = {}
    for name, value in file.keys.items():
        knob = known.get(name)
        if knob is None:
            raise ConfigError(file.where, name, f"there is no such setting{_near(name, known)}")
        if knob.secret:
            raise ConfigError(name, None, f"not in {file.where}, which others may read: write {name}-file = PATH there")
        if not _fits(knob.kind, value):
            raise ConfigError(name, value, f"in {file.where} it takes {knob.kind.value}")
        place = tuple(value) if knob.kind is Kind.TEXTS else value
        found[name] = Setting(knob=knob, value=place, origin=Origin.FILE, place=file.where)
    return found


def _from_text(knob: Knob, text: str, variable: str) -> Any:
    try:
        match knob.kind:
            case Kind.TEXT:
                return text
            case Kind.TEXTS:
                return tuple(filter(None, (part.strip() for part in text.split(","))))
            case Kind.TRUTH:
                return _TRUTHS[text.lower()]
            case Kind.WHOLE:
                return int(text)
            case Kind.NUMBER:
                return float(text)
    except (KeyError, ValueError):
        raise ConfigError(variable, text, f"it takes {knob.kind.value}") from None


def _fits(kind: Kind, value: object) -> bool:
    match kind:
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.TEXTS:
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case Kind.TRUTH:
            return isinstance(value, bool)
        case Kind.WHOLE:
            return type(value) is int
        case Kind.NUMBER:
            return type(value) in {int, float}


def _near(name: str, known: Iterable[str]) -> str:
    """Which name may be meant; a dash and an underscore are the same slip of the finger."""
    names = sorted(known)
    alike = [one for one in names if one.replace("-", "_").lower() == name.replace("-", "_").lower()]
    close = alike or difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"; the nearest is {close[0]}" if close else ""


def _twin(knob: Knob) -> str:
    return f"{knob.name}-file"


def _with_twins(names: Iterable[str], known: Mapping[str, Knob]) -> set[str]:
    """Those names, and for a secret its other one."""
    told = set(names)
    for knob in known.values():
        if knob.secret and told & {knob.name, _twin(knob)}:
            told |= {knob.name, _twin(knob)}
    return told


def _refuse_both(known: Mapping[str, Knob], source: Mapping[str, Setting]) -> None:
    for knob in known.values():
        if knob.secret and knob.name in source and _twin(knob) in source:
            both = f"{source[knob.name].place} and {source[_twin(knob)].place}"
            raise ConfigError(knob.name, None, f"{both} both say it: give one of them")
