"""Texts in English and Chinese for all front ends. All other code uses codes and numbers.

The catalogues are those of gettext, with keys instead of English texts as msgid. The ``.po`` files in
``<lang>/LC_MESSAGES`` are compiled into one ``lora_tui.mo`` a language by ``python -m tools.catalogues``. A placeholder
is ``{name}`` or ``{name:spec}``; beside Python's own format specs there are ``num`` (4 significant digits), ``lr``
(2e-4), ``count`` (24.7k), ``dur`` and ``age`` (seconds in words) and ``size`` (bytes).

Groups of keys, in ``lora_tui.po`` unless another file is named:

* the app: ``app. page. pane. head. state. phase. chart. card. results. predictions. config. checkpoints. list. empty.
  keys. help. theme. tui.``; times and units: ``duration. age. unit. span.``; errors of the program: ``fault. reason.``
* judgements: ``metric.<name>.label|meaning`` (metrics.po), ``level. confidence. basis. trust. rating.<words>
  rule.<code>[.numbers] source.<code> reservation.<code>`` (ratings.po), ``note.<code>``,
  ``severity.`` (findings.po), ``finding.<code>[.<variant>].name|text|advice`` (findings_<module>.po, one for each
  module of lora_tui/analysis/findings), ``explain.<metric or code>.what|how|helps`` (explain.po), ``forecast.`` and
  ``choice.`` (which checkpoint to take)
* commands and reports: ``cli.`` (commands.po, ``cli.expression.`` in expressions.po), ``settings. compare. report.
  html.``, each in a file of that name
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from lora_tui.text.sanitize import clean

if TYPE_CHECKING:
    from lora_tui.analysis.judgement import Finding, Rating
    from lora_tui.runs.run import Status

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
LANGUAGE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""Environment variables that determine the language, the first one that is set."""
DOMAIN = "lora_tui"
HERE = Path(__file__).parent


def resolve_language(option: str, kept: str | None, env: Mapping[str, str]) -> Language:
    """Return the language: ``option`` (``--lang``) unless it is "auto", else the saved choice, else the locale.

    ``kept`` is the language that the user chose in an earlier session, if any. The locale is the first of LC_ALL,
    LC_MESSAGES and LANG that is set; every locale but a Chinese one means English.
    """
    for choice in (option, kept):
        for lang in LANGUAGES:
            if choice == lang:
                return lang
    for name in LANGUAGE_VARIABLES:
        value = env.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def catalogue(lang: str) -> Path:
    """Return the path of the compiled catalogue of a language."""
    return HERE / lang / "LC_MESSAGES" / f"{DOMAIN}.mo"


