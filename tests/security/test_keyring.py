from __future__ import annotations

import pytest

from swimring.errors import ConfigError
from swimring.security import Keyring, key_id

A, B = bytes([1]) * 32, bytes([2]) * 32


def test_the_first_key_is_the_primary_one() -> None:
    ring = Keyring([A, B])
    assert (ring.primary, ring.ids, ring.keys) == (key_id(A), (key_id(A), key_id(B)), (A, B))


def test_using_another_key_makes_it_the_primary_one_and_keeps_the_first() -> None:
    ring = Keyring([A])
    ring.use(ring.install(B))
    assert ring.keys == (B, A)


def test_a_removed_key_is_gone() -> None:
    ring = Keyring([A, B])
    ring.remove(key_id(B))
    assert ring.keys == (A,)
    assert ring.get(key_id(B)) is None


def test_the_primary_key_cannot_be_removed() -> None:
    with pytest.raises(ConfigError, match="use another one first"):
        Keyring([A, B]).remove(key_id(A))


def test_a_key_that_is_not_installed_can_neither_be_used_nor_removed() -> None:
    ring = Keyring([A])
    for act in (ring.use, ring.remove):
        with pytest.raises(ConfigError, match=f"not installed; the keys here are {key_id(A).hex()}"):
            act(key_id(B))


def test_installing_a_key_again_changes_nothing() -> None:
    ring = Keyring([A, B])
    ring.install(A)
    assert ring.keys == (A, B)


def test_a_replaced_keyring_holds_the_new_keys_alone_the_first_one_as_primary() -> None:
    ring = Keyring([A])
    ring.replace([B, A])
    assert ring.keys == (B, A)
    ring.replace([B])
    assert [ring.get(key_id(key)) for key in (A, B)] == [None, B]


@pytest.mark.parametrize("keys", [(), (B, b"short"), tuple(bytes([n]) * 32 for n in range(17))])
def test_a_replacement_that_is_no_keyring_changes_nothing(keys: tuple[bytes, ...]) -> None:
    ring = Keyring([A, B])
    with pytest.raises(ConfigError):
        ring.replace(keys)
    assert ring.keys == (A, B)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ConfigError, match="a key has 32"):
        Keyring([bytes(size)])


def test_a_keyring_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="at least one key"):
        Keyring([])


def test_a_keyring_is_bounded() -> None:
    ring = Keyring(bytes([n]) * 32 for n in range(16))
    with pytest.raises(ConfigError, match="remove an old one first"):
        ring.install(bytes([99]) * 32)


def test_a_keyring_never_shows_a_key() -> None:
    assert A.hex() not in repr(Keyring([A])) + str(Keyring([A]))
    assert key_id(A).hex() in repr(Keyring([A]))
