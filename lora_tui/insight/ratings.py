"""How each number of a run compares with its band. The rules are data in :mod:`lora_tui.insight.bands`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from lora_tui.formats.records import LogRow
from lora_tui.insight import facts
from lora_tui.insight.bands import ADAPTER_METHODS, Rule, find_rule, lr_range
from lora_tui.insight.model import Basis, Confidence, Level, Param, Rating
from lora_tui.run import Progress, ResultSet, Run, Status

FEW_SAMPLES = 50
"""Under this many samples a score is shown but not trusted (BLEU +- 3.5, judgement 2.3)."""
SOME_SAMPLES = 200
"""Under this many samples the error of a score is shown."""
BLEU_ERROR = 24.7
"""Error of BLEU-4 is this divided by the root of the number of samples (measured, judgement 2.3)."""
_WEAKER: Mapping[Confidence, int] = {"firm": 0, "orientation": 1, "few": 2}


class _Rater:
    """The ratings of one run at one moment; ``out`` collects them."""

    def __init__(self, run: Run, now: float, findings: Collection[str]) -> None:
        self.run = run
        self.status: Status = run.status(now)
        self.progress: Progress = run.progress(now)
        self.findings = findings
        self.stage, self.assumed = facts.stage(run)
        self.out: dict[str, Rating] = {}

    def rule(self, name: str, code: str | None = None) -> Rule | None:
        return find_rule(name, self.stage, self.run.producer, code)

    def add(
        self,
        rule: Rule,
        metric: str,
        value: float,
        level: Level | None,
        words: str,
        params: Mapping[str, Param] | None = None,
        *,
        basis: Basis | None = None,
        confidence: Confidence | None = None,
        reservations: tuple[str, ...] = (),
    ) -> None:
        """One rating. What rests on an assumed stage is never more than orientation."""
        if not math.isfinite(value):
            return
        trust = rule.confidence if confidence is None else confidence
        if self.assumed and rule.stages is not None and trust == "firm":
            trust = "orientation"
        self.out[metric] = Rating(
            metric, value, level, rule.basis if basis is None else basis, trust, rule.code, words, params or {},
            reservations,
        )  # fmt: skip

    def known(self, *codes: str) -> tuple[str, ...]:
        """Those of these findings that the run has."""
        return tuple(code for code in codes if code in self.findings)

    def far(self, share: float) -> bool:
        """At least this share of the run is done, or it is over."""
        return facts.final(self.status) or (self.progress.fraction or 0.0) >= share

    # Training signal

    def loss(self) -> None:
        series = self.run.series.get("loss")
        rule = self.rule("loss")
        if series is None or rule is None or not series.finite:
            return
        recent = series.tail(1)
        last, count = recent[0], series.finite
        limits, words = rule.limits, rule.words
        params: dict[str, Param] = {"count": count, "last": last, "need": int(limits.get("min_rows", 0))}
        if "none" in words:
            self.add(rule, "loss", last, None, words["none"], params)
            return
        if self.known("dead_run", "nan_loss"):
            self.add(rule, "loss", last, "poor", words["broken"], params)
            return
        size = facts.window(count)
        start, now = facts.median(facts.head(series, size)), facts.median(series.tail(size))
        fall = (start - now) / start if start > 0 else 0.0
        params.update(first=start, now=now, fall=fall * 100)
        few = count < limits["min_rows"]
        if few and (count < 2 or rule.code != "loss_trend" or fall < limits["fall"]):
            self.add(rule, "loss", last, None, "after_rows", params, confidence="few")
            return
        level, word = {"loss_trend": self._trend, "loss_kto": self._kto}.get(rule.code, self._preference)(rule, params)
        trust: Confidence | None = "few" if few or (level == "fair" and count < limits.get("fair_rows", 0)) else None
        self.add(
            rule, "loss", last, level, words.get(word, word), params, confidence=trust,
            reservations=self.known("memorised"),
        )  # fmt: skip

    def _trend(self, rule: Rule, params: dict[str, Param]) -> tuple[Level | None, str]:
        series = self.run.series["loss"]
        worse = facts.above_start(series)
        if worse is not None:
            params["start"] = worse[0]
            return "poor", "above_start"
        leaving = facts.diverging(series)
        if leaving is not None:
            params["best"] = leaving[0]
            return "poor", "diverging"
        if float(params["fall"]) >= rule.limits["fall"] * 100:
            return "good", "good"
        done = facts.final(self.status)
        if done or (self.far(rule.limits["late"]) and series.finite >= rule.limits["fair_rows"]):
            return "fair", "fair"
        return None, "early"

    def _kto(self, rule: Rule, params: dict[str, Param]) -> tuple[Level | None, str]:
        now = float(params["now"])
        if now > rule.limits["poor"]:
            return "poor", "poor"
        if float(params["fall"]) >= rule.limits["fall"] * 100:
            return "good", "good"
        return ("fair", "fair") if self.far(rule.limits["late"]) else (None, "early")

    def _preference(self, rule: Rule, params: dict[str, Param]) -> tuple[Level | None, str]:
        limits, now = rule.limits, float(params["now"])
        start = facts.head(self.run.series["loss"], 1)[0]
        mixed = (facts.number(self.run, "pref_ftx") or 0.0) > 0
        kind = facts.names(self.run, "pref_loss")
        sigmoid = not kind or "sigmoid" in kind
        if self.stage == "dpo" and (mixed or not sigmoid or not limits["start_low"] <= start <= limits["start_high"]):
            # Another loss starts elsewhere and pref_ftx adds a second one: the bounds around ln 2 do not hold.
            return None, "falling" if float(params["fall"]) > 3 else "level"
        if now > limits["poor"]:
            return "poor", "poor"
        if now < limits["good"]:
            return "good", "good"
        return ("fair", "fair") if self.far(limits["late"]) else (None, "early")

    def grad_norm(self) -> None:
        series, rule = self.run.series.get("grad_norm"), self.rule("grad_norm")
        if series is None or rule is None or not series.finite:
            return
        limits, words = rule.limits, rule.words
        recent = series.tail(20)
        middle, top = facts.median(recent), max(recent)
        loss = self.run.series.get("loss")
        level_now = facts.median(loss.tail(20)) if loss is not None and loss.finite else None
        few: Confidence | None = "few" if series.finite < limits["min_values"] else None
        params: dict[str, Param] = {"median": middle, "max": top, "step": series.last_step or 0}
        raw = series.values[-20:]
        bad = sum(1 for value in raw if not math.isfinite(value))
        level: Level
        if "dead_run" in self.findings or bad >= 3:
            level, word = "poor", "nan"
        elif middle > limits["fair"]:
            level, word = "poor", "poor"
        elif middle < limits["small"]:
            if loss is not None and facts.above_start(loss) is not None:
                level, word = "poor", "none"
            elif level_now is not None and level_now < limits["low_loss"]:
                level, word = "good", "small"
            elif middle < limits["none"]:
                level, word = "poor", "none"
            else:
                level, word = "fair", "weak"
        elif middle > limits["good"]:
            level, word = "fair", "fair"
        elif len(recent) >= limits["min_values"] and top > limits["jump"] * middle:
            level, word = "fair", "jumpy"
        else:
            level, word = "good", "good"
        if word == "none" and level_now is None:
            return
        self.add(rule, "grad_norm", recent[-1], level, words[word], params, confidence=few)

    def lr(self) -> None:
        series, rule = self.run.series.get("lr"), self.rule("lr")
        if series is None or rule is None or self.stage is None or not series.finite:
            return
        planned = facts.number(self.run, "learning_rate")
        seen = series.max
        over = series.last_step is not None and series.max_step < series.last_step
        peak = planned if planned is not None and seen <= planned * 1.01 else seen
        if peak <= 0:
            return
        params: dict[str, Param] = {"peak": peak, "share": (series.tail(1)[0]) / peak * 100}
        if planned is None and not over:
            self.add(rule, "lr", peak, None, rule.words["early"], params, confidence="few")
            return
        method = self.run.method
        sides = [True, False] if method is None else [method in ADAPTER_METHODS]
        best: tuple[int, Level, str] | None = None
        for adapter in sides:
            usual = lr_range(self.stage, adapter)
            if usual is None:
                continue
            low, high = usual
            factor = max(low / peak, peak / high)
            # A decayed first row may stand a little under the bound that it started from.
            rank: tuple[int, Level, str]
            if factor <= 1.0001:
                rank = (0, "good", "good")
            elif factor <= rule.limits["beyond"] * 1.0001:
                rank = (1, "fair", "high" if peak > high else "low")
            else:
                rank = (2, "poor", "poor")
            if best is None or rank < best:
                best = rank
                params.update(low=low, high=high)
        if best is not None:
            # Outside the usual range the number alone proves nothing: small models train well far above it.
            trust: Confidence | None = None if best[0] == 0 and method is not None else "orientation"
            self.add(rule, "lr", peak, best[1], rule.words[best[2]], params, confidence=trust)

    def epoch(self) -> None:
        rule, value = self.rule("epoch"), self.progress.epoch
        if rule is None or value is None:
            return
        word = "good" if value <= rule.limits["good"] else "fair" if value <= rule.limits["fair"] else "more"
        level: Level = "good" if word == "good" else "fair"
        self.add(rule, "epoch", value, level, rule.words[word], {"epochs": value},
                 reservations=self.known("memorised") if level == "fair" else ())  # fmt: skip

    def tokens(self) -> None:
        for name in ("total_tokens", "num_tokens"):
            series, rule = self.run.series.get(name), self.rule(name)
            if series is None or rule is None or not series.finite:
                continue
            total, epoch = series.tail(1)[0], self.progress.epoch
            params: dict[str, Param] = {"tokens": total}
            if epoch is not None and epoch > 0:
                params.update(epochs=epoch, a_pass=total / max(epoch, 1.0))
            self.add(rule, name, total, None, rule.words["none" if epoch and epoch > 1 else "total"], params)

    def speed(self) -> None:
        for name, value in (("throughput", self.progress.tokens_per_s), ("steps_per_s", self.progress.steps_per_s)):
            series = self.run.series.get(name)
            if value is None and series is not None and series.finite and self.run.segments == 1:
                value = series.tail(1)[0]
            if value is None or value <= 0:
                continue
            own, general = self.rule(name, "speed_self"), self.rule(name, "throughput")
            pace = _pace(self.run, "total_tokens" if name == "throughput" else None)
            if own is not None and own.bands is not None and pace is not None:
                level = own.bands.level(pace)
                self.add(own, name, value, level, own.words[level], {"share": pace * 100, "slower": 100 - pace * 100})
            elif general is not None and general.bands is not None:
                devices = facts.number(self.run, "num_devices") or 1.0
                level = general.bands.level(value / devices)
                self.add(general, name, value, level, general.words[level], {"devices": devices})

    def trainable(self) -> None:
        rule, share = self.rule("trainable_percent"), facts.number(self.run, "trainable_percent")
        if rule is None or share is None or (self.run.method is not None and self.run.method not in ADAPTER_METHODS):
            return
        limits = rule.limits
        word = (
            "few" if share < limits["few"] else "usual" if share <= limits["usual"]
            else "many" if share <= limits["many"] else "all"
        )  # fmt: skip
        params: dict[str, Param] = {"share": share}
        count = facts.number(self.run, "trainable_params")
        if count is not None:
            params["count"] = count
        self.add(rule, "trainable_percent", share, None, rule.words[word], params)

    # Evaluation

    def evaluation(self) -> None:
        rule = self.rule("eval_loss")
        current = facts.last_eval(self.run, self.status)
        if current is None:
            return
        value, _, results = current
        series = self.run.series.get("eval_loss")
        evals = max(series.finite if series is not None else 0, 1)
        few: Confidence | None = "few" if self.status.live and evals < 3 else None
        reservations = self._about(results, "eval", self.run) if results is not None else ()
        if rule is not None and rule.bands is not None:
            params: dict[str, Param] = {"evals": evals}
            if series is not None and series.finite >= 2:
                first = facts.head(series, 1)[0]
                params["change"] = (value - first) / first * 100 if first > 0 else 0.0
            try:
                perplexity = math.exp(value)
            except OverflowError:
                perplexity = math.inf
            level = rule.bands.level(perplexity)
            for name, number in (("eval_loss", value), ("perplexity", perplexity)):
                word = rule.words[level]
                if name == "eval_loss" and series is not None and self.status.live and series.finite >= 2:
                    word = _direction(series.min, value, series.tail(2)[0])
                self.add(rule, name, number, level, word, params, confidence=few, reservations=reservations)
        self._gap(few, reservations)

    def _gap(self, few: Confidence | None, reservations: tuple[str, ...]) -> None:
        rule = self.rule("gap")
        if rule is None or rule.bands is None or self.known("dead_run", "nan_loss"):
            return
        gap = facts.gap(self.run, self.status, int(rule.limits["rows"]), rule.limits["share"])
        if gap is None:
            return
        params: dict[str, Param] = {"gap": gap}
        if (self.progress.epoch or math.inf) <= 1.01:
            params["note"] = "single_epoch"
        if gap < rule.limits["below"]:
            self.add(rule, "gap", gap, None, rule.words["below"], params, confidence=few, reservations=reservations)
            return
        level = rule.bands.level(gap)
        self.add(rule, "gap", gap, level, rule.words[level], params, confidence=few, reservations=reservations)

    def preference(self) -> None:
        for name in ("accuracy", "rewards/accuracies", "eval_rewards/accuracies"):
            series, rule = self.run.series.get(name), self.rule(name.removeprefix("eval_"))
            if series is None or rule is None or rule.bands is None or not series.finite:
                continue
            if name.startswith("eval_"):
                value = series.tail(1)[0]
                pairs = self._eval_samples()
            else:
                value, pairs = self._recent_pairs(name, rule.limits["pairs"])
            few: Confidence | None = "few" if pairs is None or pairs < rule.limits["pairs"] else None
            level = rule.bands.level(value)
            params: dict[str, Param] = {} if pairs is None else {"pairs": pairs}
            self.add(rule, name, value, level, rule.words[level], params, confidence=few)
        for name in ("rewards/margins", "eval_rewards/margins"):
            self._margins(name)
        series, rule = self.run.series.get("eval_accuracy"), self.rule("eval_accuracy")
        if series is not None and rule is not None and rule.bands is not None and series.finite:
            value = series.tail(1)[0]
            level = rule.bands.level(value)
            pairs = self._eval_samples()
            trust: Confidence | None = "few" if pairs is None or pairs < FEW_SAMPLES else None
            self.add(rule, "eval_accuracy", value, level, rule.words[level], {"pairs": pairs or 0}, confidence=trust)

    def _eval_samples(self) -> int | None:
        """Size of the evaluation set: said by the console, or runtime x samples/s of the last evaluation."""
        known = facts.number(self.run, "eval_examples")
        if known is not None:
            return int(known)
        results = self.run.results().get("eval")
        if results is not None:
            return facts.samples(results, "eval", self.run)
        runtime, rate = self.run.series.get("eval_runtime"), self.run.series.get("eval_samples_per_second")
        if runtime is None or rate is None or not runtime.finite or not rate.finite:
            return None
        return max(1, round(runtime.tail(1)[0] * rate.tail(1)[0]))

    def _recent_pairs(self, name: str, wanted: float) -> tuple[float, int | None]:
        """Mean of a training accuracy over the last rows that hold ``wanted`` pairs, and how many they hold."""
        series = self.run.series[name]
        batch = facts.number(self.run, "total_train_batch_size")
        if batch is None:
            device = facts.number(self.run, "per_device_train_batch_size")
            steps = facts.number(self.run, "gradient_accumulation_steps")
            batch = device * steps if device is not None and steps is not None else None
        apart = series.steps[-1] - series.steps[-2] if len(series) > 1 else 1.0
        each = (batch or 1.0) * max(apart, 1.0)
        recent = series.tail(min(max(5, math.ceil(wanted / each)), 200))
        return sum(recent) / len(recent), int(len(recent) * each)

    def _margins(self, name: str) -> None:
        series, rule = self.run.series.get(name), self.rule("rewards/margins")
        if series is None or rule is None or not series.finite:
            return
        limits, words = rule.limits, rule.words
        count = series.finite
        least = 2 if name.startswith("eval_") else int(limits["min_rows"])
        size = facts.window(count)
        now = facts.median(series.tail(size))
        params: dict[str, Param] = {"margin": now}
        few: Confidence | None = "few" if count < least else None
        beta = facts.number(self.run, "pref_beta", "beta")
        level: Level = "good"
        word = "good"
        if now < 0:
            level, word = "poor", "poor"
        elif beta is not None and now < limits["beta_share"] * beta and self.far(limits["late"]):
            level, word = "fair", "fair"
        elif count >= least:
            middle = facts.median(series.tail(3 * size)[:size])
            if now < middle * (1 - limits["fall"]) and count >= 3 * size:
                level, word = "fair", "shrinking"
            elif now <= middle * 1.02:
                word = "level"
        self.add(rule, name, series.tail(1)[0], level, words[word], params, confidence=few)

    def reward(self) -> None:
        series, rule = self.run.series.get("reward"), self.rule("reward")
        if series is None or rule is None or series.finite < rule.limits["min_rows"]:
            return
        values = series.tail(int(rule.limits["window"]))
        slope, error = _slope(values)
        level: Level = "good" if slope > 2 * error else "poor" if slope < -2 * error else "fair"
        self.add(rule, "reward", values[-1], level, rule.words[level], {"change": slope * len(values)})

    # Results

    def results(self) -> None:
        for split, found, source in facts.result_sets(self.run):
            about = self._about(found, split, source)
            for key, value in found.values.items():
                if not key.startswith(f"{split}_") or not math.isfinite(value):
                    if key == "train_loss":
                        self._mean_loss(value, about)
                    continue
                self._result(split, key, value, found, source, about)

    def _mean_loss(self, value: float, about: tuple[str, ...]) -> None:
        rule = self.rule("train_loss")
        if rule is not None:
            self.add(rule, "train_loss", value, None, rule.words["none"], reservations=about)

    def _result(
        self, split: str, key: str, value: float, found: ResultSet, source: Run, about: tuple[str, ...]
    ) -> None:
        topic = key[len(split) + 1 :]
        generated = any(name.endswith("bleu-4") for name in found.values)
        # LLaMA-Factory computes BLEU and ROUGE in its sft stage alone.
        stage = "sft" if generated and facts.llamafactory(source) else self.stage
        rule = find_rule(topic, stage, source.producer)
        if key == "train_loss":
            rule = self.rule("train_loss")
        if rule is None or key in self.out:
            return
        count = facts.samples(found, split, source)
        params: dict[str, Param] = {} if count is None else {"samples": count}
        if rule.bands is not None and rule.code in ("bleu4", "rouge1", "rouge2", "rougel"):
            if count is not None and count < SOME_SAMPLES:
                params["error"] = BLEU_ERROR / math.sqrt(count)
            trust: Confidence | None = "few" if count is None or count < FEW_SAMPLES else None
            level = rule.bands.level(value)
            self.add(rule, key, value, level, rule.words[level], params, confidence=trust,
                     reservations=about + self._data(source))  # fmt: skip
        elif rule.code == "predict_speed":
            if generated and value > 0 and rule.bands is not None:
                level = rule.bands.level(1 / value)
                self.add(rule, key, value, level, rule.words[level], {**params, "seconds": 1 / value})
        elif rule.code == "batch":
            rate = found.values.get(f"{split}_samples_per_second")
            if rate is not None and value > 0 and math.isfinite(rate):
                self.add(rule, key, value, None, rule.words["none"], {"batch": max(1, round(rate / value))})
        elif rule.code == "runtime":
            if count is not None:
                scored = generated and count < SOME_SAMPLES
                if scored:
                    params["error"] = BLEU_ERROR / math.sqrt(count)
                self.add(rule, key, value, None, rule.words["scored" if scored else "none"], params)
        elif rule.code == "train_loss":
            self.add(rule, key, value, None, rule.words["none"], reservations=about)
        elif rule.bands is not None and rule.code == "preparation":
            level = rule.bands.level(value)
            self.add(rule, key, value, level, rule.words[level], {"seconds": value})

    def _about(self, found: ResultSet, split: str, source: Run) -> tuple[str, ...]:
        """Reservations about every number of a results file."""
        out = ["stale_results"] if found.stale else []
        count = facts.samples(found, split, source) if split != "train" else None
        if count is not None and count < FEW_SAMPLES:
            out.append("few_eval_samples")
        return tuple(out)

    def _data(self, source: Run) -> tuple[str, ...]:
        """Reservations about what the scores were computed on."""
        out = self.known("memorised")
        evaluated = facts.names(source, "eval_dataset")
        if (facts.number(source, "val_size") or facts.number(self.run, "val_size") or 0.0) > 0:
            return out
        if not evaluated:
            return (*out, "unknown_eval_data")
        trained = facts.names(self.run, "dataset")
        return (*out, "evaluated_on_training_data") if evaluated & trained else out


def _direction(best: float, value: float, previous: float) -> str:
    """Words for an eval loss while the run goes on."""
    if value <= best and value < previous:
        return "still_falling"
    return "rising" if value > best * 1.02 else "level"


def _slope(values: list[float]) -> tuple[float, float]:
    """Least-squares slope per row and its standard error."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((x - middle) ** 2 for x in range(count))
    slope = sum((x - middle) * (y - mean) for x, y in enumerate(values)) / spread
    rest = sum((y - mean - slope * (x - middle)) ** 2 for x, y in enumerate(values))
    return slope, math.sqrt(rest / max(1, count - 2) / spread)


