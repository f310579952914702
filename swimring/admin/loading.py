"""From what a user types (``hello:app``, ``path/to/hello.py:app``) to the services it names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from swimring.errors import ConfigError
from swimring.service import Service

if TYPE_CHECKING:
    from types import ModuleType


def load_services(target: str) -> tuple[Service, ...]:
    """The services that ``MODULE:NAME`` or ``FILE.py:NAME`` names: one, or a list or tuple of them.

    Raises:
        ConfigError: the text has another form, nothing is there, or what is there is not a service. An error inside
            the user's module is raised as it is.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise ConfigError("app", target, "write MODULE:NAME or FILE.py:NAME, such as hello:app")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, name, None)
    services = tuple(found) if isinstance(found, (list, tuple)) else (found,)
    if not services or not all(isinstance(service, Service) for service in services):
        offered = [known for known, value in vars(module).items() if isinstance(value, Service)]
        hint = f"{place} has {', '.join(offered)}" if offered else f"{place} declares no Service"
        raise ConfigError("app", target, f"name a Service: {hint}")
    return services


def _load_module(name: str) -> ModuleType:
    # What a user types is relative to where they stand, as with `python -m`.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; something it imports is not
        raise ConfigError("app", name, f"there is no module {error.name!r} here or among the installed ones") from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError("app", str(path), "there is no such file")
    sys.path.insert(0, str(path.resolve().parent))
    # Not under the name of a module that is loaded already, such as a `json.py` of the user's.
    name = path.stem if path.stem not in sys.modules else f"swimring_app_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as `import` would: dataclasses and forward references look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
