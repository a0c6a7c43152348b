"""What is an event and what is not, for generated runs that are checked again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from lora_tui.analysis import Judgement, judge
from lora_tui.i18n import Words
from lora_tui.notify import run_events
from lora_tui.notify.run_events import Event, EventDetector, event_json, event_line
from lora_tui.records.documents import ConsoleFacts, Failure, LogRow, Results
from lora_tui.records.updates import FileDoc, FileRows, Update
from lora_tui.runs.run import Run
from tests.support.program import strict
from tests.support.run_builder import START, summary, train


@pytest.fixture(autouse=True)
def judge_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge at every check, since the rows of these tests come faster than the usual interval."""
    monkeypatch.setattr(run_events, "JUDGE_EVERY_S", 0.0)


class Made:
    """A generated run that goes on."""

    def __init__(self, name: str = "made") -> None:
        self.run = Run(Path("/runs") / name)
        self.now = START
        self.step = 0

    def apply(self, *updates: Update) -> None:
        self.run.apply(updates)

    def rows(self, *losses: float, restart: int | None = None) -> None:
        """Append one row for each loss, every 10 steps and 10 seconds."""
        if restart is not None:
            self.step = restart
        for loss in losses:
            self.step, self.now = self.step + 10, self.now + 10.0
            row = train(self.step, loss, 1000, every_s=1.0)
            self.apply(FileRows("trainer_log.jsonl", "log", (row,), self.now, False, self.now))

    def finish(self) -> None:
        row: tuple[LogRow, ...] = (summary(self.step, self.step),)
        self.apply(
            FileRows("trainer_log.jsonl", "log", row, self.now, False, self.now),
            FileDoc("train_results.json", Results("train", {"train_loss": 1.0}), self.now + 1.0),
        )
        self.now += 100.0

    def fail(self, kind: str = "exception", message: str = "RuntimeError: boom") -> None:
        facts = ConsoleFacts(is_training_log=True, failure=Failure(kind, message))  # type: ignore[arg-type]
        self.apply(FileDoc("train.log", facts, self.now + 1.0))


class Watched:
    def __init__(self, *made: Made) -> None:
        self.made = list(made)
        self.detector = EventDetector(START)

    def check(self, budget_s: float = math.inf) -> list[Event]:
        now = max(each.now for each in self.made)
        runs = [each.run for each in self.made]
        return list(self.detector.check(runs, now, lambda run: run.status(now), budget_s))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.check()]


def going(losses: Sequence[float] = (3.0, 2.5, 2.25, 2.0, 1.75)) -> Made:
    made = Made()
    made.rows(*losses)
    return made


def test_what_held_at_the_start_is_no_event() -> None:
    finished, failed, broken = going(), going(), going((3.0, 2.0, math.nan, math.nan, math.nan))
    finished.finish()
    failed.fail()
    watched = Watched(finished, failed, broken)
    assert watched.kinds() == []
    assert watched.kinds() == []
    broken.rows(math.nan, math.nan)
    assert watched.kinds() == []


def test_each_end_is_reported_once() -> None:
    made = going()
    watched = Watched(made)
    assert watched.kinds() == []
    made.rows(1.5)
    assert watched.kinds() == []
    made.finish()
    assert watched.kinds() == ["finished"]
    assert watched.kinds() == []


def test_each_stall_is_reported() -> None:
    made = going()
    watched = Watched(made)
    watched.check()
    # The second silence is more than ten times as long as the longest one before it.
    for silence in (400.0, 5_000.0):
        made.now += silence
        (event,) = watched.check()
        assert event.kind == "stalled"
        assert event.finding is not None
        assert event.finding.code == "stalled"
        assert watched.kinds() == []
        made.rows(1.5, 1.5)
        assert watched.kinds() == []
    made.now += 60_000.0
    assert watched.kinds() == ["stalled"]
    made.now += 400_000.0
    assert watched.kinds() == ["interrupted"]


def test_one_cause_is_one_event() -> None:
    made = going()
    watched = Watched(made)
    watched.check()
    made.fail("out_of_memory", "torch.OutOfMemoryError: CUDA out of memory.")
    (event,) = watched.check()
    assert event.kind == "failed"
    assert event.finding is not None
    assert event.finding.code == "out_of_memory"