def _rates(rows: list[LogRow], name: str | None) -> list[float]:
    """Steps (or ``name``) a second over pieces of at least 10 s: the clocks in the files are whole seconds."""
    out: list[float] = []
    start: tuple[float, float] | None = None
    for row in rows:
        amount = row.step if name is None else row.values.get(name)
        if row.elapsed_s is None or amount is None or row.kind == "progress":
            continue
        here = (row.elapsed_s, float(amount))
        if row.kind != "train" or start is None or here[0] < start[0]:
            # The time up to an eval row went into the evaluation.
            start = here
        elif here[0] - start[0] >= 10:
            out.append((here[1] - start[1]) / (here[0] - start[0]))
            start = here
    return out


def _pace(run: Run, name: str | None) -> float | None:
    """Speed of the last rows ÷ that of the first third of this segment; ``None`` if too short to tell."""
    rows = run.rows
    begin = 0
    if run.resumed_at:
        low, high = 0, len(rows)
        while low < high:
            middle = (low + high) // 2
            row = rows[middle]
            if row.kind != "progress" and (row.step or 0) < run.resumed_at[-1]:
                low = middle + 1
            else:
                high = middle
        begin = low
    count = len(rows) - begin
    if count < 30:
        return None
    early = _rates(list(rows[begin + 5 : begin + min(count // 3, 155)]), name)
    late = _rates(list(rows[-min(count // 3, 60) :]), name)
    if len(early) < 3 or len(late) < 3:
        return None
    before = facts.median(early)
    return facts.median(late) / before if before > 0 else None


def rate(run: Run, now: float, findings: Collection[str] | None = None) -> dict[str, Rating]:
    """Ratings by metric name.

    A metric without a fair comparison is absent, or has no level and words that say why. ``findings``: codes of the
    run's findings where they are known already, for what undermines a number.
    """
    if findings is None:
        from lora_tui.insight.findings import find

        findings = {finding.code for finding in find(run, now)}
    rater = _Rater(run, now, findings)
    for part in (
        rater.loss, rater.grad_norm, rater.lr, rater.epoch, rater.tokens, rater.speed, rater.trainable,
        rater.evaluation, rater.preference, rater.reward, rater.results,
    ):  # fmt: skip
        part()
    return rater.out
