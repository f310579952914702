"""How many handlers are found a second by 10 and by 1,000 patterns: the common kinds of `pattern_lookup`."""

from __future__ import annotations

from tests.benchmarks.pattern_lookup import CASES, SIZES, measured

from .figures import say

if __name__ == "__main__":
    few, many = SIZES.index(10), SIZES.index(1000)
    common = [case for case in CASES if not case.name.startswith("bad")]
    rates = {case.name: measured(case, hit=True) for case in common}
    say(**{name: found[many] / found[few] for name, found in rates.items()})
