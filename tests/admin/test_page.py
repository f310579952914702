"""The dashboard's files: all there, in the package and in the wheel, and nothing from anywhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import swimring.admin.http
from swimring.admin.http import HttpRequest, Site
from swimring.observe import Entry

FOLDER = Path(swimring.admin.http.__file__).parent / "page"
FILES = sorted(file.name for file in FOLDER.iterdir())


async def shown(path: str) -> tuple[int, str, bytes]:
    response = await Site().answer(HttpRequest(method="GET", path=path))
    assert isinstance(response.body, bytes)
    return response.status, response.content_type, response.body


async def test_the_page_is_there_before_the_node_is() -> None:
    status, kind, body = await shown("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"<title>swimring</title>" in body


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_served_as_what_it_is(name: str) -> None:
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    status, kind, body = await shown(f"/{name}")
    assert status == 200
    assert kind.startswith(kinds[name.rpartition(".")[2]])
    assert body == (FOLDER / name).read_bytes()


@pytest.mark.parametrize(
    "path", ["/../site.py", "/page.py", "/./index.html", "//index.html", "/index.html/", "/%2e%2e"]
)
async def test_nothing_else_is_served(path: str) -> None:
    assert (await shown(path))[0] == 404


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_taken_from_elsewhere_and_nothing_is_inline(name: str) -> None:
    text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?:)?//[a-z0-9]", text.replace("// ", "")), "from another host"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    if name.endswith(".html"):
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text), "refused by its own policy"


def test_every_file_that_the_page_names_is_there() -> None:
    named = set()
    for name in FILES:
        text = (FOLDER / name).read_text()
        named |= set(re.findall(r'(?:href|src)="/([^"/]+\.\w+)"', text)) | set(re.findall(r'from "\./([^"]+)"', text))
    assert named == set(FILES) - {"index.html"}


def test_the_page_draws_only_kinds_of_events_that_there_are() -> None:
    assert Entry.__doc__ is not None
    kinds = set(Entry.__doc__.partition("kind: ")[2].partition(".")[0].split(", "))
    drawn = set(re.findall(r"\.kind\.([a-z]+)", (FOLDER / "dashboard.css").read_text()))
    listed = re.search(r"OF_KEYS = new Set\(\[([^\]]*)\]", (FOLDER / "panels.js").read_text())
    assert listed is not None
    assert drawn | set(re.findall(r'"([a-z]+)"', listed[1])) <= kinds
