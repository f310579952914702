"""Marks coroutine tests for Trio unless they are marked for anyio: the two plugins then live side by side."""

from __future__ import annotations

import inspect

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if inspect.iscoroutinefunction(function) and item.get_closest_marker("anyio") is None:
            item.add_marker(pytest.mark.trio)
