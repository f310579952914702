"""Things by name, for processes that have to import what a test already has in its hands."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True, slots=True, kw_only=True)
class Importable:
    """Where a process finds one thing.

    Attributes:
        module: the name of its module.
        file: the file of that module, if another process may not find it by its name.
        attribute: its name in the module, with dots.
    """

    module: str
    file: str
    attribute: str

    @classmethod
    def of(cls, thing: object) -> Self:
        """Where ``thing`` is: a function or class by its own name, anything else by the name a module has for it.

        Raises:
            ConfigError: no module has it under a name; it was made inside a function, or in the program itself.
        """
        module, attribute = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
        if isinstance(attribute, str) and attribute and _is_there(module, attribute, thing):
            return cls.named(module, attribute)
        for name, found in reversed(sys.modules.copy().items()):  # who imports a module came before it
            for key, value in list(getattr(found, "__dict__", {}).items()):
                if value is thing and name != "__main__" and getattr(found, "__file__", None):
                    return cls.named(name, key)
        text = getattr(thing, "name", None) or attribute or repr(thing)
        raise ConfigError("thing", str(text), "another process can import it only if a module has a name for it")

    @classmethod
    def named(cls, module: str, attribute: str) -> Self:
        """``attribute`` of a module that is loaded."""
        return cls(module=module, file=str(getattr(sys.modules[module], "__file__", "") or ""), attribute=attribute)

    def load(self) -> Any:
        """The thing, in this process."""
        return attrgetter(self.attribute)(self._module())

    def _module(self) -> ModuleType:
        if self.module in sys.modules:
            return sys.modules[self.module]
        try:
            spec = importlib.util.find_spec(self.module)
        except ModuleNotFoundError:
            spec = None  # its package is not there
        if spec is not None and (not self.file or (spec.origin and Path(spec.origin).samefile(self.file))):
            return importlib.import_module(self.module)
        spec = importlib.util.spec_from_file_location(self.module, self.file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[self.module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def _is_there(module: str, attribute: str, thing: object) -> bool:
    try:
        return module != "__main__" and attrgetter(attribute)(sys.modules[module]) is thing
    except (KeyError, AttributeError):
        return False
