"""A running job, for tests of commands that follow runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live_job import Job


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "saves" / "live")
    job.row(2.5)
    job.row(2.0)
    yield job
    job.close()
