from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.node import NodeSettings, Settings, open_node
from swimring.node.settings import DEFAULTS, check_settings, name_of
from swimring.security import Sealing
from swimring.service import Service
from swimring.swim import PROFILES, Profile

if TYPE_CHECKING:
    from pathlib import Path


def check(*services: Service, **settings: Any) -> Settings:
    return check_settings(services or (Service("kv"),), **settings)


@pytest.mark.parametrize(
    ("settings", "setting", "found", "allowed"),
    [
        ({"cluster": "no spaces"}, "cluster", "'no spaces'", "A-Z a-z 0-9"),
        ({"cluster": ""}, "cluster", "''", "A-Z a-z 0-9"),
        ({"name": "ö"}, "name", "'ö'", "A-Z a-z 0-9"),
        ({"name": ""}, "name", "''", "A-Z a-z 0-9"),
        ({"name": "n" * 129}, "name", "'nnn", "1 to 128"),
        ({"listen": "127.0.0.1:x"}, "listen", "'127.0.0.1:x'", "host:port"),
        ({"listen": "127.0.0.1:70000"}, "listen", "'127.0.0.1:70000'", "0 to 65535"),
        ({"listen": ""}, "listen", "''", "host:port"),
        ({"listen": "10.0.0.7:7979"}, "listen", "'10.0.0.7:7979'", "insecure"),
        ({"listen": "some.host:7979"}, "listen", "'some.host:7979'", "insecure"),
        ({"listen": "[2001:db8::1]:7979"}, "listen", "'[2001:db8::1]:7979'", "insecure"),
        ({"listen": "0.0.0.0"}, "listen", "'0.0.0.0:7979'", "insecure"),
        ({"listen": "0.0.0.0", "insecure": True}, "advertise", "not set", "--advertise HOST[:PORT]"),
        ({"listen": "[::]", "insecure": True}, "advertise", "not set", "set advertise"),
        ({"listen": "0.0.0.0", "insecure": True, "advertise": "0.0.0.0"}, "advertise", "'0.0.0.0:0'", "can dial"),
        ({"advertise": "[::]:7979"}, "advertise", "'[::]:7979'", "others can dial"),
        ({"advertise": "two words:80"}, "advertise", "'two words:80'", "host:port"),
        ({"advertise": "a:b"}, "advertise", "'a:b'", "host:port"),
        ({"join": ["good:1", ":7"]}, "join", "':7'", "host:port"),
        ({"join": "10.0.0.7:7979"}, "join", "'10.0.0.7:7979'", "a list"),
        ({"join": ["ftp://h"]}, "join", "'ftp://h'", "multicast://GROUP:PORT"),
        ({"join": [7979]}, "join", "7979", "addresses()"),
        ({"expect": 0}, "expect", "0", "1 to 65535"),
        ({"expect": 3, "zone": "z" * 490}, "metadata", "bytes'", "512"),
        ({"expect": 3, "tags": {"swimring.gathering": "3"}}, "tags", "'swimring.gathering'", "swimring's own"),
        ({"profile": "moon"}, "profile", "'moon'", "local, lan, wan"),
        ({"weight": -1}, "weight", "-1", "0 to"),
        ({"weight": 1.5}, "weight", "1.5", "whole number"),
        ({"weight": True}, "weight", "True", "whole number"),
        ({"weight": "1"}, "weight", "'1'", "whole number"),
        ({"weight": 1_000_000}, "weight", "1000000", "whole number"),
        ({"points": 0}, "points", "0", "1 to 65536"),
        ({"points": 65_537}, "points", "65537", "1 to 65536"),
        ({"drain_within": -0.1}, "drain_within", "-0.1", "0 or more"),
        ({"drain_within": float("nan")}, "drain_within", "nan", "0 or more"),
        ({"zone": "z" * 600}, "metadata", "bytes'", "512"),
        ({"tags": {"a": "b" * 600}}, "metadata", "bytes'", "512"),
        ({"version": 3}, "metadata", "3", "text"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_was_found_and_what_is_allowed(
    settings: dict[str, Any], setting: str, found: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**settings)
    assert caught.value.setting == setting
    text = str(caught.value)
    assert text.startswith((f"{setting}: found ", f"{setting}: not set"))
    assert found in text
    assert allowed in text


def test_a_node_without_service_and_cluster_has_no_name_for_its_cluster() -> None:
    with pytest.raises(ConfigError, match=r"cluster: not set; name the cluster"):
        check_settings(())
    assert check_settings((), cluster="c").cluster == "c"


def test_two_services_of_one_name_are_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"services: found 'kv'; each name once"):
        check(Service("kv"), Service("kv"))


def test_the_name_of_the_builtin_service_is_taken() -> None:
    with pytest.raises(ConfigError, match=r"services: found 'swimring'; every node"):
        check(Service("swimring"))


def test_what_is_not_a_service_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"services: found <module .*; each is a swimring\.Service"):
        check_settings((pytest,))  # type: ignore[arg-type] # the mistake of passing the module


async def test_a_wrong_setting_starts_nothing() -> None:
    with pytest.raises(ConfigError, match="weight"):
        async with open_node(Service("kv"), weight=-1):
            raise AssertionError("this never runs")


async def test_a_setting_that_does_not_exist_is_a_type_error_and_starts_nothing() -> None:
    with pytest.raises(TypeError, match="timeout"):
        async with open_node(Service("kv"), timeout=5):  # type: ignore[call-arg]
            raise AssertionError("this never runs")


def test_every_setting_has_a_name_a_default_and_a_line_that_explains_it() -> None:
    settings = list(DEFAULTS)
    assert list(NodeSettings.__annotations__) == settings
    assert re.findall(r"^ {8}(\w+): ", NodeSettings.__doc__ or "", re.MULTILINE) == settings


@pytest.mark.parametrize("listen", ["127.0.0.1:7979", "127.8.8.8", "localhost", "[::1]:7979", "::1"])
def test_loopback_needs_no_insecure(listen: str) -> None:
    assert check(listen=listen).listen == Address.parse(listen)


def test_off_loopback_needs_insecure() -> None:
    assert check(listen="10.0.0.7:1", insecure=True).listen == Address("10.0.0.7", 1)


def test_a_wildcard_with_an_address_to_advertise_is_fine_and_takes_the_bound_port() -> None:
    settings = check(listen="0.0.0.0:0", insecure=True, advertise="10.0.0.7")
    assert settings.address_for(Address("0.0.0.0", 4711)) == Address("10.0.0.7", 4711)
    settings = check(listen="[::]:0", insecure=True, advertise="db.example:80")
    assert settings.address_for(Address("::", 4711)) == Address("db.example", 80)


def test_without_an_address_to_advertise_the_bound_one_is_told() -> None:
    assert check().address_for(Address("127.0.0.1", 7980)) == Address("127.0.0.1", 7980)


def test_the_cluster_is_called_like_the_first_service() -> None:
    assert check(Service("kv"), Service("cache")).cluster == "kv"


def test_the_metadata_lists_the_services_by_name() -> None:
    assert check(Service("kv"), Service("cache"), weight=3, zone="b").metadata.services == ("cache", "kv")


def test_addresses_to_join_may_be_written_or_made() -> None:
    assert check(join=["h:1", Address("h", 2)]).join == (Address("h", 1), Address("h", 2))


def test_a_profile_is_one_of_three_or_of_your_own() -> None:
    own = Profile.lan()
    assert check(profile=own).profile is own
    assert check(profile="wan").profile is PROFILES["wan"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1-7979"),
        ("db-1.example", "db-1.example-7979"),
        ("::1", "1-7979"),
        ("fe80::1:2", "fe80-1-2-7979"),
        ("fe80::1%eth0", "fe80-1-eth0-7979"),
        ("::", "any-7979"),
        ("bücher.example", "b-cher.example-7979"),
        ("_dns.example", "dns.example-7979"),
        ("h" * 253, f"{'h' * 100}-7979"),
    ],
)
def test_a_node_that_was_given_no_name_is_called_after_its_address(host: str, name: str) -> None:
    assert name_of(Address(host, 7979)) == name
    assert check(name=name_of(Address(host, 7979))).name == name, "a name that other nodes accept"


