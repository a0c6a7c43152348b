"""Find what makes a comparison of runs unfair, and for which measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_tui.analysis import run_facts
from lora_tui.analysis.comparison.measures import Family, Side
from lora_tui.analysis.judgement import Param
from lora_tui.analysis.similarity import Names, all_same, data_agrees, eval_sets_agree, prediction_set, same

MODEL_BOUND: frozenset[Family] = frozenset({"loss", "evaluation", "preference", "reward"})
"""Families of measures that cannot be compared between models, stages or tokenizers. Scores of generated answers can:
they compare the text with the label, whichever model wrote it."""


@dataclass(frozen=True)
class Note:
    """A difference between runs that limits their comparison."""

    code: str
    """Code of the note, whose words are ``compare.note.<code>`` in the catalogues."""
    stops: frozenset[Family] = frozenset()
    """Families of measures that cannot be compared because of it, empty if all can be compared with care."""
    runs: tuple[int, ...] = ()
    """Indexes of the runs that it is about, empty for all."""
    params: Mapping[str, Param] = field(default_factory=dict)
    """Numbers that the wording inserts."""
    values: tuple[str | None, ...] = ()
    """The values that differ, one for each run of ``runs``, None where it is not known."""
    variant: str = ""
    """Suffix of the wording key, where one code has several wordings."""
    final_only: bool = False
    """Whether it affects only measures of the end of a run (``Spec.final``)."""


def notes_on(sides: Sequence[Side]) -> tuple[Note, ...]:
    """Return the notes on everything that should be equal between the runs and is not, those with ``stops`` first."""
    found = [*_what(sides), *_samples(sides), *_progress(sides), *_how(sides)]
    return tuple(sorted(found, key=lambda note: not note.stops))


def _what(sides: Sequence[Side]) -> list[Note]:
    """Return notes on model, stage and data."""
    setups = [side.setup for side in sides]
    out: list[Note] = []
    models, stages = [setup.model for setup in setups], [setup.stage for setup in setups]
    if all_same(models) is False:
        values = tuple(side.run.model for side in sides)
        out.append(Note("other_model", MODEL_BOUND | {"speed"}, values=values))
    if all_same(stages) is False:
        out.append(Note("other_stage", MODEL_BOUND, values=tuple(stages)))
    data = data_agrees(setups)
    if data is False:
        out.append(Note("other_data", frozenset({"loss"}), values=tuple(setup.data.shown for setup in setups)))
    elif data is None:
        out.append(Note("unknown_data", values=tuple(setup.data.shown for setup in setups)))
    return out


def _samples(sides: Sequence[Side]) -> list[Note]:
    """Return notes on the data of evaluations and predictions."""
    out: list[Note] = []
    setups = [side.setup for side in sides]
    evaluated = [side for side in sides if side.series("eval_loss") is not None or "eval" in side.results]
    if len(evaluated) == len(sides):
        alike = eval_sets_agree(setups)
        counts = tuple(_named(setup.eval_sets, setup.eval_samples) for setup in setups)
        stopped: frozenset[Family] = frozenset({"evaluation", "preference"})
        if alike is False:
            out.append(Note("other_eval_set", stopped, values=counts))
        elif alike is None:
            # With different data and no known evaluation set, each probably evaluates on a part of its own data.
            apart = data_agrees(setups) is False
            out.append(Note("unknown_eval_set", stopped if apart else frozenset(), values=counts))
    predicted = [(at, *side.results["predict"]) for at, side in enumerate(sides) if "predict" in side.results]
    if len(predicted) > 1:
        sets = [prediction_set(source, found) for _, found, source in predicted]
        names, sizes = [one[0] for one in sets], [one[1] for one in sets]
        shown = tuple(_named(*one) for one in sets)
        runs = tuple(at for at, _, _ in predicted)
        if all_same(names) is False or all_same(sizes) is False:
            out.append(Note("other_predict_set", frozenset({"score"}), runs, values=shown))
        elif all_same(names) is None:
            out.append(Note("unknown_predict_set", runs=runs, values=shown))
    few = [at for at, setup in enumerate(setups) if setup.eval_samples and setup.eval_samples < run_facts.FEW_SAMPLES]
    if few and len(evaluated) > 1:
        least = min(setups[at].eval_samples or 0 for at in few)
        out.append(Note("few_eval_samples", runs=tuple(few), params={"samples": least}))
    scored = [(at, run_facts.samples(found, "predict", source)) for at, found, source in predicted]
    scarce = [(at, count) for at, count in scored if count is not None and count < run_facts.FEW_SAMPLES]
    if scarce and len(predicted) > 1:
        out.append(
            Note(
                "few_predictions",
                runs=tuple(at for at, _ in scarce),
                params={"samples": min(scarce, key=lambda x: x[1])[1]},
            )
        )
    return out


def _named(names: Names | None, count: int | None) -> str | None:
    """Return names and size of a data set as text, as far as they are known (``test (40)``); None if neither is."""
    if names is None:
        return None if count is None else str(count)
    listed = ", ".join(sorted(names))
    return listed if count is None else f"{listed} ({count})"


def _progress(sides: Sequence[Side]) -> list[Note]:
    """Return notes on the progress of the runs, and on numbers of broken weights or of an earlier attempt."""
    out: list[Note] = []
    unfinished = tuple(at for at, side in enumerate(sides) if not side.ended)
    if unfinished:
        out.append(Note("unfinished", MODEL_BOUND, unfinished, final_only=True))
    broken = tuple(at for at, side in enumerate(sides) if side.broken)
    if broken:
        out.append(Note("broken", runs=broken))
    stale = tuple(at for at, side in enumerate(sides)
                  if any(found.stale for split, (found, _) in side.results.items() if split != "train"))  # fmt: skip
    if stale:
        out.append(Note("stale_results", runs=stale))
    totals = [side.progress.total_steps for side in sides]
    batches = [side.setup.batch for side in sides]
    by_samples = all(batches)
    planned = [n * (b or 1) if n and by_samples else n for n, b in zip(totals, batches, strict=True)]
    known = [count for count in planned if count]
    if len(known) > 1 and max(known) > 1.05 * min(known):
        values = tuple(str(count) if count else None for count in planned)
        out.append(Note("other_length", values=values, variant="" if by_samples else "steps"))
    return out


def _how(sides: Sequence[Side]) -> list[Note]:
    """Return notes on options that change the data on which a loss is measured."""
    out: list[Note] = []
    for option in ("template", "cutoff_len"):
        values = tuple(side.setup.text(option) for side in sides)
        if all_same(values) is False:
            out.append(Note(f"other_{option.partition('_')[0]}", values=values))
    amounts = [side.setup.examples for side in sides]
    first = next((amount for amount in amounts if amount is not None), None)
    if first is not None and any(same(first, n) is False and abs(n - first) > 0.01 * first for n in amounts if n):
        out.append(Note("other_amount", values=tuple(str(n) if n is not None else None for n in amounts)))
    return out
