"""The cards: one value each with its curve and its rating. Only a metric that is logged has a card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lora_tui.analysis import run_facts
from lora_tui.analysis.judgement import Rating
from lora_tui.charts import plot as chart
from lora_tui.records.extremes import BLOCK
from lora_tui.runs.series import Series
from lora_tui.text.numbers import count, number
from lora_tui.tui.layout import cards_across
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.symbols import format_cell, rating_span, short_metric, short_rating
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, clickable, spread, width_of

HEIGHT = 4
"""Lines of a card, frame included."""
BLOCK_MEANS_FROM = 50 * BLOCK
"""From this number of rows on, 200 means of blocks look like the moving average, and need no pass over all rows."""


class Card(NamedTuple):
    """What one card shows."""

    metric: str
    title: str
    value: str
    series: Series | None = None
    rating: Rating | None = None
    note: str = ""
    """Text in place of a rating."""
    role: str = "value"


class CardsPane(Pane):
    """One or two rows of cards of equal width."""

    can_focus = True
    count = 0
    """Number of cards that are drawn."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            return []
        cards = self.state.cached(cards_of, view)
        per_row = cards_across(width)
        rows = max(1, height // HEIGHT)
        cards = cards[: per_row * rows]
        self.count = len(cards)
        if len(cards) <= per_row:
            rows = 1
        per_row = -(-len(cards) // rows) if cards else 1
        out: list[Line] = []
        for row in range(rows):
            group = cards[row * per_row : (row + 1) * per_row]
            blocks, x = [], 0
            for place, card in enumerate(group):
                right = width * (place + 1) // len(group)
                index = row * per_row + place
                focused = self.state.focus == "cards" and index == self.state.card
                block = draw_card(self.state, card, right - x, focused)
                blocks.append([clickable(line, f"app.card({index})") for line in block])
                x = right
            for line_no in range(HEIGHT):
                out.append([span for block in blocks for span in block[line_no]])
        return out


def draw_card(state: AppState, card: Card, width: int, focused: bool) -> list[Line]:
    """Return the card's frame with the value and its curve in the upper line and the rating in the lower one."""
    inner = width - 4
    arrow = " " + trend_arrow(card.series) if card.series is not None else ""
    value: Line = [(card.value, card.role), (arrow, "muted")]
    spark: Line = []
    room = inner - width_of(value) - 1
    if card.series is not None and card.series.finite >= 3 and room >= 3:
        cells = min(room, 14, card.series.finite)
        glyphs = chart.ASCII if state.ascii else chart.UNICODE
        spark = [(chart.draw_spark(spark_values(card.series), cells, glyphs), "series-1")]
    if card.rating is not None:
        mark, role = rating_span(card.rating)
        said = short_rating(state.words, card.rating, inner - 1 - len(mark))
        words: Line = [(mark + " ", role), (said, role if card.rating.level == "poor" else "text")]
    else:
        words = [(card.note, "faint")]
    role = "border-focus" if focused else "border"
    return box([spread(value, spark, inner), words], width, HEIGHT, [(card.title, "title")], [], role)


def spark_values(series: Series) -> list[float]:
    """Return about 200 values of the moving average over the whole run, more than a sparkline can show.

    In a run of up to 20 rows they are the values themselves, in a long run means of blocks of rows.
    """
    if len(series) > BLOCK_MEANS_FROM:
        return series.extremes.means(200)
    step = max(1, len(series) // 200)
    return list((series.smooth if len(series) > 20 else series.values)[::step])


def trend_arrow(series: Series) -> str:
    """Return an arrow for the change of the moving average over the last tenth of the rows; → up to 1 %."""
    if series.finite < 4:
        return ""
    back = max(3, len(series) // 10)
    now = series.smooth_at(len(series) - 1)
    before = series.smooth_at(max(0, len(series) - 1 - back))
    if now != now or before != before:
        return ""
    if abs(now - before) <= 0.01 * max(abs(before), 1e-12):
        return "→"
    return "↓" if now < before else "↑"


STAGE_CARDS: dict[str, tuple[str, ...]] = {
    "": ("eval_loss", "perplexity", "gap", "lr", "grad_norm"),
    "dpo": ("rewards/accuracies", "accuracy", "rewards/margins", "eval_loss", "lr", "grad_norm"),
    "kto": ("rewards/margins", "kl", "eval_loss", "lr", "grad_norm"),
    "rm": ("eval_accuracy", "accuracy", "eval_loss", "lr", "grad_norm"),
    "ppo": ("loss", "lr", "kl"),
    "grpo": ("loss", "kl", "lr"),
}
"""Stage -> its cards after the one of the main metric; ``""`` for all stages that are not named."""
SCORE_CARDS = ("predict_bleu-4", "predict_rouge-l", "predict_rouge-1", "predict_rouge-2")
"""Scores that have a card where the results pane has no place."""


def cards_of(state: AppState, view: RunView) -> list[Card]:
    """Return the cards of a run, the most informative first."""
    run = view.run
    ratings = view.judgement.ratings
    main = run_facts.main_metric(run)
    out: list[Card] = []
    for name in (main, *STAGE_CARDS.get(run.stage or "", STAGE_CARDS[""])):
        series = run.series.get(name)
        rating = ratings.get(name)
        title = short_metric(state.words, name)
        if name == "lr" and rating is not None:
            # The peak is rated, since a schedule rightly ends at 0.
            out.append(Card(name, state.words.t("card.peak_lr"), format_cell(name, rating.value), None, rating))
        elif series is not None and series.last is not None:
            bad = series.last != series.last or (rating is not None and rating.level == "poor" and name == main)
            role = "rating-poor|bold" if bad else "value"
            note = state.words.n("card.values", len(series))
            out.append(Card(name, title, format_cell(name, series.last), series, rating, note, role))
        elif rating is not None:
            out.append(Card(name, title, format_cell(name, rating.value), None, rating))
    if "results" not in state.places:
        scores = [_score_card(state, view, name) for name in SCORE_CARDS]
        out[2:2] = [card for card in scores if card is not None]
    out.extend(_speed_cards(state, view))
    out.extend(_job_cards(state, view))
    seen: set[str] = set()
    return [card for card in out if not (card.title in seen or seen.add(card.title))]  # type: ignore[func-returns-value]


def _score_card(state: AppState, view: RunView, name: str) -> Card | None:
    for run in (view.run, *view.run.linked):
        result = run.results().get("predict")
        if result is not None and name in result.values:
            rating = view.judgement.ratings.get(name)
            note = state.words.t("results.stale") if result.stale else ""
            return Card(
                name, short_metric(state.words, name), format_cell(name, result.values[name]), None, rating, note
            )
    return None


def _speed_cards(state: AppState, view: RunView) -> Iterable[Card]:
    progress, words, run = view.progress, state.words, view.run
    if progress.tokens_per_s:
        yield Card("throughput", short_metric(words, "throughput"), number(progress.tokens_per_s),
                   run.series.get("throughput"), view.judgement.ratings.get("throughput"),
                   words.t("unit.tokens/s"))  # fmt: skip
    if progress.steps_per_s:
        batch = run_facts.number(run, "total_train_batch_size")
        note = words.t("head.samples_per_s", n=number(progress.steps_per_s * batch, 3)) if batch else ""
        rating = view.judgement.ratings.get("steps_per_s")
        if rating is not None and rating.level is None and note:
            rating = None
        yield Card("steps_per_s", short_metric(words, "steps_per_s"), number(progress.steps_per_s), None, rating, note)


def _job_cards(state: AppState, view: RunView) -> Iterable[Card]:
    words, run, progress = state.words, view.run, view.progress
    if progress.epoch is not None:
        rating = view.judgement.ratings.get("epoch")
        total = f"/{number(round(progress.total_epochs, 2))}" if progress.total_epochs else ""
        yield Card("epoch", short_metric(words, "epoch"), f"{progress.epoch:.2f}{total}", None, rating)
    tokens = run.series.get("total_tokens")
    if tokens is not None and tokens.last:
        note = ""
        if progress.epoch and progress.epoch > 1:
            note = words.t("card.per_pass", n=count(tokens.last / progress.epoch))
        yield Card("total_tokens", short_metric(words, "total_tokens"), count(tokens.last), None, None, note)
    share = run_facts.number(run, "trainable_percent")
    if share:
        params = run_facts.number(run, "trainable_params")
        note = words.t("card.params", n=count(params)) if params else ""
        yield Card("trainable_percent", short_metric(words, "trainable_percent"), f"{number(share, 3)} %", note=note)
