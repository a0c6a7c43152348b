import random

import pytest

from tests.support.loss_curves import find_finding, sft_run, the_finding, warning_codes
from tests.support.run_builder import evaluation, train


def timed(seconds, *, epochs=1.0, tokens=None):
    """Rows that take so many seconds each, by a clock of whole seconds."""
    rng = random.Random(1)
    clock, seen = 0.0, 0.0
    total = 10 * len(seconds)
    rows = []
    for i, span in enumerate(seconds):
        clock += span * rng.uniform(0.95, 1.05)
        more = {}
        if tokens is not None:
            seen += tokens[i]
            more["total_tokens"] = seen
        row = train(10 * (i + 1), 1.0 + 0.5 / (i + 1), total, epochs=epochs, lr=1e-4, **more)
        rows.append(row._replace(elapsed_s=float(int(clock))))
    return rows


class TestDrop:
    def test_half_the_speed(self):
        finding = the_finding(sft_run(timed([12.0] * 80 + [24.0] * 60)), "throughput_drop")
        assert (finding.severity, finding.variant) == ("warning", "steps")
        assert 780 <= finding.step <= 830
        assert finding.evidence["drop"] == pytest.approx(50, abs=4)
        assert finding.evidence["before"] == pytest.approx(10 / 12, rel=0.05)

    def test_without_epochs(self):
        """Then nothing tells whether the same data was as slow before."""
        rows = [row._replace(epoch=None) for row in timed([12.0] * 80 + [24.0] * 60)]
        finding = the_finding(sft_run(rows), "throughput_drop")
        assert 780 <= finding.step <= 830

    def test_rows_that_are_faster_than_the_clock(self):
        finding = the_finding(sft_run(timed([0.2] * 3000 + [0.5] * 1500)), "throughput_drop")
        assert 29_000 <= finding.step <= 31_500
        assert finding.evidence["drop"] == pytest.approx(60, abs=5)

    def test_over_when_it_is_fast_again(self):
        finding = the_finding(sft_run(timed([12.0] * 80 + [24.0] * 40 + [12.0] * 60)), "throughput_drop")
        assert finding.over
        assert 1190 <= finding.end_step <= 1500

    def test_it_lasts_while_it_is_slow(self):
        assert not the_finding(sft_run(timed([12.0] * 80 + [24.0] * 300)), "throughput_drop").over

    def test_a_fifth_is_no_finding(self):
        assert find_finding(sft_run(timed([12.0] * 80 + [15.0] * 60)), "throughput_drop") is None

    def test_evaluations_and_pauses_are_no_drop(self):
        rows = timed([12.0] * 120)
        late = []
        for row in rows:
            extra = 200.0 * ((row.step or 0) // 50)
            late.append(row._replace(elapsed_s=(row.elapsed_s or 0) + extra))
            if (row.step or 0) % 50 == 40:
                late.append(evaluation(row.step or 0, 1.0, 1200)._replace(elapsed_s=(row.elapsed_s or 0) + extra + 200))
        assert warning_codes(sft_run(late)) == []
        hiccup = timed([12.0] * 60 + [900.0] + [12.0] * 60)
        assert find_finding(sft_run(hiccup), "throughput_drop") is None

    def test_tokens_are_what_counts(self):
        longer = [100.0] * 80 + [200.0] * 60
        assert find_finding(sft_run(timed([12.0] * 80 + [24.0] * 60, tokens=longer)), "throughput_drop") is None
        finding = the_finding(sft_run(timed([12.0] * 80 + [24.0] * 60, tokens=[100.0] * 140)), "throughput_drop")
        assert (finding.variant, finding.evidence["unit"]) == ("", "tokens/s")

    def test_data_sorted_by_length(self):
        """The longest samples first, again in each epoch, and no tokens counted."""
        seconds = [30.0 - 24.0 * (i % 80) / 80 for i in range(320)]
        assert find_finding(sft_run(timed(seconds, epochs=4.0)), "throughput_drop") is None
        slower = seconds[:200] + [2.5 * value for value in seconds[200:]]
        assert find_finding(sft_run(timed(slower, epochs=4.0)), "throughput_drop") is not None

    def test_a_resume_starts_anew(self):
        rows = [
            row._replace(elapsed_s=float(i % 70 * (12 if i < 70 else 24)))
            for i, row in enumerate(timed([12.0] * 70 + [24.0] * 70))
        ]
        assert find_finding(sft_run(rows), "resumed") is not None
        assert find_finding(sft_run(rows), "throughput_drop") is None
