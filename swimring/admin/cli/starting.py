"""``swimring new``: a folder with a service, its settings and tests that pass."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from swimring.errors import ConfigError

from .access import AsJson
from .output import print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXAMPLES: Final = {
    "hello": "swimring call $name greet --key k1 name=World",
    "kv": "swimring call $name put --key k1 text=hello; swimring call $name get --key k1",
    "chat": "swimring call $name listen --key lobby --within inf  # elsewhere: say --key lobby who=me text=hi",
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def new(
    name: Annotated[str, Parameter(help="The folder; its last part is the name of the service.")],
    /,
    *,
    template: Annotated[str, Parameter(help="hello, kv or chat.")] = "hello",
    as_json: AsJson = False,
) -> None:
    """Write the folder ``name``.

    Raises:
        ConfigError: there is no such template, the name cannot be that of a service, something is there already, or it
            cannot be written there.
    """
    if template not in _EXAMPLES:
        raise ConfigError("template", template, f"use one of: {', '.join(_EXAMPLES)}")
    folder = Path(name)
    if not _NAME.fullmatch(folder.name):
        raise ConfigError("name", folder.name, "small letters, digits, - and _, beginning with a letter")
    if folder.exists():
        raise ConfigError("name", name, "that is there already: nothing was written")
    words = {"name": folder.name, "example": Template(_EXAMPLES[template]).substitute(name=folder.name)}
    try:
        written = _write(folder, template, words)
    except OSError as error:
        raise ConfigError("name", name, f"a folder that can be written; here: {error.strerror or error}") from error
    if as_json:
        print_json({"files": written})
    else:
        print_text(f"wrote {', '.join(written)}\nnext: cd {name} && swimring dev app:app --reload")


def _write(folder: Path, template: str, words: dict[str, str]) -> list[str]:
    """Make the folder; the files that are in it then, sorted."""
    folder.mkdir(parents=True)
    written = []
    for target, text in _texts(template):
        (folder / target).write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(str(folder / target))
    return sorted(written)


def _texts(template: str) -> Iterator[tuple[str, str]]:
    for place in ("shared", template):
        for entry in (files("swimring.admin") / "templates" / place).iterdir():
            if entry.name.endswith(".in"):
                yield entry.name.removesuffix(".in"), entry.read_text(encoding="utf-8")
