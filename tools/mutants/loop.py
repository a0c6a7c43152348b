"""Try every mutant in a fork of one pytest: ``python -m tools.mutants.loop LINES OUT ONLY``, in source.py's copy.

LINES and OUT are JSON files. LINES: each mutant's name -> lines of its module of which one must have run for the mutant
to matter. OUT: what became of each: ``killed``, ``time`` (a test ran far longer than with the original), ``survived``,
or ``untested`` if no test ever runs those lines. ONLY: a regular expression for the names.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test

from tools.mutants import table

TESTS = (
    "tests/analysis/ratings/test_evaluation.py",
    "tests/analysis/ratings/test_stages.py",
    "tests/analysis/ratings/test_thresholds.py",
    "tests/analysis/ratings/test_training.py",
    "tests/analysis/ratings/test_rate.py",
    "tests/analysis/ratings/test_rules.py",
    "tests/analysis/ratings/test_published_runs.py",
    "tests/analysis/ratings/test_siblings.py",
    "tests/runs/test_after_training.py",
    "tests/runs/test_eta.py",
    "tests/runs/test_real_runs.py",
    "tests/runs/test_run_rules.py",
    "tests/runs/test_status.py",
)
"""Tests without a terminal or another process that call what is mutated and take milliseconds."""
LEFT_OUT = " or ".join(
    (
        "cheap", "thousand", "without_an_optional", "year_later", "strict_json", "exactly_the_runs", "a_real_one",
        "noise_is_not",
    )
)  # fmt: skip
"""Tests of speed, which a busy machine fails, and those that take a second and notice what others notice, too."""
HOMES = Path("homes").resolve()
"""Where each fork has its temporary files."""
NO_CHANGE = "the original"
"""It has to survive all tests in a fork as well, or what is killed says nothing."""

Place = tuple[str, int]
"""A module's file and a line of it; or :data:`tools.mutants.table.RULE` and the number of a rule."""


class Job(NamedTuple):
    """A mutant that is yet to be tried."""

    name: str
    places: frozenset[Place]
    """A test that comes by none of them cannot notice it."""
    kin: str
    """Mutants of one function are often killed by the same test."""
    change: Callable[[], None]


class Child(NamedTuple):
    """A mutant that is being tried."""

    job: Job
    order: list[int]
    told: int
    """Where it writes a byte for each test that it begins."""


