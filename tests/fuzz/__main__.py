"""Coverage-guided fuzzing of one target for as long as one likes: `python -m tests.fuzz TARGET [libFuzzer options]`.

It needs atheris, which not every Python has; `nox -s fuzz -- TARGET -max_total_time=600` installs it. What it finds is
a file `crash-…` in the working directory: name it as an option to see it again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp

import atheris

with atheris.instrument_imports(include=["swimring"]):
    from tests.fuzz.targets import GREETING, TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    corpus = Path(mkdtemp(prefix=f"fuzz-{name}-"))
    frames = (
        b"\x10\x01\0\0\0\0\0\0\x05",
        b"\x18\x01\0\0\0\0\0\0\x05",
        b"\x14\0\0\0\0\0\0\0\x05",
        b"\x16\0\0\0\0\0\0\0\x01",
    )
    (corpus / "hello").write_bytes(b"\x07" + GREETING)
    for number, frame in enumerate(frames):
        (corpus / str(number)).write_bytes(b"\x07\0\0\x02" + frame + b"\x80\x80")
    atheris.Setup([sys.argv[0], str(corpus), "-max_len=2000", *options], TARGETS[name])
    atheris.Fuzz()


main()
