"""The conditions of ``ls --filter`` and ``wait --until``: ``eval_loss < 1.2 and state == finished``.

Values: metric names as in ``status --json`` (the last value; of results files only those of the last attempt), the
numbers of FIELDS, the texts of TEXTS, ``min(loss)`` and the other FUNCTIONS, ``rating(eval_loss)``; numbers (``1e-4``,
``25%``, ``2h`` = 7200). ``+ - * /`` need spaces where a name could continue (``eval_loss - loss``), since names contain
``-`` and ``/`` (``rewards/margins``, ``predict_bleu-4``). Tests: ``< <= > >= == !=``, for texts ``== != ~`` (``~``:
contains; case is ignored), ``has(eval_loss)``, ``finding(overfitting)``; joined by ``and``, ``or``, ``not`` and
parentheses.

A test of a value that a run does not have is neither true nor false, and so is its ``not``: the run does not match
either way. NaN compares by IEEE 754: it is unequal to everything. Nothing is evaluated as Python.

A parser of our own because a library for expressions (simpleeval, asteval) reads Python, where ``rewards/margins`` and
``predict_bleu-4`` are no names, and has neither the third truth value nor errors with a suggestion.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from lora_tui.analysis import METRICS, PLAIN, Context
from lora_tui.analysis.findings.find import CODES, SEVERITIES
from lora_tui.query.fields import (
    CHOICES,
    FIELDS,
    FUNCTIONS,
    SYNONYMS,
    TEXTS,
    Getter,
    RunValues,
    Value,
    has_finding,
    is_one_typo_away,
    rating_level,
)  # fmt: skip
from lora_tui.runs.run import Run
from lora_tui.text.numbers import DURATION_UNITS
from lora_tui.text.sanitize import clean

MAX_LENGTH = 1000
"""Length of the longest expression that is accepted, in characters."""
MAX_DEPTH = 30
"""Deepest accepted nesting of parentheses, ``not`` and signs."""


class ExpressionError(Exception):
    """An expression cannot be used. ``column`` counts from 1; the catalogue's key is ``cli.expression.<code>``."""

    def __init__(self, code: str, column: int, **params: str) -> None:
        super().__init__(code, column, params)
        self.code = code
        self.column = column
        self.params = params


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.nan,
}
UNITS = {**DURATION_UNITS, "%": 0.01, "": 1.0}
_TOKEN = re.compile(
    r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[%smhd]?(?![\w.]))"
    r"|(?P<word>\w+(?:[/.:@-]+\w+)*)"
    r"|(?P<quoted>\"[^\"]*\"|'[^']*')"
    r"|(?P<sign><=|>=|==|!=|[<>=~()+\-*/])"
)


class _Token(NamedTuple):
    kind: str
    """"number", "word", "quoted", "sign" or "end"."""
    text: str
    column: int


@dataclass(frozen=True)
class _Part:
    """A part of an expression.

    The meaning of a ``word`` depends on its context: the name of a metric, or beside a text the word to compare with.
    """

    kind: Literal["number", "text", "word", "quoted", "test"]
    token: _Token
    get: Getter
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expression:
    """A parsed condition."""

    text: str
    names: dict[str, int]
    """Metrics that the condition names without quotes, with the column of the first mention."""
    test: Getter
    """The condition as a function, which returns True, False, or None where the run lacks a value."""

    def holds(self, run: Run, now: float, context: Context = PLAIN) -> bool | None:
        """Return whether the condition holds for a run at a moment (Unix time), or None where the run lacks a value."""
        found = self.test(RunValues(run, now, context))
        return found if isinstance(found, bool) else None

    def unknown(self, runs: Iterable[Run]) -> list[str]:
        """Return the metrics of the condition that are neither in these runs nor in the table of metrics.

        Raises ExpressionError if such a name is one typo away from a known one, or is two names and an operator.
        """
        known = {*METRICS, *FIELDS, *TEXTS}
        for run in runs:
            known.update(run.series)
            for each in (run, *run.linked):
                known.update(key for result in each.results().values() for key in result.values)
        unknown = [name for name in self.names if name not in known]
        for name in unknown:
            column = self.names[name]
            parts = re.split(r"([-/])", name)
            if len(parts) > 1 and all(part in known or part.isdecimal() for part in parts[::2]):
                raise ExpressionError("spaces", column, found=clean(name, 60), meant=clean(" ".join(parts), 80))
            meant = SYNONYMS.get(name) or next(
                (other for other in sorted(known) if is_one_typo_away(name, other)), None
            )
            if meant is not None:
                raise ExpressionError("name", column, found=clean(name, 60), meant=clean(meant, 60))
        return unknown