@pytest.mark.faults
def test_the_end_of_a_run_that_cannot_be_judged_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made = going()
    watched = Watched(made)
    assert watched.kinds() == []

    def fail(*_: object) -> Judgement:
        raise KeyError("loss")

    monkeypatch.setattr(run_events, "judge", fail)
    made.fail()
    assert watched.kinds() == ["failed"]
    assert watched.kinds() == []


def test_a_critical_finding_is_reported_once_and_again_after_a_resume() -> None:
    made = going()
    watched = Watched(made)
    watched.check()
    made.rows(math.nan, math.nan, math.nan)
    (event,) = watched.check()
    assert (event.kind, event.finding.code if event.finding else "") == ("finding", "nan_loss")
    made.rows(math.nan)
    assert watched.kinds() == []
    # The run resumes from an earlier step and breaks again at the same step.
    made.rows(1.8, 1.7, restart=40)
    assert watched.kinds() == []
    made.rows(math.nan, math.nan, math.nan)
    assert watched.kinds() == ["finding"]


def test_a_finding_that_flickers_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = going()
    watched = Watched(made)
    watched.check()
    made.rows(math.nan, math.nan, math.nan)
    assert watched.kinds() == ["finding"]
    monkeypatch.setattr(run_events, "judge", lambda *_: Judgement())
    made.rows(math.nan)
    assert watched.kinds() == []
    monkeypatch.setattr(run_events, "judge", judge)
    made.rows(math.nan)
    assert watched.kinds() == []


def test_a_run_that_appears_is_reported_only_if_it_is_new() -> None:
    first = going()
    watched = Watched(first)
    watched.check()
    old, new = Made("old"), Made("new")
    old.now -= 10_000.0
    for made in (old, new):
        made.rows(3.0, 2.0, 1.0)
        made.finish()
    old.now = new.now
    watched.made += [old, new]
    assert [(event.kind, event.run.path.name) for event in watched.check()] == [("finished", "new")]
    watched.made.remove(new)
    assert watched.kinds() == []


def test_what_exceeds_the_budget_is_reported_at_the_next_check() -> None:
    many = [going() for _ in range(5)]
    watched = Watched(*many)
    watched.check()
    for made in many:
        made.fail()
    assert watched.check(budget_s=-1.0) == []
    assert watched.detector.pending
    assert watched.kinds() == ["failed"] * 5
    assert not watched.detector.pending


def test_runs_that_ended_before_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand ended runs must not delay the one that goes on."""
    finished = going()
    finished.finish()
    watched = Watched(finished)
    monkeypatch.setattr(run_events, "judge", lambda *_: pytest.fail("judged"))
    assert watched.kinds() == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_event_json(lang: str) -> None:
    made = going((3.0, 2.0, math.nan, math.nan, math.nan))
    made.run.name = "a\x1b[31m\u202e\ud800[red]"
    made.fail(message="ValueError: \x1b[2J\u202eboom")
    now = made.now + 5
    watched = Watched(made)
    watched.detector._started = True
    found = watched.check()
    assert [event.kind for event in found] == ["failed", "finding"]
    for event in found:
        text = event_json(event, Words(lang))
        assert text.endswith("\n")
        assert text.count("\n") == 1
        assert not {"\x1b", "\u202e"} & set(text)
        text.encode()
        data = strict(text)
        assert (data["schema"], data["event"]) == (1, event.kind)
        assert data["run"]["path"] == "/runs/made"
        assert data["state"] == "failed"
        assert data["metrics"]["loss"]["last"] == "NaN"
        assert data["progress"]["step"] == 50
        assert data["finding"]["severity"] == "critical"
        assert data["finding"]["code"] == ("failed" if event.kind == "failed" else "nan_loss")
        assert data["time"].endswith("Z")
        assert ("失败" in data["text"]) == (lang == "zh")
    held = Event("held", made.run, now, found[0].judgement, condition="loss > 1")
    assert strict(event_json(held, Words(lang)))["condition"] == "loss > 1"
    assert "loss > 1" in event_line(held, Words(lang))
