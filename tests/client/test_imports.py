"""What a program loads when it imports the client."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["swimring.client", "examples.hello"])
def test_a_client_and_a_service_are_imported_without_trio(module: str) -> None:
    program = f"import sys, {module}; print(sorted({{'trio', 'trio_util'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