class Loop:
    """A pytest plugin: its one session runs the tests once, and then again in forks, each with a mutant of its own."""

    def __init__(self, lines: Mapping[str, Sequence[int]], only: str, workers: int) -> None:
        self.lines = lines
        self.only = only
        self.workers = workers
        self.outcomes: dict[str, str] = {}
        self._failed: list[str] = []
        self._forked = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self._forked:
            os._exit(1)
        if report.failed:
            self._failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        seconds, visitors = self._watch(session.items)
        if self._failed or session.testsfailed:
            raise session.Failed(f"without any mutant: {self._failed}")
        jobs = deque([Job(NO_CHANGE, frozenset(visitors), "", lambda: None), *self._jobs()])
        gc.freeze()
        self._try(jobs, session.items, seconds, visitors)
        return True

    def _watch(self, items: Sequence[pytest.Item]) -> tuple[list[float], dict[Place, list[int]]]:
        """Run all tests as they are: the CPU seconds of each, and which of them come by each place."""
        seconds: list[float] = []
        visitors: dict[Place, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            begin = time.process_time()
            # The next one is never the last: what the whole session shares stays for the forks.
            seen = _traced(item, items[(place + 1) % len(items)])
            seconds.append(time.process_time() - begin)
            for one in seen:
                visitors[one].append(place)
        return seconds, visitors

    def _jobs(self) -> list[Job]:
        jobs = []
        for name, lines in self.lines.items():
            module = name.rpartition(".")[0]
            file = str(Path(module.replace(".", "/") + ".py").resolve())
            jobs.append(
                Job(name, frozenset((file, line) for line in lines), name.partition("__mutmut_")[0],
                    lambda name=name: set_mutant_under_test(name))  # type: ignore[misc]
            )  # fmt: skip
        jobs += [Job(name, places, name.partition(":")[0], change) for name, places, change in table.mutants()]
        return [job for job in jobs if re.search(self.only, job.name)]

    def _try(
        self,
        jobs: deque[Job],
        items: Sequence[pytest.Item],
        seconds: Sequence[float],
        visitors: Mapping[Place, Sequence[int]],
    ) -> None:
        running: dict[int, Child] = {}
        killers: dict[str, Counter[int]] = defaultdict(Counter)
        total = len(jobs)
        while jobs or running:
            while jobs and len(running) < self.workers:
                job = jobs.popleft()
                mine = {test for place in job.places for test in visitors.get(place, ())}
                if not mine:
                    self.outcomes[job.name] = "untested"
                    continue
                # What has killed a neighbour first, then what is quick.
                order = sorted(mine, key=lambda test: (-killers[job.kin][test], seconds[test]))
                reading, writing = os.pipe()
                child = os.fork()
                if child == 0:
                    self._in_fork([items[test] for test in order], [seconds[test] for test in order], job, writing)
                os.close(writing)
                running[child] = Child(job, order, reading)
            if not running:
                continue
            child, status = os.wait()
            job, order, told = running.pop(child)
            with os.fdopen(told, "rb") as stream:
                begun = len(stream.read())
            shutil.rmtree(HOMES / str(child), ignore_errors=True)
            code = os.waitstatus_to_exitcode(status)
            self.outcomes[job.name] = "survived" if code == 0 else "time" if code == -signal.SIGPROF else "killed"
            if job.name == NO_CHANGE and self.outcomes.pop(NO_CHANGE) != "survived":
                raise pytest.UsageError("a test fails in a fork without any mutant")
            if code == 0:
                print(f"survived: {job.name}", flush=True)
            if code == 1 and begun:
                killers[job.kin][order[begun - 1]] += 1
            if len(self.outcomes) % 250 == 0:
                print(f"{len(self.outcomes)} of {total}: {dict(Counter(self.outcomes.values()))}", flush=True)

    def _in_fork(self, items: Sequence[pytest.Item], seconds: Sequence[float], job: Job, told: int) -> None:
        """Run the tests with one mutant; the process ends with 1 at the first that fails, and 0 if none does."""
        try:
            self._forked = True
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            # Each new directory is numbered after a look at all others: those of a thousand forks would cost seconds.
            home = HOMES / str(os.getpid())
            home.mkdir(parents=True)
            items[0].config._tmp_path_factory._basetemp = home  # type: ignore[attr-defined]
            job.change()
            for place, item in enumerate(items):
                os.write(told, b".")
                signal.setitimer(signal.ITIMER_PROF, 1.0 + 20 * seconds[place])
                _run(item, items[min(place + 1, len(items) - 1)])
        except BaseException:
            os._exit(1)
        os._exit(0)


def _run(item: pytest.Item, after: pytest.Item) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)


def _traced(item: pytest.Item, after: pytest.Item) -> set[Place]:
    """Run a test; returns the lines of original functions that ran, and the rules that were looked up."""
    seen: set[Place] = {table.EVERYWHERE}

    def in_original(frame: FrameType, event: str, value: Any) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        if event == "return" and frame.f_code.co_name == "x_find_rule__mutmut_orig":
            seen.update(table.place(value))
        return in_original

    def at_call(frame: FrameType, event: str, value: Any) -> Any:
        return in_original(frame, event, value) if frame.f_code.co_name.endswith("__mutmut_orig") else None

    sys.settrace(at_call)
    try:
        _run(item, after)
    finally:
        sys.settrace(None)
    return seen


def main() -> int:
    """Try the mutants of the file that is named first, write what became of them to the second."""
    names, out = (Path(argument) for argument in sys.argv[1:3])
    loop = Loop(json.loads(names.read_text()), sys.argv[3], os.cpu_count() or 1)
    code = pytest.main(
        ["-q", "-s", "--tb=native", "-p", "no:cacheprovider", "-k", f"not ({LEFT_OUT})", "-m", "not slow and not pty",
         *TESTS],
        plugins=[loop],
    )  # fmt: skip
    out.write_text(json.dumps(loop.outcomes))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
