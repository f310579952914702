from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import ConfigError
from swimring.security import parse_secret, read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

A, B = bytes(range(32)), bytes([0xFB]) * 32


def write(path: Path, text: str, *, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_keys_are_hex_or_base64_one_a_line_and_the_first_is_first() -> None:
    text = f"# ours\n{A.hex()}\n\n  {base64.b64encode(B).decode()}  # the old one\n"
    assert parse_secret(text) == (A, B)
    assert parse_secret(base64.urlsafe_b64encode(B).decode()) == (B,)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "short", A.hex()[:-2], A.hex() + "00", "x" * 64, "é" * 44])
def test_anything_else_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError, match="openssl rand -hex 32") as caught:
        parse_secret(text)
    assert not text.strip() or text not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_keys_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_secret(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    assert read_secret_file(write(tmp_path / "secret", A.hex() + "\n")) == (A,)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_or_write_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "secret", A.hex(), mode=mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        read_secret_file(path)


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"secret_file.*no such file"):
        read_secret_file(tmp_path / "nowhere")


def test_a_file_of_bytes_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="each line is one key"):
        read_secret_file(path)
