from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.security import BOX_OVERHEAD, Keyring, Opened, Opener, Sealer, SealRefused, key_id

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SALT = b"s" * 16
MINUTE = 29_000_000
GOLDEN = bytes.fromhex(
    "d1a7066f8373737373737373737373737373737373000000000000000001ba81404e97fac9ed91b6264aa0d81a905ff261aec866af2a"
)


def sealer(*keys: bytes, cluster: str = "test", salt: bytes = SALT) -> Sealer:
    return Sealer(Keyring(keys or [KEY]), cluster=cluster, salt=salt)


def opener(*keys: bytes, cluster: str = "test", senders: int = 8) -> Opener:
    return Opener(Keyring(keys or [KEY]), cluster=cluster, senders=senders)


def refusal(opener: Opener, box: bytes, *, minute: int = MINUTE, start: int = 0, purpose: bytes = b"") -> str:
    with pytest.raises(SealRefused) as caught:
        opener.open(box, minute=minute, start=start, purpose=purpose)
    return caught.value.reason


def test_golden_bytes() -> None:
    assert sealer().seal(b"hello", minute=MINUTE, prefix=b"\xd1", purpose=b"datagram") == GOLDEN
    opened = opener().open(GOLDEN, minute=MINUTE, start=1, purpose=b"datagram")
    assert opened == Opened(plaintext=b"hello", key_id=key_id(KEY), salt=SALT, counter=0)


@given(st.binary(max_size=2000), st.binary(max_size=5), st.binary(max_size=30))
def test_what_is_sealed_opens_and_is_48_bytes_longer(plaintext: bytes, prefix: bytes, purpose: bytes) -> None:
    box = sealer().seal(plaintext, minute=MINUTE, prefix=prefix, purpose=purpose)
    assert len(box) == len(prefix) + len(plaintext) + BOX_OVERHEAD
    assert opener().open(box, minute=MINUTE, start=len(prefix), purpose=purpose).plaintext == plaintext


@given(st.integers(0, len(GOLDEN) - 1), st.integers(1, 255))
def test_any_change_of_any_byte_is_refused(at: int, change: int) -> None:
    forged = bytearray(GOLDEN)
    forged[at] ^= change
    assert refusal(opener(), bytes(forged), start=1, purpose=b"datagram") in {"seal", "key", "time"}


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert refusal(opener(), data) in {"truncated", "key", "seal", "time"}
    header = key_id(KEY) + SALT + bytes(8) + MINUTE.to_bytes(4, "big")
    assert refusal(opener(), header + data) in {"truncated", "seal"}


@pytest.mark.parametrize("length", range(BOX_OVERHEAD))
def test_what_is_too_short_is_refused(length: int) -> None:
    assert refusal(opener(), GOLDEN[1 : 1 + length], purpose=b"datagram") == "truncated"


def test_another_purpose_or_cluster_is_refused() -> None:
    assert refusal(opener(), GOLDEN, start=1, purpose=b"dial") == "seal"
    assert refusal(opener(cluster="prod"), GOLDEN, start=1, purpose=b"datagram") == "seal"


def test_another_key_is_refused_with_what_to_do() -> None:
    with pytest.raises(SealRefused, match=f"sealed with key {key_id(KEY).hex()}.*install it here"):
        opener(OTHER).open(GOLDEN, minute=MINUTE, start=1)


def test_it_opens_once() -> None:
    receiver = opener()
    receiver.open(GOLDEN, minute=MINUTE, start=1, purpose=b"datagram")
    assert refusal(receiver, GOLDEN, start=1, purpose=b"datagram") == "replay"


def test_boxes_open_in_any_order_as_long_as_they_are_within_the_window() -> None:
    sender, receiver = sealer(), opener()
    boxes = [sender.seal(b"", minute=MINUTE) for _ in range(100)]
    assert [receiver.open(box, minute=MINUTE).counter for box in reversed(boxes[36:])] == list(range(99, 35, -1))
    assert refusal(receiver, boxes[35]) == "replay"


def test_a_forged_counter_moves_no_window() -> None:
    receiver = opener()
    box = sealer().seal(b"", minute=MINUTE)
    forged = bytearray(box)
    forged[20:28] = b"\xff" * 8
    assert refusal(receiver, bytes(forged)) == "seal"
    receiver.open(box, minute=MINUTE)


def test_a_new_start_is_a_new_sender() -> None:
    receiver = opener()
    assert [receiver.open(sealer(salt=bytes([n]) * 16).seal(b"", minute=MINUTE), minute=MINUTE).counter for n in (1, 2)]


@pytest.mark.parametrize(("off", "opens"), [(-6, False), (-5, True), (0, True), (5, True), (6, False)])
def test_clocks_may_differ_by_five_minutes(off: int, opens: bool) -> None:
    box = sealer().seal(b"", minute=MINUTE)
    if opens:
        opener().open(box, minute=MINUTE + off)
    else:
        assert refusal(opener(), box, minute=MINUTE + off) == "time"


def test_the_primary_key_seals_and_every_key_opens() -> None:
    old, both, new = opener(KEY), opener(KEY, OTHER), opener(OTHER)
    box = sealer(OTHER, KEY).seal(b"", minute=MINUTE)
    assert refusal(old, box) == "key"
    assert both.open(box, minute=MINUTE) == new.open(box, minute=MINUTE)


def test_a_wanted_key_seals_while_it_is_held() -> None:
    ring = Keyring([KEY, OTHER])
    sender = Sealer(ring, cluster="test", salt=SALT)
    assert sender.seal(b"", minute=MINUTE, key_id=key_id(OTHER))[:4] == key_id(OTHER)
    ring.remove(key_id(OTHER))
    assert sender.seal(b"", minute=MINUTE, key_id=key_id(OTHER))[:4] == key_id(KEY)


def test_a_removed_key_opens_nothing_although_its_sender_was_heard() -> None:
    ring = Keyring([OTHER, KEY])
    receiver = Opener(ring, cluster="test")
    sender = sealer(KEY)
    receiver.open(sender.seal(b"", minute=MINUTE), minute=MINUTE)
    ring.remove(key_id(KEY))
    assert refusal(receiver, sender.seal(b"", minute=MINUTE)) == "key"


def test_what_is_remembered_is_bounded() -> None:
    receiver = opener(senders=4)
    boxes = [sealer(salt=bytes([n]) * 16).seal(b"", minute=MINUTE) for n in range(9)]
    for box in boxes:
        receiver.open(box, minute=MINUTE)
    assert refusal(receiver, boxes[-1]) == "replay"
    receiver.open(boxes[0], minute=MINUTE)  # forgotten: the minute is what bounds this


def test_without_cryptography_a_seal_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from swimring.errors import MissingExtra\n"
        "from swimring.security import require_seal\n"
        "try: require_seal()\n"
        "except MissingExtra as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "pip install 'swimring[seal]'" in said


def test_importing_security_does_not_import_cryptography() -> None:
    program = "import sys, swimring.security; print('cryptography' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
