"""Who is let in by TLS, and what each side learns when one is not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

from swimring.certificates import Certificates
from swimring.identity import Address
from swimring.net import SocketNetwork, TlsNetwork, TlsStream, accept_tls
from tests.certificates.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from swimring.certificates import TlsSettings


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def meet(dials: TlsSettings, answers: TlsSettings, host: str = "127.0.0.1") -> list[str]:
    """What the dialler, and the other one, say of a connection: nothing if bytes went both ways."""
    network = SocketNetwork()
    binding = await network.bind(Address("127.0.0.1", 0))
    said = ["", ""]

    async def answer() -> None:
        stream, _ = await binding.listener.accept()
        try:
            secured = await accept_tls(stream, Certificates(answers), b"")
            await secured.send_all(await secured.receive_some())
        except trio.BrokenResourceError as error:
            said[1] = str(error)
        await stream.aclose()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            try:
                tls = TlsNetwork(network, Certificates(dials))
                async with await tls.connect(Address(host, binding.address.port)) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b"hello"
            except (OSError, trio.BrokenResourceError) as error:
                said[0] = str(error)
    binding.close()
    return said


async def test_two_that_one_authority_signed_talk(authority: Authority) -> None:
    assert await meet(authority.issue("a"), authority.issue("b")) == ["", ""]


async def test_who_another_authority_signed_is_refused_by_either_side_and_told_why(
    authority: Authority, tmp_path: Path
) -> None:
    ours, theirs = authority.issue("a"), Authority(tmp_path, "foreign").issue("b")
    dialler, other = await meet(theirs, ours)
    assert dialler.startswith("its certificate is not accepted here: ")
    assert other == "it does not accept our certificate: unknown ca"
    # Who trusts the other one is not trusted by it: the second half of a mutual handshake.
    both = tmp_path / "both.pem"
    both.write_bytes(authority.file.read_bytes() + (tmp_path / "foreign.pem").read_bytes())
    dialler, other = await meet(dataclasses.replace(theirs, ca=both), ours)
    assert dialler == "it does not accept our certificate: unknown ca"
    assert other.startswith("its certificate is not accepted here: ")


async def test_with_check_host_the_certificate_has_to_name_the_host_that_was_dialled(authority: Authority) -> None:
    dials = authority.issue("a", check_host=True)
    assert await meet(dials, authority.issue("b", "127.0.0.1")) == ["", ""]
    assert await meet(dials, authority.issue("b", "localhost"), host="localhost") == ["", ""]
    ours, theirs = await meet(dials, authority.issue("b", "10.0.0.1"))
    assert "not valid for '127.0.0.1'" in ours
    assert "does not accept our certificate" in theirs


async def test_garbage_behind_a_tls_hello_ends_the_handshake(authority: Authority) -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"\x16\x03\x01\x00\x05hello" + b"?" * 100)
    with pytest.raises(trio.BrokenResourceError, match="TLS"):
        with trio.fail_after(20):
            await accept_tls(theirs, Certificates(authority.issue()), b"")


async def test_garbage_in_the_middle_breaks_the_stream_for_good(authority: Authority) -> None:
    certificates = Certificates(authority.issue())
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        dialled = TlsStream(ours, lambda there, back: certificates.dialling(there, back, "x"))
        nursery.start_soon(dialled.shake_hands)
        accepted = await accept_tls(theirs, certificates, b"")
    await dialled.send_all(b"fine")
    await ours.send_all(b"\x17\x03\x03\x00\x20" + b"?" * 32)
    assert await accepted.receive_some() == b"fine"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
            await accepted.receive_some()


async def test_who_does_not_speak_tls_is_said_not_to(authority: Authority) -> None:
    network, certificates = SocketNetwork(), Certificates(authority.issue())
    binding = await network.bind(Address("127.0.0.1", 0))

    async def answer(words: bytes) -> None:
        stream, _ = await binding.listener.accept()
        await stream.receive_some()
        if words:
            await stream.send_all(words)
        await stream.aclose()

    for words, said in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "not TLS"), (b"", "hung up during the TLS handshake")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, words)
            with trio.fail_after(20), pytest.raises(OSError, match=said):
                await TlsNetwork(network, certificates).connect(binding.address)
    binding.close()


async def test_a_send_that_is_cancelled_on_its_way_leaves_the_stream_broken(authority: Authority) -> None:
    certificates = Certificates(authority.issue())
    network = SocketNetwork()
    binding = await network.bind(Address("127.0.0.1", 0))
    below, (accepted, _) = await network.connect(binding.address), await binding.listener.accept()
    async with trio.open_nursery() as nursery:
        dialled = TlsStream(below, lambda there, back: certificates.dialling(there, back, "x"))
        nursery.start_soon(dialled.shake_hands)
        await accept_tls(accepted, certificates, b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialled.send_all, bytes(64 << 20))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError, match="broke while something was sent"):
        await dialled.send_all(b"more")
    for stream in (below, accepted):
        await stream.aclose()
    binding.close()
