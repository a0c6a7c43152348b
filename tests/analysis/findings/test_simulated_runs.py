"""The simulator draws what it says, and the findings are right on a part of what ``make judge`` measures."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

import pytest

import lora_tui
from lora_tui.analysis.findings.find import CODES, find
from tools.judge.faults import FAULTS
from tools.judge.looks import Job, Tally, at_least, at_most, jobs, look_at, tally
from tools.judge.measure import ALL_RULES, FIXED_SEEDS, ONE_RULE, RECALL, outcomes
from tools.judge.simulator import RecordedRun, Replay, moments, simulate, write

SOME = range(50_000, 50_120)


@pytest.fixture(scope="module")
def healthy():
    return [simulate(seed) for seed in SOME]


def losses(recorded: RecordedRun) -> list[float]:
    return [row.values["loss"] for row, _ in recorded.rows if row.kind == "train"]


def noise(values: list[float]) -> float:
    steps = [abs(math.log(b / a)) for a, b in pairwise(values) if a > 0 and b > 0]
    return 1.4826 * median(steps) / math.sqrt(2)


# -- the simulator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_the_same_seed_gives_the_same_run(fault):
    assert simulate(3, fault) == simulate(3, fault)
    assert simulate(3, fault).rows != simulate(4, fault).rows


def test_what_is_fixed_is_not_drawn():
    recorded = simulate(5, rows=77, logging_steps=4, stage="sft", resume_at=None)
    assert len(losses(recorded)) == 77
    assert recorded.traits["stage"] == "sft"
    with pytest.raises(TypeError, match="colour"):
        simulate(5, colour="red")


def test_rows_are_rows_that_a_trainer_writes(healthy):
    for recorded in healthy:
        times = [time for _, time in recorded.rows]
        assert times == sorted(times), recorded.name
        assert all(math.isfinite(value) and value > 0 for value in losses(recorded)), recorded.name
        assert {row.total_steps for row, _ in recorded.rows} == {recorded.total_steps}
        assert all(0 < (row.step or 0) <= recorded.total_steps for row, _ in recorded.rows)
        back = sum((b.step or 0) < (a.step or 0) for (a, _), (b, _) in pairwise(recorded.rows))
        restarts = sum((b.elapsed_s or 0) < (a.elapsed_s or 0) for (a, _), (b, _) in pairwise(recorded.rows))
        assert back <= restarts <= 1, recorded.name
        assert recorded.ends
        assert recorded.rows[-1][0].kind == "mark"
        assert recorded.end_time > times[-1]
        assert recorded.results["train"]["train_loss"] > 0


def test_healthy_runs_are_in_the_documented_ranges(healthy):
    counts = [len(losses(recorded)) for recorded in healthy]
    assert min(counts) >= 15
    assert max(counts) > 3000
    assert max(counts) < 13_000  # a resume repeats rows
    assert 0.3 < sum(20 <= count <= 40 for count in counts) / len(counts) < 0.6
    long = [
        recorded for recorded in healthy if len(losses(recorded)) >= 100 and recorded.traits["stage"] in ("sft", "pt")
    ]
    seen = [noise(losses(recorded)) for recorded in long]
    assert 0.001 < min(seen) < 0.02
    assert 0.2 < max(seen) < 0.45
    for recorded, size in zip(long, seen, strict=True):
        assert 0.5 < size / float(recorded.traits["noise"]) < 1.6, recorded.name
    for recorded in long:
        values = losses(recorded)
        assert median(values[-10:]) < 1.1 * median(values[:10]), recorded.name
    with_evals = [recorded for recorded in healthy if any(row.kind == "eval" for row, _ in recorded.rows)]
    assert 0.5 < len(with_evals) / len(healthy) < 0.9
    rises = []
    for recorded in with_evals:
        evals = [row.values["eval_loss"] for row, _ in recorded.rows if row.kind == "eval"]
        rises.append(evals[-1] / min(evals) - 1)
    assert median(rises) < 0.005
    assert max(rises) < 0.08
    resumed = [
        recorded
        for recorded in healthy
        if any((b.step or 0) < (a.step or 0) for (a, _), (b, _) in pairwise(recorded.rows))
    ]
    assert 0 < len(resumed) / len(healthy) < 0.1


def test_saves_follow_the_limit_and_never_lie_far_apart(healthy):
    for recorded in healthy:
        whole = [[item.step for item in items if item.has_state] for _, items in recorded.checkpoints]
        limit = recorded.config.get("save_total_limit")
        if isinstance(limit, int):
            assert max(map(len, whole)) <= limit
        assert whole[-1][-1] == recorded.total_steps
        every, lasts = float(recorded.traits["save_steps"]), float(recorded.traits["duration"])
        assert every == 1 or every * lasts / recorded.total_steps < max(2500, 0.016 * lasts)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_says_where_it_begins_and_what_is_right(fault):
    recipe = FAULTS[fault]
    assert list(recipe.effects) == sorted(recipe.effects)
    assert recipe.clear in recipe.effects
    for effect in recipe.effects:
        for seed in (11, 12, 13):
            recorded = simulate(seed, fault, effect)
            assert recorded.effect == effect
            assert recorded.right == recipe.right
            assert recorded.onset_row is not None
            assert recorded.onset_row < len(recorded.rows)
            assert [time for _, time in recorded.rows] == sorted(time for _, time in recorded.rows)


def test_effects_are_as_large_as_they_say():
    for seed in range(20):
        recorded = simulate(seed, "overfitting", 4.0)
        evals = [row.values["eval_loss"] for row, _ in recorded.rows if row.kind == "eval"]
        assert evals[-1] > 1.05 * min(evals), recorded.name
        recorded = simulate(seed, "diverging", 4.0, noise=0.05)
        assert recorded.onset_step is not None
        before = [
            row.values["loss"]
            for row, _ in recorded.rows
            if row.kind == "train" and (row.step or 0) < recorded.onset_step
        ]
        assert median(losses(recorded)[-5:]) > 1.5 * median(before[-5:]), recorded.name
        recorded = simulate(seed, "throughput_drop", 0.5, tokens=False, evals=0, resume_at=None)
        assert recorded.onset_row is not None
        gaps = [b - a for (_, a), (_, b) in pairwise(recorded.rows)]
        assert (
            1.6 < median(gaps[recorded.onset_row :]) / median(gaps[recorded.onset_row - 30 : recorded.onset_row]) < 2.5
        )


def test_moments_cover_a_life():
    for fault in ("", "diverging"):
        recorded = simulate(21, fault, rows=1000)
        picks = moments(recorded, 20)
        assert picks == sorted(set(picks))
        assert picks[0] == 0
        assert picks[-1] == len(recorded.rows)
        assert sum(pick < 100 for pick in picks) >= 4
        assert max(b - a for a, b in pairwise(picks)) < 300
        if recorded.onset_row is not None:
            assert {recorded.onset_row, recorded.onset_row + 1} <= set(picks)


@pytest.mark.parametrize(
    "job",
    [Job(61), Job(62), Job(63), Job(64), Job(7, "overfitting", 8.0), Job(8, "dead_run", 1e6), Job(9, "nan_loss", 3.0),
     Job(10, "best_checkpoint_at_risk", 8.0), Job(11, "memorised", 3.0), Job(12, "diverging", 8.0)],
    ids=lambda job: f"{job.fault}-{job.seed}",
)  # fmt: skip
def test_files_say_what_the_replay_says(job, tmp_path):
    """The same run, fed row by row and read from real files, gets the same findings."""
    recorded = simulate(
        job.seed, job.fault, job.effect, rows=120, logging_steps=5, resume_at=0.5 if job.seed == 64 else None
    )
    for upto in (40, 95, len(recorded.rows)):
        folder = tmp_path / str(upto)
        now = write(recorded, folder, upto)
        run, same = Replay(recorded).advance(upto)
        assert now == same
        (read,) = lora_tui.load_all(folder)
        fed = [(one.code, one.severity, one.step, one.variant) for one in find(run, now)]
        assert [(one.code, one.severity, one.step, one.variant) for one in find(read, now)] == fed


def test_a_replay_in_one_go_and_row_by_row_agree():
    for job in (Job(31), Job(32, "diverging", 8.0), Job(33, "overfitting", 8.0)):
        recorded = simulate(*job)
        slow = Replay(recorded)
        for index in range(len(recorded.rows) + 1):
            run, now = slow.advance(index)
        once, same = Replay(recorded).advance(len(recorded.rows))
        assert now == same
        assert find(run, now) == find(once, now)


# -- the measurement ---------------------------------------------------------------------------------------------------


def test_chance_is_allowed_for_on_fresh_seeds_only():
    assert at_most(3, 300, 0.01, chance=False)
    assert not at_most(4, 300, 0.01, chance=False)
    assert at_most(5, 300, 0.01, chance=True)
    assert not at_most(9, 300, 0.01, chance=True)
    assert at_least(27, 30, 0.9, chance=False)
    assert not at_least(26, 30, 0.9, chance=False)
    assert at_least(26, 30, 0.9, chance=True)
    assert not at_least(20, 30, 0.9, chance=True)


def goals(found: Tally, *, chance: bool) -> list[str]:
    """The goals that are missed."""
    missed = []
    for code, seen in found.false.items():
        if not at_most(len(seen), found.healthy, ONE_RULE, chance=chance):
            missed.append(f"{code} accuses healthy runs: {[job.seed for job in seen]}")
    if not at_most(found.accused, found.healthy, ALL_RULES, chance=chance):
        missed.append(f"{found.accused} of {found.healthy} healthy runs are accused")
    for fault in dict.fromkeys(name for name, _ in found.recall):
        whole = found.clear(fault)
        if not at_least(whole.found, whole.runs, RECALL, chance=chance):
            runs = [f"{job.effect:g}/{job.seed}" for job in found.missed if job.fault == fault]
            missed.append(f"{fault}: {whole.found} of {whole.runs} found, not {runs}")
    return missed


def test_every_fault_has_a_rule():
    assert {code for fault in FAULTS.values() for code in fault.right} <= set(CODES)


def test_findings_are_right_on_a_few_runs():
    work = jobs(FIXED_SEEDS, 60, 1)
    clearest = [job for job in work if not job.fault or job.effect == FAULTS[job.fault].effects[-1]]
    assert goals(tally(map(look_at, clearest)), chance=True) == []


@pytest.mark.slow
def test_findings_are_right_on_the_fixed_seeds():
    found = tally(outcomes(jobs(FIXED_SEEDS, 300, 4), "fixed seeds", 2))
    assert goals(found, chance=True) == []
