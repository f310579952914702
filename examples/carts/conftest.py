"""`pytest --naive` runs the same tests on the shop with the bug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import carts
import naive_carts
import pytest

if TYPE_CHECKING:
    from shop import Shop


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option."""
    parser.addoption("--naive", action="store_true", help="test the service with the bug")


@pytest.fixture
def shop(pytestconfig: pytest.Config) -> Shop:
    """What is tested."""
    return naive_carts.shop if pytestconfig.getoption("naive") else carts.shop
