"""Every test gets jobs to start; at the end it is told how long they took, and how long everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.e2e.environment import build
from tests.integration.e2e.producer import Job, Options

Start = Callable[..., Job]
BEGUN = time.time()
PROPERTY = "a job of the producer"


@pytest.fixture(scope="session")
def environment() -> Path:
    """LLaMA-Factory, built if it is not there. ``make e2e`` has done so before, with a clear line where it cannot."""
    return build()


@pytest.fixture
def start(environment: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[Start]:
    """``start("saves/sft", {...}, console="nohup.out")`` starts a job in the test's directory."""
    jobs: list[Job] = []

    def begin(output: str, *options: Options, console: str | None = None, board: bool = False) -> Job:
        jobs.append(Job(environment, tmp_path, output, *options, console=console, board=board))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.kill()
        record_property(PROPERTY, (job.started, job.ended))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long jobs were running, and how long it took besides."""
    spans = sorted(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, value in report.user_properties
        if name == PROPERTY and isinstance(value, (tuple, list))
    )
    if not spans:
        return
    busy, until = 0.0, 0.0
    for begin, end in spans:
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    whole = time.time() - BEGUN
    terminalreporter.write_line(
        f"{len(spans)} real jobs ran for {busy:.0f} s, two at a time; the rest took {whole - busy:.0f} s more"
    )
