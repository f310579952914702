"""Unix sockets: who may use them, and what is left of them."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest

from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.net import SocketNetwork

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_unix_socket_is_for_this_user_and_disappears_when_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = await SocketNetwork().bind_unix(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stream = await SocketNetwork().connect(Address.unix(str(path)))
    accepted, remote = await listener.accept()
    assert str(remote) == f"unix:{path}"
    await stream.aclose()
    await accepted.aclose()
    listener.close()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        await SocketNetwork().connect(Address.unix(str(path)))


async def test_what_a_killed_process_left_is_replaced_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    path, network = tmp_path / "s", SocketNetwork()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    listener = await network.bind_unix(str(path))
    with pytest.raises(OSError, match="somebody listens there"):
        await network.bind_unix(str(path))
    path.unlink()
    second = await network.bind_unix(str(path))
    listener.close()
    assert path.exists(), "somebody else's by now"
    second.close()
    path.write_text("a file")
    with pytest.raises(OSError, match="something else than a socket"):
        await network.bind_unix(str(path))
    assert path.read_text() == "a file"


@pytest.mark.parametrize("path", ["relative", "", "/" + "x" * 107, "/nul\0"])
def test_a_path_that_no_socket_can_have_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="an absolute path of at most 107 bytes"):
        Address.parse_or_unix(f"unix:{path}")


def test_no_member_is_at_a_unix_socket() -> None:
    with pytest.raises(ConfigError):
        Address.parse("unix:/run/somewhere")
    with pytest.raises(ConfigError):
        Address.parse("/run/somewhere:1")
