"""Where the ``swimring`` script starts: errors become one line on stderr and an exit status.

| status | meaning |
|---|---|
| 0 | done |
| 1 | the call, or the node, failed; the line says how |
| 2 | wrong usage or a wrong setting: nothing was done |
| 3 | no node could be reached |
| 130 | interrupted, or stopped without waiting |
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from swimring.errors import ConfigError, MissingExtra, NotJoined, SwimringError, Unreachable

from .plain import visible

FAILED: Final = 1
USAGE: Final = 2
UNREACHED: Final = 3
INTERRUPTED: Final = 130
_EXTRA: Final = {"cyclopts", "rich", "anyio"}


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its status."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        status = _unread()
    except BaseExceptionGroup as group:
        # Of a nursery whose tasks all write; of what is printed through rich it is a SystemExit.
        if group.split((BrokenPipeError, SystemExit))[1] is not None:
            raise
        status = _unread()
    except ImportError as error:
        # The parser wraps the error of a command's module in one of its own.
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        module = ((isinstance(missing, ImportError) and missing.name) or "").partition(".")[0]
        if module not in _EXTRA:
            raise
        status = _complain(MissingExtra("cli", module))
    raise SystemExit(status)


def _unread() -> int:
    """Whoever read our output has seen enough (`| head`). Python would fail once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _run(arguments: list[str] | None) -> int:
    from cyclopts import CycloptsError  # noqa: PLC0415 - without the extra this import fails, and `main` says so

    from .commands import app  # noqa: PLC0415 - the same

    try:
        status: Any = app(arguments, result_action="return_value", exit_on_error=False, print_error=False)
    except (CycloptsError, SwimringError) as error:
        return _complain(error)
    return status if isinstance(status, int) else 0


def _complain(error: Exception) -> int:
    """Say in one line, plain because it may go into a pipe or a log, what is wrong; return the exit status."""
    print(f"swimring: {visible(' '.join(str(error).split()))}", file=sys.stderr)  # noqa: T201 - there may be no rich
    return exit_status(error)


def exit_status(error: Exception) -> int:
    """The exit status that tells a script what kind of error it was."""
    match error:
        case Unreachable() | NotJoined():
            return UNREACHED
        case ConfigError():
            return USAGE
        case SwimringError():
            return FAILED
        case _:
            return USAGE  # of the parser of the command line
