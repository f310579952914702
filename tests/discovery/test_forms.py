"""What a user writes to say where peers are."""

from __future__ import annotations

from pathlib import Path

import pytest

from swimring.discovery import MULTICAST_GROUP, MulticastGroup, SeedFile, SrvName, read_sources
from swimring.errors import ConfigError
from swimring.identity import Address


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("10.0.0.7", Address("10.0.0.7", 7979)),
        ("node.example:81", Address("node.example", 81)),
        ("[2001:db8::1]:81", Address("2001:db8::1", 81)),
        ("2001:db8::1", Address("2001:db8::1", 7979)),
        ("dns+ring-headless", Address("ring-headless", 7979)),
        ("dns+ring-headless:81", Address("ring-headless", 81)),
        ("dns+srv://_ring._tcp.example", SrvName("_ring._tcp.example")),
        ("dns+srv://10.0.0.53/ring.service.consul", SrvName("ring.service.consul", Address("10.0.0.53", 53))),
        ("dns+srv://[::1]:8600/ring.service.consul", SrvName("ring.service.consul", Address("::1", 8600))),
        ("file:peers.txt", SeedFile(Path("peers.txt"))),
        ("file:///etc/swimring/peers", SeedFile(Path("/etc/swimring/peers"))),
        ("multicast", MulticastGroup(MULTICAST_GROUP)),
        ("multicast://239.1.2.3", MulticastGroup(Address("239.1.2.3", 7978))),
        ("multicast://239.1.2.3:99", MulticastGroup(Address("239.1.2.3", 99))),
    ],
)
def test_each_form_means_one_kind_of_source(text: str, source: object) -> None:
    assert read_sources([text], setting="join") == (source,)


def test_what_was_read_can_be_written_again() -> None:
    texts = ["file:peers.txt", "dns+srv://a.example", "dns+srv://10.0.0.53:53/a.example", "multicast://239.1.2.3:99"]
    assert [str(source) for source in read_sources(texts, setting="join")] == texts


@pytest.mark.parametrize(
    "text",
    [
        "", ":7979", "http://10.0.0.7", "dns+", "dns+srv://", "dns+srv:///x", "dns+srv://a/b/c", "dns+srv://a:b/c",
        "file:", "file://", "multicast://", "multicast://10.0.0.1", "multicast://[ff02::1]", "multicast://239.1.2.3:0",
    ],
)  # fmt: skip
def test_anything_else_is_a_config_error_that_shows_the_forms(text: str) -> None:
    with pytest.raises(ConfigError, match=r"join: .*(write|multicast group)"):
        read_sources([text], setting="join")


def test_whatever_has_addresses_is_a_source_and_nothing_else_is() -> None:
    class Mine:
        async def addresses(self) -> list[Address]:
            return []

    mine = Mine()
    assert read_sources([mine, Address("a", 1)], setting="join") == (mine, Address("a", 1))
    with pytest.raises(ConfigError, match=r"addresses\(\)"):
        read_sources([7979], setting="join")
    with pytest.raises(ConfigError, match="a list"):
        read_sources("10.0.0.7:7979", setting="join")
