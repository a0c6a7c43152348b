"""How findings are registered, and how one asks for another."""

from __future__ import annotations

import pytest

from lora_tui.analysis.findings import collector as module
from lora_tui.analysis.findings.collector import FindingCollector, Registration, finding
from lora_tui.analysis.findings.find import CODES
from tests.support.run_builder import START, run_of, train

IN_ORDER = """
nan_loss dead_run diverging worse_than_start out_of_memory failed stalled interrupted overfitting memorised no_learning
grad_explosion loss_spike throughput_drop dpo_wrong_start reward_falling kl_off no_signal broken_base two_writers
disk_full_soon work_at_risk best_checkpoint_lost best_checkpoint_at_risk schedule_mismatch evaluated_on_training_data
degenerate_predictions scores_inconsistent healthy_fit stopped stale_results best_checkpoint better_checkpoint
underfitted plateau gap_widening staircase saturated loss_scale_bug resumed rerun incomplete_checkpoint
few_eval_samples few_trainable_parameters lr_unusual padding_waste no_eval not_logged
"""
"""The order in which findings of equal severity are listed: reports and JSON depend on it."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Registration]:
    """An empty registry in place of the real one."""
    empty: dict[str, Registration] = {}
    monkeypatch.setattr(module, "REGISTRY", empty)
    return empty


def collected(*given: tuple[str, tuple[str, ...]]) -> list[str]:
    """Codes in the order in which they are found, of findings that first ask for others."""
    for rank, (code, asked) in enumerate(given):

        def look(collector: FindingCollector, code: str = code, asked: tuple[str, ...] = asked) -> None:
            if not collector.has(*asked):
                collector.add(code, {})

        finding(code, "warning", rank=rank)(look)
    collector = FindingCollector(run_of([train(10, 1.0, 100)]), START + 5)
    collector.collect()
    return [found.code for found in collector.findings]


def test_the_order_in_lists() -> None:
    assert list(CODES) == IN_ORDER.split()


@pytest.mark.parametrize(("code", "rank"), [("failed", 1), ("new", 10)])
def test_a_code_and_a_rank_are_taken_once(code: str, rank: int) -> None:
    with pytest.raises(ValueError, match="taken"):
        finding(code, "info", rank=rank)(lambda _: None)


def test_what_another_asks_for_runs_first(registry: dict[str, Registration]) -> None:
    assert collected(("effect", ("cause",)), ("cause", ())) == ["cause"]
    registry.clear()
    assert collected(("effect", ("other",)), ("cause", ()), ("other", ("cause",))) == ["cause", "effect"]


@pytest.mark.usefixtures("registry")
def test_two_that_ask_for_each_other() -> None:
    with pytest.raises(RuntimeError, match="ask for each other"):
        collected(("one", ("two",)), ("two", ("one",)))


@pytest.mark.usefixtures("registry")
def test_one_may_ask_for_itself() -> None:
    assert collected(("one", ("one",))) == ["one"]


@pytest.mark.usefixtures("registry")
def test_a_critical_one_is_registered_so() -> None:
    finding("bad", "warning", rank=1)(lambda collector: collector.add("bad", {}, severity="critical"))
    with pytest.raises(ValueError, match="critical"):
        FindingCollector(run_of([train(10, 1.0, 100)]), START + 5).collect()