def parse(text: str) -> Expression:
    """Parse an expression. Raises ExpressionError for a text that is none, and no other exception for any text."""
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens: or, and, not, comparison, sum, product, sign, value."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise ExpressionError("long", MAX_LENGTH, limit=str(MAX_LENGTH))
        self.text = text
        self.names: dict[str, int] = {}
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Expression:
        """Parse the whole text."""
        test = self._test(self._or())
        if self._next.kind != "end":
            self._fail("end")
        return Expression(self.text.strip(), self.names, test)

    # -- tokens --------------------------------------------------------------------------------------------------

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> _Token | None:
        """Return and consume the next token if it is one of these signs or keywords, else return None."""
        token = self._next
        if token.kind in ("sign", "word") and token.text.lower() in texts:
            self._at += 1
            return token
        return None

    def _fail(self, code: str, token: _Token | None = None, **params: str) -> NoReturn:
        token = token or self._next
        if token.kind == "end":
            raise ExpressionError(f"{code}_at_end" if code in ("value", "close") else code, token.column, **params)
        raise ExpressionError(code, token.column, found=clean(token.text, 60), **params)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail("deep", limit=str(MAX_DEPTH))

    # -- tests ---------------------------------------------------------------------------------------------------

    def _or(self) -> _Part:
        return self._joined("or", self._and, True)

    def _and(self) -> _Part:
        return self._joined("and", self._not, False)

    def _joined(self, word: str, parse: Callable[[], _Part], decides: bool) -> _Part:
        """Parse tests joined by ``word``; if any returns ``decides`` (``or``: True, ``and``: False), so does the whole.

        Otherwise the whole returns None if any test returns None.
        """
        first = parse()
        if self._next.text.lower() != word or self._next.kind != "word":
            return first
        tests = [self._test(first)]
        while self._take(word):
            tests.append(self._test(parse()))

        def get(values: RunValues) -> Value:
            found = {test(values) for test in tests}
            return decides if decides in found else None if None in found else not decides

        return _Part("test", first.token, get)

    def _not(self) -> _Part:
        token = self._take("not")
        if token is None:
            return self._comparison()
        self._enter()
        test = self._test(self._not())
        self._depth -= 1
        return _Part("test", token, lambda values: None if (found := test(values)) is None else not found)

    def _test(self, part: _Part) -> Getter:
        if part.kind != "test":
            self._fail("comparison", part.token)
        return part.get

    def _comparison(self) -> _Part:
        left = self._sum()
        sign = self._take(*COMPARISONS, "~")
        if sign is None:
            return left
        right = self._sum()
        if self._take(*COMPARISONS, "~"):
            self._at -= 1
            self._fail("chain")
        if "text" in (left.kind, right.kind):
            return self._text_comparison(left, sign, right)
        if sign.text == "~":
            self._fail("contains", sign)
        a, b, compare = self._number(left), self._number(right), COMPARISONS[sign.text]
        return _Part("test", left.token, _compared(compare, a, b))

    def _text_comparison(self, left: _Part, sign: _Token, right: _Part) -> _Part:
        """Compare a text with a word, quoted or not."""
        side, other = (left, right) if left.kind == "text" else (right, left)
        if sign.text not in ("=", "==", "!=", "~") or (sign.text == "~" and side is right):
            self._fail("worded", sign, name=clean(side.token.text, 60))
        if other.kind == "test" or other.token.kind == "sign":
            self._fail("word", other.token)
        wanted = (other.token.text[1:-1] if other.token.kind == "quoted" else other.token.text).casefold()
        if side.choices and wanted not in side.choices and sign.text != "~":
            self._reject_choice(other.token, wanted, side.choices)
        get, contains, equal = side.get, sign.text == "~", sign.text != "!="

        def test(values: RunValues) -> Value:
            found = get(values)
            if not isinstance(found, str):
                return None
            return wanted in found.casefold() if contains else (found.casefold() == wanted) is equal

        return _Part("test", left.token, test)

    def _reject_choice(self, token: _Token, wanted: str, choices: Iterable[str]) -> NoReturn:
        """Raise ExpressionError for a word that is not in ``choices``; it names the most similar choice, or all."""
        from difflib import get_close_matches

        near = get_close_matches(wanted, list(choices), 1)
        if near:
            raise ExpressionError("meant", token.column, found=clean(wanted, 60), meant=near[0])
        raise ExpressionError("choice", token.column, found=clean(wanted, 60), choices=", ".join(choices))

    # -- numbers -------------------------------------------------------------------------------------------------

    def _number(self, part: _Part) -> Getter:
        """Return the getter of a part that must be a number; a bare word is the name of a metric here."""
        if part.kind == "word":
            name, column = part.token.text, part.token.column
            if name.lower() == "nan":
                self._fail("nan", part.token)
            self.names.setdefault(name, column)
        elif part.kind != "number":
            self._fail("number", part.token)
        return part.get

    def _sum(self) -> _Part:
        return self._arithmetic(("+", "-"), lambda: self._arithmetic(("*", "/"), self._signed))

    def _arithmetic(self, signs: tuple[str, ...], parse: Callable[[], _Part]) -> _Part:
        first = parse()
        steps: list[tuple[Callable[[float, float], float], Getter]] = []
        while sign := self._take(*signs):
            steps.append((ARITHMETIC[sign.text], self._number(parse())))
        if not steps:
            return first
        start = self._number(first)

        def get(values: RunValues) -> Value:
            total = start(values)
            for operation, each in steps:
                value = each(values)
                if not isinstance(total, (int, float)) or not isinstance(value, (int, float)):
                    return None
                total = operation(total, value)
            return total

        return _Part("number", first.token._replace(kind="sign"), get)

    def _signed(self) -> _Part:
        sign = self._take("-", "+")
        if sign is None:
            return self._value()
        self._enter()
        get = self._number(self._signed())
        self._depth -= 1
        if sign.text == "+":
            return _Part("number", sign, get)
        return _Part("number", sign, lambda values: -found if isinstance(found := get(values), (int, float)) else None)

    # -- values --------------------------------------------------------------------------------------------------

    def _value(self) -> _Part:
        token = self._next
        if self._take("("):
            self._enter()
            part = self._or()
            self._depth -= 1
            if not self._take(")"):
                self._fail("close")
            return part
        if token.kind in ("end", "sign") or token.text.lower() in ("and", "or", "not"):
            self._fail("value")
        self._at += 1
        if token.kind == "number":
            number = _number(token.text)
            return _Part("number", token, lambda _: number)
        if token.kind == "quoted":
            return _Part("quoted", token, lambda _: None)
        if self._take("("):
            return self._function(token)
        name = token.text
        if name in TEXTS:
            return _Part("text", token, TEXTS[name], CHOICES.get(name, ()))
        if name in FIELDS:
            return _Part("number", token, FIELDS[name])
        if name.lower() in ("inf", "infinity"):
            return _Part("number", token, lambda _: math.inf)
        return _Part("word", token, lambda values: values.value(name))

    def _function(self, function: _Token) -> _Part:
        """Parse the argument of a function, as in ``min(eval_loss)``; a quoted name may be any text."""
        if function.text not in FUNCTIONS:
            self._reject_choice(function, function.text, FUNCTIONS)
        token = self._next
        if token.kind not in ("word", "quoted"):
            self._fail("argument", function=function.text)
        self._at += 1
        if not self._take(")"):
            self._fail("close")
        name = token.text[1:-1] if token.kind == "quoted" else token.text
        function = function._replace(kind="sign")
        if function.text == "finding":
            if name not in CODES and name not in SEVERITIES:
                self._reject_choice(token, name, (*SEVERITIES, *CODES))
            return _Part("test", function, lambda values: has_finding(values, name))
        if token.kind == "word" and not (function.text == "has" and name in (*FIELDS, *TEXTS)):
            self.names.setdefault(name, token.column)
        if function.text == "has":
            get: Getter = FIELDS.get(name) or TEXTS.get(name) or (lambda values: values.value(name))
            return _Part("test", function, lambda values: get(values) is not None)
        if function.text == "rating":
            return _Part("text", function, lambda values: rating_level(values, name), CHOICES["rating"])
        return _Part("number", function, lambda values: values.statistic(function.text, name))


def _tokens(text: str) -> list[_Token]:
    """Split a text into tokens without the spaces, and a token for the end."""
    out: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            code = "quote" if text[at] in "\"'" else "character"
            raise ExpressionError(code, at + 1, found=clean(text[at]) or "?")
        out.append(_Token(match.lastgroup, match[0], at + 1))
        at = match.end()
    return [*out, _Token("end", "", len(text) + 1)]


def _number(text: str) -> float:
    unit = text[-1] if text[-1] in UNITS else ""
    return float(text[: len(text) - len(unit)]) * UNITS[unit]


def _compared(compare: Callable[[float, float], bool], a: Getter, b: Getter) -> Getter:
    def get(values: RunValues) -> Value:
        left, right = a(values), b(values)
        if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
            return None
        return compare(left, right)

    return get