class Words:
    """Texts in one language.

    No method raises: a missing key is returned itself, and a placeholder without a value stays as it is.
    """

    def __init__(self, lang: str) -> None:
        self.lang: Language = "zh" if lang == "zh" else "en"
        # Imported here because a program that prints no text does not need it.
        from gettext import GNUTranslations

        with catalogue(self.lang).open("rb") as file:
            self._translations = GNUTranslations(file)

    def has(self, key: str) -> bool:
        """Return whether the catalogue has this key."""
        return self._translations.gettext(key) != key

    def t(self, key: str, **params: object) -> str:
        """Return the text of a key, with its placeholders filled in."""
        text = self._translations.gettext(key)
        return self._fill(text, params) if params and "{" in text else text

    def reason(self, text: str) -> str:
        """Translate the reason why something cannot be read or written.

        Return ``text`` itself where the catalogue has no such reason.
        """
        key = "reason." + "_".join("".join(char if char.isalnum() else " " for char in text.lower()).split())
        return self.t(key) if self.has(key) else text

    def n(self, key: str, count: int, **params: object) -> str:
        """Return the text of a key with plural forms, in the form for ``count``, which also fills in ``{n}``."""
        params.setdefault("n", count)
        return self._fill(self._translations.ngettext(key, key, count), params)

    # -- times and numbers --

    def duration(self, seconds: float, style: Literal["short", "long"] = "short") -> str:
        """Return a duration in words; a dash for one that is not finite.

        ``short``: 1h52m, 3m25s or 1小时52分. ``long``: 1 h 52 min or 1小时52分钟.
        """
        if not math.isfinite(seconds):
            return "–"
        whole = max(0, round(seconds))
        days, rest = divmod(whole, 86400)
        hours, rest = divmod(rest, 3600)
        minutes, secs = divmod(rest, 60)
        # Seconds are left out from ten minutes on, minutes from a day on.
        if days:
            parts = [("d", days), ("h", hours)]
        elif hours:
            parts = [("h", hours), ("m", minutes)]
        elif minutes >= 10:
            parts = [("m", minutes)]
        else:
            parts = [("m", minutes), ("s", secs)] if minutes else [("s", secs)]
        last = parts[-1]
        if len(parts) > 1 and last[1] == 0:
            parts = parts[:-1]
        out: list[str] = []
        for unit, count in parts:
            padded = f"{count:02}" if style == "short" and len(out) and self.lang == "en" else str(count)
            out.append(self.t(f"duration.{style}.{unit}", n=padded))
        joined = (" " if style == "long" and self.lang == "en" else "").join(out)
        # 3分钟25秒 is not idiomatic: before seconds, the short word 分 is used.
        return joined.replace("分钟", "分") if len(parts) > 1 and parts[-1][0] == "s" else joined

    def age(self, seconds: float) -> str:
        """Return how long ago something was, in minutes, hours or days, so that it does not change every second."""
        if not math.isfinite(seconds):
            return "–"
        if seconds < 60:
            return self.t("age.now")
        for unit, size in (("d", 86400), ("h", 3600)):
            if seconds >= size:
                return self.t(f"age.{unit}", n=int(seconds // size))
        return self.t("age.m", n=int(seconds // 60))

    def clock(self, unix: float, now: float | None = None) -> str:
        """Return a Unix time as local HH:MM, with the date in front unless that is the day of ``now``."""
        try:
            then = time.localtime(unix)
            if now is None:
                return time.strftime("%H:%M", then)
            today = time.localtime(now)
        except (OverflowError, ValueError, OSError):
            return "–"
        if then.tm_year != today.tm_year:
            return time.strftime("%Y-%m-%d %H:%M", then)
        if then.tm_yday != today.tm_yday:
            return time.strftime("%m-%d %H:%M", then)
        return time.strftime("%H:%M", then)

    # -- judgements --

    def state(self, status: Status) -> str:
        """Return the state in a word: while evaluating or waiting, the word for the phase (saving, predicting)."""
        if status.phase is not None and status.state in ("evaluating", "waiting"):
            key = f"phase.{status.phase}"
            if self.has(key):
                return self.t(key)
        return self.t(f"state.{status.state}")

    def metric(self, name: str) -> str:
        """Return the short name of a metric; an unknown metric keeps the name that the files give it."""
        from lora_tui.analysis.metrics import metric

        found = metric(name)
        return self.t(found.label) if found.known else clean(name)

    def meaning(self, name: str) -> str:
        """Return what a metric means, or an empty text for an unknown metric."""
        from lora_tui.analysis.metrics import metric

        found = metric(name)
        return self.t(found.meaning) if found.known else ""

    def level(self, rating: Rating) -> str:
        """Return the level of a rating in a word."""
        return self.t(f"level.{rating.level or 'none'}")

    def rating(self, rating: Rating) -> str:
        """Return the verdict of a rating in a few words."""
        return self.t(f"rating.{rating.words}", **rating.params)

    def reservation(self, code: str) -> str:
        """Return one sentence that says why a number with this reservation is doubtful."""
        return self.t(f"reservation.{code}")

    def explanation(self, rating: Rating) -> str:
        """Return the explanation of a rating: its rule, its numbers, its confidence, and its reservations."""
        parts = [self.t(f"rule.{rating.rule}", **rating.params)]
        key = f"rule.{rating.rule}.numbers"
        if self.has(key):
            numbers = self.t(key, **rating.params)
            if "{" not in numbers:
                parts.append(numbers)
        note = rating.params.get("note")
        if isinstance(note, str) and self.has(f"note.{note}"):
            parts.append(self.t(f"note.{note}", **rating.params))
        if rating.own:
            parts.append(self.t("rule.own"))
        if rating.level is not None and rating.confidence != "firm":
            parts.append(self.t(f"trust.{rating.confidence}"))
        parts.extend(self.reservation(code) for code in rating.reservations)
        return (" " if self.lang == "en" else "").join(parts)

    def rating_text(self, rating: Rating) -> str:
        """Return a rating in full sentences, for JSON."""
        key = "rating.sentence" if rating.level is not None else "rating.sentence_plain"
        value = self._value_with_unit(rating.metric, rating.value)
        head = self.t(
            key, label=self.metric(rating.metric), value=value, level=self.level(rating), verdict=self.rating(rating)
        )
        return head + (" " if self.lang == "en" else "") + self.explanation(rating)

    def _value_with_unit(self, name: str, value: float) -> str:
        """Return a value with its unit, unless the label of the metric contains the unit."""
        from lora_tui.analysis.metrics import metric

        unit = metric(name).unit
        text = self.number(round(value, 2) if unit == "%" else value, "lr" if name == "lr" else "num")
        if unit == "%":
            return f"{text} %" if self.lang == "en" else f"{text}%"
        return f"{text} {self.t(f'unit.{unit}')}" if unit in ("s", "tokens/s", "steps/s") else text

    def finding_name(self, finding: Finding) -> str:
        """Return the name of a finding, two or three words."""
        return self._finding(finding, "name")

    def finding(self, finding: Finding) -> tuple[str, str]:
        """Return the sentence and the advice of a finding."""
        return self._finding(finding, "text"), self._finding(finding, "advice")

    def _finding(self, finding: Finding, part: str) -> str:
        params: dict[str, object] = {
            name: clean(value) if isinstance(value, str) else value for name, value in finding.evidence.items()
        }
        if finding.step is not None:
            params.setdefault("step", finding.step)
        if finding.end_step is not None:
            params.setdefault("end_step", finding.end_step)
        # A plain Trainer may not log its total steps, and a killed process logs no message.
        params.setdefault("total", "?")
        params.setdefault("message", "?")
        missing = params.get("missing")
        if isinstance(missing, str):
            items = self.t("list.separator").join(self.t(f"empty.item.{item}") for item in missing.split(","))
            params["items"] = self.t("empty.not_logged", items=items) if part == "text" else items
        base = f"finding.{finding.code}"
        key = f"{base}.{finding.variant}.{part}"
        return self.t(key if finding.variant and self.has(key) else f"{base}.{part}", **params)

    def size(self, count: float) -> str:
        """Return a number of bytes in words, in units of powers of 1000: ``2.1 GB``."""
        value = float(count)
        for unit in ("B", "KB", "MB", "GB", "TB"):
            if value < 999.5 or unit == "TB":
                return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
            value /= 1000
        return ""

    def number(self, value: float, spec: str = "num") -> str:
        """Return a number as text.

        ``spec`` is ``num`` (4 significant digits), ``lr`` (3 significant digits with an exponent) or ``count`` (3
        significant digits with k, M or B). A number that is not finite is NaN, ∞ or -∞.
        """
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
        if spec == "count":
            for size, mark in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
                # 999.95k would round to 1000k.
                if abs(value) >= size * 0.99995:
                    return f"{value / size:.3g}{mark}" if abs(value) < 999.5 * size else f"{value / size:.0f}{mark}"
            return f"{value:.3g}" if value != int(value) else str(int(value))
        if spec == "lr" or abs(value) >= 1e7:
            if value == 0:
                return "0"
            mantissa, _, exponent = f"{value:.2e}".partition("e")
            mantissa = mantissa.rstrip("0").rstrip(".")
            return f"{mantissa}e{int(exponent)}"
        if value == int(value):
            return str(int(value))
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"

    # -- placeholders --

    def _fill(self, text: str, params: Mapping[str, object]) -> str:
        """Fill in the placeholders as ``str.format`` does; one without a value, and text that is no format, stay."""
        out: list[str] = []
        try:
            for literal, name, spec, _ in Formatter().parse(text):
                out.append(literal)
                if name is None:
                    continue
                if name in params:
                    out.append(self._format_value(params[name], spec or ""))
                else:
                    out.append("{" + name + (f":{spec}" if spec else "") + "}")
        except ValueError:
            return text
        return "".join(out)

    def _format_value(self, value: Any, spec: str) -> str:
        """Format a value by one of the catalogue's own format specs, or by one of Python's."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if spec in ("num", "lr", "count"):
                return self.number(value, spec)
            if spec == "dur":
                return self.duration(value)
            if spec == "age":
                return self.age(value)
            if spec == "size":
                return self.size(value)
            if not spec:
                return str(value) if isinstance(value, int) else self.number(value)
        try:
            return format(value, spec)
        except (ValueError, TypeError):
            return str(value)
