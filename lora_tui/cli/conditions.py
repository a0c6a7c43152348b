"""What the user wrote as a condition or a time, understood or refused in one line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from lora_tui.cli.common import complain
from lora_tui.errors import UsageError
from lora_tui.i18n import Words
from lora_tui.query.parser import Expression, ExpressionError, parse
from lora_tui.runs.run import Run
from lora_tui.text.numbers import parse_duration
from lora_tui.text.sanitize import clean


def understand(option: str, text: str, words: Words) -> Expression:
    """The expression that an option gives. Raises UsageError."""
    try:
        return parse(text)
    except ExpressionError as error:
        raise _refused(option, error, words) from error


def check_names(option: str, expression: Expression, runs: Iterable[Run], words: Words) -> None:
    """Raises UsageError for a name that is surely mistyped; a name that nobody knows (yet) is told on stderr."""
    try:
        strange = expression.unknown(runs)
    except ExpressionError as error:
        raise _refused(option, error, words) from error
    if strange:
        names = words.t("list.separator").join(clean(name, 60) for name in strange)
        complain(words.t("cli.expression.unknown", option=option, names=names))


def _refused(option: str, error: ExpressionError, words: Words) -> UsageError:
    what = words.t(f"cli.expression.{error.code}", **error.params)
    return UsageError(words.t("cli.expression.at", option=option, column=error.column, what=what))


def since(text: str, now: float, words: Words) -> float:
    """The Unix time that ``--since`` means: so long ago, or a date in local time. Raises UsageError."""
    ago = parse_duration(text) if text.strip()[-1:] in tuple("smhd") else None
    if ago is not None:
        return now - ago
    try:
        # Python 3.10 does not know the Z of UTC yet.
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        # Without a zone it is local time.
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(words.t("cli.ls.since", text=clean(text, 60))) from None
