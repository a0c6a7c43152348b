"""The conditions of ``ls --filter`` and ``wait --until``: ``eval_loss < 1.2 and state == finished``.

Values: metric names as in ``status --json`` (the last value; of results files what is not of an earlier attempt), the
numbers of FIELDS, the words of TEXTS, ``min(loss)`` and the other FUNCTIONS, ``rating(eval_loss)``; numbers (``1e-4``,
``25%``, ``2h`` = 7200). ``+ - * /`` need spaces where a name could go on (``eval_loss - loss``), since names hold ``-``
and ``/`` (``rewards/margins``, ``predict_bleu-4``). Tests: ``< <= > >= == !=``, for words ``== != ~`` (``~``: contains;
case is ignored), ``has(eval_loss)``, ``finding(overfitting)``; joined by ``and``, ``or``, ``not`` and parentheses.

A test of a value that a run does not have is neither true nor false, and so is its ``not``: the run does not match
either way. NaN compares as IEEE 754 has it: with nothing but ``!=``. Nothing is evaluated as Python.
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
    MEANT,
    TEXTS,
    Facts,
    Getter,
    Value,
    has_finding,
    level,
    one_slip,
)  # fmt: skip
from lora_tui.runs.run import Run
from lora_tui.text.numbers import DURATION_UNITS
from lora_tui.text.sanitize import clean

LONGEST = 1000
"""Characters of an expression."""
DEEPEST = 30
"""Parentheses, ``not`` and signs inside each other."""


class ExpressionError(Exception):
    """The expression cannot be used. ``column`` counts from 1; the words are ``cli.expression.<code>``."""

    def __init__(self, code: str, column: int, **params: str) -> None:
        super().__init__(code, column, params)
        self.code = code
        self.column = column
        self.params = params


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
RECKON: dict[str, Callable[[float, float], float]] = {
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
    """number, word, quoted, sign, end."""
    text: str
    column: int


@dataclass(frozen=True)
class _Part:
    """A part of the expression. A ``word`` becomes the name of a metric, or beside a text what the text is to be."""

    kind: Literal["number", "text", "word", "quoted", "test"]
    token: _Token
    get: Getter
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expression:
    """A condition that was understood."""

    text: str
    names: dict[str, int]
    """Metrics that it asks for by their bare name, with the column where each stands first."""
    test: Getter
    """True, False or, where the run lacks what it asks for, ``None``."""

    def holds(self, run: Run, now: float, context: Context = PLAIN) -> bool | None:
        """Whether it holds for a run at a moment (Unix time); ``None`` where the run lacks what it asks for."""
        found = self.test(Facts(run, now, context))
        return found if isinstance(found, bool) else None

    def unknown(self, runs: Iterable[Run]) -> list[str]:
        """The metrics that neither these runs nor the glossary know.

        Raises ExpressionError where such a name is one slip away from a known one, or is two with an operator between.
        """
        known = {*METRICS, *FIELDS, *TEXTS}
        for run in runs:
            known.update(run.series)
            for each in (run, *run.linked):
                known.update(key for result in each.results().values() for key in result.values)
        strange = [name for name in self.names if name not in known]
        for name in strange:
            column = self.names[name]
            parts = re.split(r"([-/])", name)
            if len(parts) > 1 and all(part in known or part.isdecimal() for part in parts[::2]):
                raise ExpressionError("spaces", column, found=clean(name, 60), meant=clean(" ".join(parts), 80))
            meant = MEANT.get(name) or next((other for other in sorted(known) if one_slip(name, other)), None)
            if meant is not None:
                raise ExpressionError("name", column, found=clean(name, 60), meant=clean(meant, 60))
        return strange


def parse(text: str) -> Expression:
    """Understand an expression. Raises ExpressionError, and nothing else, whatever the text."""
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens: or, and, not, comparison, sum, product, sign, value."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ExpressionError("long", LONGEST, limit=str(LONGEST))
        self.text = text
        self.names: dict[str, int] = {}
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Expression:
        """The whole of it."""
        test = self._test(self._or())
        if self._next.kind != "end":
            self._fail("end")
        return Expression(self.text.strip(), self.names, test)

    # -- tokens --------------------------------------------------------------------------------------------------

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these signs or keywords."""
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

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail("deep", limit=str(DEEPEST))

    # -- tests ---------------------------------------------------------------------------------------------------

    def _or(self) -> _Part:
        return self._joined("or", self._and, True)

    def _and(self) -> _Part:
        return self._joined("and", self._not, False)

    def _joined(self, word: str, parse: Callable[[], _Part], decides: bool) -> _Part:
        """``or`` is decided by one true part, ``and`` by one false part; else what is unknown makes all unknown."""
        first = parse()
        if self._next.text.lower() != word or self._next.kind != "word":
            return first
        tests = [self._test(first)]
        while self._take(word):
            tests.append(self._test(parse()))

        def get(facts: Facts) -> Value:
            found = {test(facts) for test in tests}
            return decides if decides in found else None if None in found else not decides

        return _Part("test", first.token, get)

    def _not(self) -> _Part:
        token = self._take("not")
        if token is None:
            return self._comparison()
        self._deeper()
        test = self._test(self._not())
        self._depth -= 1
        return _Part("test", token, lambda facts: None if (found := test(facts)) is None else not found)

    def _test(self, part: _Part) -> Getter:
        if part.kind != "test":
            self._fail("comparison", part.token)
        return part.get

    def _comparison(self) -> _Part:
        left = self._sum()
        sign = self._take(*COMPARE, "~")
        if sign is None:
            return left
        right = self._sum()
        if self._take(*COMPARE, "~"):
            self._at -= 1
            self._fail("chain")
        if "text" in (left.kind, right.kind):
            return self._worded(left, sign, right)
        if sign.text == "~":
            self._fail("contains", sign)
        a, b, compare = self._number(left), self._number(right), COMPARE[sign.text]
        return _Part("test", left.token, _both(compare, a, b))

    def _worded(self, left: _Part, sign: _Token, right: _Part) -> _Part:
        """A text compared with a word, quoted or not."""
        side, other = (left, right) if left.kind == "text" else (right, left)
        if sign.text not in ("=", "==", "!=", "~") or (sign.text == "~" and side is right):
            self._fail("worded", sign, name=clean(side.token.text, 60))
        if other.kind == "test" or other.token.kind == "sign":
            self._fail("word", other.token)
        wanted = (other.token.text[1:-1] if other.token.kind == "quoted" else other.token.text).casefold()
        if side.choices and wanted not in side.choices and sign.text != "~":
            self._choose(other.token, wanted, side.choices)
        get, contains, equal = side.get, sign.text == "~", sign.text != "!="

        def test(facts: Facts) -> Value:
            found = get(facts)
            if not isinstance(found, str):
                return None
            return wanted in found.casefold() if contains else (found.casefold() == wanted) is equal

        return _Part("test", left.token, test)

    def _choose(self, token: _Token, wanted: str, choices: Iterable[str]) -> NoReturn:
        """The word is none of these: say which was most likely meant, else all."""
        from difflib import get_close_matches

        near = get_close_matches(wanted, list(choices), 1)
        if near:
            raise ExpressionError("meant", token.column, found=clean(wanted, 60), meant=near[0])
        raise ExpressionError("choice", token.column, found=clean(wanted, 60), choices=", ".join(choices))

    # -- numbers -------------------------------------------------------------------------------------------------

    def _number(self, part: _Part) -> Getter:
        """What gives a number; here a bare word turns out to be the name of a metric."""
        if part.kind == "word":
            name, column = part.token.text, part.token.column
            if name.lower() == "nan":
                self._fail("nan", part.token)
            self.names.setdefault(name, column)
        elif part.kind != "number":
            self._fail("number", part.token)
        return part.get

    def _sum(self) -> _Part:
        return self._reckoned(("+", "-"), lambda: self._reckoned(("*", "/"), self._signed))

    def _reckoned(self, signs: tuple[str, ...], parse: Callable[[], _Part]) -> _Part:
        first = parse()
        steps: list[tuple[Callable[[float, float], float], Getter]] = []
        while sign := self._take(*signs):
            steps.append((RECKON[sign.text], self._number(parse())))
        if not steps:
            return first
        start = self._number(first)

        def get(facts: Facts) -> Value:
            total = start(facts)
            for reckon, each in steps:
                value = each(facts)
                if not isinstance(total, (int, float)) or not isinstance(value, (int, float)):
                    return None
                total = reckon(total, value)
            return total

        return _Part("number", first.token._replace(kind="sign"), get)

    def _signed(self) -> _Part:
        sign = self._take("-", "+")
        if sign is None:
            return self._value()
        self._deeper()
        get = self._number(self._signed())
        self._depth -= 1
        if sign.text == "+":
            return _Part("number", sign, get)
        return _Part("number", sign, lambda facts: -found if isinstance(found := get(facts), (int, float)) else None)

    # -- values --------------------------------------------------------------------------------------------------

    def _value(self) -> _Part:
        token = self._next
        if self._take("("):
            self._deeper()
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
        return _Part("word", token, lambda facts: facts.value(name))

    def _function(self, function: _Token) -> _Part:
        """``min(eval_loss)``; a quoted name is taken as it is."""
        if function.text not in FUNCTIONS:
            self._choose(function, function.text, FUNCTIONS)
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
                self._choose(token, name, (*SEVERITIES, *CODES))
            return _Part("test", function, lambda facts: has_finding(facts, name))
        if token.kind == "word" and not (function.text == "has" and name in (*FIELDS, *TEXTS)):
            self.names.setdefault(name, token.column)
        if function.text == "has":
            get: Getter = FIELDS.get(name) or TEXTS.get(name) or (lambda facts: facts.value(name))
            return _Part("test", function, lambda facts: get(facts) is not None)
        if function.text == "rating":
            return _Part("text", function, lambda facts: level(facts, name), CHOICES["rating"])
        return _Part("number", function, lambda facts: facts.statistic(function.text, name))


def _tokens(text: str) -> list[_Token]:
    """Everything but the spaces, and the end."""
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


def _both(compare: Callable[[float, float], bool], a: Getter, b: Getter) -> Getter:
    def get(facts: Facts) -> Value:
        left, right = a(facts), b(facts)
        if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
            return None
        return compare(left, right)

    return get
