"""The conditions of ``ls --filter`` and ``wait --until``."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.i18n import LANGUAGES, Words
from lora_tui.query.fields import FIELDS, FUNCTIONS, TEXTS
from lora_tui.query.parser import MAX_DEPTH, MAX_LENGTH, Expression, ExpressionError, parse
from lora_tui.runs.run import Run
from tests.support.call_count import calls_of
from tests.support.run_builder import START, evaluation, run_of, summary, train


def plain_run() -> Run:
    """A finished run of 40 steps with loss 3, 2.5, 2, 1.5, eval_loss 1.75, 1.25, and predictions."""
    rows = [
        train(10, 3.0, 40, rewards__margins=-0.5, lr=1e-4), train(20, 2.5, 40, lr=1e-4), evaluation(20, 1.75, 40),
        train(30, 2.0, 40, lr=1e-4), train(40, 1.5, 40, rewards__margins=0.25, lr=5e-5), evaluation(40, 1.25, 40),
        summary(40, 40),
    ]  # fmt: skip
    config = {"stage": "sft", "model_name_or_path": "models/Qwen2-7B", "finetuning_type": "lora"}
    results = {"predict": {"predict_bleu-4": 41.5}}
    run = run_of(rows, config=config, results=results, ended=True)
    run.name = "lora/sft-1"
    return run


RUN = plain_run()
NOW = START + 1000.0


def holds(text: str, run: Run = RUN, now: float = NOW) -> bool | None:
    return parse(text).holds(run, now)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Metrics, whose names contain signs.
        ("loss == 1.5", True),
        ("eval_loss<1.3", True),
        ("eval_loss < 1.25", False),
        ("eval_loss <= 1.25", True),
        ("1.25 >= eval_loss", True),
        ("lr = 5e-5", True),
        ("rewards/margins > 0.2", True),
        ("rewards/margins > -0.2", True),
        ("predict_bleu-4 >= 41.5", True),
        ("predict_bleu-4 != 41.5", False),
        # Functions.
        ("first(loss) == 3 and last(loss) == 1.5", True),
        ("min(eval_loss) == 1.25 and max(eval_loss) == 1.75", True),
        ("min(rewards/margins) == -.5", True),
        ('last("rewards/margins") == .25', True),
        ("smoothed(loss) > 1.5 and smoothed(loss) < 3", True),
        ("count(loss) == 4 and count(eval_loss) == 2 and nonfinite(loss) == 0", True),
        ("min(predict_bleu-4) == 41.5 and count(predict_bleu-4) == 1", True),
        # Progress.
        ("step == 40 and total_steps == 40 and fraction == 100% and epoch >= 3", True),
        ("fraction < 99.5%", False),
        ("elapsed_s <= 1m and elapsed_s > 30s and elapsed_s < 0.5h and elapsed_s<1d", True),
        # Texts.
        ("state == finished", True),
        ("state = 'finished'", True),
        ("Finished == state", True),
        ("state != failed", True),
        ('model ~ "qwen2"', True),
        ("model ~ 7B and model ~ Qwen2-7b and name ~ lora/sft and name ~ -1", None),
        ("name ~ '-1' and name ~ 1 and not name ~ 2", True),
        ("stage == sft and method == lora and producer == llamafactory", True),
        ("path == /runs/made", None),
        ("path == '/runs/made'", True),
        ("name ~ first", False),
        # and, or, not.
        ("loss > 9 or eval_loss < 1.3", True),
        ("loss > 9 and eval_loss < 1.3", False),
        ("not loss > 9", True),
        ("NOT (loss > 9 OR eval_loss > 9)", True),
        ("not not loss < 9", True),
        ("loss < 9 or loss < 9 and loss > 9", True),
        ("(loss < 9 or loss < 9) and loss > 9", False),
        # Arithmetic.
        ("loss - eval_loss == 0.25", True),
        ("eval_loss > 1.02 * min(eval_loss)", False),
        ("eval_loss > .98 * min(eval_loss)", True),
        ("loss / eval_loss == 1.2", True),
        ("2 + 3 * 4 == 14 and (2 + 3) * 4 == 20 and 10 - 3 - 2 == 5 and - 2 == -2 and 2 - -2 == 4", True),
        ("(loss) == (1.5)", True),
        ("loss/ 2 == 0.75", True),
        ("loss < inf and loss > -Infinity", True),
        # Ratings and findings.
        ("finding(failed)", False),
        ("not finding(critical)", True),
        ("rating(predict_bleu-4) == fair or rating(predict_bleu-4) != fair", True),
        # Values that the run lacks.
        ("has(eval_loss) and has(state) and has(total_steps)", True),
        ("has(grad_norm)", False),
        ("not has(grad_norm)", True),
        ("has(remaining_s)", False),
    ],
)
def test_what_holds(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(ExpressionError):
            parse(text)
    else:
        assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grad_norm < 1", None),
        ("not grad_norm < 1", None),
        ("grad_norm == grad_norm", None),
        ("grad_norm + 1 > 0", None),
        ("-grad_norm < 1", None),
        ("min(grad_norm) < 1", None),
        ("remaining_s < 5m", None),
        ("rating(grad_norm) == good", None),
        ("grad_norm < 1 or loss < 9", True),
        ("grad_norm < 1 and loss > 9", False),
        ("grad_norm < 1 and loss < 9", None),
        ("grad_norm < 1 or loss > 9", None),
        ("not (grad_norm < 1 or loss > 9)", None),
        ("state == running or grad_norm > 1", None),
    ],
)
def test_unknown_is_neither_true_nor_false(text: str, expected: bool | None) -> None:
    assert holds(text) is expected


def test_nan_compares_with_nothing() -> None:
    run = run_of([train(10, 2.0, 40), train(20, math.nan, 40)])
    for text, expected in [
        ("loss < 9", False), ("loss > 9", False), ("loss == loss", False), ("loss != loss", True),
        ("not loss < 9", True), ("nonfinite(loss) == 1", True), ("min(loss) == 2", True),
        ("has(loss)", True), ("loss / 0 == loss / 0", False), ("first(loss) / 0 > 0", False),
        ("finding(nan_loss)", True), ("finding(critical)", True), ("smoothed(loss) == 2", True),
    ]:  # fmt: skip
        assert holds(text, run) is expected, text
    assert holds("min(loss) < 9", run_of([train(10, math.nan, 40)])) is None


def test_the_clock_counts() -> None:
    run = run_of([train(10, 3.0, 40), train(20, 2.0, 40)])
    assert holds("state == running", run, START + 5) is True
    assert holds("state == running", run, START + 400) is False
    assert holds("state == stalled and finding(stalled)", run, START + 400) is True


def test_the_results_of_a_linked_job_count() -> None:
    run = run_of([train(10, 3.0, 40)])
    job = run_of([], results={"predict": {"predict_rouge-l": 52.5}})
    assert holds("predict_rouge-l > 50", run) is None
    run.linked = (job,)
    assert holds("predict_rouge-l > 50", run) is True


def test_results_of_an_earlier_attempt_do_not_count() -> None:
    run = run_of([train(10, 3.0, 40)], results={"predict": {"predict_bleu-4": 40.0}}, results_age=600)
    assert holds("predict_bleu-4 > 1", run) is None


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("", "value_at_end", 1),
        ("   ", "value_at_end", 4),
        ("loss", "comparison", 1),
        ("eval_loss < 1 and loss", "comparison", 19),
        ("loss + 1", "comparison", 1),
        ("not 3", "comparison", 5),
        ("loss <", "value_at_end", 7),
        ("loss < and", "value", 8),
        ("< 3", "value", 1),
        ("0 < loss < 3", "chain", 10),
        ("loss < 3 eval_loss", "end", 10),
        ("loss < 3)", "end", 9),
        ("(loss < 3", "close_at_end", 10),
        ("(loss < 3 eval_loss", "close", 11),
        ("loss < 'x'", "number", 8),
        ("state < 3", "worded", 7),
        ("state + 1 > 3", "number", 1),
        ("rating(loss) > good", "worded", 14),
        ("finished ~ state", "worded", 10),
        ("loss ~ 3", "contains", 6),
        ("state == (loss < 1)", "word", 11),
        ("state == -3", "word", 10),
        ("model == min(loss)", "word", 10),
        ("state == finishd", "meant", 10),
        ("state == done", "choice", 10),
        ("rating(loss) == brilliant", "choice", 17),
        ("mni(loss) < 1", "meant", 1),
        ("__import__(os) < 1", "choice", 1),
        ("finding(memorisd)", "meant", 9),
        ("finding(x)", "choice", 9),
        ("min() < 1", "argument", 5),
        ("min(3) < 1", "argument", 5),
        ("min(loss, lr) < 1", "character", 9),
        ("min(loss lr) < 1", "close", 10),
        ("loss == NaN", "nan", 9),
        ("loss < 3; x", "character", 9),
        ("loss && lr", "character", 6),
        ("loss ! 3", "character", 6),
        ("model == 'x", "quote", 10),
        ("loss ** 2 > 3", "value", 7),
        ("loss.__class__ == 3 or lambda: 3", "character", 30),
        ("not " * (MAX_DEPTH + 1) + "loss < 1", "deep", 4 * MAX_DEPTH + 5),
        ("(" * 500, "deep", MAX_DEPTH + 2),
        ("-" * 900 + "1 < 2", "deep", MAX_DEPTH + 2),
        ("loss < " + "1" * MAX_LENGTH, "long", MAX_LENGTH),
    ],
)
def test_errors_say_where_and_what_was_expected(text: str, code: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.column) == (code, column)
    for lang in LANGUAGES:
        words = Words(lang)
        said = words.t(f"cli.expression.{code}", **caught.value.params)
        assert words.has(f"cli.expression.{code}")
        assert "{" not in said


class TestNames:
    def test_the_columns_are_kept(self) -> None:
        assert parse("loss < 1 and min(eval_loss) < 2 and loss < 3 and step > 1").names == {"loss": 1, "eval_loss": 18}

    def test_what_is_known(self) -> None:
        text = " and ".join(f"{name} < 1" for name in ("loss", "kl", "predict_rouge-l", "rewards/margins"))
        assert parse(text).unknown([]) == []
        assert parse("has(state) and has(step)").unknown([]) == []

    def test_what_only_a_run_knows(self) -> None:
        run = run_of([train(10, 3.0, 40, my_metric=1.0)], results={"eval": {"eval_my_score": 1.0}})
        expression = parse("my_metric < 1 and eval_my_score > 1 and other < 1")
        assert expression.unknown([run]) == ["other"]
        assert expression.unknown([]) == ["my_metric", "eval_my_score", "other"]

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("eval_los", "eval_loss"), ("evalloss", "eval_loss"), ("eval_lsos", "eval_loss"),
            ("eval_losss", "eval_loss"), ("eval-loss", "eval_loss"),
            ("perplexty", "perplexity"), ("rewards/margin", "rewards/margins"),
            ("predict_blue-4", "predict_bleu-4"), ("learning_rate", "lr"), ("ppl", "perplexity"), ("stp", None),
            ("fractoin", "fraction"), ("rouge-l", "predict_rouge-l"),
        ],
    )  # fmt: skip
    def test_a_slip_is_an_error_with_a_hint(self, name: str, meant: str | None) -> None:
        expression = parse(f"loss < 3 or {name} < 1")
        if meant is None:
            assert expression.unknown([]) == [name]
            return
        with pytest.raises(ExpressionError) as caught:
            expression.unknown([])
        assert (caught.value.code, caught.value.column, caught.value.params["meant"]) == ("name", 13, meant)

    @pytest.mark.parametrize(
        "name", ["loss2", "reward1", "predict_bleu-2", "eval_wiki_loss", "eval_a_loss", "aux_loss"]
    )
    def test_names_that_may_well_exist_are_no_slips(self, name: str) -> None:
        assert parse(f"{name} < 1").unknown([]) == [name]

    def test_a_name_that_a_run_has_is_none(self) -> None:
        run = run_of([train(10, 3.0, 40, eval_los=1.0)])
        assert parse("eval_los < 2").unknown([run]) == []

    def test_quoted_it_is_taken_as_it_is(self) -> None:
        assert parse('last("eval_los") < 1 and min("a b") > 2').unknown([]) == []

    @pytest.mark.parametrize(("name", "meant"), [("eval_loss-loss", "eval_loss - loss"), ("loss/2", "loss / 2")])
    def test_an_operator_without_spaces(self, name: str, meant: str) -> None:
        with pytest.raises(ExpressionError) as caught:
            parse(f"{name} > 1").unknown([])
        assert (caught.value.code, caught.value.params["meant"]) == ("spaces", meant)


WORDS = [
    *FIELDS,
    *TEXTS,
    *FUNCTIONS,
    "loss",
    "eval_loss",
    "rewards/margins",
    "and",
    "or",
    "not",
    "finished",
    "critical",
]
SIGNS = [
    "<",
    "<=",
    "==",
    "!=",
    "~",
    "=",
    "(",
    ")",
    "+",
    "-",
    "*",
    "/",
    "'",
    '"',
    "1e-4",
    "25%",
    "2h",
    "nan",
    "inf",
    " ",
]
PIECES = st.lists(st.sampled_from(WORDS + SIGNS), max_size=25).map(" ".join)


def understood(text: str) -> Expression | ExpressionError:
    try:
        return parse(text)
    except ExpressionError as error:
        return error


@settings(max_examples=400)
@given(st.one_of(st.text(max_size=80), PIECES, st.lists(st.sampled_from(WORDS + SIGNS), max_size=25).map("".join)))
def test_any_text_is_understood_or_refused(text: str) -> None:
    found = understood(text)
    if isinstance(found, ExpressionError):
        assert 1 <= found.column <= len(text) + 1
        said = Words("en").t(f"cli.expression.{found.code}", **found.params)
        assert "\n" not in said
        assert not said.startswith("cli.")
    else:
        assert found.holds(RUN, NOW) in (True, False, None)
        assert found.holds(Run(RUN.path), NOW) in (True, False, None)


@settings(max_examples=200)
@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_numbers_compare_as_numbers(a: float, b: float, sign: str) -> None:
    import operator

    named = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
    expected = getattr(operator, named[sign])(a, b)
    assert holds(f"{a!r} {sign} {b!r}") is expected


@pytest.mark.parametrize("text", ["1" * 999 + "x", "a-" * 499, "a/" * 400 + "!", "\x1b" * 900, "'" * 999, "." * 900])
def test_long_nonsense_is_refused_after_one_look_at_each_character(text: str) -> None:
    assert calls_of(lambda: understood(text)) < 4 * len(text)
    with pytest.raises(ExpressionError):
        parse(text)
