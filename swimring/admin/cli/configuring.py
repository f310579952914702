"""``swimring config``: what a node would run with in this folder, and whether it could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swimring.admin.http import AUTO, OFF, open_site
from swimring.identity import Address
from swimring.node import NodeSettings, check_settings
from swimring.observe import check_logging

from .output import print_json, print_table, print_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimring.admin.config import Setting
    from swimring.service import Service

    from .node_options import WatchOptions
    from .sources import Sources


def show(sources: Sources, *, origin: bool, as_json: bool) -> None:
    """Print each setting by its name, and with ``origin`` who said it."""
    settings = [sources.settings[name] for name in sorted(sources.settings)]
    if as_json:
        print_json({setting.knob.name: _described(setting, origin=origin) for setting in settings})
        return
    columns = ("setting", "value", "from") if origin else ("setting", "value")
    rows = [(setting.knob.name, _word(setting.shown), _place(setting))[: len(columns)] for setting in settings]
    print_table(columns, rows, title="none" if sources.path is None else str(sources.path))


def check(services: Sequence[Service], sources: Sources, watching: WatchOptions, settings: NodeSettings) -> None:
    """Say that the settings are good.

    Raises:
        ConfigError: the first one that is not.
    """
    told: NodeSettings = {**settings}
    if not services and told["cluster"] is None:
        told["cluster"] = "unnamed"  # it will be that of the service, which is not known here
    check_settings(tuple(services), **told)
    check_logging(watching.log_level, watching.log_format)
    open_site(write=watching.admin_write, token_file=watching.admin_token_file)
    if watching.admin not in {AUTO, OFF}:
        Address.parse(watching.admin, setting="admin")
    said = sum(1 for setting in sources.settings.values() if setting.place)
    print_text(f"good: {said} settings said, the rest are defaults; file: {sources.path or 'none'}")


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
