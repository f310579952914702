"""The dashboard's files as they lie in this package: one page, its style, its scripts; nothing from anywhere else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from .messages import HTML, HttpResponse

_TYPES: Final = {
    "html": HTML,
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def page(path: str) -> HttpResponse | None:
    """The file that is shown at ``path``; None if there is none."""
    return _pages().get("/index.html" if path == "/" else path)


@cache
def _pages() -> dict[str, HttpResponse]:
    """All of them: what is not listed here cannot be asked for, whatever a path says."""
    folder = files(__package__) / "page"
    return {
        f"/{file.name}": HttpResponse(body=file.read_bytes(), content_type=_TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }
