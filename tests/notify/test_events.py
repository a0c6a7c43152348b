"""What is an event, and what is none: runs made of numbers, looked at again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from lora_tui.analysis import Judgement, judge
from lora_tui.i18n import Words
from lora_tui.notify import events
from lora_tui.notify.events import Event, EventDetector, event_json, event_line
from lora_tui.records.documents import ConsoleFacts, Failure, LogRow, Results
from lora_tui.records.updates import FileDoc, FileRows, Update
from lora_tui.runs.run import Run
from tests.support.program import strict
from tests.support.run_builder import START, summary, train


@pytest.fixture(autouse=True)
def judge_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here rows come faster than a run is judged."""
    monkeypatch.setattr(events, "JUDGE_EVERY_S", 0.0)


class Made:
    """A run that goes on, and whoever looks at it."""

    def __init__(self, name: str = "made") -> None:
        self.run = Run(Path("/runs") / name)
        self.now = START
        self.step = 0

    def apply(self, *updates: Update) -> None:
        self.run.apply(updates)

    def rows(self, *losses: float, restart: int | None = None) -> None:
        """One row each 10 steps and 10 seconds, read as they come."""
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


class Looking:
    def __init__(self, *made: Made) -> None:
        self.made = list(made)
        self.detector = EventDetector(START)

    def seen(self, budget_s: float = math.inf) -> list[Event]:
        now = max(each.now for each in self.made)
        runs = [each.run for each in self.made]
        return list(self.detector.check(runs, now, lambda run: run.status(now), budget_s))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.seen()]


def going(losses: Sequence[float] = (3.0, 2.5, 2.25, 2.0, 1.75)) -> Made:
    made = Made()
    made.rows(*losses)
    return made


def test_what_was_so_at_the_start_is_no_event() -> None:
    finished, failed, broken = going(), going(), going((3.0, 2.0, math.nan, math.nan, math.nan))
    finished.finish()
    failed.fail()
    looking = Looking(finished, failed, broken)
    assert looking.kinds() == []
    assert looking.kinds() == []
    broken.rows(math.nan, math.nan)
    assert looking.kinds() == []


def test_each_end_is_told_once() -> None:
    made = going()
    looking = Looking(made)
    assert looking.kinds() == []
    made.rows(1.5)
    assert looking.kinds() == []
    made.finish()
    assert looking.kinds() == ["finished"]
    assert looking.kinds() == []


def test_a_silence_is_told_each_time_it_comes() -> None:
    made = going()
    looking = Looking(made)
    looking.seen()
    # Ten times as long as the longest silence that it survived.
    for silence in (400.0, 5_000.0):
        made.now += silence
        (event,) = looking.seen()
        assert event.kind == "stalled"
        assert event.finding is not None
        assert event.finding.code == "stalled"
        assert looking.kinds() == []
        made.rows(1.5, 1.5)
        assert looking.kinds() == []
    made.now += 60_000.0
    assert looking.kinds() == ["stalled"]
    made.now += 400_000.0
    assert looking.kinds() == ["interrupted"]


def test_one_cause_is_one_event() -> None:
    made = going()
    looking = Looking(made)
    looking.seen()
    made.fail("out_of_memory", "torch.OutOfMemoryError: CUDA out of memory.")
    (event,) = looking.seen()
    assert event.kind == "failed"
    assert event.finding is not None
    assert event.finding.code == "out_of_memory"


def test_a_critical_finding_is_told_once_and_again_after_a_resume() -> None:
    made = going()
    looking = Looking(made)
    looking.seen()
    made.rows(math.nan, math.nan, math.nan)
    (event,) = looking.seen()
    assert (event.kind, event.finding.code if event.finding else "") == ("finding", "nan_loss")
    made.rows(math.nan)
    assert looking.kinds() == []
    # Resumed before it, and broken again at the same place.
    made.rows(1.8, 1.7, restart=40)
    assert looking.kinds() == []
    made.rows(math.nan, math.nan, math.nan)
    assert looking.kinds() == ["finding"]


def test_a_finding_that_flickers_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = going()
    looking = Looking(made)
    looking.seen()
    made.rows(math.nan, math.nan, math.nan)
    assert looking.kinds() == ["finding"]
    monkeypatch.setattr(events, "judge", lambda *_: Judgement())
    made.rows(math.nan)
    assert looking.kinds() == []
    monkeypatch.setattr(events, "judge", judge)
    made.rows(math.nan)
    assert looking.kinds() == []


def test_a_run_that_appears_is_news_only_if_it_is_new() -> None:
    first = going()
    looking = Looking(first)
    looking.seen()
    old, new = Made("old"), Made("new")
    old.now -= 10_000.0
    for made in (old, new):
        made.rows(3.0, 2.0, 1.0)
        made.finish()
    old.now = new.now
    looking.made += [old, new]
    assert [(event.kind, event.run.path.name) for event in looking.seen()] == [("finished", "new")]
    looking.made.remove(new)
    assert looking.kinds() == []


def test_what_takes_too_long_is_told_at_the_next_look() -> None:
    many = [going() for _ in range(5)]
    looking = Looking(*many)
    looking.seen()
    for made in many:
        made.fail()
    assert looking.seen(budget_s=-1.0) == []
    assert looking.detector.pending
    assert looking.kinds() == ["failed"] * 5
    assert not looking.detector.pending


def test_runs_that_ended_before_are_not_judged_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand old runs must not delay the one that is watched."""
    finished = going()
    finished.finish()
    looking = Looking(finished)
    monkeypatch.setattr(events, "judge", lambda *_: pytest.fail("judged"))
    assert looking.kinds() == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_event_is_strict_json_with_words_for_people(lang: str) -> None:
    made = going((3.0, 2.0, math.nan, math.nan, math.nan))
    made.run.name = "a\x1b[31m\u202e\ud800[red]"
    made.fail(message="ValueError: \x1b[2J\u202eboom")
    now = made.now + 5
    looking = Looking(made)
    looking.detector._started = True
    found = looking.seen()
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
