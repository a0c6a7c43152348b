import gc
import math
import random
import weakref

import pytest

from lora_tui.analysis import judge
from lora_tui.analysis.detectors.incremental import Hysteresis, SeriesCheck, updated_check
from lora_tui.analysis.findings.find import find
from lora_tui.analysis.statistics import critical_z, finite_before, spread
from lora_tui.records.updates import FileRows
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series
from tests.support.call_count import calls_of
from tests.support.loss_curves import SFT, SOON, falling_loss, noisy_losses, rows_of, sft_run
from tests.support.run_builder import run_of


def series_of(values):
    series = Series("x")
    for i, value in enumerate(values):
        series.append(float(i + 1), value)
    return series


class Ends(SeriesCheck):
    def __init__(self):
        super().__init__()
        self.ends = []

    def check(self, column, end):
        self.ends.append(end)


class TestCourse:
    def test_checks_are_fixed_by_the_length(self):
        whole, growing = Ends(), Ends()
        series = series_of([])
        for value in range(500):
            series.append(float(value), 1.0)
            growing.update(series)
        whole.update(series)
        assert whole.ends == growing.ends
        assert whole.ends[0] == 8
        assert max(b - a for a, b in zip(whole.ends, whole.ends[1:], strict=False)) <= 12

    def test_a_long_column_is_checked_some_hundred_times(self):
        check = Ends()
        check.update(series_of([1.0] * 100_000))
        assert 300 < len(check.ends) < 900

    def test_it_is_kept_while_the_column_lives(self):
        series = series_of([1.0] * 50)
        first = updated_check(series, Ends, 1, Ends)
        assert updated_check(series, Ends, 1, Ends) is first
        assert updated_check(series, Ends, 2, Ends) is not first
        gone = weakref.ref(series)
        del series
        gc.collect()
        assert gone() is None

    def test_a_last_value_that_changes_after_it_was_looked_at(self):
        series = series_of([1.0] * 8)
        first = updated_check(series, Ends, 1, Ends)
        series.replace_last(2.0)
        assert updated_check(series, Ends, 1, Ends) is not first
        nan = series_of([*([1.0] * 7), math.nan])
        first = updated_check(nan, Ends, 1, Ends)
        assert updated_check(nan, Ends, 1, Ends) is first


class TestFold:
    def feed(self, hysteresis, *marks, at=0):
        for step, mark in enumerate(marks, at):
            hysteresis.feed(
                float(step), fires=mark == "x", holds=mark in "xo", begin=float(step), evidence={"at": step}
            )

    def test_opens_at_the_second_and_closes_at_the_second_miss(self):
        hysteresis = Hysteresis()
        self.feed(hysteresis, "x", ".", "x", "o")
        assert hysteresis.current is None
        self.feed(hysteresis, "x", "x", at=4)
        assert hysteresis.current is not None
        assert hysteresis.current.begin == 4
        self.feed(hysteresis, ".", "o", ".", "o", at=6)
        assert hysteresis.current is not None
        self.feed(hysteresis, ".", ".", at=10)
        assert hysteresis.current is None
        assert [(one.begin, one.end) for one in hysteresis.closed] == [(4.0, 10.0)]

    def test_evidence_is_of_the_last_check_at_which_it_held(self):
        hysteresis = Hysteresis(opens=1)
        self.feed(hysteresis, "x", "x", "o", ".")
        assert hysteresis.current is not None
        assert hysteresis.current.evidence == {"at": 2}

    def test_cut(self):
        hysteresis = Hysteresis(opens=1)
        self.feed(hysteresis, "x")
        hysteresis.close(7.0)
        assert hysteresis.current is None
        assert hysteresis.closed[0].end == 7.0


class TestStats:
    def test_noise_is_not_a_trend(self):
        steep = [math.exp(-0.1 * i) for i in range(50)]
        assert spread(steep).one < 1e-6

    @pytest.mark.parametrize("alike", [0.0, 0.5])
    def test_the_error_of_a_median_is_not_underestimated(self, alike):
        """Medians of 20 rows scatter as the spread says, also where neighbours resemble each other."""
        medians, told = [], []
        for seed in range(200):
            rng = random.Random(seed)
            state, logs = 0.0, []
            for _ in range(100):
                state = alike * state + math.sqrt(1 - alike**2) * rng.gauss(0, 0.1)
                logs.append(state)
            medians.append(sorted(logs[-20:])[10])
            told.append(spread([math.exp(value) for value in logs]).error(20))
        truth = math.sqrt(sum(value**2 for value in medians) / len(medians))
        assert 0.7 * truth < sorted(told)[100] < 1.8 * truth

    def test_certainty_grows_with_the_looks(self):
        assert 1.8 < critical_z(20) < critical_z(1000) < critical_z(100_000) < 4

    def test_finite_before(self):
        assert finite_before([1.0, math.nan, 2.0, math.inf, 3.0], 4, 2) == [1.0, 2.0]
        assert finite_before([1.0, 2.0, 3.0], 3, 5, 1) == [2.0, 3.0]
        assert finite_before([math.inf, -math.inf], 2, 2) == []


def key(findings):
    return [
        (one.code, one.severity, one.step, one.end_step, one.variant, one.over, dict(one.evidence)) for one in findings
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_live_run_and_a_cold_one_are_judged_alike(seed):
    """Whenever one looks, and however often one has looked before."""
    losses = noisy_losses(falling_loss, 90, 0.08, seed)
    losses[50:] = [value * 2.2 for value in losses[50:]]
    losses[20] *= 4
    rows = rows_of(losses, grad_norm=0.5)
    rows[60:75] = [row._replace(values={**row.values, "grad_norm": 40.0}) for row in rows[60:75]]
    live = run_of(rows[:1], config=SFT)
    update = live.files.tables["trainer_log.jsonl"]

    for count in range(2, len(rows) + 1):
        live.apply([FileRows(update.file, "log", (rows[count - 1],), SOON - 5)])
        seen = find(live, SOON)
        if count % 7 == 0:
            assert key(seen) == key(find(sft_run(rows[:count]), SOON)), count


def judged(count, more):
    """Calls that it takes to judge a run of so many rows cold, at once again, and after each of ``more`` rows."""
    rows = rows_of(noisy_losses(falling_loss, count + more, 0.1), grad_norm=0.5, total_tokens=1.0)
    run = sft_run(rows[:count])
    first, again = calls_of(lambda: judge(run, SOON)), calls_of(lambda: judge(run, SOON))
    after = []
    for row in rows[count:]:
        run.apply([FileRows("trainer_log.jsonl", "log", (row,), SOON - 5)])
        after.append(calls_of(lambda: judge(run, SOON)))
    return first, again, after


def test_what_a_judgement_costs():
    """Cold it grows much slower than the run, for a long one is checked at wider distances; a live run pays for its new
    rows alone, whatever its length."""
    short_cold, short_again, short_live = judged(1_000, 10)
    cold, again, live = judged(20_000, 10)
    assert short_cold < cold < 4 * short_cold
    assert again < 1.1 * short_again
    assert max(live) < 1.1 * max(short_live)
    assert max(live) < cold / 10
    assert again < max(live)


def test_no_run_is_kept_alive():
    run = sft_run(rows_of(noisy_losses(falling_loss, 60)))
    find(run, SOON)
    loss = weakref.ref(run.series["loss"])
    assert isinstance(run, Run)
    del run
    gc.collect()
    assert loss() is None