# ---------------------------------------------------------------------------------------------------- the secret

KEY = bytes(range(32))


def secret_file(folder: Path, text: str, *, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_comes_as_bytes_as_text_or_in_a_file(tmp_path: Path) -> None:
    assert check(secret=KEY).keys == check(secret=[KEY]).keys == check(secret=KEY.hex()).keys == (KEY,)
    assert check(secret_file=secret_file(tmp_path, KEY.hex())).keys == (KEY,)
    assert check().keys == ()


def test_settings_do_not_show_the_secret() -> None:
    assert KEY.hex() not in repr(check(secret=KEY))
    assert repr(KEY) not in repr(check(secret=KEY))


def test_with_a_secret_a_node_may_leave_loopback() -> None:
    assert check(listen="10.0.0.7:1", secret=KEY).leaves_the_machine
    assert not check(listen="127.0.0.1:1", secret=KEY).leaves_the_machine


@pytest.mark.parametrize("seal", ["accept", "prefer"])
def test_off_loopback_a_secret_that_is_not_required_is_not_enough(seal: str) -> None:
    with pytest.raises(ConfigError, match="require it"):
        check(listen="10.0.0.7:1", secret=KEY, seal=seal)
    assert check(listen="10.0.0.7:1", secret=KEY, seal=seal, insecure=True).sealing is Sealing(seal)


def test_a_secret_that_is_none_is_a_config_error(tmp_path: Path) -> None:
    path = secret_file(tmp_path, KEY.hex())
    with pytest.raises(ConfigError, match="not both"):
        check(secret=KEY, secret_file=path)
    with pytest.raises(ConfigError, match="chmod 600"):
        check(secret_file=secret_file(tmp_path, KEY.hex(), mode=0o644))
    with pytest.raises(ConfigError, match="a key has 32"):
        check(secret=b"short")
    with pytest.raises(ConfigError, match="accept, prefer, require"):
        check(secret=KEY, seal="maybe")
