"""Seeds in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring.discovery import SeedFile, open_finder
from swimring.identity import Address
from swimring.net import SocketNetwork, SystemHost

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ME = Address("127.0.0.1", 7979)


async def test_a_file_is_read_again_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peers"
    async with open_finder(
        [SeedFile(path)], network=SocketNetwork(), host=SystemHost(), cluster="c", bound=ME, advertised=ME
    ) as finder:
        assert await finder.addresses() == ()
        assert "No such file" in caplog.text
        path.write_text("10.0.0.7:81  # the first\n\n# nobody\n10.0.0.8\n127.0.0.1\n10.0.0.7:81\n")
        assert await finder.addresses() == (Address("10.0.0.7", 81), Address("10.0.0.8", 7979))
        path.write_text("10.0.0.9\n")
        assert await finder.addresses() == (Address("10.0.0.9", 7979),)
        path.unlink()
        assert await finder.addresses() == (Address("10.0.0.9", 7979),)  # what it said last


async def test_a_line_that_is_no_address_is_left_out_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peers"
    path.write_bytes(b"10.0.0.7\n:::81:\n10.0.0.8:port\n\xff\xfe\n")
    async with open_finder(
        [SeedFile(path)], network=SocketNetwork(), host=SystemHost(), cluster="c", bound=ME, advertised=ME
    ) as finder:
        for _ in range(3):
            assert Address("10.0.0.7", 7979) in await finder.addresses()
    assert caplog.text.count("'10.0.0.8:port'") == 1
