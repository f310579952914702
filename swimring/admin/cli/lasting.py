"""How long something lasts, as people write it."""

from __future__ import annotations

from swimring.errors import ConfigError


def read_seconds(text: str, *, setting: str) -> float:
    """Seconds from ``30``, ``30s``, ``500ms`` or ``2m``.

    Raises:
        ConfigError: it is none of these, or not above 0.
    """
    for unit, worth in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)):
        if text.endswith(unit):
            try:
                seconds = float(text.removesuffix(unit)) * worth
            except ValueError:
                break
            if seconds > 0:
                return seconds
    raise ConfigError(setting, text, "a time above 0, such as 30s, 500ms or 2m")
