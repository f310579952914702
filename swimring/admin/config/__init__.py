"""Where the settings of a command come from: flags over the environment over a file over defaults."""

from .files import ConfigFile, find_file, read_file
from .knobs import CONFIG, PREFIX, Kind, Knob, Origin, Setting, resolve

__all__ = ["CONFIG", "PREFIX", "ConfigFile", "Kind", "Knob", "Origin", "Setting", "find_file", "read_file", "resolve"]
