"""``swimring config``: what a node would run with in this folder, and whether it could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from swimring.admin.http import AUTO, OFF, open_site
from swimring.admin.loading import load_services
from swimring.identity import Address
from swimring.node import NodeSettings, check_settings
from swimring.observe import check_logging

from .access import AsJson, Target
from .node_options import LOOPBACK, QUIETLY, NodeOptions, WatchOptions
from .output import print_json, print_table, print_text
from .sources import sources
from .supervising import check_workers

if TYPE_CHECKING:
    from swimring.admin.config import Setting


def show(
    *,
    options: NodeOptions = LOOPBACK,
    watching: WatchOptions = QUIETLY,
    origin: Annotated[
        bool, Parameter(negative="", help="Say where each comes from: a flag, the environment, a file, or nowhere.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print each setting by its name, and with ``origin`` who said it."""
    del options, watching  # what was said is in the sources, with its origin
    settings = [sources.settings[name] for name in sorted(sources.settings)]
    if as_json:
        print_json({setting.knob.name: _described(setting, origin=origin) for setting in settings})
        return
    columns = ("setting", "value", "from") if origin else ("setting", "value")
    rows = [(setting.knob.name, _word(setting.shown), _place(setting))[: len(columns)] for setting in settings]
    print_table(columns, rows, title="none" if sources.path is None else str(sources.path))


def check(
    target: Target | None = None,
    /,
    *,
    options: NodeOptions = LOOPBACK,
    watching: WatchOptions = QUIETLY,
    as_json: AsJson = False,
) -> None:
    """Say that the settings are good; without ``target`` as far as they do not depend on it.

    Raises:
        ConfigError: the first one that is not.
    """
    services = () if target is None else load_services(target)
    told: NodeSettings = {**options.settings()}
    if not services and told["cluster"] is None:
        told["cluster"] = "unnamed"  # it will be that of the service, which is not known here
    check_settings(services, **told)
    check_workers(options.workers)
    check_logging(watching.log_level, watching.log_format)
    open_site(write=watching.admin_write, token_file=watching.admin_token_file)
    if watching.admin not in {AUTO, OFF}:
        Address.parse(watching.admin, setting="admin")
    said = sum(1 for setting in sources.settings.values() if setting.place)
    file = None if sources.path is None else str(sources.path)
    if as_json:
        print_json({"good": True, "said": said, "file": file})
    else:
        print_text(f"good: {said} settings said, the rest are defaults; file: {file or 'none'}")


def _described(setting: Setting, *, origin: bool) -> Any:
    if not origin:
        return setting.shown
    return {"value": setting.shown, "origin": setting.origin.value, "place": setting.place}


def _place(setting: Setting) -> str:
    return setting.place or setting.origin.value


def _word(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(value) or "-"
        case _:
            return str(value) or "-"
