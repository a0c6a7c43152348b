"""The explanations of every metric and every finding, in both languages and at every width."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lora_tui
from lora_tui.analysis import METRICS, PLAIN, judge
from lora_tui.analysis.findings.find import CODES
from lora_tui.analysis.judgement import Rating
from lora_tui.analysis.rating_rules import RULES, Thresholds
from lora_tui.analysis.ratings.scale import Scale, scale_of
from lora_tui.i18n import LANGUAGES, Words
from lora_tui.text.cells import cell_width
from lora_tui.wording.explain import (
    closest_topic,
    draw_scale,
    explain_finding,
    explain_metric,
    find_topic,
    metric_in_run,
    metric_topics,
    overview,
    text,
)
from tests.conftest import last_write
from tests.support.app_pilot import make_app, settled
from tests.support.app_pilot import text as screen_text
from tests.support.program import lora_tui as program
from tests.support.run_builder import START, evaluation, run_of, train

EN, ZH = Words("en"), Words("zh")
RUNS = ("lora/sft", "lora/dpo", "lora/kto", "lora/reward", "lora/pretrain", "lora/overfit", "lora/diverged",
        "lora/resumed", "lora/default", "hf/trl-sft")  # fmt: skip


class TestWords:
    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_every_finding_is_explained(self, lang):
        words = Words(lang)
        for code in CODES:
            for part in ("what", "how", "helps"):
                assert words.has(f"explain.{code}.{part}"), (code, part)
            page = text(explain_finding(code, words, 80))
            assert "{" not in page
            assert "finding." not in page

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_every_metric_is_explained(self, lang):
        words = Words(lang)
        for name in METRICS:
            page = text(explain_metric(name, words, PLAIN, 80))
            for heading in ("what", "how", "helps"):
                assert words.t(f"explain.heading.{heading}") in page, (name, heading)
            assert "explain." not in page, name
            assert "{" not in page, name

    def test_no_name_means_both_a_metric_and_a_finding(self):
        assert not {*METRICS, *metric_topics()} & set(CODES)

    def test_the_computation_is_explained(self):
        assert "method 3" in text(explain_metric("predict_bleu-4", EN, PLAIN, 80))
        assert "jieba" in text(explain_metric("rouge-l", ZH, PLAIN, 80))
        assert "F-measure" in text(explain_metric("rouge-1", EN, PLAIN, 80))
        assert "exp(" in text(explain_metric("perplexity", EN, PLAIN, 80))
        assert "before it is clipped" in " ".join(text(explain_metric("grad_norm", EN, PLAIN, 80)).split())
        assert "mean over the batches" in " ".join(text(explain_metric("eval_loss", EN, PLAIN, 80)).split())

    @pytest.mark.parametrize("lang", LANGUAGES)
    @pytest.mark.parametrize("width", [20, 30, 54, 72, 92])
    def test_nothing_is_wider_than_it_may_be(self, lang, width):
        words = Words(lang)
        pages = [overview(words, max(width, 54))]
        pages += [explain_finding(code, words, width) for code in CODES]
        for page in pages[1:]:
            assert max(cell_width(text([line])) for line in page[1:]) <= width
        assert max(cell_width(text([line])) for line in pages[0]) <= max(width, 54)
        for name in METRICS:
            for line in explain_metric(name, words, PLAIN, width)[1:]:
                if width >= 54:
                    assert cell_width(text([line])) <= width, (name, text([line]))


class TestTopics:
    @pytest.mark.parametrize(
        ("typed", "topic"),
        [
            ("loss", "loss"), ("LOSS", "loss"), ("BLEU-4", "bleu-4"), ("predict_bleu-4", "predict_bleu-4"),
            ("learning_rate", "lr"), ("ppl", "perplexity"), ("overfitting", "overfitting"),
            ("rewards/margins", "rewards/margins"), ("margins", "rewards/margins"), (" eval_loss ", "eval_loss"),
            ("not logged", "not_logged"), ("bleu 4", "bleu-4"),
        ],
    )  # fmt: skip
    def test_found(self, typed, topic):
        assert find_topic(typed) == topic

    @pytest.mark.parametrize(("typed", "meant"), [("perplxity", "perplexity"), ("overfiting", "overfitting"),
                                                  ("xyzzy", None)])  # fmt: skip
    def test_not_found(self, typed, meant):
        assert find_topic(typed) is None
        assert closest_topic(typed) == meant

    def test_the_list_names_every_topic_once(self):
        shown = [line.split()[0] for line in text(overview(EN, 80)).splitlines() if line.startswith("  ")]
        assert sorted(shown) == sorted([*metric_topics(), *CODES])


def banded():
    return [rule for rule in RULES if rule.thresholds is not None]


class TestScale:
    @settings(max_examples=300)
    @given(st.sampled_from(banded()), st.floats(-50, 3000))
    def test_a_value_stands_in_the_zone_of_its_level(self, rule, value):
        thresholds = rule.thresholds
        assert thresholds is not None
        shown = value * 100 if rule.code == "speed_self" else value
        rating = Rating(
            "m", value, thresholds.level(value), "rule", "firm", rule.code, "", {"share": shown, "seconds": value}
        )
        scale = scale_of(rule, "m", rating)
        assert scale is not None
        assert scale.at is not None
        if min(abs(value - bound) for bound in scale.bounds) > 1e-9:
            place = min(int(scale.at - 1e-12), len(scale.zones) - 1) if scale.at else 0
            assert scale.zones[place] == thresholds.level(value)

    def test_a_larger_value_stands_further_right(self):
        rule = next(rule for rule in RULES if rule.code == "perplexity")
        places = []
        for value in (0.5, 1.5, 2.5, 5.0, 9.0, 50.0, 1e6):
            scale = scale_of(rule, "perplexity", Rating("perplexity", value, None, "rule", "firm", rule.code, ""))
            assert scale is not None
            assert scale.at is not None
            places.append(scale.at)
        assert places == sorted(places)
        assert places[-1] <= 4

    def test_eval_loss_has_the_logarithms(self):
        rule = next(rule for rule in RULES if rule.code == "perplexity")
        scale = scale_of(rule, "eval_loss")
        assert scale is not None
        assert scale.bounds == tuple(map(math.log, (2, 4, 8)))

    def test_learning_rate_by_its_logarithm(self):
        rule = next(rule for rule in RULES if rule.code == "lr_peak")
        rating = Rating("lr", 1e-4, "good", "rule", "firm", "lr_peak", "", {"low": 2e-5, "high": 5e-4})
        scale = scale_of(rule, "lr", rating)
        assert scale is not None
        assert scale.at == pytest.approx(2.5, abs=0.01)

    def test_the_users_bounds_are_on_it(self):
        rule = next(rule for rule in RULES if rule.code == "bleu4")
        mine = replace(rule, thresholds=Thresholds(30, 20, 10), own=True)
        context = replace(PLAIN, rules=(mine,))
        page = text(explain_metric("bleu-4", EN, context, 80))
        assert "20" in page
        assert "your config.toml" in page

    @pytest.mark.parametrize("width", [24, 40, 72, 100])
    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_the_mark_is_above_its_zone(self, width, lang):
        for at in (0.0, 0.5, 1.25, 2.99, 4.0):
            scale = Scale(("poor", "fair", "good", "excellent"), (30, 50, 70), "", 12.3456, at)
            marker, bar, *_ = draw_scale(scale, "bleu-4", Words(lang), width)
            column = cell_width(text([marker]).partition("▼")[0])
            assert "▼" in text([marker])
            edges = [sum(cell_width(part) for part, _ in bar[: zone + 1]) for zone in range(4)]
            zone = next(place for place, edge in enumerate(edges) if column < edge)
            assert zone == min(int(at), 3)
            assert cell_width(text([bar])) <= width


class TestRuns:
    @pytest.mark.parametrize("lang", LANGUAGES)
    @pytest.mark.parametrize("name", RUNS)
    def test_every_rating_and_finding(self, all_runs, name, lang):
        words, run = Words(lang), lora_tui.load(all_runs / name)
        found = judge(run, last_write(run) + 1e5)
        for metric, rating in found.ratings.items():
            case = metric_in_run(metric, run, found)
            assert case is not None
            page = text(explain_metric(metric, words, PLAIN, 76, case))
            assert words.rating(rating) in page.replace("\n", " ")
            for left in ("{", "explain.", "rule.", "source.", "basis.", "confidence.", "reservation."):
                assert left not in page, (metric, left)
            assert "▼" in page or scale_of_rating(rating) is None
        for finding in found.findings:
            page = text(explain_finding(finding.code, words, 76, finding))
            for left in ("{", "explain.", "finding.", "severity."):
                assert left not in page, (finding.code, left)

    def test_a_rating_by_trend_shows_the_scale_of_its_size(self):
        rows = [train(10 * (i + 1), 2 - i / 40, 800) for i in range(40)]
        rows[20:20] = [evaluation(200, 1.9, 800)]
        rows += [evaluation(400, 1.5, 800)]
        run = run_of(rows, config={"stage": "sft"})
        found = judge(run, START + 5)
        page = text(explain_metric("perplexity", EN, PLAIN, 76, metric_in_run("perplexity", run, found)))
        assert "By its size" in page
        assert "since the first evaluation" in " ".join(page.split())
        assert page.count("▼") == 1

    def test_a_score_is_found_under_its_split(self, all_runs):
        run = lora_tui.load(all_runs / "lora/sft")
        found = judge(run, last_write(run) + 1e5)
        case = metric_in_run("bleu-4", run, found)
        assert case is not None
        assert case.rating is found.ratings["predict_bleu-4"]
        assert metric_in_run("reward", run, found) is None


def scale_of_rating(rating):
    rule = PLAIN.rule(rating.rule)
    scale = scale_of(rule, rating.metric, rating) if rule is not None else None
    return scale if scale is not None and scale.at is not None else None


class TestCommand:
    def test_list(self):
        done = program("explain")
        assert (done.returncode, done.stderr) == (0, "")
        assert "  perplexity" in done.stdout
        assert "  overfitting" in done.stdout
        assert max(map(cell_width, done.stdout.splitlines())) < 80

    def test_the_width_of_the_terminal(self):
        for columns in (50, 80, 200):
            lines = program("explain", "eval_loss", env={"COLUMNS": str(columns)}).stdout.splitlines()
            assert max(map(cell_width, lines)) < min(columns, 93)

    def test_unknown(self):
        done = program("explain", "perplxity")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "lora-tui: there is nothing called perplxity to explain; did you mean perplexity?\n"
        )  # fmt: skip
        assert program("explain", "\x1b[31mx").stderr == "lora-tui: there is nothing called x to explain\n"

    def test_with_a_run(self, all_runs):
        run = all_runs / "lora/sft"
        page = program("explain", "bleu-4", "--run", run, "--lang", "zh").stdout
        assert "37.07" in page
        assert "▼" in page
        assert "在本次训练中" in page
        assert "has nothing of this" in program("explain", "reward", "--run", run).stdout
        assert "has nothing of this" in program("explain", "nan_loss", "--run", run).stdout
        broken = program("explain", "nan_loss", "--run", all_runs / "lora/diverged-nan-nofilter").stdout
        assert "✗ critical" in broken

    def test_in_ascii(self, all_runs, tmp_path):
        (tmp_path / "config.toml").write_text('[ui]\nglyphs = "ascii"\n')
        env = {"LORA_TUI_CONFIG_DIR": str(tmp_path)}
        page = program("explain", "bleu-4", "--run", all_runs / "lora/sft", env=env).stdout
        assert page.isascii()


@pytest.mark.parametrize(("size", "lang"), [((60, 18), "en"), ((80, 24), "zh"), ((120, 40), "zh"), ((200, 50), "en")])
async def test_enter_on_every_card_and_finding(all_runs, size, lang):
    """Enter opens a page that can be scrolled to its end and closed again."""
    app = make_app(all_runs, run="lora/sft", lang=lang)
    words = Words(lang)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for focus, count in (("cards", 4), ("findings", 2)):
            app._navigator.focus(focus)
            for index in range(count):
                setattr(app.state, focus[:-1], index)
                app.action_open()
                await settled(pilot)
                assert words.t("explain.heading.what") in screen_text(app)
                await pilot.press("G")
                await settled(pilot)
                assert words.t("explain.heading.helps") in screen_text(app)
                await pilot.press("escape")
                await settled(pilot)
                assert words.t("explain.heading.helps") not in screen_text(app)


async def test_a_page_is_wrapped_again_when_the_terminal_is_resized(all_runs):
    app = make_app(all_runs, run="lora/sft")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app._navigator.focus("cards")
        app.action_open()
        await settled(pilot)
        assert "┃" not in screen_text(app)
        await pilot.resize_terminal(60, 18)
        await settled(pilot)
        first = screen_text(app)
        assert "┃" in first
        await pilot.press("pagedown")
        await settled(pilot)
        assert screen_text(app) != first
