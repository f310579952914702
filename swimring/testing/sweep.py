"""One test under many seeds: a process for each processor takes a share, and the lowest seed that fails is shown.

Which seed that is does not depend on how fast the processes are: when one has failed, the others go on with the seeds
below it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from _pytest.runner import runtestprotocol

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process of a sweep does.

    Attributes:
        first: its first seed.
        step: from each seed to the next.
        end: the seed that none of them reaches.
        place: a folder for its results, and for the lowest seed that has failed anywhere.
    """

    first: int
    step: int
    end: int
    place: Path

    @classmethod
    def read(cls, text: str) -> Self:
        """What `__str__` wrote."""
        first, step, end, place = text.split(",", 3)
        return cls(first=int(first), step=int(step), end=int(end), place=Path(place))

    def __str__(self) -> str:
        return f"{self.first},{self.step},{self.end},{self.place}"

    @property
    def result(self) -> Path:
        """The file for what came out."""
        return self.place / f"{self.first}.json"

    @property
    def lowest(self) -> int:
        """The lowest seed that has failed anywhere so far, else `end`."""
        return min((int(path.suffix[1:]) for path in self.place.glob("failed.*")), default=self.end)


# ------------------------------------------------------------------------------------------ the process that is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What came out of a sweep.

    Attributes:
        reports: of the lowest seed that failed, or of one that passed.
        seeds: how many seeds were run, up to the lowest that failed.
        digest: of the traces of them, in the order of the seeds: two sweeps with equal digests did the same.
    """

    reports: list[pytest.TestReport]
    seeds: int
    digest: str


def sweep(item: pytest.Item, seeds: range, *, processes: int | None) -> Swept:
    """Run ``item`` under all ``seeds``, or until one fails."""
    count = min(len(seeds), processes or len(os.sched_getaffinity(0)))
    if count < 1:
        raise ConfigError("--swimring-seeds", len(seeds), "at least one seed, and one process")
    with tempfile.TemporaryDirectory(prefix="swimring-sweep-") as place:
        shares = [Share(first=seed, step=count, end=seeds.stop, place=Path(place)) for seed in seeds[:count]]
        with ThreadPoolExecutor(count) as pool:
            running = [pool.submit(_run_process, item, share) for share in shares]
            outputs = [each.result() for each in as_completed(running)]
        results = [json.loads(share.result.read_text()) for share in shares if share.result.exists()]
    if len(results) < count:
        raise pytest.UsageError("a process of the sweep ended without a result:\n" + "\n".join(outputs))
    failed = [result for result in results if result["failed"] is not None]
    chosen = min(failed, key=lambda result: result["failed"]) if failed else results[0]
    last = chosen["failed"] if failed else seeds.stop  # beyond it, it is chance who got how far
    traces = sorted((seed, digest) for result in results for seed, digest in result["traces"] if seed <= last)
    return Swept(
        reports=[_read_report(item.config, report, nodeid=item.nodeid) for report in chosen["reports"]],
        seeds=len(traces),
        digest=hashlib.blake2b(json.dumps(traces).encode(), digest_size=16).hexdigest(),
    )


def hash_seed(*, default: str = "") -> dict[str, str]:
    """What this process was told its hash seed is, as a variable of the environment; ``default`` if it was not told."""
    told = os.environ.get("PYTHONHASHSEED", "random").replace("random", default)
    return {"PYTHONHASHSEED": told} if told else {}


def _run_process(item: pytest.Item, share: Share) -> str:
    config = item.config
    _, _, inside = item.nodeid.partition("::")
    options = [argument for argument in config.invocation_params.args if argument not in config.args]
    command = [sys.executable, "-m", "pytest", *map(str, options), f"{item.path}::{inside}"]
    command += ["--swimring-share", str(share), "-q", "-p", "no:cacheprovider"]
    command += ["--basetemp", str(share.place / f"of.{share.first}")]  # never one for all: each empties its own
    done = subprocess.run(  # noqa: S603 - this interpreter, with what it was called with
        command,
        cwd=config.invocation_params.dir,
        env={**os.environ, **hash_seed(default="0")},  # one for all: sets of strings are in the order of it
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _read_report(config: pytest.Config, data: dict[str, Any], *, nodeid: str) -> pytest.TestReport:
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
    report.nodeid = nodeid
    return report


# -------------------------------------------------------------------------------------------- a process of the sweep


def sweep_share(
    item: pytest.Item,
    share: Share,
    *,
    prepare: Callable[[int], None],
    trace: Callable[[], str],
    nextitem: pytest.Item | None,
) -> Sequence[pytest.TestReport]:
    """Run ``item`` under the seeds of ``share`` until one fails; write down what came out, and return it.

    ``trace`` is asked for the digest of each run.
    """
    reports, traces = list[pytest.TestReport](), list[tuple[int, str]]()
    failed = None
    for seed in range(share.first, share.end, share.step):
        if seed > share.lowest:
            break
        prepare(seed)
        _renew(item)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        traces.append((seed, trace()))
        if any(report.failed for report in reports):
            failed = seed
            (share.place / f"failed.{seed}").touch()
            break
    hook = item.config.hook
    written = [hook.pytest_report_to_serializable(config=item.config, report=report) for report in reports]
    share.result.write_text(json.dumps({"failed": failed, "reports": written, "traces": traces}))
    return reports


def _renew(item: pytest.Item) -> None:
    """Forget the last run: fixtures are made anew, and what it printed is not shown with the next."""
    assert isinstance(item, pytest.Function)
    item._initrequest()  # noqa: SLF001 - pytest has no public way; plugins that run tests again do the same
    item._report_sections.clear()  # noqa: SLF001
