"""Try every mutant in a fork of one pytest: ``python -m tools.mutants.loop LINES OUT ONLY``, in source.py's copy.

LINES and OUT are JSON files. LINES: name of each mutant -> lines of its module; only a test that executes one of them
can notice the mutant. OUT: name -> outcome: ``killed``, ``time`` (a test ran far longer than with the original),
``survived``, or ``untested`` if no test executes those lines. ONLY: a regular expression for the names.
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
"""Tests of the mutated code that need no terminal and no other process and take milliseconds."""
LEFT_OUT = " or ".join(
    (
        "cheap", "thousand", "without_an_optional", "year_later", "strict_json", "exactly_the_runs", "a_real_one",
        "noise_is_not",
    )
)  # fmt: skip
"""Tests that are left out: those of speed, which fail on a busy machine, and slow ones that kill no further mutants."""
FORK_DIRS = Path("forks").resolve()
"""Directory of the temporary files of the forks, by process id."""
NO_CHANGE = "the original"
"""Name of a job without a mutation, which must survive in a fork: otherwise a killed mutant means nothing."""

Place = tuple[str, int]
"""File of a module and a line number in it; or :data:`tools.mutants.table.RULE` and the number of a rule."""


class Job(NamedTuple):
    """A mutant that is still to be tried."""

    name: str
    places: frozenset[Place]
    """Places of the mutated code: a test that executes none of them cannot notice the mutant."""
    group: str
    """Function or constant of the mutant. The same test often kills all mutants of a group."""
    change: Callable[[], None]


class Child(NamedTuple):
    """A mutant that is being tried."""

    job: Job
    order: list[int]
    """Indexes of its tests, in the order in which they are run."""
    progress_fd: int
    """Pipe from which a byte can be read for each test that the fork has begun."""


class Loop:
    """A pytest plugin that runs the tests of its session once, and then again in forks, one for each mutant."""

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
        seconds, tests_at = self._trace_all(session.items)
        if self._failed or session.testsfailed:
            raise session.Failed(f"without any mutant: {self._failed}")
        jobs = deque([Job(NO_CHANGE, frozenset(tests_at), "", lambda: None), *self._jobs()])
        gc.freeze()
        self._try(jobs, session.items, seconds, tests_at)
        return True

    def _trace_all(self, items: Sequence[pytest.Item]) -> tuple[list[float], dict[Place, list[int]]]:
        """Run all tests without a mutant; return the CPU seconds of each, and the tests that execute each place."""
        seconds: list[float] = []
        tests_at: dict[Place, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            begin = time.process_time()
            # No test is announced as the last one, so that fixtures of the whole session stay for the forks.
            seen = _traced(item, items[(place + 1) % len(items)])
            seconds.append(time.process_time() - begin)
            for one in seen:
                tests_at[one].append(place)
        return seconds, tests_at

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
        tests_at: Mapping[Place, Sequence[int]],
    ) -> None:
        running: dict[int, Child] = {}
        killers: dict[str, Counter[int]] = defaultdict(Counter)
        total = len(jobs)
        while jobs or running:
            while jobs and len(running) < self.workers:
                job = jobs.popleft()
                mine = {test for place in job.places for test in tests_at.get(place, ())}
                if not mine:
                    self.outcomes[job.name] = "untested"
                    continue
                # First the tests that killed mutants of the same group, then the fastest ones.
                order = sorted(mine, key=lambda test: (-killers[job.group][test], seconds[test]))
                reading, writing = os.pipe()
                child = os.fork()
                if child == 0:
                    self._in_fork([items[test] for test in order], [seconds[test] for test in order], job, writing)
                os.close(writing)
                running[child] = Child(job, order, reading)
            if not running:
                continue
            child, status = os.wait()
            job, order, progress_fd = running.pop(child)
            with os.fdopen(progress_fd, "rb") as stream:
                begun = len(stream.read())
            shutil.rmtree(FORK_DIRS / str(child), ignore_errors=True)
            code = os.waitstatus_to_exitcode(status)
            self.outcomes[job.name] = "survived" if code == 0 else "time" if code == -signal.SIGPROF else "killed"
            if job.name == NO_CHANGE and self.outcomes.pop(NO_CHANGE) != "survived":
                raise pytest.UsageError("a test fails in a fork without any mutant")
            if code == 0:
                print(f"survived: {job.name}", flush=True)
            if code == 1 and begun:
                killers[job.group][order[begun - 1]] += 1
            if len(self.outcomes) % 250 == 0:
                print(f"{len(self.outcomes)} of {total}: {dict(Counter(self.outcomes.values()))}", flush=True)

    def _in_fork(self, items: Sequence[pytest.Item], seconds: Sequence[float], job: Job, progress_fd: int) -> None:
        """Run the tests with one mutant; end the process with 1 at the first that fails, with 0 if none does."""
        try:
            self._forked = True
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            # pytest lists all temporary directories before it makes one: with a thousand forks, that takes seconds.
            directory = FORK_DIRS / str(os.getpid())
            directory.mkdir(parents=True)
            items[0].config._tmp_path_factory._basetemp = directory  # type: ignore[attr-defined]
            job.change()
            for place, item in enumerate(items):
                os.write(progress_fd, b".")
                signal.setitimer(signal.ITIMER_PROF, 1.0 + 20 * seconds[place])
                _run(item, items[min(place + 1, len(items) - 1)])
        except BaseException:
            os._exit(1)
        os._exit(0)


def _run(item: pytest.Item, after: pytest.Item) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)


def _traced(item: pytest.Item, after: pytest.Item) -> set[Place]:
    """Run a test; return the lines of original functions that were executed, and the rules that were looked up."""
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
    """Try the mutants of the file LINES, write their outcomes to the file OUT; return pytest's exit code."""
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
