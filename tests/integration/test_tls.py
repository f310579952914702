"""Node processes with certificates and Unix sockets, as the client and the commands reach them."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
import trio

from swimring.client import connect
from swimring.errors import NotJoined
from tests.certificates.authority import Authority

from .lab import echo, where
from .processes import address_in, ring_of, running, swimring, swimring_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.certificates import TlsSettings

LAB = f"{Path(__file__).parent / 'lab.py'}:app"


def options(tls: TlsSettings) -> tuple[str, ...]:
    return ("--tls-cert", str(tls.cert), "--tls-key", str(tls.key), "--tls-ca", str(tls.ca))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def ring(authority: Authority, folder: Path) -> Iterator[str]:
    """The address of one of two nodes; the other one, ``a``, has a Unix socket as well."""
    cluster, doors = f"tls-{abs(hash(str(folder))) % 10**8}", {"a": ("--unix-socket", f"{folder}/a"), "b": ()}
    said = {
        name: (*options(authority.issue(name, "127.0.0.1")), "--tls-check-host", *more) for name, more in doors.items()
    }
    with ring_of(LAB, said, cluster=cluster) as line:
        assert "with a" in line
        yield address_in(line)


@pytest.mark.anyio
async def test_a_client_with_a_certificate_talks_to_every_node(ring: str, authority: Authority) -> None:
    with anyio.fail_after(20):
        async with connect(ring, tls=authority.issue("client", check_host=True)) as mesh:
            keys = [f"k{number}" for number in range(50)]
            assert {await mesh.call(where, key) for key in keys} == {"a", "b"}
            assert await mesh.call(echo, "k", bytes(500_000)) == bytes(500_000)


@pytest.mark.anyio
async def test_a_client_without_an_accepted_certificate_is_told_what_is_wrong(
    ring: str, authority: Authority, folder: Path
) -> None:
    foreign = Authority(folder, "foreign").issue("stranger")
    trusting = dataclasses.replace(foreign, ca=folder / "both.pem")
    (folder / "both.pem").write_bytes(authority.file.read_bytes() + (folder / "foreign.pem").read_bytes())
    for tls, said in (
        (None, "TLS is required on this node"),
        (foreign, "its certificate is not accepted here"),
        (trusting, "does not accept our certificate"),
    ):
        with anyio.fail_after(20), pytest.raises(NotJoined, match=said):
            async with connect(ring, tls=tls):
                pass


@pytest.mark.anyio
async def test_a_client_comes_in_by_a_unix_socket_and_reaches_the_others_by_tls(
    ring: str, authority: Authority, folder: Path
) -> None:
    with anyio.fail_after(20):
        async with connect(f"unix:{folder}/a", tls=authority.issue("client")) as mesh:
            assert {await mesh.call(where, f"k{number}") for number in range(50)} == {"a", "b"}
        async with connect(f"unix:{folder}/a") as mesh:
            mine = next(key for number in range(99) if mesh.lookup(key := f"k{number}").name == "a")
            assert await mesh.call(where, mine) == "a"


async def test_the_commands_take_certificates_and_unix_sockets(ring: str, authority: Authority, folder: Path) -> None:
    tls = options(authority.issue("client"))
    with trio.fail_after(60):
        for via in (("--join", ring, *tls), ("--join", f"unix:{folder}/a")):
            rows = await swimring_json("members", *via)
            assert [row["name"] for row in rows] == ["a", "b"]
        status, _out, err = await swimring("members", "--join", ring)
        assert (status, "TLS is required on this node" in err) == (3, True)
        status, _out, err = await swimring("members", "--join", ring, "--tls-cert", "x")
        assert (status, err) == (2, "swimring: tls-key: not set; TLS takes --tls-cert, --tls-key and --tls-ca\n")


async def test_sighup_reads_certificates_again(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.issue()
    with trio.fail_after(60):
        async with running(LAB, "--cluster", tmp_path.name, *options(tls)) as node:
            address = await node.wait_address()
            new = Authority(tmp_path, "ca")  # the same file
            (tmp_path / "node.key.pem").write_text("half written")
            node.signal(signal.SIGHUP)
            await node.wait_said("a file was not taken, what it held before stays: tls")
            new.issue()
            node.signal(signal.SIGHUP)
            assert await swimring_json("members", "--join", address, *options(new.issue("client")))
            node.signal(signal.SIGTERM)
            assert await node.wait_ended() == 0
